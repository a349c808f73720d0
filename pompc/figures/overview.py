"""Figures of the runs at hand that the paper lacks: what was run, last returns, the planner's lead.

Tables are returns, as in `pompc.results.Results`.
"""

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import agents, compared, final, finished, groups, limit, short_steps
from pompc.figures.tasks import ordered, title

_SHADES = LinearSegmentedColormap.from_list("seeds", ["#dce9f5", "#0B62A8"])


def coverage(rows: pd.DataFrame) -> Figure:
    """Draw the seeds and environment steps of each agent on each task, darker for more seeds."""
    tasks, own = ordered(rows["task"]), agents(rows)
    seeds = np.full((len(own), len(tasks)), np.nan)
    with style.settings():
        figure, axes = style.panels(1, 1, style.WIDTH, 0.24 * len(own) + 0.5)
        panel = axes[0, 0]
        for place, (_, of_agent) in enumerate(own):
            cells = {tasks.index(task): cell for task, cell in groups(of_agent, "task")}
            for column, cell in sorted(cells.items()):
                count, steps = len(set(cell["seed"])), short_steps(max(cell["env_step"]))
                seeds[place, column] = count
                panel.text(column, place, f"{count} × {steps}", ha="center", va="center",
                           color="white" if count > 4 else style.INK)  # fmt: skip
        panel.imshow(seeds, _SHADES, aspect="auto", vmin=1.0, vmax=max(6.0, np.nanmax(seeds)))
        panel.set_xticks(range(len(tasks)), [title(task).replace(" ", "\n") for task in tasks])
        panel.set_yticks(range(len(own)), [style.look(*key).label for key, _ in own])
        panel.xaxis.tick_top()
        panel.tick_params(length=0)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        return figure


def compared_or_all(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of those tasks that several agents have run; all where there is none."""
    several = compared(table)
    return table if several.empty else several


def last_returns(table: pd.DataFrame) -> Figure:
    """Draw the last return of each seed as a point and their mean as a bar, a panel a task."""
    ends = {task: [(style.look(*key), *final(own)) for key, own in agents(rows)]
            for task, rows in groups(table, "task")}  # fmt: skip
    with style.settings():
        figure, axes = style.stacked([len(own) + 1 for own in ends.values()], 0.19)
        for panel, (task, own) in zip(axes[:, 0], ends.items(), strict=True):
            for place, (look, _, scores) in enumerate(own):
                style.row_of_seeds(panel, place, scores, scores.mean(), look.color)
            style.name_rows(panel, [look.label for look, *_ in own])
            limit(panel, [task], "x")
            steps = sorted(step for _, step, _ in own)
            after = " to ".join(dict.fromkeys(map(short_steps, (steps[0], steps[-1]))))
            panel.set_title(f"{title(task)}, after {after} environment steps", loc="left")
        axes[-1, 0].set_xlabel("return")
        return figure


def returns_by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return what `last_returns` draws: step, mean and seeds' returns of each task and agent."""
    rows = []
    for task, of_task in groups(table, "task"):
        for key, own in agents(of_task):
            step, scores = final(own)
            rows.append((title(task), style.name(*key), step, f"{scores.mean():.0f}",
                         ", ".join(f"{score:.0f}" for score in scores)))  # fmt: skip
    return pd.DataFrame(rows, columns=["task", "agent", "step", "mean", "seeds"])


def weights(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of PO-MPC with the prior of Eq. (12), on tasks with several λ, 0 among them.

    λ = 0 reads no prior, so that the prior it is given does not count.
    """
    free = table["lam"] == 0
    rows = table.loc[(table["method"] == "pompc") & (free | (table["prior"] == "reverse_kl"))]
    lams = rows.groupby("task")["lam"].agg(["min", "nunique"])
    return rows.loc[rows["task"].isin(lams.index[(lams["min"] == 0) & (lams["nunique"] > 1)])]


def planner_over_policy(rows: pd.DataFrame) -> Figure:
    """Draw the last return of the planner minus the policy's alone, over λ, a panel a task."""
    tasks, lams = ordered(rows["task"]), sorted(set(rows["lam"]))
    with style.settings():
        figure, axes = style.grid(len(tasks), height=2.0, sharey=True)
        for panel, task in zip(axes.flat, tasks, strict=False):
            panel.axhline(0.0, color=style.INK, linewidth=0.8)
            for key, own in agents(rows.loc[rows["task"] == task]):
                place, color = lams.index(key[1]), style.look(*key).color
                ahead = final(own)[1] - final(own, "return_policy")[1]
                panel.plot([place] * len(ahead), ahead, "o", color=color, markersize=5, alpha=0.6,
                           markeredgewidth=0)  # fmt: skip
                panel.plot(place, ahead.mean(), "_", color=color, markersize=20, markeredgewidth=3)
            panel.set_xticks(range(len(lams)), [f"{lam:g}".replace("inf", "∞") for lam in lams])
            panel.set(title=title(task), xlim=(-0.5, len(lams) - 0.5))
            panel.grid(visible=False, axis="x")
        return finished(figure, axes, "planner − policy alone", "λ", steps=False)
