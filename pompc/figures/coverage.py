"""The runs at hand, agent by agent and task by task: how many seeds, how many steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import agents
from pompc.figures.panels import short_steps
from pompc.figures.tasks import ordered, title

_SHADES = LinearSegmentedColormap.from_list("seeds", ["#dce9f5", "#0B62A8"])
_ROW = 0.24  # inches


def coverage(rows: pd.DataFrame) -> Figure:
    """Draw the seeds and environment steps of each agent on each task, darker for more seeds.

    Args:
        rows: returns, as in `pompc.results.Results`.
    """
    tasks, own = ordered(rows["task"]), list(agents(rows))
    seeds = np.full((len(own), len(tasks)), np.nan)
    with style.settings():
        figure, axes = style.panels(1, 1, style.WIDTH, _ROW * len(own) + 0.5)
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
