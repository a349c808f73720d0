"""Figures of the theory pages: one function each, from what was computed; nothing here computes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.errors import ConfigError
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


def variances(tables: dict[str, pd.DataFrame], parameter: str = "mean") -> Figure:
    """Draw the score estimator's variances, one panel for each table, over its column.

    Args:
        tables: name of a column -> what `measure.sweep` returned over it.
        parameter: what the gradient is taken by.

    Raises:
        ConfigError: if a table does not have its column.
    """
    figure, panels = plt.subplots(
        1, len(tables), figsize=(3.6 * len(tables), 3.6), layout="constrained", squeeze=False
    )
    for axes, (over, table) in zip(panels[0], tables.items(), strict=True):
        if over not in table:
            raise ConfigError(f"the table has no column {over!r}: {', '.join(table.columns)}")
        shown = table.query("parameter == @parameter and estimator == 'score'")
        for reference, color in zip(REFERENCES, _PALETTE, strict=False):
            rows = shown.query("reference == @reference").sort_values(by=over)
            axes.loglog(
                rows[over], rows["variance"], _STYLES[reference], color=color, linewidth=2,
                label=_LABELS[reference],
            )  # fmt: skip
        axes.set(xlabel=over, ylabel="variance of the gradient" if axes is panels[0][0] else "")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    sns.despine(figure)
    return figure


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
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    axes.plot(constants, variance, color=_PALETTE[7], label="E log π^k + c")
    axes.axhline(replayed, color=_PALETTE[0], linewidth=1, label=_LABELS["replayed"])
    for (name, constant), marker in zip(marks.items(), "osD^v", strict=False):
        height = float(np.interp(constant, constants, variance))
        axes.plot(constant, height, marker, color=_PALETTE[3], markersize=8, label=name)
    axes.set(xlabel="constant c, in nats", ylabel="variance of the gradient")
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


def estimators(table: pd.DataFrame, parameter: str = "mean") -> Figure:
    """Draw the variances of `measure.compare` as bars, one group for each estimator."""
    shown = table.query("parameter == @parameter")
    figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    names, width = list(dict.fromkeys(shown["estimator"])), 0.27
    for index, reference in enumerate(REFERENCES):
        rows = shown[shown["reference"] == reference].set_index("estimator")["variance"]
        places = np.arange(len(names)) + (index - 1) * width
        bars = axes.bar(places, rows[names], width, color=_PALETTE[index], label=_LABELS[reference])
        axes.bar_label(bars, [f"{height:,.3g}" for height in rows[names]], fontsize=8)
    axes.set(yscale="symlog", ylabel="variance of the gradient")
    axes.set_xticks(np.arange(len(names)), [name.replace("_", " ") for name in names])
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    sns.despine(figure)
    return figure


def convergence(
    curves: dict[str, np.ndarray], ylabel: str, bound: np.ndarray | None = None
) -> Figure:
    """Draw sequences `[I]` on a logarithmic scale, and beside them a bound `[I]`, dashed."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (name, curve), color in zip(curves.items(), _PALETTE, strict=False):
        axes.semilogy(curve, color=color, label=name, linewidth=2)
    if bound is not None:
        axes.semilogy(bound, "--", color=_PALETTE[7], label="bound")
    axes.set(xlabel="iteration", ylabel=ylabel)
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


def value_rise(found: Iterates, limit: np.ndarray) -> Figure:
    """Draw Q of every state and action over the rounds of policy iteration, and its limit."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    rounds = np.arange(len(found.values))
    axes.plot(rounds, found.values.reshape(len(rounds), -1), color=_PALETTE[0], alpha=0.35)
    axes.plot(
        np.full(limit.size, rounds[-1]), limit.ravel(), "_", color=_PALETTE[3], markersize=12,
        label="value iteration",
    )  # fmt: skip
    axes.set(xlabel="round of policy iteration", ylabel="Q of each state and action")
    axes.set_xticks(rounds)
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


def grid_policies(
    policies: dict[str, np.ndarray], values: dict[str, np.ndarray], shape: tuple[int, int]
) -> Figure:
    """Draw policies on a grid: an arrow for each move, as long as its probability.

    Args:
        policies: title -> `[S, 4]`, with the moves of `gridworld`.
        values: title -> state values `[S]`, drawn as shades on one scale.
        shape: rows and columns.
    """
    figure, panels = plt.subplots(
        1, len(policies), figsize=(2.9 * len(policies), 3.1), layout="constrained", squeeze=False
    )
    low, high = min(map(np.min, values.values())), max(map(np.max, values.values()))
    for axes, (title, policy) in zip(panels[0], policies.items(), strict=True):
        axes.imshow(values[title].reshape(shape), cmap="cividis", vmin=low, vmax=high)
        _draw_moves(axes, policy, shape)
        axes.set(title=title, xticks=[], yticks=[])
    return figure


def _draw_moves(axes: Axes, policy: np.ndarray, shape: tuple[int, int]) -> None:
    rows, columns = shape
    goal, pit = rows * columns - 1, (rows - 1) * columns - 1
    for state, probabilities in enumerate(policy):
        row, column = divmod(state, columns)
        if state in (goal, pit):
            name = "goal" if state == goal else "pit"
            axes.text(column, row, name, ha="center", va="center", color="white", fontweight="bold")
            continue
        arrows = 0.45 * probabilities[:, None] * _ARROWS
        axes.quiver(
            np.full(4, column), np.full(4, row), arrows[:, 0], arrows[:, 1], color="white",
            angles="uv", scale_units="xy", scale=1.0, width=0.015, headwidth=3.0, headlength=3.0,
            minlength=0.0,
        )  # fmt: skip


def fits(actions: np.ndarray, planners: np.ndarray, fitted: dict[str, np.ndarray]) -> Figure:
    """Draw the density of planners as an area, and those of Gaussians fitted to them.

    Args:
        actions: `[G]`.
        planners: density of their mixture, `[G]`.
        fitted: name -> density, `[G]`.
    """
    figure, axes = plt.subplots(figsize=(6.8, 3.6), layout="constrained")
    axes.fill_between(actions, planners, color="0.8", label="planners, mixture")
    styles = ("-", "--", ":", "-.")
    for (name, curve), color, style in zip(fitted.items(), _PALETTE, styles, strict=False):
        axes.plot(actions, curve, style, color=color, linewidth=2, label=name)
    axes.set(xlabel="action", ylabel="density")
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


def landscapes(found: dict[str, Landscape], marks: dict[str, list[Normal]]) -> Figure:
    """Draw objectives over mean and std of a Gaussian as contours, with their minima.

    Args:
        found: title -> objective.
        marks: title -> Gaussians `[1]` to mark.
    """
    figure, panels = plt.subplots(
        1, len(found), figsize=(3.4 * len(found), 3.2), layout="constrained", squeeze=False
    )
    for axes, (title, surface) in zip(panels[0], found.items(), strict=True):
        above = np.log10(surface.values - surface.values.min() + 1e-2)
        axes.contourf(surface.means, surface.stds, above.T, levels=14, cmap="cividis_r")
        for mark in marks[title]:
            axes.plot(mark.mean, mark.std, "o", color="white", markeredgecolor="black")
        first = axes is panels[0][0]
        axes.set(title=title, xlabel="mean", ylabel="standard deviation" if first else "")
    return figure


def shares(curves: dict[str, tuple[np.ndarray, np.ndarray]], expected: np.ndarray) -> Figure:
    """Draw cumulative shares: simulated ones as lines, expected ones dashed.

    Args:
        curves: name -> values `[C]` in [0, 1] and the expected share below `expected [G]`.
        expected: places of the dashed curves, `[G]`.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (name, (values, below)), color in zip(curves.items(), _PALETTE, strict=False):
        axes.plot(
            np.sort(values), np.linspace(0.0, 1.0, len(values)), color=color, linewidth=3,
            alpha=0.5, label=name,
        )  # fmt: skip
        axes.plot(expected, below, "--", color=color)
    axes.set(xlabel="when the plan was made, as a share of training", ylabel="share of rows before")
    axes.legend(frameon=False, title="line: simulated, dashed: formula")
    sns.despine(figure)
    return figure


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
    figure, axes = plt.subplots(figsize=(6.8, 3.8), layout="constrained")
    dots = axes.scatter(rows, plans, c=made, s=6, cmap="cividis", vmin=0.0, vmax=1.0)
    figure.colorbar(dots, label="when the plan was made")
    colors, styles = (_PALETTE[3], _PALETTE[0], _PALETTE[2]), ("-", "--", ":")
    for (name, mean), color, style in zip(means.items(), colors, styles, strict=False):
        axes.plot(states, mean, style, color=color, linewidth=2.5, label=name)
    axes.set(xlabel="state", ylabel="mean of the plan")
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure
