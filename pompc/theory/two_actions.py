r"""A state with two good actions: what each prior makes of its plans, and each policy of its prior.

One state, one action in [-1, 1], and a reward with two equal peaks. MPPI settles on one of them by
chance, so that a replay buffer holds plans at both. Priors are fitted to these plans by Eq. (12),
by Eq. (13) and by its bound for a mixture; then a policy by Eq. (18) with scales of 1, no entropy.
Here the Gaussians are not a network's: what they miss is the loss's doing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax import Array
from scipy.stats import norm

from pompc.algorithm import losses, maths, planner
from pompc.algorithm.maths import Gaussian, Mixture
from pompc.settings.config import Config

PRIORS = ("reverse_kl", "forward_kl", "mixture")
PEAK, WIDTH = 0.6, 0.15
RETURN = 200.0  # of the best action: values of a task are as large beside the temperature 1
COMPONENTS = 4
_NOISE = norm.ppf((np.arange(64) + 0.5) / 64)[:, None]  # quantiles stand for samples


class Fit(NamedTuple):
    """A prior, and a policy for each of `L` weights λ with the rewards that they expect."""

    prior: Gaussian | Mixture  # [1, A], or [1, K, A]
    policies: Gaussian  # [L, 1, A]
    rewards: np.ndarray  # [L]


def reward(action: Array) -> Array:
    """Return the reward `[...]` of actions `[..., 1]`: 1 at both peaks, nearly 0 between them."""
    distance = (jnp.abs(action[..., 0]) - PEAK) / WIDTH
    return jnp.exp(-0.5 * jnp.square(distance))


def plans(count: int, seed: int = 0) -> Gaussian:
    """Return cold plans `[count, 1]` of MPPI, with the paper's eight iterations."""
    config = Config(preset="laptop", horizon=1, mppi_iterations=8)
    model = planner.PlanningModel(
        step=lambda latent, action: (RETURN * reward(action), latent),
        act=lambda _, noise: jnp.clip(0.5 * noise, -1.0, 1.0),
        value=lambda _, action: jnp.zeros(action.shape[:-1]),
    )

    def one(key: Array) -> Gaussian:
        noise = planner.draw_noise(key, 1, config)
        return planner.plan(model, jnp.zeros(1), jnp.zeros((1, 1)), noise, config).first()

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.PRNGKey(seed), count))


def fit(kind: str, planners: Gaussian, weights: Sequence[float]) -> Fit:
    """Fit one of `PRIORS` to plans `[K, 1]`, and a policy to it for each λ."""
    prior = _fit_prior(kind, planners)
    policies = jax.jit(jax.vmap(partial(_fit_policy, prior)))(jnp.asarray(weights))
    return Fit(prior, policies, np.asarray(jax.vmap(expected_reward)(policies)))


def expected_reward(policy: Gaussian) -> Array:
    """Return the mean reward of a policy's clipped actions, `[1, 1]` each of mean and std."""
    return jnp.mean(reward(maths.clip_action(policy.mean + policy.std * _NOISE)))


def _fit_prior(kind: str, planners: Gaussian) -> Gaussian | Mixture:
    """Minimise the mean of Eq. (12), Eq. (13) or its bound over the plans."""
    shape = (1, COMPONENTS, 1) if kind == "mixture" else (1, 1)
    spread = 0.3 * jax.random.normal(jax.random.PRNGKey(0), shape)
    start = jnp.zeros(shape[:-1]), spread, jnp.full(shape, math.log(0.3))

    def build(numbers: tuple[Array, Array, Array]) -> Gaussian | Mixture:
        logits, mean, log_std = numbers
        gaussian = Gaussian(mean, jnp.exp(log_std))
        return Mixture(jax.nn.log_softmax(logits), *gaussian) if kind == "mixture" else gaussian

    def loss(numbers: tuple[Array, Array, Array]) -> Array:
        forward = jnp.float32(kind == "forward_kl")
        return jnp.mean(losses.prior_loss(build(numbers), planners, forward))

    return build(jax.jit(partial(_descend, loss))(start))


def _fit_policy(prior: Gaussian | Mixture, weight: Array) -> Gaussian:
    """Minimise λ KL - E[reward] from a policy that is wide, and a little right of the middle."""
    kl = maths.mixture_divergence if isinstance(prior, Mixture) else maths.kl_divergence

    def loss(numbers: tuple[Array, Array]) -> Array:
        policy = Gaussian(numbers[0], jnp.exp(numbers[1]))
        return jnp.sum(weight * kl(policy, prior)) - expected_reward(policy)  # pyright: ignore

    mean, log_std = _descend(loss, (jnp.full((1, 1), 0.05), jnp.full((1, 1), math.log(0.3))))
    return Gaussian(mean, jnp.exp(log_std))


def _descend(loss: Callable[[Any], Array], start: Any, steps: int = 2000) -> Any:
    """Return where Adam ends."""
    adam = optax.adam(1e-2)

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        numbers, moments = carry
        updates, moments = adam.update(jax.grad(loss)(numbers), moments)
        return (optax.apply_updates(numbers, updates), moments), None

    (found, _), _ = jax.lax.scan(step, (start, adam.init(start)), length=steps)
    return found


def density(prior: Gaussian | Mixture, actions: np.ndarray) -> np.ndarray:
    """Return the density `[G]` of a Gaussian `[1, 1]` or a mixture `[1, K, 1]` at actions `[G]`."""
    places = jnp.asarray(actions)[:, None]
    if isinstance(prior, Gaussian):
        return np.exp(maths.log_likelihood(prior, places))
    components = Gaussian(prior.mean, prior.std)
    logs = prior.log_weight + maths.log_likelihood(components, places[:, None])
    return np.asarray(jnp.sum(jnp.exp(logs), axis=-1))


def rewards(fits: Mapping[str, Fit], weights: Sequence[float]) -> pd.DataFrame:
    """Return the expected reward of each policy: a row a prior, a column a λ."""
    columns = [f"λ = {weight:g}" for weight in weights]
    table = pd.DataFrame({kind: found.rewards for kind, found in fits.items()}, index=columns)
    return table.T.rename_axis("prior").round(2)


def curves(
    planners: Gaussian, fits: Mapping[str, Fit], weights: Sequence[float], actions: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Return densities `[G]` at actions `[G]`: of the plans, of each prior, of its policies."""
    count = len(planners.mean)
    shares = jnp.full((1, count), -math.log(count))
    plans_density = density(Mixture(shares, planners.mean[None], planners.std[None]), actions)
    found = {}
    for kind, one in fits.items():
        lines = {"stored plans": plans_density, "prior": density(one.prior, actions)}
        for index, weight in enumerate(weights):
            policy = jax.tree.map(lambda leaf, i=index: leaf[i], one.policies)
            lines[f"policy, λ = {weight:g}"] = density(policy, actions)
        found[kind.replace("_kl", " KL")] = lines
    return found
