"""Figures of the theory pages: one function each, from what was computed; nothing here computes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pompc.figures import style
from pompc.figures.stored import DASHES, PALETTE, draw_lines, panel, panels
from pompc.theory.gradient_variance import REFERENCES, Normal
from pompc.theory.mixtures import Landscape
from pompc.theory.tabular import Iterates, terminal_cells

_LABELS = {
    "replayed": "g1: replayed planners, Eq. (47)",
    "unnormalised": "g2: E log π^k, Eq. (50)",
    "normalised": "g2 with the normalised prior",
}
_ARROWS = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])  # of tabular.MOVES: x to the right, y up


@style.settings()
def variances(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw variances of the score estimator by the mean, a panel for each of `variances.sweep`."""
    figure, grid = panels(len(tables), 3.4)
    for axes, (over, table) in zip(grid[0], tables.items(), strict=True):
        shown = table.query("parameter == 'mean' and estimator == 'score'")
        lines = shown.pivot_table(index=over, columns="reference", values="variance")
        for reference, color, dash in zip(REFERENCES, PALETTE, DASHES, strict=False):
            axes.loglog(lines[reference], dash, color=color, linewidth=2, label=_LABELS[reference])
        axes.set(xlabel=over, ylabel="variance of the gradient" if axes is grid[0][0] else "")
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@style.settings()
def baselines(
    constants: np.ndarray, variance: np.ndarray, replayed: float, marks: dict[str, float]
) -> Figure:
    """Draw the score estimator's variance `[C]` over constants `[C]` in nats, g1's, and `marks`."""
    figure, axes = panel(3.8, xlabel="constant c, in nats", ylabel="variance of the gradient")
    axes.plot(constants, variance, color=PALETTE[7], label="E log π^k + c")
    axes.axhline(replayed, color=PALETTE[0], linewidth=1, label=_LABELS["replayed"])
    for (name, constant), marker in zip(marks.items(), "osD^v", strict=False):
        height = float(np.interp(constant, constants, variance))
        axes.plot(constant, height, marker, color=PALETTE[3], markersize=8, label=name)
    axes.legend()
    return figure


@style.settings()
def estimators(table: pd.DataFrame) -> Figure:
    """Draw the variances by the mean of `variances.compare` as bars, a group an estimator."""
    shown = table.query("parameter == 'mean'")
    figure, axes = panel(3.8, ylabel="variance of the gradient")
    names, width = list(dict.fromkeys(shown["estimator"])), 0.27
    for index, reference in enumerate(REFERENCES):
        rows = shown[shown["reference"] == reference].set_index("estimator")["variance"]
        places = np.arange(len(names)) + (index - 1) * width
        bars = axes.bar(places, rows[names], width, color=PALETTE[index], label=_LABELS[reference])
        axes.bar_label(bars, [f"{height:,.3g}" for height in rows[names]], fontsize=8)
    axes.set_yscale("symlog")
    axes.set_xticks(np.arange(len(names)), [name.replace("_", " ") for name in names])
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


@style.settings()
def convergence(
    curves: dict[str, np.ndarray], ylabel: str, bound: np.ndarray | None = None
) -> Figure:
    """Draw sequences `[I]` on a logarithmic scale, and a bound `[I]`, dashed."""
    figure, axes = panel(3.6, xlabel="iteration", ylabel=ylabel, yscale="log")
    draw_lines(axes, None, curves, dashes="-")
    if bound is not None:
        axes.plot(bound, "--", color=PALETTE[7], label="bound")
        axes.legend()
    return figure


@style.settings()
def value_rise(found: Iterates, limit: np.ndarray) -> Figure:
    """Draw Q of every state and action over the rounds of policy iteration, and its limit."""
    labels = {"xlabel": "round of policy iteration", "ylabel": "Q of each state and action"}
    figure, axes = panel(3.6, **labels)
    rounds = np.arange(len(found.values))
    axes.plot(rounds, found.values.reshape(len(rounds), -1), color=PALETTE[0], alpha=0.35)
    axes.plot(
        np.full(limit.size, rounds[-1]), limit.ravel(), "_", color=PALETTE[3], markersize=12,
        label="value iteration",
    )  # fmt: skip
    axes.set_xticks(rounds)
    axes.legend()
    return figure


@style.settings()
def grid_policies(
    policies: dict[str, np.ndarray], values: dict[str, np.ndarray], shape: tuple[int, int]
) -> Figure:
    """Draw policies on a grid, two in a row: an arrow for each move, as long as its probability.

    By title, policies are `[S, 4]`, with the moves of `tabular.gridworld`, and values `[S]`, drawn
    as shades on one scale. The shape is rows and columns.
    """
    figure, grid = panels(len(policies), 3.1, min(len(policies), 2))
    most = max(float(np.abs(one).max()) for one in values.values())
    for axes, (title, policy) in zip(grid.flat, policies.items(), strict=False):
        axes.imshow(values[title].reshape(shape), cmap="vlag_r", vmin=-most, vmax=most)
        _draw_moves(axes, policy, shape)
        axes.set(title=title, xticks=[], yticks=[])
        axes.grid(visible=False)
    label = "return from the cell, without the fee"
    figure.colorbar(grid[0, 0].images[0], ax=grid, label=label, shrink=0.8)
    return figure


def _draw_moves(axes: Axes, policy: np.ndarray, shape: tuple[int, int]) -> None:
    ends = dict(zip(terminal_cells(*shape), ("goal", "pit"), strict=True))
    for state, probabilities in enumerate(policy):
        row, column = divmod(state, shape[1])
        if state in ends:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1.0, 1.0, facecolor="0.85"))
            axes.text(column, row, ends[state], ha="center", va="center", fontweight="bold")
            continue
        arrows = 0.45 * probabilities[:, None] * _ARROWS
        axes.quiver(
            np.full(4, column), np.full(4, row), *arrows.T, color=style.INK, angles="uv",
            scale_units="xy", scale=1.0, width=0.013, headwidth=3.5, headlength=3.5,
            headaxislength=3.5, minlength=0.0,
        )  # fmt: skip


@style.settings()
def fits(actions: np.ndarray, planners: np.ndarray, fitted: dict[str, np.ndarray]) -> Figure:
    """Draw the density of the planners' mixture as an area, of Gaussians as lines; all `[G]`."""
    figure, axes = panel(3.6, xlabel="action", ylabel="density")
    axes.fill_between(actions, planners, color="0.8", label="planners, mixture")
    draw_lines(axes, actions, fitted)
    return figure


@style.settings()
def landscapes(found: dict[str, Landscape], marks: dict[str, list[Normal]]) -> Figure:
    """Draw objectives over mean and std of a Gaussian as contours, with Gaussians `[1]` marked."""
    figure, grid = panels(len(found), 3.0, sharey=True)
    levels = np.geomspace(1e-2, 1e3, 16)
    for axes, (title, surface) in zip(grid[0], found.items(), strict=True):
        above = surface.values - surface.values.min() + levels[0]
        axes.contourf(
            surface.means, surface.stds, above.T, levels, norm=LogNorm(), cmap="cividis_r",
            extend="max",
        )  # fmt: skip
        for mark in marks[title]:
            axes.plot(mark.mean, mark.std, "o", color="white", markeredgecolor="black")
        axes.set(title=title, xlabel="mean")
        axes.grid(visible=False)
    grid[0, 0].set_ylabel("standard deviation")
    ticks = [1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3]
    figure.colorbar(grid[0, 0].collections[0], ax=grid, label="nats above the minimum", ticks=ticks)
    return figure


@style.settings()
def shares(curves: dict[str, tuple[np.ndarray, np.ndarray]], expected: np.ndarray) -> Figure:
    """Draw cumulative shares: simulated ones as lines, expected ones dashed.

    A curve is values `[C]` in [0, 1], and the expected share below each of `expected [G]`.
    """
    labels = ("when the plan was made, as a share of training", "share of rows before")
    figure, axes = panel(3.6, xlabel=labels[0], ylabel=labels[1])
    for (name, (values, below)), color in zip(curves.items(), PALETTE, strict=False):
        share = np.linspace(0.0, 1.0, len(values))
        axes.plot(np.sort(values), share, color=color, linewidth=3, alpha=0.5, label=name)
        axes.plot(expected, below, "--", color=color)
    axes.legend(title="line: simulated, dashed: formula")
    return figure


@style.settings()
def stale_plans(
    rows: np.ndarray, plans: np.ndarray, made: np.ndarray, states: np.ndarray,
    means: dict[str, np.ndarray],
) -> Figure:  # fmt: skip
    """Draw stored means `plans [C]` over their states `rows [C]`, and others' `[G]` as lines.

    Shades are ages: when each plan was made, in [0, 1], `[C]`. Lines are over `states [G]`.
    """
    figure, axes = panel(3.8, xlabel="state", ylabel="mean of the plan")
    dots = axes.scatter(rows, plans, c=made, s=6, cmap="cividis", vmin=0.0, vmax=1.0)
    figure.colorbar(dots, label="when the plan was made")
    draw_lines(axes, states, means, colors=(PALETTE[3], PALETTE[0], PALETTE[2]), linewidth=2.5)
    return figure


@style.settings()
def two_actions(
    actions: np.ndarray, reward: np.ndarray, curves: dict[str, dict[str, np.ndarray]]
) -> Figure:
    """Draw densities `[G]` over actions `[G]` relative to their highest, a panel a prior.

    Behind them the reward `[G]`, at most 1. `curves` are by name of the panel, then of the line.
    """
    figure, grid = panels(len(curves), 2.9, sharey=True)
    for axes, (title, lines) in zip(grid[0], curves.items(), strict=True):
        axes.fill_between(actions, reward, color=style.MUTED, alpha=0.25, label="reward")
        highest = {name: line / line.max() for name, line in lines.items()}
        draw_lines(axes, actions, highest)
        axes.get_legend().remove()
        axes.set(title=title, xlabel="action")
    grid[0, 0].set_ylabel("relative to the highest")
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
