"""What a run logs beside its returns: metrics.csv, and where the time went."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pompc import runs
from pompc.errors import SaidError
from pompc.population.programs import Programs
from pompc.settings.config import Config


class NonFiniteError(SaidError, RuntimeError):
    """A loss or metric became NaN or infinite; the last good checkpoint is kept."""


def outside_bins(config: Config) -> str:
    """Return the warning that values cannot be learned: which bins there are, and what to set."""
    bounds = config.symlog_min, config.symlog_max
    low, high = (math.copysign(math.expm1(abs(bound)), bound) for bound in bounds)
    return (
        f"targets of the values lie outside the bins, {low:,.0f} to {high:,.0f}, and cannot be "
        f"learned: pay smaller rewards, or set symlog_min (now {config.symlog_min:g}) and "
        f"symlog_max (now {config.symlog_max:g}) to sign(R) log(1 + |R|) of the least and the "
        "greatest return R"
    )


class Log:
    """Means of the metrics between rows of metrics.csv, and where the time went.

    Metrics that a group does not have stay empty; `note` prints a line.
    """

    def __init__(self, programs: Programs, folder: Path, note: Callable[[str], None]) -> None:
        self._note, self._warned = note, False
        self._names, self._path = programs.metric_names(), folder / "metrics.csv"
        self._instruments = programs.instrument_names
        self._groups = programs.population.groups
        self.rate = 0.0  # decisions a second of the whole population, over the last interval
        self._agents = len(programs.population.agents)
        self.discarded = np.zeros(self._agents, np.int64)  # episodes whose environment failed
        self._decision = 0  # that `running` is of
        self.running: Sequence[jax.Array] | None = None  # the newest metrics, not looked at yet
        self._clear()

    def _clear(self) -> None:
        self._sums = [
            np.zeros((len(group.agents), len(names)))
            for group, names in zip(self._groups, self._names, strict=True)
        ]
        self._seconds = np.zeros(3)
        self._updates = self._decisions = 0

    def add(self, decision: int, metrics: Sequence[jax.Array]) -> None:
        """Add the metrics `[G, M]` of each group from one update, which may still be running."""
        self.settle()
        self._decision, self.running = decision, metrics

    def settle(self) -> None:
        """Wait for the newest update and `check` its metrics."""
        if self.running is None:
            return
        found, self.running = jax.device_get(self.running), None
        self.check(self._decision, found, self._names)
        for total, values in zip(self._sums, found, strict=True):
            total += values
        self._updates += 1

    def check(
        self, decision: int, metrics: Sequence[np.ndarray], names: Sequence[tuple[str, ...]]
    ) -> None:
        """Warn once if targets lie outside the bins; raise NonFiniteError of a NaN or infinity."""
        for group, values, terms in zip(self._groups, metrics, names, strict=True):
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                agent, term = bad[0]
                raise NonFiniteError(
                    f"{terms[term]} of agent {group.rows.start + agent} is {values[agent, term]} "
                    f"at decision {decision}: training stopped, the last good checkpoint is kept"
                )
            outside = [name.endswith("_outside_bins") for name in terms]
            if not self._warned and values[:, outside].any():
                self._warned = True
                self._note(f"decision {decision}: {outside_bins(group.agents[0])}")

    def save(self) -> dict[str, np.ndarray]:
        """Return what `load` needs to go on with this interval."""
        self.settle()
        sums = {f"sums.{index}": values for index, values in enumerate(self._sums)}
        names = {f"names.{index}": np.array(names) for index, names in enumerate(self._names)}
        counts = np.array([self._updates, self._decisions])
        own = {"counts": counts, "seconds": self._seconds, "discarded": self.discarded}
        return sums | names | own | {"rate": np.array(self.rate)}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `save` was called; if it logged other metrics, with a new interval."""
        self.discarded, self.rate = state["discarded"], float(state["rate"])
        for index, (sums, names) in enumerate(zip(self._sums, self._names, strict=True)):
            stored = state.get(f"names.{index}", np.array(names))  # format 0 has no names
            if state[f"sums.{index}"].shape != sums.shape or list(stored) != list(names):
                return
        self._sums = [state[f"sums.{index}"] for index in range(len(self._sums))]
        self._updates, self._decisions = (int(count) for count in state["counts"])
        self._seconds = state["seconds"]

    def tick(self, seconds: np.ndarray) -> None:
        """Add the seconds of one decision: plan, environment, waiting for the update."""
        self._seconds += seconds
        self._decisions += 1

    def write(
        self, decision: int, action_repeat: int, measured: Sequence[jax.Array] | None = None
    ) -> list[dict[str, Any]]:
        """Append one row an agent, then start the next interval; return the rows.

        `measured` are instruments `[G, M]` of each group, None before learning.
        """
        self.settle()
        total = self._seconds.sum()
        self.rate = self._agents * self._decisions / total
        shares = (self._seconds / total).round(4).tolist()
        head = {
            "env_step": decision * action_repeat,
            "decision": decision,
            "agent": 0,
            "decisions_per_s": round(self.rate, 2),
            **dict(zip(("plan_share", "environment_share", "update_share"), shares, strict=True)),
        }
        rows: list[dict[str, Any]] = []
        seen = None if measured is None else jax.device_get(measured)
        for group, sums in enumerate(self._sums):
            means = sums / self._updates if self._updates else np.full_like(sums, np.nan)
            for agent, values in enumerate(means):
                found = _numbers(self._names[group], values)
                if seen is not None:
                    found |= _numbers(self._instruments[group], seen[group][agent])
                lost = {"discarded_episodes": int(self.discarded[len(rows)])}
                rows.append(head | {"agent": len(rows)} | found | lost)
        runs.append_rows(self._path, rows)
        self._clear()
        return rows


def _numbers(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in zip(names, values, strict=True)}
