"""From tidy tables to curves: one row a seed, at the moments that all seeds reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pompc.results.read_runs import AGENT


class Curve(NamedTuple):
    """Scores of an agent's seeds at the same moments."""

    x: np.ndarray  # [S]: environment steps
    scores: np.ndarray  # [N, S], a row a seed


def agents(table: pd.DataFrame) -> Iterator[tuple[tuple[str, float, str], pd.DataFrame]]:
    """Yield `(method, lam, prior)` and rows of each agent: baselines first, then PO-MPC by λ."""
    groups: list[tuple[Any, pd.DataFrame]] = list(table.groupby(AGENT))

    def order(group: tuple[Any, pd.DataFrame]) -> tuple[Any, ...]:
        method, lam, prior = group[0]
        return method == "pompc", method, lam, prior != "reverse_kl", prior

    yield from sorted(groups, key=order)


def curve(rows: pd.DataFrame, column: str = "return") -> Curve:
    """Return the curve of one agent on one task; it ends where the shortest of its seeds ends.

    Args:
        rows: of one cell, as `pompc.results.collect` gives them.
        column: what is drawn.
    """
    wide = rows.pivot_table(index="seed", columns="env_step", values=column).dropna(axis="columns")
    return Curve(wide.columns.to_numpy(float), wide.to_numpy(float))


def average(rows: pd.DataFrame, tasks: Sequence[str], column: str = "return") -> Curve:
    """Return the curve of one agent's mean over tasks, seed by seed.

    It has the moments that every task has, and as many rows as the task with the fewest seeds:
    seeds of two tasks have nothing in common but their number.

    Args:
        rows: of one agent, with runs of each of the tasks.
        tasks: at least one.
        column: what is drawn.
    """
    own = [curve(rows.loc[rows["task"] == task], column) for task in tasks]
    shared = [set(one.x) for one in own]
    x = np.array(sorted(set.intersection(*shared)))
    count = min(len(one.scores) for one in own)
    scores = [one.scores[:count, np.isin(one.x, x)] for one in own]
    return Curve(x, np.mean(scores, axis=0))


def shared(table: pd.DataFrame, tasks: Sequence[str]) -> tuple[list[str], pd.DataFrame]:
    """Return tasks that several agents have all run, and the rows of these agents on them.

    An average over other tasks for each agent would compare tasks, not agents. Of all choices the
    one with most pairs of agent and task is taken, of several agents if there are any.

    Args:
        table: returns of any tasks and agents.
        tasks: those to choose from, in the order of the result.
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
    groups: list[tuple[Any, pd.DataFrame]] = list(rows.groupby(list(by)))
    several = [own for _, own in groups if len(own.drop_duplicates(AGENT)) > 1]
    return pd.concat(several) if several else rows.iloc[:0]


def final(rows: pd.DataFrame, column: str = "return") -> tuple[int, np.ndarray]:
    """Return the last moment that all seeds of a cell reached, and their scores `[N]` there."""
    x, scores = curve(rows, column)
    return int(x[-1]), scores[:, -1]


def binned(rows: pd.DataFrame, columns: Sequence[str], points: int = 60) -> pd.DataFrame:
    """Return the means of a run's metrics in at most `points` equal intervals of its steps.

    Args:
        rows: of one cell, such as of metrics.csv, which has a row each 500 decisions.
        columns: what to keep; an interval without a number is left out.
        points: intervals between step 0 and the last.
    """
    steps = rows["env_step"].to_numpy(float)
    width = max(steps.max() / points, 1.0)
    kept = rows[["seed", *columns]].assign(env_step=np.ceil(steps / width) * width)
    return pd.DataFrame(kept.groupby(["seed", "env_step"], as_index=False).agg("mean")).dropna()
