"""Figures of the theory pages: one function each, from what was computed; nothing here computes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pompc.errors import ConfigError
from pompc.figures import style
from pompc.figures.stored import panels
from pompc.theory.gradient_variance import REFERENCES, Normal
from pompc.theory.mixtures import Landscape
from pompc.theory.tabular import Iterates

_PALETTE = sns.color_palette("colorblind")
_LABELS = {
    "replayed": "g1: replayed planners, Eq. (47)",
    "unnormalised": "g2: E log π^k, Eq. (50)",
    "normalised": "g2 with the normalised prior",
}
_STYLES = {"replayed": "-", "unnormalised": "--", "normalised": ":"}
_ARROWS = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])  # of gridworld.MOVES: x to the right, y up


@style.settings()
def variances(tables: dict[str, pd.DataFrame], parameter: str = "mean") -> Figure:
    """Draw the score estimator's variances, one panel for each table, over its column.

    Args:
        tables: name of a column -> what `variances.sweep` returned over it.
        parameter: what the gradient is taken by.

    Raises:
        ConfigError: if a table does not have its column.
    """
    figure, grid = panels(1, len(tables), 3.4)
    for axes, (over, table) in zip(grid[0], tables.items(), strict=True):
        if over not in table:
            raise ConfigError(f"the table has no column {over!r}: {', '.join(table.columns)}")
        shown = table.query("parameter == @parameter and estimator == 'score'")
        for reference, color in zip(REFERENCES, _PALETTE, strict=False):
            rows = shown.query("reference == @reference").sort_values(by=over)
            axes.loglog(
                rows[over], rows["variance"], _STYLES[reference], color=color, linewidth=2,
                label=_LABELS[reference],
            )  # fmt: skip
        axes.set(xlabel=over, ylabel="variance of the gradient" if axes is grid[0][0] else "")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


@style.settings()
def baselines(
    constants: np.ndarray, variance: np.ndarray, replayed: float, marks: dict[str, float]
) -> Figure:
    """Draw the variance against the constant that is added to the log prior.

    Args:
        constants: `[C]`, in nats.
        variance: of the score estimator, `[C]`.
        replayed: the variance of g1.
        marks: name -> constant that is marked on the curve.
    """
    figure, grid = panels(1, 1, 3.8)
    axes = grid[0, 0]
    axes.plot(constants, variance, color=_PALETTE[7], label="E log π^k + c")
    axes.axhline(replayed, color=_PALETTE[0], linewidth=1, label=_LABELS["replayed"])
    for (name, constant), marker in zip(marks.items(), "osD^v", strict=False):
        height = float(np.interp(constant, constants, variance))
        axes.plot(constant, height, marker, color=_PALETTE[3], markersize=8, label=name)
    axes.set(xlabel="constant c, in nats", ylabel="variance of the gradient")
    axes.legend()
    return figure


@style.settings()
def estimators(table: pd.DataFrame, parameter: str = "mean") -> Figure:
    """Draw the variances of `variances.compare` as bars, one group for each estimator."""
    shown = table.query("parameter == @parameter")
    figure, grid = panels(1, 1, 3.8)
    axes = grid[0, 0]
    names, width = list(dict.fromkeys(shown["estimator"])), 0.27
    for index, reference in enumerate(REFERENCES):
        rows = shown[shown["reference"] == reference].set_index("estimator")["variance"]
        places = np.arange(len(names)) + (index - 1) * width
        bars = axes.bar(places, rows[names], width, color=_PALETTE[index], label=_LABELS[reference])
        axes.bar_label(bars, [f"{height:,.3g}" for height in rows[names]], fontsize=8)
    axes.set(yscale="symlog", ylabel="variance of the gradient")
    axes.set_xticks(np.arange(len(names)), [name.replace("_", " ") for name in names])
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


@style.settings()
def convergence(
    curves: dict[str, np.ndarray], ylabel: str, bound: np.ndarray | None = None
) -> Figure:
    """Draw sequences `[I]` on a logarithmic scale, and a bound `[I]`, dashed."""
    figure, grid = panels(1, 1, 3.6)
    axes = grid[0, 0]
    for (name, curve), color in zip(curves.items(), _PALETTE, strict=False):
        axes.semilogy(curve, color=color, label=name, linewidth=2)
    if bound is not None:
        axes.semilogy(bound, "--", color=_PALETTE[7], label="bound")
    axes.set(xlabel="iteration", ylabel=ylabel)
    axes.legend()
    return figure


@style.settings()
def value_rise(found: Iterates, limit: np.ndarray) -> Figure:
    """Draw Q of every state and action over the rounds of policy iteration, and its limit."""
    figure, grid = panels(1, 1, 3.6)
    axes = grid[0, 0]
    rounds = np.arange(len(found.values))
    axes.plot(rounds, found.values.reshape(len(rounds), -1), color=_PALETTE[0], alpha=0.35)
    axes.plot(
        np.full(limit.size, rounds[-1]), limit.ravel(), "_", color=_PALETTE[3], markersize=12,
        label="value iteration",
    )  # fmt: skip
    axes.set(xlabel="round of policy iteration", ylabel="Q of each state and action")
    axes.set_xticks(rounds)
    axes.legend()
    return figure


@style.settings()
def grid_policies(
    policies: dict[str, np.ndarray], values: dict[str, np.ndarray], shape: tuple[int, int]
) -> Figure:
    """Draw policies on a grid, two in a row: an arrow for each move, as long as its probability.

    Args:
        policies: title -> `[S, 4]`, with the moves of `gridworld`.
        values: title -> state values `[S]`, drawn as shades on one scale.
        shape: rows and columns.
    """
    rows = -(-len(policies) // 2)
    figure, grid = panels(rows, 2 if len(policies) > 1 else 1, 3.1)
    most = max(float(np.abs(one).max()) for one in values.values())
    for axes, (title, policy) in zip(grid.flat, policies.items(), strict=False):
        axes.imshow(values[title].reshape(shape), cmap="vlag_r", vmin=-most, vmax=most)
        _draw_moves(axes, policy, shape)
        axes.set(title=title, xticks=[], yticks=[])
        axes.grid(visible=False)
    for axes in grid.flat[len(policies) :]:
        axes.set_visible(False)
    figure.colorbar(
        grid[0, 0].images[0], ax=grid, label="return from the cell, without the fee", shrink=0.8
    )
    return figure


def _draw_moves(axes: Axes, policy: np.ndarray, shape: tuple[int, int]) -> None:
    rows, columns = shape
    goal, pit = rows * columns - 1, (rows - 1) * columns - 1
    for state, probabilities in enumerate(policy):
        row, column = divmod(state, columns)
        if state in (goal, pit):
            name = "goal" if state == goal else "pit"
            cell = Rectangle((column - 0.5, row - 0.5), 1.0, 1.0, facecolor="0.85")
            axes.add_patch(cell)
            axes.text(column, row, name, ha="center", va="center", fontweight="bold")
            continue
        arrows = 0.45 * probabilities[:, None] * _ARROWS
        axes.quiver(
            np.full(4, column), np.full(4, row), arrows[:, 0], arrows[:, 1], color=style.INK,
            angles="uv", scale_units="xy", scale=1.0, width=0.013, headwidth=3.5, headlength=3.5,
            headaxislength=3.5, minlength=0.0,
        )  # fmt: skip


@style.settings()
def fits(actions: np.ndarray, planners: np.ndarray, fitted: dict[str, np.ndarray]) -> Figure:
    """Draw the density of planners as an area, and Gaussians fitted to them as lines.

    Args:
        actions: `[G]`.
        planners: density of their mixture, `[G]`.
        fitted: name -> density, `[G]`.
    """
    figure, grid = panels(1, 1, 3.6)
    axes = grid[0, 0]
    axes.fill_between(actions, planners, color="0.8", label="planners, mixture")
    styles = ("-", "--", ":", "-.")
    for (name, curve), color, dash in zip(fitted.items(), _PALETTE, styles, strict=False):
        axes.plot(actions, curve, dash, color=color, linewidth=2, label=name)
    axes.set(xlabel="action", ylabel="density")
    axes.legend()
    return figure


@style.settings()
def landscapes(found: dict[str, Landscape], marks: dict[str, list[Normal]]) -> Figure:
    """Draw objectives over mean and std of a Gaussian as contours, with their minima.

    Args:
        found: title -> objective.
        marks: title -> Gaussians `[1]` to mark.
    """
    figure, grid = panels(1, len(found), 3.0, sharey=True)
    levels = np.geomspace(1e-2, 1e3, 16)
    for axes, (title, surface) in zip(grid[0], found.items(), strict=True):
        above = surface.values - surface.values.min() + levels[0]
        axes.contourf(
            surface.means, surface.stds, above.T, levels, norm=LogNorm(), cmap="cividis_r",
            extend="max",
        )  # fmt: skip
        for mark in marks[title]:
            axes.plot(mark.mean, mark.std, "o", color="white", markeredgecolor="black")
        first = axes is grid[0][0]
        axes.set(title=title, xlabel="mean", ylabel="standard deviation" if first else "")
        axes.grid(visible=False)
    ticks = [1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3]
    figure.colorbar(grid[0, 0].collections[0], ax=grid, label="nats above the minimum", ticks=ticks)
    return figure


@style.settings()
def shares(curves: dict[str, tuple[np.ndarray, np.ndarray]], expected: np.ndarray) -> Figure:
    """Draw cumulative shares: simulated ones as lines, expected ones dashed.

    Args:
        curves: name -> values `[C]` in [0, 1] and the expected share below `expected [G]`.
        expected: places of the dashed curves, `[G]`.
    """
    figure, grid = panels(1, 1, 3.6)
    axes = grid[0, 0]
    for (name, (values, below)), color in zip(curves.items(), _PALETTE, strict=False):
        axes.plot(
            np.sort(values), np.linspace(0.0, 1.0, len(values)), color=color, linewidth=3,
            alpha=0.5, label=name,
        )  # fmt: skip
        axes.plot(expected, below, "--", color=color)
    axes.set(xlabel="when the plan was made, as a share of training", ylabel="share of rows before")
    axes.legend(title="line: simulated, dashed: formula")
    return figure


@style.settings()
def stale_plans(
    rows: np.ndarray, plans: np.ndarray, made: np.ndarray, states: np.ndarray,
    means: dict[str, np.ndarray],
) -> Figure:  # fmt: skip
    """Draw stored means over their states, shaded by age, and the means of others as lines.

    Args:
        rows: states of the plans, `[C]`.
        plans: their means, `[C]`.
        made: when each was made, in [0, 1], `[C]`.
        states: `[G]`.
        means: name -> mean at `states`, `[G]`.
    """
    figure, grid = panels(1, 1, 3.8)
    axes = grid[0, 0]
    dots = axes.scatter(rows, plans, c=made, s=6, cmap="cividis", vmin=0.0, vmax=1.0)
    figure.colorbar(dots, label="when the plan was made")
    colors, styles = (_PALETTE[3], _PALETTE[0], _PALETTE[2]), ("-", "--", ":")
    for (name, mean), color, dash in zip(means.items(), colors, styles, strict=False):
        axes.plot(states, mean, dash, color=color, linewidth=2.5, label=name)
    axes.set(xlabel="state", ylabel="mean of the plan")
    axes.legend()
    return figure
