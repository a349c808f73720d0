"""From tidy tables to curves, a row a seed, and to panels of them with what is missing."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pompc.figures import style
from pompc.figures.tasks import averaged, ordered, score_range, title
from pompc.results.intervals import Interval, mean_interval
from pompc.results.read_runs import AGENT, CELL, CHANGES, REPEATED
from pompc.settings.config import Config

Agent = tuple[str, float, str, str]  # method, λ, prior, changes
_SETTINGS = {field.name for field in dataclasses.fields(Config)} - REPEATED
_MARKED = 15  # a curve of at most as many evaluations shows each


class Curve(NamedTuple):
    """Scores of an agent's seeds at the same moments."""

    x: np.ndarray  # [S]: environment steps
    scores: np.ndarray  # [N, S], a row a seed


def groups(table: pd.DataFrame, by: str | Sequence[str]) -> list[tuple[Any, pd.DataFrame]]:
    """Return key and rows of each group, by their keys."""
    return list(table.groupby(by if isinstance(by, str) else [*by], dropna=False))


def agents(table: pd.DataFrame) -> list[tuple[Agent, pd.DataFrame]]:
    """Return key and rows of each agent: baselines, then PO-MPC by λ with Eq. (12) first."""

    def order(group: tuple[Any, pd.DataFrame]) -> tuple[Any, ...]:
        method, lam, prior, changes = group[0]
        return method == "pompc", method, lam, prior != "reverse_kl", prior, changes

    return sorted(groups(told_apart(table), [*AGENT, CHANGES]), key=order)


def told_apart(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with `changes`: the settings in which agents of one `CELL` differ."""
    if CHANGES in table:
        return table
    counts: Any = table.groupby(CELL)[[name for name in table if name in _SETTINGS]].nunique().max()
    names = [name for name, most in counts.items() if most > 1]
    words = [", ".join(f"{name} = {value}" for name, value in zip(names, row, strict=True))
             for row in table[names].to_numpy()]  # fmt: skip
    return table.assign(**{CHANGES: pd.Series(words, table.index, dtype=str)})


def curve(rows: pd.DataFrame, column: str = "return") -> Curve:
    """Return the curve of one agent on one task; it ends where the shortest of its seeds ends."""
    wide = rows.pivot_table(index="seed", columns="env_step", values=column).dropna(axis="columns")
    return Curve(wide.columns.to_numpy(float), wide.to_numpy(float))


def average(rows: pd.DataFrame, tasks: Sequence[str]) -> Curve:
    """Return the curve of one agent's mean return over tasks, which it has run, seed by seed.

    It has a row a seed of the task with the fewest: seeds of two tasks share their number only.
    """
    x, scores = aligned(rows, tasks)
    return Curve(x, np.array([np.mean(seeds, axis=0) for seeds in zip(*scores, strict=False)]))


def aligned(rows: pd.DataFrame, tasks: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the steps `[S]` that all seeds of all tasks reached, and returns `[N_task, S]`."""
    own = [curve(rows.loc[rows["task"] == task]) for task in tasks]
    x = np.array(sorted(set.intersection(*(set(one.x) for one in own))))
    return x, [one.scores[:, np.isin(one.x, x)] for one in own]


def shared(table: pd.DataFrame, tasks: Sequence[str]) -> tuple[list[str], pd.DataFrame]:
    """Return tasks that several agents have all run, in order, and the rows of these agents.

    An average over other tasks for each agent would compare tasks, not agents. Of all choices the
    one with most pairs of agent and task is taken, of several agents if there are any.
    """
    table = table.loc[table["task"].isin(tasks)]
    ran = {key: frozenset(rows["task"]) for key, rows in agents(table)}

    def value(choice: frozenset[str]) -> tuple[bool, int, int, list[str]]:
        count = sum(choice <= own for own in ran.values())
        return count > 1 and bool(choice), count * len(choice), len(choice), sorted(choice)

    best = max({one & other for one in ran.values() for other in ran.values()}, key=value,
               default=frozenset[str]())  # fmt: skip
    fitting = [rows for key, rows in agents(table) if best and best <= ran[key]]
    rows = pd.concat(fitting) if fitting else table.iloc[:0]
    return [task for task in tasks if task in best], rows.loc[rows["task"].isin(list(best))]


def compared(rows: pd.DataFrame, by: Sequence[str] = ("task",)) -> pd.DataFrame:
    """Return the rows of those groups, such as tasks, in which several agents can be compared."""
    several = [own for _, own in groups(rows, by) if len(agents(own)) > 1]
    return pd.concat(several) if several else rows.iloc[:0]


def final(rows: pd.DataFrame, column: str = "return") -> tuple[int, np.ndarray]:
    """Return the last moment that all seeds of a cell reached, and their scores `[N]` there."""
    x, scores = curve(rows, column)
    return int(x[-1]), scores[:, -1]


def binned(rows: pd.DataFrame, columns: Sequence[str], points: int = 60) -> pd.DataFrame:
    """Return a cell's metrics averaged in at most `points` equal intervals of its steps."""
    steps = rows["env_step"].to_numpy(float)
    width = max(steps.max() / points, 1.0)
    kept = rows[["seed", *columns]].assign(env_step=np.ceil(steps / width) * width)
    return pd.DataFrame(kept.groupby(["seed", "env_step"], as_index=False).agg("mean")).dropna()


def plot_seeds(panel: Axes, curve: Curve, look: style.Look) -> None:
    """Draw the mean over seeds as a line, its 95 % interval as a band where there are several."""
    plot_interval(panel, curve.x, mean_interval(curve.scores), look)


def plot_interval(panel: Axes, x: np.ndarray, interval: Interval, look: style.Look) -> None:
    """Draw an estimate as a line and its interval as a band; no band where its ends are NaN."""
    panel.plot(x, interval.center, color=look.color, linestyle=look.dash, linewidth=1.5,
               marker=look.marker if len(x) <= _MARKED else "", markersize=2.5,
               label=look.label)  # fmt: skip
    if not np.isnan(interval.low).all():
        panel.fill_between(x, interval.low, interval.high, color=look.color, alpha=0.1,
                           linewidth=0)  # fmt: skip


def task_panel(
    panel: Axes,
    table: pd.DataFrame,
    task: str,
    more: str = "",
    wanted: Collection[str] = (),
    published: pd.DataFrame | None = None,
) -> None:
    """Draw every agent on one task, with `more` in its title; name those `wanted` without runs."""
    rows = table.loc[table["task"] == task]
    if published is not None:
        _published(panel, published.loc[published["task"] == task], rows["env_step"].max())
    for key, own in agents(rows):
        plot_seeds(panel, curve(own), style.look(*key))
    limit(panel, [task])
    panel.set_title(title(task) + more)
    remark_missing(panel, rows, wanted)


def average_panel(panel: Axes, table: pd.DataFrame, more: str = "") -> None:
    """Draw the averages of those agents that have run the same tasks, as `averages` chose them."""
    tasks, rows = averages(table)
    for key, own in agents(rows):
        plot_seeds(panel, average(own, tasks), style.look(*key))
    limit(panel, tasks)
    panel.set_title(f"Average of {len(tasks)} tasks{more}")
    remark_left_out(panel, rows, table)


def averages(table: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """Return the tasks that an average is over, none if there are not two, and their rows."""
    tasks, rows = shared(table, averaged(ordered(table["task"])))
    return (tasks, rows) if len(tasks) > 1 else ([], rows.iloc[:0])


def limit(panel: Axes, tasks: Iterable[str], axis: str = "y") -> None:
    """Show the whole range of returns, where that is 0 to 1000 for each of the tasks."""
    if panel.lines and all(score_range(task) == (0.0, 1000.0) for task in tasks):
        panel.set(**{f"{axis}lim": (-20, 1020)})


def short_name(method: str, lam: float, prior: str, changes: str = "") -> str:
    """Return the name of an agent in a list: `BMPC`, whichever of its kinds, or `λ = 1`."""
    return "BMPC" if method.startswith("bmpc") else style.name(method, lam, prior, changes)


def remark_missing(panel: Axes, rows: pd.DataFrame, wanted: Iterable[str]) -> None:
    """Write above a panel which of the wanted agents are not among its rows."""
    _remark(panel, "not run", wanted, [short_name(*key) for key, _ in agents(rows)])


def remark_left_out(panel: Axes, rows: pd.DataFrame, table: pd.DataFrame) -> None:
    """Write above a panel which agents of a table have not run all tasks, and are not drawn."""
    kept, ran = ([style.look(*key).label for key, _ in agents(own)] for own in (rows, table))
    _remark(panel, "not run on all of them", ran, kept)


def _remark(panel: Axes, words: str, names: Iterable[str], found: Sequence[str]) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        style.remark(panel, f"{words}: {'; '.join(missing)}")


def _published(panel: Axes, rows: pd.DataFrame, end: float) -> None:
    """Draw published curves, as far as the first of their points that our own runs do not reach."""
    steps = rows["env_step"].to_numpy(float)
    later = steps[steps >= end]
    rows = rows.loc[steps <= later.min()] if len(later) else rows
    for method, own in groups(rows.sort_values("env_step"), "method"):
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
    """Label the outer ones of the panels `axes [rows, columns]`, put the legend below.

    The lowest panels get `xlabel`, the left ones `ylabel` where they have none of their own. With
    `steps`, x counts environment steps, which are written as 500k or 1M.
    """
    for column in axes.T:
        [panel for panel in column if panel.get_visible()][-1].set_xlabel(xlabel)
    for panel in axes.flat:
        if panel.lines and steps:
            panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            panel.xaxis.set_major_formatter(short_steps)
    for panel in axes[:, 0]:
        panel.set_ylabel(panel.get_ylabel() or ylabel)
    style.legend(figure)
    return figure


def short_steps(value: float, _: float = 0) -> str:
    """Return a number of steps as 500k or 1M; the second argument is Matplotlib's."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value else "0"
