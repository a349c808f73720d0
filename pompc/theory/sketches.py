"""Figures of the tutorials on planning and on the world model."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

_PALETTE = sns.color_palette("colorblind")


def plan_iterations(means: list[np.ndarray], stds: list[np.ndarray]) -> Figure:
    """Draw the Gaussian over action sequences after each iteration: mean `[H]` and std `[H]`."""
    figure, panels = plt.subplots(
        1, len(means), figsize=(2.4 * len(means), 2.6), layout="constrained", sharey=True
    )
    for index, (axes, mean, std) in enumerate(zip(panels, means, stds, strict=True)):
        steps = np.arange(len(mean))
        axes.fill_between(steps, mean - std, mean + std, color=_PALETTE[0], alpha=0.25)
        axes.plot(steps, mean, color=_PALETTE[0], linewidth=2)
        axes.set(title=f"iteration {index}", xlabel="step of the plan", ylim=(-2.1, 2.1))
    panels[0].set_ylabel("action, mean ± std")
    sns.despine(figure)
    return figure


def curves(
    lines: dict[str, np.ndarray], xlabel: str, ylabel: str, x: np.ndarray | None = None
) -> Figure:
    """Draw lines `[T]` by name, over their index or over `x [T]`."""
    figure, axes = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
    styles = ("-", "--", ":", "-.")
    for index, (name, line) in enumerate(lines.items()):
        place = np.arange(len(line)) if x is None else x
        axes.plot(place, line, styles[index % 4], color=_PALETTE[index], linewidth=2, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


def codes(centers: np.ndarray, encoded: dict[str, np.ndarray]) -> Figure:
    """Draw two-hot codes `[bins]` of several numbers as bars over the bin centres `[bins]`."""
    figure, panels = plt.subplots(
        1, len(encoded), figsize=(2.8 * len(encoded), 2.6), layout="constrained", sharey=True
    )
    for axes, (name, code) in zip(panels, encoded.items(), strict=True):
        axes.bar(centers, code, width=0.8 * (centers[1] - centers[0]), color=_PALETTE[0])
        axes.set(title=name, xlabel="symlog of the value")
    panels[0].set_ylabel("weight of the bin")
    sns.despine(figure)
    return figure
