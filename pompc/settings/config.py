"""Configuration: everything that defines a run of one agent, or of a population of agents."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pompc import envs
from pompc.errors import ConfigError, nearest
from pompc.settings import grid
from pompc.settings.checks import check, check_choice, convert
from pompc.settings.field_types import allowed, defaults_of
from pompc.settings.fields import PRESETS, Fields
from pompc.settings.methods import METHODS

_DEFAULTS = defaults_of(Fields)
# Settings of earlier versions -> the only value that they ever had for a task.
_RETIRED: dict[str, Callable[[str], Any]] = {"action_repeat": envs.action_repeat}


@dataclasses.dataclass(frozen=True, init=False)
class Config(Fields):
    """All settings of one run. Hashable, so that compiled programs can be keyed by it.

    `Config(task="dog-run", lam=1.0)` takes the rest from the method and the preset: `paper` is
    Table 3, `laptop` learns small tasks in minutes on two CPU cores, `auto` (the default) chooses
    `paper` where JAX sees a GPU. Any setting can be given by name.

    Lists of `method`, `lam` or `prior`, or `seeds` greater than 1, make a population: `agents`
    then holds the configuration of each agent, and those settings are tuples.

    A bad value raises ConfigError, which names it, what is allowed, and the nearest match.
    """

    def __init__(self, task: str = "cartpole-swingup", **settings: Any) -> None:
        for name in settings:
            if name not in _DEFAULTS and name not in _RETIRED:
                raise ConfigError(f"unknown parameter {name!r}{nearest(name, _DEFAULTS)}")
        settings = settings | {"preset": _resolve_preset(settings.get("preset", "auto"))}
        task = envs.check_task(convert("task", task, "str"))
        for name, only in retired_values(task).items():
            if (given := settings.pop(name, only)) != only:
                raise ConfigError(f"{name} is {given!r} but must be {only} for {task}")
        points = grid.points(settings, _DEFAULTS)
        if len(points) > 1:
            one = settings | {"seeds": 1}
            self._adopt([Config(task, **(one | point)) for point in points])
        else:
            self._resolve(task, settings | points[0])

    def _resolve(self, task: str, settings: Mapping[str, Any]) -> None:
        """Set every field of one agent's configuration."""
        values = {**_defaults(task, settings["method"], settings["preset"]), **settings}
        for name, accepted in allowed(Fields).items():
            object.__setattr__(self, name, convert(name, values[name], accepted.kind))
        check(self)
        object.__setattr__(self, "_agents", ())

    def _adopt(self, agents: "Sequence[Config]") -> None:
        """Set the fields of a population: its first agent's, and tuples for the grid."""
        for name in _DEFAULTS:
            value = getattr(agents[0], name)
            if name in grid.AXES:
                value = tuple(dict.fromkeys(getattr(agent, name) for agent in agents))
            object.__setattr__(self, name, value)
        object.__setattr__(self, "seeds", len({agent.seed for agent in agents}))
        object.__setattr__(self, "_agents", tuple(agents))

    @property
    def agents(self) -> "tuple[Config, ...]":
        """The configuration of each agent. That of one agent holds itself."""
        agents: tuple[Config, ...] = self.__dict__["_agents"]
        return agents or (self,)

    @property
    def action_repeat(self) -> int:
        """Environment steps of one decision. They are the task's."""
        return envs.action_repeat(self.task)

    @property
    def decisions(self) -> int:
        """Number of decisions (policy steps) in `steps` environment steps."""
        return self.steps // self.action_repeat

    def to_json(self) -> str:
        """Return the configuration as JSON, of a population as a list of its agents' ones."""
        # JSON has no infinity: it becomes the string "inf".
        values = [
            dataclasses.asdict(agent) | {"lam": "inf" if math.isinf(agent.lam) else agent.lam}
            for agent in self.agents
        ]
        return json.dumps(values if len(values) > 1 else values[0], indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Read what `to_json` wrote, in this version or an earlier one."""
        values = json.loads(text)
        if isinstance(values, dict):
            return cls(**values)
        agents = [cls(**agent) for agent in values]
        population = cls.__new__(cls)
        population._adopt(agents)
        return population


def preset_values(preset: str) -> dict[str, Any]:
    """Return all settings of a preset; `steps` and `evaluate_every` count decisions here."""
    return _DEFAULTS | PRESETS[preset] | {"preset": preset}


def retired_values(task: str) -> dict[str, Any]:
    """Return the settings of earlier versions. Names of jobs and keys of runs still hold them."""
    return {name: value(task) for name, value in _RETIRED.items()}


def _defaults(task: str, method: str, preset: str) -> dict[str, Any]:
    repeat = envs.action_repeat(task)
    values = preset_values(preset) | {"task": task, "terminations": envs.terminations(task)}
    for name in ("steps", "evaluate_every"):
        values[name] *= repeat
    if values["seeding_decisions"] is None:
        values["seeding_decisions"] = 5_000 // repeat
    return {**values, **METHODS[method].settings}


def _resolve_preset(preset: str) -> str:
    if preset == "auto":
        from pompc.runtime import has_gpu  # the only place where a configuration asks JAX

        return "paper" if has_gpu() else "laptop"
    check_choice("preset", preset, ("auto", *PRESETS))
    return preset
