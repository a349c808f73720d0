"""The losses of the paper, one short function for each numbered equation.

Axes: `H` horizon, `B` batch, `E` ensemble, `A` action. Targets, scales and the latents that
policies train on arrive with their gradients stopped. Gaussians are in action space, except a
`squashed` policy's: that one is before the tanh.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from pompc.algorithm.loss_weights import Hypers
from pompc.algorithm.maths import Bins, Gaussian, kl_divergence, two_hot_cross_entropy
from pompc.settings.config import Config

Metrics = dict[str, Array]


def discounted_mean(
    losses: Array, mask: Array, time_discount: float, time_weights: str = "horizon"
) -> Array:
    r"""Reduce `[H, B]` to a scalar, $\sum_t \rho^t / H$ over the batch mean.

    `mask [H, B]` is 0 where a sequence has run past the end of its episode. With `time_weights`
    "sum" the weights are divided by their sum instead of H.
    """
    weights = time_discount ** jnp.arange(losses.shape[0])
    weights /= jnp.sum(weights) if time_weights == "sum" else losses.shape[0]
    return jnp.sum(weights[:, None] * mask * losses) / losses.shape[1]


def over_time(config: Config, values: Array, mask: Array) -> Array:
    """Return the loss of terms `[H, B]`, weighted over time as the configuration says."""
    return discounted_mean(values, mask, config.time_discount, config.time_weights)


def masked_mean(values: Array, mask: Array, at_least: float = 0.0) -> Array:
    """Return the mean of `[H, B]` where `mask` is 1, of `at_least` so many values."""
    return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), at_least)


def consistency_loss(predicted: Array, encoded: Array) -> Array:
    """Return the mean squared error `[H, B]` of latents `[H, B, Z]` (TD-MPC2, Eq. 3 there)."""
    return jnp.mean(jnp.square(predicted - encoded), axis=-1)


def value_loss(logits: Array, target: Array, bins: Bins) -> Array:
    """Return CE(Q, target) `[H, B]` of one head's logits `[H, B, bins]`, Eq. (14) and (16)."""
    return two_hot_cross_entropy(logits, target, bins)


def td_target(reward: Array, alive: Array, next_value: Array, discount: float) -> Array:
    r"""Return the TD target of Eq. (15), $r + \gamma\, Q(z', \tilde a)$.

    `alive` is 0 after a termination: no bootstrap there. All arguments `[H, B]`.
    """
    return reward + discount * alive * next_value


def kl_td_target(
    reward: Array, alive: Array, next_value: Array, kl: Array, discount: float
) -> Array:
    r"""Return the TD target of Eq. (17), $r + \gamma (Q^\lambda(z', \tilde a) - \mathrm{KL})$.

    `kl [H, B]` is already weighted: λ KL[π_s(z') ‖ π_p(z')] / max(1, S_KL).
    """
    return reward + discount * alive * (next_value - kl)


def model_step_target(reward: Array, next_value: Array, discount: float) -> Array:
    r"""Return BMPC's target of a state value, $\hat r + \gamma\, V(\hat z')$, `[H, B]`.

    Reward and next latent are the model's, at an action of the policy.
    """
    return reward + discount * next_value


def prior_loss(prior: Gaussian, planner: Gaussian, forward: Array) -> Array:
    """Return KL[prior ‖ planner] (Eq. 12), or KL[planner ‖ prior] (Eq. 13) where `forward`.

    Not yet divided by max(1, S_p); `[H, B]` for Gaussians `[H, B, A]`.
    """
    return jnp.where(forward > 0, kl_divergence(planner, prior), kl_divergence(prior, planner))


class PolicyTerms(NamedTuple):
    """What the policy's loss weighs, `[H, B]`, scaled; 0 where an agent has no such term."""

    kl: Array  # KL[π_s ‖ π_p] / max(1, S_KL)
    value: Array  # Q / max(1, S_Q)
    entropy: Array  # of π_s
    cross_entropy: Array  # CE[π_s, π_p] / max(1, S_KL)
    cloning: Array  # return-weighted log π_s of the stored action


def policy_loss(terms: PolicyTerms, hypers: Hypers) -> Array:
    r"""Return the loss of the sampling policy, Eq. (18), `[H, B]`.

    $$\lambda\, \mathrm{KL} / \max(1, S_{KL}) - Q^\lambda / \max(1, S_Q) - \alpha\, \mathcal H$$

    λ = inf leaves the KL term, in `bmpc` the entropy too. Eq. (34) adds β CE[π_s, π_p] instead of
    the KL, Eq. (43) subtracts the weighted log-likelihood of stored actions.
    """
    return (
        hypers.kl_weight * terms.kl
        - hypers.value_weight * terms.value
        - hypers.entropy_weight * terms.entropy
        + hypers.cross_entropy_weight * terms.cross_entropy
        - hypers.cloning_weight * terms.cloning
    )


def cloning_weights(returns: Array, best: Array) -> Array:
    r"""Return $\exp((R - G) / |G|)$ of Eq. (43) `[...]`; 0 where the episode has not ended (NaN).

    `best` is G, here the best return of an episode so far; where |G| < 1 it is divided by 1.
    """
    weights = jnp.exp((returns - best) / jnp.maximum(1.0, jnp.abs(best)))
    return jnp.where(jnp.isnan(returns), 0.0, weights)
