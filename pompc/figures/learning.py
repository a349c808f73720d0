"""The learning curve of the training page: one task, the planner and the policy alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from pompc.errors import ConfigError
from pompc.figures.curves import agents
from pompc.figures.style import look
from pompc.results import AGENT

_LINES = {"return": ("-", "planner"), "return_policy": ("--", "sampling policy alone")}


def learning_curve(table: pd.DataFrame) -> Figure:
    """Draw returns against environment steps, a colour for each method, λ and prior.

    Solid: the planner; dashed: the sampling policy π_s alone. Lines are means over seeds, bands
    95 % bootstrap intervals of the mean where there are several seeds.

    Args:
        table: as `pompc.load_runs` returns it, of one task.

    Raises:
        ConfigError: if the table holds no task or several.
    """
    tasks = sorted(table["task"].unique())
    if len(tasks) != 1:
        raise ConfigError(f"a learning curve shows one task, but the table holds {tasks}")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for agent, rows in agents(table):
        color = look(*agent).color
        for column, (style, actor) in _LINES.items():
            sns.lineplot(
                rows, x="env_step", y=column, ax=axes, color=color, linestyle=style,
                errorbar=("ci", 95) if _seeds(rows) > 1 else None, seed=0,
                label=f"{_name(rows)}: {actor}",
            )  # fmt: skip
    axes.set(xlabel="environment steps", ylabel="return", title=_title(tasks[0], table))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    sns.despine(figure)
    return figure


def _seeds(rows: pd.DataFrame) -> int:
    return len(set(rows["seed"]))


def _name(rows: pd.DataFrame) -> str:
    method, lam, prior = rows[AGENT].iloc[0]
    return f"{method}, λ = {lam:g}, {prior}".replace("inf", "∞")


def _title(task: str, table: pd.DataFrame) -> str:
    seeds = _seeds(table)
    return task if seeds == 1 else f"{task}: mean and 95 % interval of {seeds} seeds"
