"""Building blocks of the table of settings: types with their ranges, and fields with a meaning."""

import dataclasses
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Range(NamedTuple):
    """The numbers that a setting accepts."""

    words: str  # completes "steps is -1 but must be ..."
    holds: Callable[[float], bool]


# Types of settings. Choices are `Literal`s, and what has no limits is a plain `bool` or `str`.
Count = Annotated[int, Range("at least 1", lambda number: number >= 1)]
AtLeastTwo = Annotated[int, Range("at least 2", lambda number: number >= 2)]
_NOT_NEGATIVE = Range("a finite number >= 0", lambda number: 0 <= number < math.inf)
NotNegative = Annotated[float, _NOT_NEGATIVE]
NotNegativeInt = Annotated[int, _NOT_NEGATIVE]
Positive = Annotated[
    float, Range("a finite number greater than 0", lambda number: 0 < number < math.inf)
]
Fraction = Annotated[float, Range("between 0 and 1", lambda number: 0 <= number <= 1)]
Finite = Annotated[float, Range("a finite number", math.isfinite)]
# Of a population these are tuples, so that their values are `Any`.
Names = Annotated[Any, str]
Strengths = Annotated[Any, float, Range("a number >= 0, or inf", lambda number: number >= 0)]


class Setting(NamedTuple):
    """Everything about a setting but its type and default."""

    meaning: str
    paper: str  # symbol, place in the paper, and name in Table 3
    option: bool  # at its default, a run is as if the setting did not exist
    per_agent: bool  # agents of one program may differ in it: it reaches them as an array


def setting(
    default: Any, meaning: str, paper: str = "", *, option: bool = False, per_agent: bool = False
) -> Any:
    """Make a field. Its default is the paper's value, or None where the task decides.

    The default of an `option` is how the code was before it could be chosen: there it is left out
    of a job's name, so that a new option renames no job.
    """
    about = Setting(meaning, paper, option, per_agent)
    return dataclasses.field(default=default, metadata={"setting": about})


option = partial(setting, option=True)


def settings_of(configuration: Any) -> dict[str, Setting]:
    """Return name -> `Setting` of each field of a configuration, or of its class."""
    fields = dataclasses.fields(configuration)
    return {field.name: field.metadata["setting"] for field in fields}


def defaults_of(configuration: Any) -> dict[str, Any]:
    """Return name -> default of each field."""
    return {field.name: field.default for field in dataclasses.fields(configuration)}


def options_of(configuration: Any) -> dict[str, Any]:
    """Return name -> default of each option."""
    about = settings_of(configuration)
    return {n: default for n, default in defaults_of(configuration).items() if about[n].option}


def shared_values(config: Any) -> tuple[Any, ...]:
    """Return the values that all agents of one program have in common."""
    about = settings_of(config)
    return tuple(getattr(config, name) for name in about if not about[name].per_agent)


class Allowed(NamedTuple):
    """The values that a setting accepts."""

    kind: str  # str, int, float or bool
    choices: tuple[str, ...]  # empty: any
    range: Range | None


@cache
def allowed(configuration: type) -> dict[str, Allowed]:
    """Return name -> values that each field of a class accepts, read from its type."""
    return {
        name: _allowed(hint)
        for name, hint in get_type_hints(configuration, include_extras=True).items()
    }


def _allowed(hint: Any) -> Allowed:
    if get_origin(hint) is Literal:
        return Allowed("str", get_args(hint), None)
    kind, *notes = get_args(hint) or (hint,)
    if kind is Any:
        kind, *notes = notes
    return Allowed(kind.__name__, (), notes[0] if notes else None)
