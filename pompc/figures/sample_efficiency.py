"""Sample efficiency as a reader asks for it: environment steps until a return is reached.

Tables are returns, as in `pompc.results.Results`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pompc.figures import style
from pompc.figures.captions import digits
from pompc.figures.curves import Agent, agents, curve, final, short_steps
from pompc.figures.overview import compared_or_all
from pompc.figures.tasks import ordered, title
from pompc.results.intervals import stratified_bootstrap

SHARE = 0.5  # of the highest last return, a mean over seeds: the return to reach on a task
COLUMNS = ["task", "return", "agent", "reached", "steps", "low", "high"]
_NEVER = 1e18  # steps, and finite, since a bootstrap interpolates


class _Race(NamedTuple):
    """The agents of one task on their way to a return."""

    task: str
    level: float  # the return to reach
    end: float  # the last step of any agent
    steps: list[tuple[Agent, np.ndarray]]  # of each seed; infinite where it is not reached


def _half(steps: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the steps by which half of the seeds are there."""
    return np.quantile(steps, 0.5, axis=axis, method="inverted_cdf")


def steps_to(x: np.ndarray, scores: np.ndarray, level: float) -> np.ndarray:
    """Return the steps `[N]` at which curves first reach a return, infinite where they do not.

    Args:
        x: increasing steps of the evaluations, `[S]`.
        scores: returns there, `[N, S]`; between evaluations curves are straight.
        level: the return to reach.
    """
    there = scores >= level
    first = there.argmax(axis=1)
    row, before = np.arange(len(scores)), np.maximum(first - 1, 0)
    low, high = scores[row, before], scores[row, first]
    share = np.divide(level - low, high - low, out=np.zeros_like(low), where=high > low)
    reached = np.where(first > 0, x[before] + share * (x[first] - x[before]), x[0])
    return np.where(there.any(axis=1), reached, np.inf)


def _races(table: pd.DataFrame) -> Iterator[_Race]:
    for task in ordered(table["task"]):
        own = list(agents(table.loc[table["task"] == task]))
        level = SHARE * max(final(rows)[1].mean() for _, rows in own)
        steps = [(key, steps_to(*curve(rows), level)) for key, rows in own]
        end = max(float(rows["env_step"].to_numpy().max()) for _, rows in own)
        yield _Race(task, level, end, steps)


def steps_to_return(table: pd.DataFrame) -> Figure:
    """Draw the steps at which each seed reaches half of the highest last return, a panel a task.

    Points are seeds, a bar is where half of them are there; a hollow triangle at the right is a
    seed that never is.
    """
    races = list(_races(table))
    with style.settings():
        figure, axes = style.stacked([len(race.steps) + 1 for race in races], 0.19)
        for panel, race in zip(axes[:, 0], races, strict=True):
            _draw(panel, race)
        axes[-1, 0].set_xlabel("environment steps")
        return figure


def _draw(panel: Axes, race: _Race) -> None:
    edge = 1.06 * race.end
    labels = []
    for place, (key, steps) in enumerate(race.steps):
        look, reached = style.look(*key), steps[np.isfinite(steps)]
        panel.plot(reached, [place] * len(reached), "o", color=look.color, markersize=4.5,
                   alpha=0.7, markeredgewidth=0)  # fmt: skip
        never = len(steps) - len(reached)
        # Beside each other, so that their number can be seen.
        panel.plot(edge + 0.02 * race.end * np.arange(never), [place] * never, ">",
                   color=look.color, markersize=4.5, markerfacecolor="none")  # fmt: skip
        if np.isfinite(middle := float(_half(steps))):
            panel.plot(middle, place, "|", color=look.color, markersize=9, markeredgewidth=2)
        labels.append(look.label)
    panel.set_yticks(range(len(labels)), labels)
    panel.set(ylim=(len(labels) - 0.4, -0.6), xlim=(0, 1.18 * race.end))
    panel.axvline(race.end, color=style.INK, linewidth=0.6)
    panel.set_xticks([tick for tick in panel.get_xticks() if tick <= race.end])
    panel.xaxis.set_major_formatter(FuncFormatter(short_steps))
    panel.set_title(f"{title(race.task)}, to a return of {race.level:.0f}", loc="left")


def steps_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what `steps_to_return` draws: steps by which half of the seeds are there.

    Returns:
        A row a task and agent, columns `COLUMNS`: `reached` is how many seeds are ever there,
        `low` and `high` are the 95 % interval of a bootstrap. Steps never taken are empty.
    """
    rows = []
    for race in _races(compared_or_all(table)):
        for key, steps in race.steps:
            finite = np.minimum(steps, _NEVER)
            found = stratified_bootstrap([finite], _half, np.random.default_rng(0))
            numbers = {name: _text(float(end), race.end) for name, end in
                       zip(COLUMNS[-3:], found, strict=True)}  # fmt: skip
            rows.append(
                {
                    "task": title(race.task),
                    "return": f"{race.level:.0f}",
                    "agent": style.look(*key).label.removeprefix("PO-MPC, "),
                    "reached": f"{np.isfinite(steps).sum()} of {len(steps)}",
                }
                | numbers
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _text(steps: float, end: float) -> str:
    return digits(steps) if steps <= end else ""
