"""The last return of every seed of every agent, which its mean is made of."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import agents, compared, final
from pompc.figures.panels import limit, short_steps
from pompc.figures.tasks import title

_ROW = 0.19  # inches


def compared_or_all(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of those tasks that several agents have run; all where there is none."""
    several = compared(table)
    return table if several.empty else several


def last_returns(table: pd.DataFrame) -> Figure:
    """Draw the last return of each seed as a point and their mean as a bar, a panel a task.

    Args:
        table: as in `pompc.results.Results.returns`.
    """
    tasks = sorted(set(table["task"]))
    by_task = {task: table.loc[table["task"] == task] for task in tasks}
    sizes = [len(list(agents(rows))) + 1 for rows in by_task.values()]
    with style.settings():
        figure, axes = style.stacked(sizes, _ROW)
        for panel, (task, rows) in zip(axes[:, 0], by_task.items(), strict=True):
            steps = _agents(panel, rows)
            limit(panel, [task], "x")
            after = " to ".join(dict.fromkeys(map(short_steps, (min(steps), max(steps)))))
            panel.set_title(f"{title(task)}, after {after} environment steps", loc="left")
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
        table: as in `last_returns`.

    Returns:
        A row a task and agent, λ without a name being PO-MPC: step, mean, and the seeds' returns.
    """
    rows = []
    for task in sorted(set(table["task"])):
        for key, own in agents(table.loc[table["task"] == task]):
            step, scores = final(own)
            name = style.look(*key).label.removeprefix("PO-MPC, ")
            rows.append({"task": title(task), "agent": name, "step": step,
                         "mean": f"{scores.mean():.0f}",
                         "seeds": ", ".join(f"{score:.0f}" for score in scores)})  # fmt: skip
    return pd.DataFrame(rows, columns=["task", "agent", "step", "mean", "seeds"])
