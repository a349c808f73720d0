"""The paper's claims that runs can test: what each says, and which agents and tasks tell.

What the small runs are compared for was written down when of those in `runs/small` only TD-MPC2's
had ended, which were replaced since.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from pompc.figures.tasks import AVERAGED, DMCONTROL

Agent = tuple[str, float, str]  # method, λ, prior
_REVERSE, _FORWARD = "reverse_kl", "forward_kl"
_TDMPC2: Agent = ("tdmpc2", 0.0, _REVERSE)
_WEIGHTS: tuple[Agent, ...] = tuple(("pompc", lam, _REVERSE) for lam in (0.1, 1.0, 9.0))
_LEARNED, _REPLAY = (("pompc", 1.0, prior) for prior in (_REVERSE, "replay"))


class Scale(NamedTuple):
    """The tasks and baselines of one of the shipped sweeps, without *Reach*."""

    tasks: tuple[str, ...]
    averaged: tuple[str, ...]  # those of C2, C3 and C5: in the paper HumanoidBench's
    unregularised: tuple[Agent, ...]
    bmpc: Agent
    exploration: tuple[str, ...]  # tasks that exploration decides
    precision: tuple[str, ...]  # tasks that precision decides
    exploring: float  # λ at which exploration is compared: a low one, says the paper


_SMALL_TASKS = ("walker-run", "hopper-stand", "cartpole-swingup-sparse")
SCALES = (
    Scale(  # sweeps/small.yaml
        _SMALL_TASKS, _SMALL_TASKS, (("pompc", 0.0, _REVERSE), _TDMPC2),
        ("bmpc_v3", math.inf, "replay"), ("cartpole-swingup-sparse",), ("hopper-stand",), 1.0,
    ),
    Scale(  # sweeps/paper.yaml
        (*AVERAGED, *DMCONTROL), AVERAGED, (_TDMPC2,),
        ("bmpc_jax", math.inf, "replay"), ("h1hand-stair",), ("h1hand-balance_simple",), 0.1,
    ),
)  # fmt: skip


class Comparison(NamedTuple):
    """Two agents on some tasks; the claim says that the first has more."""

    first: Agent
    second: Agent
    tasks: tuple[str, ...]
    matching: bool = False  # whether the claim holds, too, if the first has a little less


class Claim(NamedTuple):
    """What the paper says, and what of the runs tells."""

    title: str
    sentence: str
    source: str
    comparisons: tuple[Comparison, ...]
    measure: str = "area"  # what is compared: a key of `pompc.figures.verdicts.MEASURES`


def scale_of(tasks: Iterable[str]) -> Scale:
    """Return the scale that shares most tasks with the runs at hand; of two equals the small."""
    at_hand = set(tasks)
    return max(SCALES, key=lambda scale: len(at_hand.intersection(scale.tasks)))


def claims(scale: Scale) -> dict[str, Claim]:
    """Return each claim by its name, with the comparisons of a scale."""
    helps = (Comparison(a, b, scale.tasks) for b in scale.unregularised for a in _WEIGHTS)
    low = scale.exploring
    explores = Comparison(("pompc", low, _FORWARD), ("pompc", low, _REVERSE), scale.exploration)
    return {
        "C1": Claim(
            "does KL regularisation help?",
            "λ > 0 is more sample efficient than λ = 0 and than TD-MPC2.",
            "Figures 2 and 5, Table 1",
            tuple(helps),
        ),
        "C2": Claim(
            "is an intermediate λ ever worse than BMPC?",
            "Intermediate λ is never worse than BMPC (λ = ∞ on replayed planners).",
            "Section 5.1, Figure 2",
            tuple(Comparison(one, scale.bmpc, scale.averaged, matching=True) for one in _WEIGHTS),
        ),
        "C3": Claim(
            "learned prior or replayed planners?",
            "The learned prior matches or beats replayed planners.",
            "Figures 3 and 6",
            (Comparison(_LEARNED, _REPLAY, scale.averaged, matching=True),),
        ),
        "C4": Claim(
            "which direction of the KL, and where?",
            "A prior trained by forward KL helps at low λ where exploration decides, one trained "
            "by reverse KL where precision does.",
            "Figures 4 and 8",
            (explores, Comparison(_LEARNED, ("pompc", 1.0, _FORWARD), scale.precision)),
        ),
        "C5": Claim(
            "the size of the KL term",
            "Mean and standard deviation of the KL term are larger with replayed planners than "
            "with the learned prior.",
            "Figure 7",
            (Comparison(_REPLAY, _LEARNED, scale.averaged),),
            measure="kl",
        ),
    }
