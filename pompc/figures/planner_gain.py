"""How far the planner is ahead of the policy alone, by the weight λ of the KL term."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import agents, curve
from pompc.figures.panels import finished
from pompc.figures.tasks import ordered, title


def weights(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of PO-MPC with the prior of Eq. (12), on tasks with several λ, 0 among them.

    λ = 0 reads no prior, so that the prior it is given does not count.
    """
    free = table["lam"] == 0
    rows = table.loc[(table["method"] == "pompc") & (free | (table["prior"] == "reverse_kl"))]
    lams = rows.groupby("task")["lam"].agg(["min", "nunique"])
    return rows.loc[rows["task"].isin(lams.index[(lams["min"] == 0) & (lams["nunique"] > 1)])]


def planner_over_policy(rows: pd.DataFrame) -> Figure:
    """Draw the last return of the planner minus that of the policy alone, over λ, a panel a task.

    Points are seeds; a bar is their mean.

    Args:
        rows: returns, as in `pompc.results.Results`.
    """
    tasks, lams = ordered(rows["task"]), sorted(set(rows["lam"]))
    with style.settings():
        figure, axes = style.grid(len(tasks), height=2.0, sharey=True)
        for panel, task in zip(axes.flat, tasks, strict=False):
            panel.axhline(0.0, color=style.INK, linewidth=0.8)
            for key, own in agents(rows.loc[rows["task"] == task]):
                place, color = lams.index(key[1]), style.look(*key).color
                ahead = curve(own).scores[:, -1] - curve(own, "return_policy").scores[:, -1]
                panel.plot([place] * len(ahead), ahead, "o", color=color, markersize=5, alpha=0.6,
                           markeredgewidth=0)  # fmt: skip
                panel.plot(place, ahead.mean(), "_", color=color, markersize=20, markeredgewidth=3)
            panel.set_xticks(range(len(lams)), [f"{lam:g}".replace("inf", "∞") for lam in lams])
            panel.set(title=title(task), xlim=(-0.5, len(lams) - 0.5))
            panel.grid(visible=False, axis="x")
        return finished(figure, axes, "planner − policy alone", "λ", steps=False)
