"""The figures of the training page: what one run learned, and what its episodes earn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from pompc.errors import ConfigError
from pompc.figures.curves import agents
from pompc.figures.style import look, settings

_LINES = {"return": ("-", "planner"), "return_policy": ("--", "sampling policy alone")}


@settings()
def learning_curve(table: pd.DataFrame) -> Figure:
    """Draw returns against environment steps, a colour for each method, λ and prior.

    Solid: the planner; dashed: the sampling policy π_s alone. Lines are means over seeds, bands
    95 % bootstrap intervals of the mean where there are several seeds. The table is as
    `pompc.load_runs` returns it, of one task: none or several are a ConfigError.
    """
    tasks = sorted(table["task"].unique())
    if len(tasks) != 1:
        raise ConfigError(f"a learning curve shows one task, but the table holds {tasks}")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for agent, rows in agents(table):
        for column, (style, actor) in _LINES.items():
            sns.lineplot(
                rows, x="env_step", y=column, ax=axes, color=look(*agent).color, linestyle=style,
                errorbar=("ci", 95) if len(set(rows["seed"])) > 1 else None, seed=0,
                label=f"{_name(*agent)}: {actor}",
            )  # fmt: skip
    seeds = len(set(table["seed"]))
    title = tasks[0] if seeds == 1 else f"{tasks[0]}: mean and 95 % interval of {seeds} seeds"
    axes.set(xlabel="environment steps", ylabel="return", title=title)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    sns.despine(figure)
    return figure


@settings()
def episode_rewards(table: pd.DataFrame) -> Figure:
    """Draw the rewards of `pompc.load_episodes` as colours, a row an episode, by agent."""
    wide = table.pivot_table(index=["agent", "episode"], columns="decision", values="reward")
    blocks = [rows for _, rows in table.groupby("agent")]
    per_agent = len(wide) / len(blocks)
    figure, axes = plt.subplots(figsize=(7, max(2.2, 1.0 + 0.08 * len(wide))), layout="constrained")
    extent = (0, wide.shape[1], len(wide), 0)
    image = axes.imshow(wide, aspect="auto", interpolation="none", extent=extent)
    figure.colorbar(image, label="reward")
    names = [f"{_name(*agents(rows)[0][0])}\nseed {rows['seed'].iloc[0]}" for rows in blocks]
    axes.set_yticks(per_agent * (0.5 + np.arange(len(blocks))), names)
    for agent in range(1, len(blocks)):
        axes.axhline(per_agent * agent, color="white")
    step = table["env_step"].iloc[0]
    title = f"{table['task'].iloc[0]}: {per_agent:.0f} episodes an agent after {step:,} steps"
    axes.set(xlabel="decision of the episode", title=title)
    return figure


def _name(method: str, lam: float, prior: str, changes: str) -> str:
    return f"{method}, λ = {lam:g}, {prior}".replace("inf", "∞") + f", {changes}" * bool(changes)
