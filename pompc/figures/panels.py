"""Panels of a figure of returns: curves, averages over tasks, and remarks on what is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pompc.figures import style
from pompc.figures.curves import Curve, agents, average, curve, shared
from pompc.figures.tasks import averaged, ordered, score_range, title
from pompc.results.intervals import Interval, mean_interval

_MARKED = 15  # a curve of at most as many evaluations shows each


def plot_seeds(panel: Axes, curve: Curve, look: style.Look) -> None:
    """Draw the mean over seeds as a line, its 95 % interval as a band where there are several."""
    plot_interval(panel, curve.x, mean_interval(curve.scores), look)


def plot_interval(panel: Axes, x: np.ndarray, interval: Interval, look: style.Look) -> None:
    """Draw an estimate as a line and its interval as a band; no band where its ends are NaN."""
    marker = look.marker if len(x) <= _MARKED else ""
    panel.plot(x, interval.center, color=look.color, linestyle=look.dash, linewidth=1.5,
               marker=marker, markersize=2.5, label=look.label)  # fmt: skip
    if not np.isnan(interval.low).all():
        panel.fill_between(x, interval.low, interval.high, color=look.color, alpha=0.1,
                           linewidth=0)  # fmt: skip


def task_panel(
    panel: Axes,
    table: pd.DataFrame,
    task: str,
    wanted: Collection[str] = (),
    published: pd.DataFrame | None = None,
) -> None:
    """Draw every agent on one task.

    Args:
        panel: where.
        table: returns of any tasks.
        task: the one to draw.
        wanted: short names of the agents that the paper shows; those without runs are named.
        published: curves to draw dotted.
    """
    rows = table.loc[table["task"] == task]
    if published is not None:
        _published(panel, published.loc[published["task"] == task], rows["env_step"].max())
    for key, own in agents(rows):
        plot_seeds(panel, curve(own), style.look(*key))
    limit(panel, [task])
    panel.set_title(title(task))
    remark_missing(panel, rows, wanted)


def average_panel(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the averages of those agents that have run the same tasks, as `averages` chose them."""
    tasks, rows = averages(table)
    for key, own in agents(rows):
        plot_seeds(panel, average(own, tasks), style.look(*key))
    limit(panel, tasks)
    panel.set_title(f"Average of {len(tasks)} tasks")
    remark_left_out(panel, rows, table)


def averages(table: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """Return the tasks that an average is over, none if there are not two, and their rows."""
    tasks, rows = shared(table, averaged(ordered(table["task"])))
    return (tasks, rows) if len(tasks) > 1 else ([], rows.iloc[:0])


def limit(panel: Axes, tasks: Iterable[str], axis: str = "y") -> None:
    """Show the whole range of returns, where that is 0 to 1000 for each of the tasks."""
    if panel.lines and all(score_range(task) == (0.0, 1000.0) for task in tasks):
        panel.set(**{f"{axis}lim": (-20, 1020)})


def short_name(method: str, lam: float, prior: str) -> str:
    """Return the name of an agent in a list: `BMPC`, whichever of its kinds, or `λ = 1`."""
    name = style.look(method, lam, prior).label.removeprefix("PO-MPC, ")
    return "BMPC" if method.startswith("bmpc") else name


def remark_missing(panel: Axes, rows: pd.DataFrame, wanted: Iterable[str]) -> None:
    """Write above a panel which of the wanted agents are not among its rows."""
    found = {short_name(*key) for key, _ in agents(rows)}
    missing = [name for name in wanted if name not in found]
    if missing:
        style.remark(panel, f"not run: {'; '.join(missing)}")


def remark_left_out(panel: Axes, rows: pd.DataFrame, table: pd.DataFrame) -> None:
    """Write above a panel which agents of a table have not run all tasks, and are not drawn."""
    kept, ran = ([style.look(*key).label for key, _ in agents(own)] for own in (rows, table))
    left_out = [name for name in ran if name not in kept]
    if left_out:
        style.remark(panel, f"not run on all of them: {'; '.join(left_out)}")


def _published(panel: Axes, rows: pd.DataFrame, end: float) -> None:
    """Draw published curves, as far as the first of their points that our own runs do not reach."""
    steps = rows["env_step"].to_numpy(float)
    later = steps[steps >= end]
    rows = rows.loc[steps <= later.min()] if len(later) else rows
    groups: list[tuple[Any, pd.DataFrame]] = list(rows.sort_values("env_step").groupby("method"))
    for method, own in groups:
        look = style.look(method, 0.0, "")
        x, low, high = (own[name].to_numpy(float) for name in ("env_step", "low", "high"))
        panel.plot(x, own["return"], color=look.color, linestyle=":", linewidth=1.2, marker=".",
                   markersize=3, label=f"{look.label}, published")  # fmt: skip
        panel.fill_between(x, low, high, color=look.color, alpha=0.1, linewidth=0)


def finished(
    figure: Figure,
    axes: np.ndarray,
    ylabel: str = "",
    xlabel: str = "environment steps",
    steps: bool = True,
) -> Figure:
    """Label the outer ones of the panels `axes`, put the legend below, and return the figure.

    Args:
        figure: of the panels.
        axes: `[rows, columns]`.
        ylabel: of panels that have none of their own.
        xlabel: of the lowest panels.
        steps: whether x counts environment steps, which are written as 500k or 1M.
    """
    for column in axes.T:
        [panel for panel in column if panel.get_visible()][-1].set_xlabel(xlabel)
    for panel in axes.flat:
        if panel.lines and steps:
            panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            panel.xaxis.set_major_formatter(FuncFormatter(short_steps))
    for panel in axes[:, 0]:
        panel.set_ylabel(panel.get_ylabel() or ylabel)
    style.legend(figure)
    return figure


def short_steps(value: float, _: int = 0) -> str:
    """Return a number of steps as 500k or 1M; the second argument is Matplotlib's."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value else "0"
