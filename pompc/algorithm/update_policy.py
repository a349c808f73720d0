"""The steps of the learned prior and of the sampling policy, and the KL between them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pompc.algorithm import losses
from pompc.algorithm.agent import AgentState, Scales
from pompc.algorithm.loss_weights import Hypers, Parts
from pompc.algorithm.losses import Metrics, PolicyTerms, masked_mean, masked_mean_and_std
from pompc.algorithm.maths import (
    Gaussian,
    Mixture,
    entropy,
    log_likelihood,
    running,
    squash_log_slope,
    update_scale,
)
from pompc.algorithm.networks import Params
from pompc.algorithm.optimizers import follow, optimizer_step, policy_optimizer
from pompc.algorithm.replay import Batch
from pompc.algorithm.rollout import Rollout
from pompc.algorithm.world_model import ModelParams, WorldModel


class PolicySample(NamedTuple):
    """The sampling policy at latents `[H, B, Z]` and the value of a sample from it."""

    gaussian: Gaussian  # [H, B, A]
    action: Array  # [H, B, A]
    value: Array  # [H, B]
    log_slope: Array  # [H, B]: Σ log(1 - a²) by option, or 0


def reference_policy(
    world: WorldModel, state: AgentState, latents: Array, planner: Gaussian
) -> Gaussian | Mixture:
    """Return π_p at latents `[H, B, Z]`: the learned prior, or the planner stored with each."""
    if state.prior is None:
        return planner
    weights = state.prior if state.prior_average is None else state.prior_average
    learned = world.learned_prior(weights, latents)
    if isinstance(learned, Mixture):
        return learned
    replayed = state.hypers.replay_prior > 0
    return jax.tree.map(lambda old, new: jnp.where(replayed, old, new), planner, learned)


def policy_kl(world: WorldModel, state: AgentState, latents: Array, planner: Gaussian) -> Array:
    """Return the raw KL[π_s ‖ π_p] `[H, B]`, in nats."""
    reference = reference_policy(world, state, latents, planner)
    return world.divergence(world.policy(state.policy, latents), reference)


def scaled(values: Array, scale: Array) -> Array:
    """Return values / max(1, S)."""
    return values / jnp.maximum(1.0, scale)


def step_prior(
    world: WorldModel, state: AgentState, batch: Batch, rollout: Rollout, planner: Gaussian
) -> tuple[AgentState, Metrics]:
    """Fit the learned prior to the planner `[H, B, A]`, Eq. (12) or (13); update S_p."""
    config = world.config

    def divergence(prior: Params) -> Array:
        fitted = world.learned_prior(prior, rollout.latents[:-1])
        return losses.prior_loss(fitted, planner, state.hypers.forward_kl)

    # S_p is measured before the step: the loss divides by a constant.
    scale = update_scale(state.scales.prior, divergence(state.prior)[0], config.scale_rate)

    def loss(prior: Params) -> tuple[Array, Array]:
        raw = divergence(prior)
        return losses.over_time(world.config, scaled(raw, scale), batch.mask), raw

    (value, raw), gradient = jax.value_and_grad(loss, has_aux=True)(state.prior)
    prior, optimizer = optimizer_step(
        policy_optimizer(config), gradient, state.optimizers.prior, state.prior
    )
    average = state.prior_average
    if average is not None:
        average = follow(average, prior, state.hypers.prior_rate)
    metrics = {
        "prior_loss": value,
        "prior_kl": masked_mean(raw, batch.mask),
        "scale_prior": scale,
    }
    fitted = world.learned_prior(state.prior, rollout.latents[:-1])
    if isinstance(fitted, Mixture):
        metrics["prior_modes"] = masked_mean(fitted.modes(), batch.mask)
    return state._replace(
        prior=prior,
        prior_average=average,
        optimizers=state.optimizers._replace(prior=optimizer),
        scales=state.scales._replace(prior=scale),
    ), metrics


def step_kl_scale(
    world: WorldModel, state: AgentState, batch: Batch, rollout: Rollout, planner: Gaussian
) -> tuple[AgentState, Metrics]:
    """Update S_KL, once an update: the same one serves Eq. (17) and (18)."""
    kl = policy_kl(world, state, rollout.latents[:-1], planner)
    scale = update_scale(state.scales.kl, kl[0], world.config.scale_rate)
    mean, spread = masked_mean_and_std(kl, batch.mask)
    state = state._replace(scales=state.scales._replace(kl=scale))
    return state, {"kl_mean": mean, "kl_std": spread, "scale_kl": scale}


def weighted_target_kl(
    world: WorldModel, state: AgentState, rollout: Rollout, planner: Gaussian
) -> Array:
    """Return λ KL[π_s ‖ π_p] / max(1, S_KL) of Eq. (17) at z' `[H, B]`; planner at z' too."""
    kl = policy_kl(world, state, rollout.encoded, planner)
    return loss_weights(world, state).kl_target_weight * scaled(kl, state.scales.kl)


def loss_weights(world: WorldModel, state: AgentState) -> Hypers:
    """Return the weights of the losses: the agent's, or with the λ that its budget gives now."""
    scales = state.scales
    if scales.value_slope is None:
        return state.hypers
    seen = scales.value_slope, scales.kl, scales.value
    return losses.budgeted(state.hypers, *seen, world.action_dim)


def sample_policy(
    world: WorldModel, policy: Params, heads: Params | None, latents: Array, noise: Array
) -> PolicySample:
    """Return the policy and the mean (by option: the least) value of one action drawn from it.

    Without heads (λ = inf reads no value) the value is 0.
    """
    gaussian, none = world.policy(policy, latents), jnp.zeros(latents.shape[:-1])
    action = world.sample_action(gaussian, noise)
    if heads is None:
        return PolicySample(gaussian, action, none, none)
    log_slope = squash_log_slope(action) if world.config.squash_correction else none
    reduce = jnp.min if world.config.policy_heads == "min_pair" else jnp.mean
    value = reduce(world.q_values(heads, latents, action), axis=0)
    return PolicySample(gaussian, action, value, log_slope)


def policy_terms(
    world: WorldModel,
    sample: PolicySample,
    reference: Gaussian | Mixture | None,
    scales: Scales,
    batch: Batch,
    parts: Parts,
) -> PolicyTerms:
    """Return what the policy's loss weighs, `[H, B]`, with 0 for what the agent does not read."""
    bonus = entropy(sample.gaussian)
    kl = cross = cloning = alignment = jnp.zeros_like(bonus)
    value = scaled(sample.value, scales.value)
    if parts.kl and reference is not None:
        kl = scaled(world.divergence(sample.gaussian, reference), scales.kl)
    if parts.cross_entropy and isinstance(reference, Gaussian):
        cross = losses.sampled_cross_entropy(sample.action, reference, scales.value)
    if parts.cloning and batch.returns is not None and batch.best is not None:
        weights = losses.cloning_weights(batch.returns, batch.best)
        cloning = weights * log_likelihood(sample.gaussian, batch.action)
    if parts.alignment and isinstance(reference, Gaussian):
        std = jnp.maximum(sample.gaussian.std, world.config.min_plan_std)
        seen = sample.action, reference.mean, std, value, scales.value, batch.mask
        alignment = losses.alignment(*seen)
    factor = world.action_dim if world.config.entropy_times_actions else 1
    bonus = factor * bonus + sample.log_slope
    return PolicyTerms(kl, value, bonus, cross, cloning, alignment)


class PolicyInputs(NamedTuple):
    """Constants of one step of the sampling policy; None for what the agent does not read."""

    latents: Array  # [H, B, Z]
    mask: Array  # [H, B]
    noise: Array  # [H, B, A]
    heads: Params | None  # values to climb
    reference: Gaussian | Mixture | None  # π_p, [H, B, A]


def policy_inputs(
    world: WorldModel,
    state: AgentState,
    batch: Batch,
    rollout: Rollout,
    planner: Gaussian,
    critic: ModelParams,
    parts: Parts,
    key: Array,
) -> PolicyInputs:
    """Return what Eq. (18) reads; planner `[H, B, A]`.

    An agent without Q^λ (λ = 0, or no KL in the target: the two are equal) takes Q^π_s.
    """
    latents, mask = policy_latents(world, rollout, batch)
    noise_key, heads_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, (*latents.shape[:-1], world.action_dim))
    heads = None
    if parts.value:
        ensemble = critic.q if critic.kl_q is None else critic.kl_q
        heads = world.draw_heads(heads_key, ensemble, world.config.policy_heads)
    reference = reference_policy(world, state, latents, planner) if parts.reference else None
    return PolicyInputs(latents, mask, noise, heads, reference)


def policy_loss_terms(
    world: WorldModel,
    policy: Params,
    inputs: PolicyInputs,
    state: AgentState,
    batch: Batch,
    parts: Parts,
) -> PolicyTerms:
    """Return the terms of Eq. (18) of a policy, `[H, B]` each."""
    sample = sample_policy(world, policy, inputs.heads, inputs.latents, inputs.noise)
    return policy_terms(world, sample, inputs.reference, state.scales, batch, parts)


def step_policy(
    world: WorldModel, state: AgentState, batch: Batch, inputs: PolicyInputs, parts: Parts
) -> tuple[AgentState, Metrics]:
    """Step the sampling policy on Eq. (18); update S_Q."""
    config, mask = world.config, inputs.mask
    # S_Q is measured before the step, on the sample that the step climbs.
    before = sample_policy(world, state.policy, inputs.heads, inputs.latents, inputs.noise)
    state = update_value_scales(world, state, inputs, before, parts)

    weights = loss_weights(world, state)

    def loss(policy: Params) -> Array:
        terms = policy_loss_terms(world, policy, inputs, state, batch, parts)
        return losses.over_time(config, losses.policy_loss(terms, weights), mask)

    value, gradient = jax.value_and_grad(loss)(state.policy)
    policy, optimizer = optimizer_step(
        policy_optimizer(config), gradient, state.optimizers.policy, state.policy
    )
    state = state._replace(policy=policy, optimizers=state.optimizers._replace(policy=optimizer))
    metrics = {"policy_loss": value, "policy_grad_norm": optax.tree.norm(gradient)}
    if parts.value:
        metrics["scale_value"] = state.scales.value
    if parts.budget:
        metrics["kl_weight"] = weights.kl_weight
    return state, metrics | _sample_metrics(before, inputs.noise, mask)


def update_value_scales(
    world: WorldModel,
    state: AgentState,
    inputs: PolicyInputs,
    sample: PolicySample,
    parts: Parts,
) -> AgentState:
    """Update S_Q by the values of the policy's sample, and the slope of Q that a budget reads."""
    rate, scales = world.config.scale_rate, state.scales
    if parts.value:
        scales = scales._replace(value=update_scale(scales.value, sample.value[0], rate))
    if scales.value_slope is not None:
        slope = masked_mean(value_slope(world, state.policy, inputs), inputs.mask)
        scales = scales._replace(value_slope=running(scales.value_slope, slope, rate))
    return state._replace(scales=scales)


def value_slope(world: WorldModel, policy: Params, inputs: PolicyInputs) -> Array:
    """Return `losses.value_slope` `[H, B]` of the policy's values at its mean action."""
    heads, reference = inputs.heads, inputs.reference
    assert heads is not None  # a budget has both, and no mixture
    assert isinstance(reference, Gaussian)

    def value(action: Array) -> Array:
        return jnp.sum(jnp.mean(world.q_values(heads, inputs.latents, action), axis=0))

    mean = world.mean_action(world.policy(policy, inputs.latents))
    return losses.value_slope(jax.grad(value)(mean), reference.std)


def policy_latents(world: WorldModel, rollout: Rollout, batch: Batch) -> tuple[Array, Array]:
    """Return the latents `[H, B, Z]` that the policy trains on and their mask; H + 1 by option."""
    if not world.config.terminal_policy_latent:
        return rollout.latents[:-1], batch.mask
    return rollout.latents, jnp.concatenate([batch.mask, batch.mask[-1:]])


def _sample_metrics(sample: PolicySample, noise: Array, mask: Array) -> Metrics:
    mean, std = sample.gaussian
    clipped = jnp.abs(mean + std * noise) > 1.0
    return {
        "policy_value": masked_mean(sample.value, mask),
        "policy_entropy": masked_mean(entropy(sample.gaussian), mask),
        "policy_std": masked_mean(jnp.mean(std, axis=-1), mask),
        "clipped_fraction": masked_mean(jnp.mean(clipped, axis=-1), mask),
    }
