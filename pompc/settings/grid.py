"""The agents of a population: all combinations of methods, λ, priors and seeds."""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from pompc.errors import ConfigError
from pompc.settings.checks import check_choice, convert, plain
from pompc.settings.methods import METHODS

AXES = ("method", "lam", "prior")  # of the grid; `seeds` is a count


def listed(value: Any) -> list[Any]:
    """Return a value, an array or a range as a list; so is the text "[0, 0.1, inf]" of a shell."""
    found = plain(value)
    if isinstance(found, str) and found.strip().startswith("["):
        parts = found.strip().removeprefix("[").removesuffix("]").split(",")
        return [part.strip().strip("'\"") for part in parts if part.strip()]
    return list(found) if isinstance(found, (list, tuple, range)) else [found]


def points(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return `method`, `lam`, `prior` and `seed` of every agent that the settings ask for.

    `defaults` hold the value of every setting that was not given. A method that fixes λ or its
    prior ignores the list of the others. λ = 0 reads no prior, so that a list of priors adds no
    agents there. Raise ConfigError for an unknown method, an empty list, or what no method takes.
    """
    given = {name: listed(settings.get(name, defaults[name])) for name in AXES}
    given["lam"] = [convert("lam", value, "float") for value in given["lam"]]
    for name, values in given.items():
        if not values:
            raise ConfigError(f"{name} is an empty list, but a population needs at least one value")
    for method in given["method"]:
        check_choice("method", method, tuple(METHODS))
    first, count = (convert(n, settings.get(n, defaults[n]), "int") for n in ("seed", "seeds"))
    seeds = [first + index for index in range(max(count, 1))]  # fewer than 1: refused later
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for method in given["method"]:
        axes = (_values(name, given, settings, method) for name in ("lam", "prior"))
        for lam, prior, seed in product(*axes, seeds):
            reads_prior = lam != 0 or _reads_prior(method, settings)
            identity = (method, lam, prior if reads_prior else None, seed)
            found.setdefault(identity, {"method": method, "lam": lam, "prior": prior, "seed": seed})
    return list(found.values())


def _values(
    name: str, given: Mapping[str, list[Any]], settings: Mapping[str, Any], method: str
) -> Iterable[Any]:
    """Return the values of one axis for one method: its own, if it fixes them."""
    fixed = METHODS[method].settings.get(name)
    if fixed is None:
        return given[name]
    takes = any(name not in METHODS[other].settings for other in given["method"])
    # Checked later, against what the method fixes, with a sentence that says so.
    return given[name] if name in settings and not takes else [fixed]


def _reads_prior(method: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a method with λ = 0 reads a prior: it fixes one, or a term near it counts."""
    terms = "cross_entropy_coef", "alignment_coef"
    weights = [convert(name, settings.get(name, 0.0), "float") for name in terms]
    return "prior" in METHODS[method].settings or max(weights) > 0
