"""The losses of the paper, one short function for each numbered equation.

Axes: `H` horizon, `B` batch, `E` ensemble, `A` action. Targets, scales and the latents that
policies train on arrive with their gradients stopped. Gaussians are in action space, except a
`squashed` policy's: that one is before the tanh.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm.loss_weights import Hypers
from pompc.algorithm.maths import (
    Bins,
    Gaussian,
    Mixture,
    kl_divergence,
    log_likelihood,
    mixture_divergence,
    two_hot_cross_entropy,
)
from pompc.settings.config import Config

Metrics = dict[str, Array]

BUDGET_LIMITS = 1e-3, 1e2  # of λ from a budget: before Q is learned its slope says nothing


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


def masked_mean_and_std(values: Array, mask: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of `[H, B]` where `mask` is 1."""
    mean = masked_mean(values, mask)
    return mean, jnp.sqrt(masked_mean(jnp.square(values - mean), mask))


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


def value_slope(gradient: Array, std: Array) -> Array:
    r"""Return $\sum_a \sigma_p^2 (\partial Q / \partial a)^2$ `[...]`, of which g is the mean.

    Both `[..., A]`: the gradient of Q at the policy's mean, the standard deviation of the prior.
    """
    return jnp.sum(jnp.square(std * gradient), axis=-1)


def budgeted(hypers: Hypers, value_slope: Array, kl: Array, value: Array, actions: int) -> Hypers:
    r"""Return the weights whose λ lets the policy use a KL of ε nats an action dimension.

    For a Q that is linear about the prior's mean, the policy that maximises Q - c KL[π_s ‖ π_p] has
    a KL of g / (2 c²), which is ε A at the price $c = \sqrt{g / (2 ε A)}$, in return a nat. In
    Eq. (18), where both terms are divided by their scales, that is λ = c max(1, S_KL) / max(1, S_Q)
    within [0.001, 100]; Eq. (17) subtracts c KL: the same price now and later.

    Args:
        hypers: the weights of one agent; `kl_budget` is ε.
        value_slope: g, the running mean of `value_slope`.
        kl: the scale S_KL.
        value: the scale S_Q.
        actions: A, the number of action dimensions.
    """
    kl, value = jnp.maximum(1.0, kl), jnp.maximum(1.0, value)
    price = jnp.sqrt(value_slope / (2.0 * hypers.kl_budget * actions))
    lam = jnp.clip(price * kl / value, *BUDGET_LIMITS)
    taxed = hypers.kl_target_weight > 0
    return hypers._replace(kl_weight=lam, kl_target_weight=jnp.where(taxed, lam * value, 0.0))


def prior_loss(prior: Gaussian | Mixture, planner: Gaussian, forward: Array) -> Array:
    """Return KL[prior ‖ planner] (Eq. 12), or KL[planner ‖ prior] (Eq. 13) where `forward`.

    Not yet divided by max(1, S_p); `[H, B]` for Gaussians `[H, B, A]`. Of a mixture it is a bound
    of Eq. (13).
    """
    if isinstance(prior, Mixture):
        return mixture_divergence(planner, prior)
    return jnp.where(forward > 0, kl_divergence(planner, prior), kl_divergence(prior, planner))


class PolicyTerms(NamedTuple):
    """What the policy's loss weighs, `[H, B]`, scaled; 0 where an agent has no such term."""

    kl: Array  # KL[π_s ‖ π_p] / max(1, S_KL)
    value: Array  # Q / max(1, S_Q)
    entropy: Array  # of π_s
    cross_entropy: Array  # of `sampled_cross_entropy`
    cloning: Array  # return-weighted log π_s of the stored action
    alignment: Array  # of `alignment`


def weighted(terms: PolicyTerms, hypers: Hypers) -> PolicyTerms:
    r"""Return the terms of the loss of the sampling policy, Eq. (18), `[H, B]` each.

    $$\lambda\, \mathrm{KL} / \max(1, S_{KL}) - Q^\lambda / \max(1, S_Q) - \alpha\, \mathcal H$$

    λ = inf leaves the KL term, in `bmpc` the entropy too. Eq. (34) adds β CE[π_s, π_p] instead of
    the KL, Eq. (43) subtracts the weighted log-likelihood of stored actions, and BOOM adds its
    alignment.
    """
    return PolicyTerms(
        hypers.kl_weight * terms.kl,
        -hypers.value_weight * terms.value,
        -hypers.entropy_weight * terms.entropy,
        hypers.cross_entropy_weight * terms.cross_entropy,
        -hypers.cloning_weight * terms.cloning,
        hypers.alignment_weight * terms.alignment,
    )


def policy_loss(terms: PolicyTerms, hypers: Hypers) -> Array:
    """Return the loss of the sampling policy, Eq. (18), `[H, B]`."""
    return sum(weighted(terms, hypers), start=jnp.zeros_like(terms.kl))


def sampled_cross_entropy(
    action: Array, planner: Gaussian, value_scale: Array, divisor: float = 61.0
) -> Array:
    r"""Return $-A^2 \log \pi_P(a) / (61 S_Q)$ of the policy's sample; 0 while S_Q is at most 2.

    Eq. (34) as TD-M(PC)²'s code has it (tdmpc_square_public, d1c2632): one sample of CE[π_s, π_P],
    `[...]` for actions `[..., A]`. A humanoid with hands has 61 action dimensions: its `divisor`.
    """
    count = action.shape[-1]
    scaled = log_likelihood(planner, action) * count**2 / divisor / jnp.maximum(1.0, value_scale)
    return jnp.where(value_scale > 2.0, -scaled, 0.0)


def alignment(
    action: Array, mean: Array, std: Array, value: Array, value_scale: Array, mask: Array
) -> Array:
    r"""Return BOOM's alignment of the policy's sample with the planner, whose mean over B counts.

    $$-\frac{\kappa A^2}{S_Q} \sum_b \frac{e^{Q_b / S_Q}}{\sum_j e^{Q_j / S_Q}}
    \log \mathcal N(a_b; \bar a_b, \mathrm{sg}[\sigma_b]^2)$$

    0 while S_Q is at most 2. Only the action has a gradient: neither the weights nor the standard
    deviation, the policy's own. $\kappa$ is 1/50, and 1/1000 for 24 to 48 action dimensions.
    Zhan et al. (2025), as their code has it (BOOM_MBRL, b3b2f09).

    Args:
        action: the policy's sample `[H, B, A]`.
        mean: of the stored planner, `[H, B, A]`.
        std: of the policy, `[H, B, A]`.
        value: Q / max(1, S_Q) of the sample, `[H, B]`.
        value_scale: S_Q.
        mask: 0 past the end of an episode, `[H, B]`.
    """
    values = jnp.where(mask > 0, jax.lax.stop_gradient(value), -1e9)  # finite: all may have ended
    weights = value.shape[-1] * jax.nn.softmax(values, axis=-1)
    divisor = 1000.0 if 24 <= action.shape[-1] <= 48 else 50.0
    around = Gaussian(mean, jax.lax.stop_gradient(std))
    return weights * sampled_cross_entropy(action, around, value_scale, divisor)


def cloning_weights(returns: Array, best: Array) -> Array:
    r"""Return $\exp((R - G) / |G|)$ of Eq. (43) `[...]`; 0 where the episode has not ended (NaN).

    `best` is G, here the best return of an episode so far; where |G| < 1 it is divided by 1.
    """
    weights = jnp.exp((returns - best) / jnp.maximum(1.0, jnp.abs(best)))
    return jnp.where(jnp.isnan(returns), 0.0, weights)
