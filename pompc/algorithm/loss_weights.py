"""What a method is to a program: weights as arrays, and the parts that it needs."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pompc.settings.config import Config


class Hypers(NamedTuple):
    """What makes a method, as float32 scalars, so that agents that differ share one program."""

    kl_weight: Array  # λ in Eq. (18); 1 where λ = inf, which drops the other terms
    kl_target_weight: Array  # λ in Eq. (17), or 0; where λ = inf 0 as well, never inf · 0
    value_weight: Array  # of Q^λ in Eq. (18); 0 where λ = inf
    entropy_weight: Array  # α in Eq. (18) and (34); 0 where λ = inf, but for `bmpc`
    cross_entropy_weight: Array  # β in Eq. (34)
    cloning_weight: Array  # of Eq. (43)
    forward_kl: Array  # 1: Eq. (13) trains the prior; 0: Eq. (12)
    replay_prior: Array  # 1: π_p is the stored planner; 0: the learned prior
    prior_rate: Array  # step of the prior's running average
    kl_budget: Array  # ε, nats an action dimension; `budgeted` makes λ of it
    alignment_weight: Array  # of `losses.alignment`


class Parts(NamedTuple):
    """What a program must contain; what an agent does not use costs nothing."""

    prior: bool  # the learned prior π_θp
    components: int  # Gaussians of its mixture; 0: it is one Gaussian
    prior_average: bool  # the policy reads a running average of its weights
    budget: bool  # λ follows from a budget
    kl_value: bool  # the KL-regularised ensemble Q^λ and its target
    kl: bool  # the policy reads a prior's KL
    cross_entropy: bool  # or what Eq. (34) has in its place
    alignment: bool  # or BOOM's likelihood around its mean
    reanalyse: str  # stored plans are kept fresh: "before" or "after" the model's step, or ""
    policy: bool  # the sampling policy is trained
    value: bool  # it climbs a value
    cloning: bool  # stored actions are cloned by the return of their episode
    imagined: str  # Q learns on plans: those "reanalysed", or those of "acting", or ""

    @property
    def reference(self) -> bool:
        """Whether the policy's loss reads π_p."""
        return self.kl or self.cross_entropy or self.alignment


def hypers(config: Config) -> Hypers:
    """Return the weights of one agent's losses."""
    finite = not math.isinf(config.lam)
    has_entropy = finite or config.entropy_at_infinity
    return Hypers(
        kl_weight=jnp.float32(config.lam if finite else 1.0),
        kl_target_weight=jnp.float32(config.lam if finite and config.kl_in_target else 0.0),
        value_weight=jnp.float32(finite),
        entropy_weight=jnp.float32(config.entropy_coef if has_entropy else 0.0),
        cross_entropy_weight=jnp.float32(config.cross_entropy_coef),
        cloning_weight=jnp.float32(config.cloning_coef),
        forward_kl=jnp.float32(config.prior == "forward_kl"),
        replay_prior=jnp.float32(config.prior == "replay"),
        prior_rate=jnp.float32(config.prior_rate),
        kl_budget=jnp.float32(config.kl_budget),
        alignment_weight=jnp.float32(config.alignment_coef),
    )


def parts(config: Config) -> Parts:
    """Return what one agent needs: λ = 0 reads no prior, λ = inf no Q^λ.

    Without the KL in its target Q^λ would be a second Q^π_s, so that there is none.
    """
    cross_entropy, alignment = config.cross_entropy_coef > 0, config.alignment_coef > 0
    learned = (config.lam > 0 or cross_entropy or alignment) and config.prior != "replay"
    return Parts(
        prior=learned,
        components=config.prior_components if learned and config.prior == "mixture" else 0,
        prior_average=learned and config.prior_rate < 1,
        budget=config.kl_budget > 0,
        kl_value=0 < config.lam < math.inf and config.kl_in_target,
        kl=config.lam > 0,
        cross_entropy=cross_entropy,
        alignment=alignment,
        reanalyse=config.reanalyse_order if config.lam > 0 else "",
        policy=True,
        value=config.lam < math.inf,
        cloning=config.cloning_coef > 0,
        imagined=_imagined(config),
    )


def _imagined(config: Config) -> str:
    """Return which plans Q learns on: without λ nothing is reanalysed."""
    if config.imagined_value_coef == 0:
        return ""
    return "reanalysed" if config.lam > 0 else "acting"


def pretraining(needed: Parts, config: Config) -> Parts:
    """Return the parts that train at the end of seeding: model and Q^π_s (B.4).

    Two published methods do more there: TD-MPC2 trains its policy too, `bmpc-jax` reanalyses.
    """
    after = "after" if needed.reanalyse == "after" else ""
    needed = needed._replace(reanalyse=after, imagined="")  # nothing was planned yet
    if config.pretrain_policy:
        return needed
    return needed._replace(prior=False, kl_value=False, kl=False, policy=False)
