"""Figures of the runs at hand that the paper lacks: what was run, last returns, the planner's lead.

Tables are returns, as in `pompc.results.Results`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import agents, compared, curve, final, finished, limit, short_steps
from pompc.figures.tasks import ordered, title

_SHADES = LinearSegmentedColormap.from_list("seeds", ["#dce9f5", "#0B62A8"])


def coverage(rows: pd.DataFrame) -> Figure:
    """Draw the seeds and environment steps of each agent on each task, darker for more seeds."""
    tasks, own = ordered(rows["task"]), list(agents(rows))
    seeds = np.full((len(own), len(tasks)), np.nan)
    with style.settings():
        figure, axes = style.panels(1, 1, style.WIDTH, 0.24 * len(own) + 0.5)
        panel = axes[0, 0]
        for place, (_, of_agent) in enumerate(own):
            for column, task in enumerate(tasks):
                cell = of_agent.loc[of_agent["task"] == task]
                if len(cell):
                    seeds[place, column] = count = cell["seed"].nunique()
                    steps = short_steps(cell["env_step"].max())
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
    tasks = sorted(set(table["task"]))
    by_task = {task: table.loc[table["task"] == task] for task in tasks}
    sizes = [len(list(agents(rows))) + 1 for rows in by_task.values()]
    with style.settings():
        figure, axes = style.stacked(sizes, 0.19)
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
