"""Where every seed of every agent ended: what its mean is made of."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import agents, final
from pompc.figures.panels import limit, short_steps
from pompc.figures.tasks import title

_ROW = 0.17  # inches


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of those tasks that several agents have run; all where there is none."""
    groups: list[tuple[Any, pd.DataFrame]] = list(table.groupby("task"))
    several = [task for task, rows in groups if len(list(agents(rows))) > 1]
    return table.loc[table["task"].isin(several)] if several else table


def last_returns(table: pd.DataFrame) -> Figure:
    """Draw the last return of each seed as a point and their mean as a bar, a panel a task.

    Args:
        table: as in `pompc.results.Results.returns`.
    """
    tasks = sorted(set(table["task"]))
    by_task = {task: table.loc[table["task"] == task] for task in tasks}
    sizes = [len(list(agents(rows))) + 1 for rows in by_task.values()] or [4]
    with style.settings():
        figure, axes = style.stacked(sizes, _ROW)
        for panel, (task, rows) in zip(axes[:, 0], by_task.items(), strict=False):
            steps = _agents(panel, rows)
            limit(panel, [task], "x")
            after = " to ".join(dict.fromkeys(map(short_steps, (min(steps), max(steps)))))
            panel.set_title(f"{title(task)}, after {after} environment steps", loc="left")
        if not tasks:
            style.not_run(axes[0, 0])
        axes[-1, 0].set_xlabel("return")
        return figure


def _agents(panel: Axes, rows: pd.DataFrame) -> list[int]:
    """Draw the agents of one task from top to bottom; return the step that each is shown at."""
    labels, steps = [], []
    for place, (key, own) in enumerate(agents(rows)):
        look, (step, scores) = style.look(*key), final(own)
        panel.plot(scores, [place] * len(scores), "o", color=look.color, markersize=4.5, alpha=0.7,
                   markeredgewidth=0)  # fmt: skip
        panel.plot(scores.mean(), place, "|", color=look.color, markersize=9, markeredgewidth=2)
        labels.append(look.label)
        steps.append(step)
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.4, -0.6)
    return steps


def returns_by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return what `last_returns` draws.

    Args:
        table: as there.

    Returns:
        A row a task and agent, λ without a name being PO-MPC; columns: step, mean, a column a seed,
        "" where it was not run.
    """
    rows = {}
    for task in sorted(set(table["task"])):
        for key, own in agents(table.loc[table["task"] == task]):
            step, scores = final(own)
            seeds = dict(zip(sorted(set(own["seed"])), scores, strict=True))
            name = style.look(*key).label.removeprefix("PO-MPC, ")
            rows[title(task), name] = {"step": step, "mean": scores.mean()} | seeds
    found = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["task", "agent"])
    seeds = sorted(name for name in found if not isinstance(name, str))
    found = found.reindex(columns=["step", "mean", *seeds]).round().astype("Int64").astype(object)
    return found.fillna("").rename(columns={seed: f"seed {seed}" for seed in seeds})
