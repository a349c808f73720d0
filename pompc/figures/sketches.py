"""Figures of the tutorials on planning and on the world model."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.stored import panels

_PALETTE = sns.color_palette("colorblind")


@style.settings()
def plan_iterations(means: list[np.ndarray], stds: list[np.ndarray]) -> Figure:
    """Draw the Gaussian over action sequences after each iteration: mean `[H]` and std `[H]`."""
    columns = -(-len(means) // 2)
    figure, grid = panels(2, columns, 2.1, sharey=True)
    for index, (axes, mean, std) in enumerate(zip(grid.flat, means, stds, strict=False)):
        steps = np.arange(len(mean))
        axes.fill_between(steps, mean - std, mean + std, color=_PALETTE[0], alpha=0.25)
        axes.plot(steps, mean, color=_PALETTE[0], linewidth=2)
        axes.axhline(1.0, color=style.MUTED, linewidth=0.8, linestyle=":")
        axes.axhline(-1.0, color=style.MUTED, linewidth=0.8, linestyle=":")
        axes.set(title=f"after iteration {index}", ylim=(-2.1, 2.1))
    for axes in grid[-1]:
        axes.set_xlabel("step of the plan")
    for axes in grid[:, 0]:
        axes.set_ylabel("action, mean ± std")
    for axes in grid.flat[len(means) :]:
        axes.set_visible(False)
    return figure


@style.settings()
def curves(
    lines: dict[str, np.ndarray], xlabel: str, ylabel: str, x: np.ndarray | None = None
) -> Figure:
    """Draw lines `[T]` by name, over their index or over `x [T]`."""
    figure, grid = panels(1, 1, 3.4)
    axes = grid[0, 0]
    styles = ("-", "--", ":", "-.")
    for index, (name, line) in enumerate(lines.items()):
        place = np.arange(len(line)) if x is None else x
        axes.plot(place, line, styles[index % 4], color=_PALETTE[index], linewidth=2, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend()
    return figure


@style.settings()
def codes(centers: np.ndarray, encoded: dict[str, np.ndarray]) -> Figure:
    """Draw two-hot codes `[bins]` of several numbers as bars over the bin centres `[bins]`."""
    figure, grid = panels(1, len(encoded), 2.4, sharey=True)
    width = 0.8 * float(centers[1] - centers[0])
    for axes, (name, code) in zip(grid[0], encoded.items(), strict=True):
        used = np.flatnonzero(code > 1e-6)  # of 101 bins those that a reader has to see
        low, high = centers[used[0]] - 4 * width, centers[used[-1]] + 4 * width
        axes.bar(centers, code, width=width, color=_PALETTE[0])
        axes.set(title=name, xlabel="symlog of the value", xlim=(low, high))
    grid[0, 0].set_ylabel("weight of the bin")
    return figure
