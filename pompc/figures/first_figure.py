"""Figure 1 of the paper, its idea drawn by code: what PO-MPC is, in one picture."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pompc.figures import style
from pompc.theory.gradient_variance import Normal
from pompc.theory.mixtures import density, landscape

_PLANNER, _PRIOR, _POLICY = "#D55E00", "#00795A", "#0B62A8"
_PLANS = Normal(np.array([[-1.5], [-1.0], [1.4]]), np.array([[0.3], [0.5], [0.8]]))  # at one state
_ACTIONS = np.linspace(-3.4, 3.4, 400)
_MEANS, _STDS = np.linspace(-2.0, 2.0, 401), np.linspace(0.1, 2.0, 191)  # that a fit is found among
_BOXES = {  # text -> centre, colour, lines below
    "Planner": ((0.17, 0.72), _PLANNER,
                "MPPI in the learned model\n" + r"$\pi_P=\mathcal{N}(\bar a,\,\sigma^2)$"),
    "Replay": ((0.5, 0.72), style.MUTED, "transitions, each with\nthe plan of its time"),
    "Adaptive prior": ((0.83, 0.72), _PRIOR,
                       r"$\pi_p$ is fitted to the plans" + "\nby reverse or forward KL"),
    "Sampling policy": (
        (0.5, 0.2), _POLICY,
        r"$\max\;\mathbb{E}[Q^{\pi_s,\lambda}]-\lambda\,\mathrm{KL}[\pi_s\,\|\,\pi_p]$",
    ),
}  # fmt: skip
_ARROWS = (  # start, end, dash, place of the text, text
    ((0.305, 0.72), (0.365, 0.72), "-", (0.335, 0.77), ""),
    ((0.635, 0.72), (0.695, 0.72), "-", (0.665, 0.77), "fit"),
    ((0.83, 0.585), (0.685, 0.25), "-", (0.85, 0.38), "prior, weight λ"),
    ((0.315, 0.25), (0.17, 0.585), "-", (0.12, 0.38),
     "proposes trajectories,\nends them by its value"),
    ((0.5, 0.585), (0.5, 0.335), "--", (0.6, 0.47), "or the stored plans\nthemselves"),
)  # fmt: skip


def figure_1() -> Figure:
    """Draw the idea of Figure 1: the loop of planner, prior and policy, the prior's fits, and λ."""
    with style.settings():
        figure = style.Drawing(figsize=(style.WIDTH, 5.4), layout="constrained")
        axes = figure.subplot_mosaic(
            [["loop", "loop"], ["reverse", "forward"], ["weight", "weight"]],
            height_ratios=[2.5, 1.25, 0.8],
        )
        _loop(axes["loop"])
        _fit(axes["reverse"], "to_each", "reverse KL: where the surest plans agree")
        _fit(axes["forward"], "from_each", "forward KL: covers all plans")
        _weight(axes["weight"])
        return figure


def _loop(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    for name, ((x, y), color, text) in _BOXES.items():
        wide = 0.36 if name == "Sampling policy" else 0.26
        axes.add_patch(FancyBboxPatch(
            (x - wide / 2, y - 0.13), wide, 0.26, boxstyle="round,pad=0.005,rounding_size=0.02",
            facecolor="white", edgecolor=color, linewidth=1.6,
        ))  # fmt: skip
        axes.text(x, y + 0.075, name, ha="center", va="center", color=color, weight="bold")
        axes.text(x, y - 0.045, text, ha="center", va="center", fontsize=8)
    for start, end, dash, place, text in _ARROWS:
        axes.add_patch(FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=11, color=style.INK, linewidth=1.1,
            linestyle=dash, shrinkA=0, shrinkB=0,
        ))  # fmt: skip
        axes.text(*place, text, ha="center", va="center", fontsize=8, color=style.INK)


def _fit(axes: Axes, divergence: str, title: str) -> None:
    """Draw old plans at one state, and the Gaussian that one divergence fits to them."""
    for mean, std in zip(*_PLANS, strict=True):
        plan = density(Normal(mean[None], std[None]), _ACTIONS)
        axes.plot(_ACTIONS, plan, color=_PLANNER, linewidth=0.9, label="stored plans")
        axes.fill_between(_ACTIONS, plan, color=_PLANNER, alpha=0.12, linewidth=0)
    mean, std = landscape(divergence, _MEANS, _STDS, _PLANS).least()
    prior = density(Normal(mean[None], std[None]), _ACTIONS)
    axes.plot(_ACTIONS, prior, color=_PRIOR, linewidth=1.8, label="adaptive prior")
    axes.set(title=title, yticks=[], xticks=[], xlabel="action", ylim=(0, 1.4))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[-2:], labels[-2:])
    axes.spines["left"].set_visible(False)


def _weight(axes: Axes) -> None:
    """Draw the family from TD-MPC2's objective to BMPC's, by λ / (1 + λ)."""
    axes.set(xlim=(-0.08, 1.08), ylim=(-1.3, 1.0))
    axes.axis("off")
    axes.plot([0, 1], [0, 0], color=style.MUTED, linewidth=1.2, zorder=1)
    for lam, below in ((0.0, "TD-MPC2's objective"), (0.1, ""), (1.0, "PO-MPC"), (9.0, ""),
                       (math.inf, "BMPC's objective")):  # fmt: skip
        share = style.share_of(lam)
        color = style.look("pompc", lam, "reverse_kl").color
        axes.plot([share], [0], "o", color=color, markersize=7, zorder=2)
        axes.text(share, 0.42, f"λ = {lam:g}".replace("inf", "∞"), ha="center", fontsize=8)
        axes.text(share, -0.9, below, ha="center", fontsize=8)
