"""Model predictive path integral control (MPPI), Eq. (10) and (11), for one state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm.maths import Gaussian
from pompc.settings.config import Config


class PlanningModel(NamedTuple):
    """All that the planner knows of the world; leading axes broadcast."""

    step: Callable[[Array, Array], tuple[Array, Array]]  # latent, action -> reward, next latent
    act: Callable[[Array, Array], Array]  # latent, standard normal noise -> action of π_s
    value: Callable[[Array, Array], Array]  # latent, action -> Q^π_s


class PlanNoise(NamedTuple):
    """All randomness of one plan, standard normal."""

    policy: Array  # [H, policy samples, A]
    samples: Array  # [iterations, H, other samples, A]
    terminal: Array  # [N, A]: of the policy's action at z_H, one for each trajectory


class Plan(NamedTuple):
    """What planning leaves: the Gaussian action sequence and the last iteration's elites."""

    mean: Array  # [H, A]
    std: Array  # [H, A]
    elites: Array  # [H, K, A], in descending order of value
    weights: Array  # [K]
    from_policy: Array  # share of the elites that the policy proposed

    def first(self) -> Gaussian:
        """Return the planning policy π_P = N(mean_0, std_0²)."""
        return Gaussian(self.mean[0], self.std[0])


def stored_policy(plan: Plan, key: Array, clone_mean: str) -> Gaussian:
    """Return what is stored as the planning policy: `first`, or around the elite drawn with key."""
    return Gaussian(draw_elite(plan, key), plan.std[0]) if clone_mean == "elite" else plan.first()


def draw_noise(key: Array, action_dim: int, config: Config) -> PlanNoise:
    """Draw the noise of one plan."""
    policy, samples, terminal = jax.random.split(key, 3)
    sampled = config.plan_samples - config.policy_samples
    steps = config.mppi_iterations, config.horizon
    return PlanNoise(
        jax.random.normal(policy, (config.horizon, config.policy_samples, action_dim)),
        jax.random.normal(samples, (*steps, sampled, action_dim)),
        jax.random.normal(terminal, (config.plan_samples, action_dim)),
    )


def policy_actions(model: PlanningModel, latent: Array, noise: Array) -> Array:
    """Roll the sampling policy through the model from `[Z]`: actions like noise, `[H, N, A]`."""
    latent, actions = latent[None], []
    for step_noise in noise:
        actions.append(model.act(latent, step_noise))
        _, latent = model.step(latent, actions[-1])
    return jnp.stack(actions)


def trajectory_values(
    model: PlanningModel, latent: Array, actions: Array, terminal_noise: Array, discount: float
) -> Array:
    r"""Estimate the return of action sequences, Eq. (10).

    $$\hat Q = \sum_{t=0}^{H-1} \gamma^t r(z_t, a_t) + \gamma^H Q(z_H, a_H), \quad a_H \sim \pi_s$$

    There is no termination model: imagined trajectories never end early, as in TD-MPC2's default.

    Args:
        model: functions of the world model.
        latent: start of all trajectories, `[Z]`.
        actions: `[H, N, A]`, in [-1, 1].
        terminal_noise: `[N, A]`, of the policy's action at z_H.
        discount: γ, a decision.

    Returns:
        Values `[N]`, in units of return.
    """
    # One latent for all trajectories: networks multiply it once, not N times, at the first step.
    value, weight, latent = jnp.zeros(actions.shape[1]), 1.0, latent[None]
    for action in actions:
        reward, latent = model.step(latent, action)
        value += weight * reward
        weight *= discount
    return value + weight * model.value(latent, model.act(latent, terminal_noise))


def refine(actions: Array, values: Array, config: Config) -> Plan:
    r"""Update the Gaussian from the K best trajectories, Eq. (11).

    Weights are $w_i \propto \exp(\hat Q_i / \beta)$ over the elites; mean and standard deviation
    are the weighted ones of the elites, the latter clipped to [min_plan_std, max_plan_std].

    Args:
        actions: `[H, N, A]`.
        values: `[N]`.
        config: number of elites, temperature β, bounds of the standard deviation.
    """
    elite_values, chosen = jax.lax.top_k(values, config.elites)
    elites = jnp.take(actions, chosen, axis=1)
    weights = jax.nn.softmax(elite_values / config.temperature)
    average = partial(jnp.einsum, "k,hka->ha", weights, precision="highest")  # TF32 is for networks
    mean = average(elites)
    variance = average(jnp.square(elites - mean[:, None]))
    std = jnp.clip(jnp.sqrt(variance), config.min_plan_std, config.max_plan_std)
    # The policy's trajectories come first.
    from_policy = jnp.mean(chosen < config.policy_samples, dtype=jnp.float32)
    return Plan(mean, std, elites, weights, from_policy)


def plan(
    model: PlanningModel, latent: Array, previous_mean: Array, noise: PlanNoise, config: Config
) -> Plan:
    """Plan from one latent `[Z]` (Appendix B.1).

    The mean starts at the previous plan's `[H, A]`, shifted by one decision (zeros at the start of
    an episode), the standard deviation at its maximum. The policy's trajectories do not change
    between iterations, so that their values are computed once.
    """
    # Algorithm 1: n_πs trajectories of the sampling policy compete in every iteration.
    from_policy = policy_actions(model, latent, noise.policy)
    split = config.policy_samples
    policy_noise, sample_noise = noise.terminal[:split], noise.terminal[split:]
    policy_values = trajectory_values(model, latent, from_policy, policy_noise, config.discount)

    def iteration(current: Gaussian, step_noise: Array) -> tuple[Gaussian, Plan]:
        # The other trajectories are drawn around the plan, valued by Eq. (10), and the best of
        # all, the policy's included, make the next plan by Eq. (11).
        sampled = current.mean[:, None] + current.std[:, None] * step_noise
        sampled = jnp.clip(sampled, -1.0, 1.0)
        values = trajectory_values(model, latent, sampled, sample_noise, config.discount)
        actions = jnp.concatenate([from_policy, sampled], axis=1)
        refined = refine(actions, jnp.concatenate([policy_values, values]), config)
        return Gaussian(refined.mean, refined.std), refined

    # Warm start: the previous plan with its executed first action dropped.
    shifted = jnp.roll(previous_mean, -1, axis=0).at[-1].set(0.0)
    start = Gaussian(shifted, jnp.full_like(shifted, config.max_plan_std))
    _, plans = jax.lax.scan(iteration, start, noise.samples)
    return jax.tree.map(lambda leaf: leaf[-1], plans)


def draw_elite(plan: Plan, key: Array) -> Array:
    """Draw one of the elites by its weight; return its first action `[A]`."""
    elite_key, _ = jax.random.split(key)
    return plan.elites[0, jax.random.categorical(elite_key, jnp.log(plan.weights))]


def choose_action(plan: Plan, key: Array, how: str, explore: bool) -> Array:
    """Choose the action `[A]` to execute.

    `elite` draws a trajectory by its weight and adds noise of the plan's std when exploring;
    `gaussian` draws from N(mean_0, std_0²) (Algorithm 1); `mean` is the plan's mean.
    """
    action, std = draw_elite(plan, key) if how == "elite" else plan.mean[0], plan.std[0]
    if explore:
        _, noise_key = jax.random.split(key)
        action += std * jax.random.normal(noise_key, action.shape)
    return jnp.clip(action, -1.0, 1.0)
