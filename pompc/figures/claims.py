"""The paper's claims that runs can test: what each says, and which agents tell.

They were written down when of the runs in `runs/small` only those of TD-MPC2 had ended.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Agent = tuple[str, float, str]  # method, λ, prior
_TDMPC2: Agent = ("tdmpc2", 0.0, "reverse_kl")
_BMPC: Agent = ("bmpc_v3", math.inf, "replay")
_WEIGHTS: tuple[Agent, ...] = tuple(("pompc", lam, "reverse_kl") for lam in (0.1, 1.0, 9.0))
_NONE: Agent = ("pompc", 0.0, "reverse_kl")
_LEARNED, _REPLAY, _FORWARD = (
    ("pompc", 1.0, prior) for prior in ("reverse_kl", "replay", "forward_kl")
)
_EXPLORATION, _PRECISION = ("cartpole-swingup-sparse",), ("hopper-stand",)
TASKS = ("walker-run", "hopper-stand", "cartpole-swingup-sparse")  # of sweeps/small.yaml


class Comparison(NamedTuple):
    """Two agents on some tasks; the claim says that the first has more."""

    first: Agent
    second: Agent
    tasks: tuple[str, ...] = TASKS
    matching: bool = False  # whether the claim holds if the first has no less, but for `MARGIN`


class Claim(NamedTuple):
    """What the paper says, and what of the runs tells."""

    title: str
    sentence: str
    source: str
    comparisons: tuple[Comparison, ...]
    measure: str = "area"  # what is compared: a key of `pompc.figures.evidence.MEASURES`


CLAIMS = {
    "C1": Claim(
        "does KL regularisation help?",
        "λ > 0 is more sample efficient than λ = 0 and than TD-MPC2.",
        "Figures 2 and 5, Table 1",
        tuple(Comparison(agent, other) for other in (_NONE, _TDMPC2) for agent in _WEIGHTS),
    ),
    "C2": Claim(
        "is an intermediate λ ever worse than BMPC?",
        "Intermediate λ is never worse than BMPC (λ = ∞ on replayed planners).",
        "Section 5.1, Figure 2",
        tuple(Comparison(agent, _BMPC, matching=True) for agent in _WEIGHTS),
    ),
    "C3": Claim(
        "learned prior or replayed planners?",
        "The learned prior matches or beats replayed planners.",
        "Figures 3 and 6",
        (Comparison(_LEARNED, _REPLAY, matching=True),),
    ),
    "C4": Claim(
        "which direction of the KL, and where?",
        "A prior trained by forward KL helps where exploration decides, one trained by reverse KL "
        "where precision does.",
        "Figures 4 and 8",
        (
            Comparison(_FORWARD, _LEARNED, _EXPLORATION),
            Comparison(_LEARNED, _FORWARD, _PRECISION),
        ),
    ),
    "C5": Claim(
        "the size of the KL term",
        "Mean and standard deviation of the KL term are larger with replayed planners than with "
        "the learned prior.",
        "Figure 7",
        (Comparison(_REPLAY, _LEARNED),),
        measure="kl",
    ),
}
