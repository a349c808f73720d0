"""The table of methods: each is a point of `Hypers`, never a fork of the code."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

PRIORS = {
    "reverse_kl": "learned prior, Eq. (12): KL[prior || planner], mode seeking",
    "forward_kl": "learned prior, Eq. (13): KL[planner || prior], covering",
    "replay": "the planner statistics stored in the replay buffer, no learned prior",
}
METHODS = {
    "pompc": "PO-MPC (Eq. 12-18); λ = 0 has TD-MPC2's objective, λ = inf with `replay` BMPC's",
}


class Hypers(NamedTuple):
    """What makes a method, as float32 scalars, so that agents that differ share one program."""

    kl_weight: Array  # λ in Eq. (18); 1 where λ = inf, which drops the other terms
    kl_target_weight: Array  # λ in Eq. (17); 0 where λ = inf, never inf · 0
    value_weight: Array  # of Q^λ in Eq. (18); 0 where λ = inf
    entropy_weight: Array  # α in Eq. (18); 0 where λ = inf
    forward_kl: Array  # 1: Eq. (13) trains the prior; 0: Eq. (12)
    replay_prior: Array  # 1: π_p is the stored planner; 0: the learned prior


class Parts(NamedTuple):
    """What a program must contain; what an agent does not use costs nothing."""

    prior: bool  # the learned prior π_θp
    kl_value: bool  # the KL-regularised ensemble Q^λ and its target
    reanalyse: bool  # planner statistics are read, so they must be kept fresh


def hypers(lam: float, prior: str, entropy_coef: float) -> Hypers:
    """Return the point of the PO-MPC family with KL weight `lam` (λ) and prior `prior`."""
    finite = not math.isinf(lam)
    return Hypers(
        kl_weight=jnp.float32(lam if finite else 1.0),
        kl_target_weight=jnp.float32(lam if finite else 0.0),
        value_weight=jnp.float32(finite),
        entropy_weight=jnp.float32(entropy_coef if finite else 0.0),
        forward_kl=jnp.float32(prior == "forward_kl"),
        replay_prior=jnp.float32(prior == "replay"),
    )


def parts(lam: float, prior: str) -> Parts:
    """Return what the agent needs: λ = 0 reads no prior, λ = inf no Q^λ."""
    return Parts(
        prior=lam > 0 and prior != "replay",
        kl_value=0 < lam < math.inf,
        reanalyse=lam > 0,
    )
