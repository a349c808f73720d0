"""Figures that a notebook stores in itself, their captions, and those of the first tutorials."""

import io
import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.captions import Markdown

PALETTE = sns.color_palette("colorblind")
DASHES = ("-", "--", ":", "-.")
_PIXELS = 110  # of a page, for an inch


class Stored(Figure):
    """A figure as pixels, twice as many as it takes on a page; no part of pyplot.

    An SVG would be sharper, but tests compare a notebook's stored outputs, images apart, and the
    numbers in an SVG depend on the machine.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        buffer = io.BytesIO()
        with style.settings():
            self.savefig(buffer, format="png", dpi=2 * _PIXELS, metadata=style.NO_VERSION)
        return buffer.getvalue(), {"width": round(_PIXELS * self.get_figwidth())}


def caption(text: str) -> Markdown:
    """Return the caption of the figure displayed before it, which the book makes one with it."""
    return Markdown(f"*{' '.join(text.split())}*")


def panels(count: int, height: float, columns: int = 0, sharey: bool = False) -> style.Panels:
    """Return a figure of so many panels, by default in one row, and its axes `[rows, columns]`.

    The height is a row's, in inches. Axes that are left over are hidden.
    """
    columns = columns or count
    rows = math.ceil(count / columns)
    figure = Stored(figsize=(style.WIDTH, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for left_over in axes.flat[count:]:
        left_over.set_visible(False)
    return figure, axes


def panel(height: float, **labels: str) -> tuple[Figure, Axes]:
    """Return a figure of one panel with labels of its axes."""
    figure, grid = panels(1, height)
    grid[0, 0].set(**labels)
    return figure, grid[0, 0]


def draw_lines(
    axes: Axes, x: np.ndarray | None, lines: Mapping[str, np.ndarray],
    dashes: Sequence[str] = DASHES, colors: Sequence[Any] = PALETTE, linewidth: float = 2.0,
) -> None:  # fmt: skip
    """Draw lines by name over `x`, or over their index, and name them in a legend."""
    for (name, line), color, dash in zip(lines.items(), cycle(colors), cycle(dashes), strict=False):
        place = np.arange(len(line)) if x is None else x
        axes.plot(place, line, dash, color=color, linewidth=linewidth, label=name)
    axes.legend()


@style.settings()
def plan_iterations(means: list[np.ndarray], stds: list[np.ndarray]) -> Figure:
    """Draw the Gaussian over action sequences after each iteration: mean `[H]` and std `[H]`."""
    figure, grid = panels(len(means), 2.1, math.ceil(len(means) / 2), sharey=True)
    for index, (axes, mean, std) in enumerate(zip(grid.flat, means, stds, strict=False)):
        steps = np.arange(len(mean))
        axes.fill_between(steps, mean - std, mean + std, color=PALETTE[0], alpha=0.25)
        axes.plot(steps, mean, color=PALETTE[0], linewidth=2)
        for bound in (1.0, -1.0):
            axes.axhline(bound, color=style.MUTED, linewidth=0.8, linestyle=":")
        axes.set(title=f"after iteration {index}", ylim=(-2.1, 2.1))
    for axes in grid[-1]:
        axes.set_xlabel("step of the plan")
    for axes in grid[:, 0]:
        axes.set_ylabel("action, mean ± std")
    return figure


@style.settings()
def curves(
    lines: dict[str, np.ndarray], xlabel: str, ylabel: str, x: np.ndarray | None = None
) -> Figure:
    """Draw lines `[T]` by name, over their index or over `x [T]`."""
    figure, axes = panel(3.4, xlabel=xlabel, ylabel=ylabel)
    draw_lines(axes, x, lines)
    return figure


@style.settings()
def codes(centers: np.ndarray, encoded: dict[str, np.ndarray]) -> Figure:
    """Draw two-hot codes `[bins]` of several numbers as bars over the bin centres `[bins]`."""
    figure, grid = panels(len(encoded), 2.4, sharey=True)
    width = 0.8 * float(centers[1] - centers[0])
    for axes, (name, code) in zip(grid[0], encoded.items(), strict=True):
        used = np.flatnonzero(code > 1e-6)  # of 101 bins those that a reader has to see
        low, high = centers[used[0]] - 4 * width, centers[used[-1]] + 4 * width
        axes.bar(centers, code, width=width, color=PALETTE[0])
        axes.set(title=name, xlabel="symlog of the value", xlim=(low, high))
    grid[0, 0].set_ylabel("weight of the bin")
    return figure
