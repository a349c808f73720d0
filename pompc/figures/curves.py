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


def shared_tasks(table: pd.DataFrame, tasks: Sequence[str]) -> list[str]:
    """Return those of `tasks` that every agent of the table has run, if any agent has run one.

    An average over other tasks for each agent would compare tasks, not agents.
    """
    table = table.loc[table["task"].isin(tasks)]
    sets = [set(rows["task"]) for _, rows in agents(table)]
    return [task for task in tasks if sets and all(task in own for own in sets)]


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
