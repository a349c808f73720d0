"""Sample efficiency as a reader asks for it: environment steps until a return is reached.

Tables are returns, as in `pompc.results.Results`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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

    The steps of the evaluations `x [S]` increase, the scores there are `[N, S]`, and between
    evaluations curves are straight.
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
        own = agents(table.loc[table["task"] == task])
        level = SHARE * max(final(rows)[1].mean() for _, rows in own)
        steps = [(key, steps_to(*curve(rows), level)) for key, rows in own]
        end = max(float(rows["env_step"].to_numpy().max()) for _, rows in own)
        yield _Race(task, level, end, steps)


def steps_to_return(table: pd.DataFrame) -> Figure:
    """Draw the steps at which each seed reaches half of the highest last return, a panel a task."""
    races = list(_races(table))
    with style.settings():
        figure, axes = style.stacked([len(race.steps) + 1 for race in races], 0.19)
        for panel, race in zip(axes[:, 0], races, strict=True):
            _draw(panel, race)
        axes[-1, 0].set_xlabel("environment steps")
        return figure


def _draw(panel: Axes, race: _Race) -> None:
    for place, (key, steps) in enumerate(race.steps):
        color, reached = style.look(*key).color, steps[np.isfinite(steps)]
        middle = float(_half(steps))
        style.row_of_seeds(panel, place, reached, middle if middle < np.inf else np.nan, color)
        never = np.arange(len(steps) - len(reached))
        # Beside each other, so that their number can be seen.
        panel.plot((1.06 + 0.02 * never) * race.end, [place] * len(never), ">", color=color,
                   markersize=4.5, markerfacecolor="none")  # fmt: skip
    style.name_rows(panel, [style.look(*key).label for key, _ in race.steps])
    panel.set_xlim(0, 1.18 * race.end)
    panel.axvline(race.end, color=style.INK, linewidth=0.6)
    panel.set_xticks([tick for tick in panel.get_xticks() if tick <= race.end])
    panel.xaxis.set_major_formatter(short_steps)
    panel.set_title(f"{title(race.task)}, to a return of {race.level:.0f}", loc="left")


def steps_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what `steps_to_return` draws: steps by which half of the seeds are there.

    A row is a task and agent, columns are `COLUMNS`: `reached` is how many seeds are ever there,
    `low` and `high` are the 95 % interval of a bootstrap. Steps never taken are empty.
    """
    rows = []
    for race in _races(compared_or_all(table)):
        for key, steps in race.steps:
            finite = np.minimum(steps, _NEVER)
            found = stratified_bootstrap([finite], _half, np.random.default_rng(0))
            numbers = (digits(float(end)) if end <= race.end else "" for end in found)
            rows.append((title(race.task), f"{race.level:.0f}", style.name(*key),
                         f"{np.isfinite(steps).sum()} of {len(steps)}", *numbers))  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
