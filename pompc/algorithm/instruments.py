"""Instruments: what drives the policy and the model, measured between updates, changing nothing."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pompc.algorithm import losses, replay
from pompc.algorithm.agent import AgentState, Elites, make_plan
from pompc.algorithm.loss_weights import Parts
from pompc.algorithm.losses import Metrics, masked_mean, masked_mean_and_std
from pompc.algorithm.maths import percentile_range
from pompc.algorithm.networks import Params
from pompc.algorithm.replay import Batch, Replay
from pompc.algorithm.rollout import Rollout, make_rollout
from pompc.algorithm.update import planners, sample
from pompc.algorithm.update_model import draw_targets, imagine, model_losses, weighted
from pompc.algorithm.update_policy import (
    PolicyInputs,
    loss_weights,
    policy_inputs,
    policy_loss_terms,
    sample_policy,
    weighted_target_kl,
)
from pompc.algorithm.world_model import WorldModel

PLANS = 4  # at whose ends the TD error of Q is measured
VISITED, FOLLOWED = 64, 300  # states whose value is compared with the rewards that followed


class Drawn(NamedTuple):
    """What is drawn from the buffer to be measured on."""

    batch: Batch
    visited: Batch  # long sequences


def draw(world: WorldModel, buffer: Replay, key: Array) -> Drawn:
    """Draw the batch of the next update, and sequences of up to `FOLLOWED` transitions."""
    visited = replay.sample(buffer, jax.random.fold_in(key, 2), VISITED, FOLLOWED)
    return Drawn(sample(world, buffer, key), visited)


def measure(world: WorldModel, state: AgentState, drawn: Drawn, parts: Parts) -> Metrics:
    """Return what the update after this one would be driven by, as scalars.

    | metric | meaning |
    |---|---|
    | `policy_grad_kl`, `_value`, `_entropy`, `_alignment` | norms of the gradients of Eq. (18) |
    | `tax_mean`, `tax_std` | of what Eq. (17) subtracts a decision, in units of return |
    | `spread_q`, `spread_kl_q` | S_Q of this batch, by Q^π_s and by Q^λ |
    | `kl_to_plans` | KL[π_s ‖ stored planner], nats, reduced as `kl_reduction` says |
    | `model_grad_consistency`, ... | norms of each loss's gradient on encoder and dynamics |
    | `elites_from_policy` | share of the elites of recent plans that the policy proposed |
    | `plan_end_error` | TD error of Q at the last steps of plans, in units of return |
    | `overestimation` | Q at visited states, minus the discounted rewards that followed |
    """
    batch, keys = drawn.batch, jax.random.split(jax.random.fold_in(state.key, 1))
    rollout = make_rollout(world, state.model, batch)
    planner, next_planner = planners(world, batch)
    inputs = policy_inputs(world, state, batch, rollout, planner, state.model, parts, keys[0])
    tax = weighted_target_kl(world, state, rollout, next_planner) if parts.kl_value else None
    found = policy_gradients(world, state, batch, inputs, parts)
    found |= model_gradients(world, state, batch, rollout, tax, keys[1])
    if tax is not None:
        mean, spread = masked_mean_and_std(tax, batch.mask)
        found |= {"tax_mean": mean, "tax_std": spread}
    if parts.value:
        found |= value_spreads(world, state, inputs)
    if parts.kl:
        divergence = world.divergence(world.policy(state.policy, rollout.latents[:-1]), planner)
        found["kl_to_plans"] = masked_mean(divergence, batch.mask)
    later = jax.random.split(jax.random.fold_in(state.key, 2))
    return found | {
        "elites_from_policy": state.from_policy,
        "plan_end_error": plan_end_error(world, state, batch.observation[0, :PLANS], later[0]),
        "overestimation": overestimation(world, state, drawn.visited, later[1]),
    }


def names(parts: Parts) -> tuple[str, ...]:
    """Return the names of what `measure` returns, in its order."""
    policy = _policy_terms(parts)
    model = ["consistency", "reward", "value"] + ["kl_value"] * parts.kl_value
    return (
        *(f"policy_grad_{name}" for name in policy),
        *(f"model_grad_{name}" for name in model),
        *["tax_mean", "tax_std"] * parts.kl_value,
        *["spread_q"] * parts.value,
        *["spread_kl_q"] * parts.kl_value,
        *["kl_to_plans"] * parts.kl,
        "elites_from_policy",
        "plan_end_error",
        "overestimation",
    )


def policy_gradients(
    world: WorldModel, state: AgentState, batch: Batch, inputs: PolicyInputs, parts: Parts
) -> Metrics:
    """Return the norms of the gradients of the terms of Eq. (18), weights included."""
    names, weights = _policy_terms(parts), loss_weights(world, state)

    def averaged(policy: Params) -> Array:
        terms = policy_loss_terms(world, policy, inputs, state, batch, parts)
        found = losses.weighted(terms, weights)._asdict()
        averages = (losses.over_time(world.config, found[name], inputs.mask) for name in names)
        return jnp.stack(list(averages))

    return _norms("policy_grad", names, jax.jacrev(averaged)(state.policy))


def model_gradients(
    world: WorldModel,
    state: AgentState,
    batch: Batch,
    rollout: Rollout,
    tax: Array | None,
    key: Array,
) -> Metrics:
    """Return the norm of each loss's gradient on encoder and dynamics, coefficients included."""
    targets = draw_targets(world, state, batch, rollout, tax, jax.random.split(key, 3))

    def terms(shared: tuple[Params, Params]) -> Metrics:
        model = state.model._replace(encoder=shared[0], dynamics=shared[1])
        return model_losses(world, model, batch, rollout, targets, None)

    shared = state.model.encoder, state.model.dynamics
    names = ["consistency", "reward", "value"] + ["kl_value"] * (targets.kl_q is not None)
    jacobian = jax.jacrev(lambda shared: weighted(world.config, terms(shared)))(shared)
    return _norms("model_grad", names, jacobian)


def value_spreads(world: WorldModel, state: AgentState, inputs: PolicyInputs) -> Metrics:
    """Return the percentile ranges of Q^π_s and, where there is one, Q^λ on the same samples."""
    ensembles = {"spread_q": state.model.q, "spread_kl_q": state.model.kl_q}

    def spread(heads: Params) -> Array:
        sample = sample_policy(world, state.policy, heads, inputs.latents[:1], inputs.noise[:1])
        return percentile_range(sample.value[0])

    return {name: spread(heads) for name, heads in ensembles.items() if heads is not None}


def plan_end_error(world: WorldModel, state: AgentState, observation: Array, key: Array) -> Array:
    """Return the mean |r̂ + γ Q⁻(z_H, ã) - Q(z_{H-1}, a_{H-1})| of the elites of cold plans.

    It is the last step before the value that Eq. (10) ends with. Observations `[R, O]`.
    """
    plan_key, target_key = jax.random.split(key)
    cold = jnp.zeros_like(state.plan_mean)

    def best(inputs: tuple[Array, Array]) -> Array:
        return make_plan(world, state, *inputs, cold).elites

    keys = jax.random.split(plan_key, len(observation))
    found = jax.lax.map(best, (keys, world.encode(state.model.encoder, observation)))
    elites = Elites(observation, jnp.moveaxis(found, 0, 1), jnp.bool_(True))
    latents, actions, targets = imagine(world, state, elites, target_key)
    return jnp.mean(jnp.abs(targets[-1] - _value(world, state, latents[-1], actions[-1])))


def overestimation(world: WorldModel, state: AgentState, visited: Batch, key: Array) -> Array:
    """Return the mean of Q(z_0, a_0) minus the discounted rewards that followed in the buffer.

    Where a sequence ends without a termination, Q there stands for what would have followed: at
    a time limit, at the newest row, and after `FOLLOWED` decisions, when at γ = 0.99 a twentieth of
    the value is left. Rewards are those that the planner earned since, with exploration.
    """
    discount = world.config.discount ** jnp.arange(visited.mask.shape[0])
    earned = jnp.sum(discount[:, None] * visited.mask * visited.reward, axis=0)
    ended = jnp.max(visited.mask * visited.terminated, axis=0)
    alive = 1.0 if world.config.terminations == "ignore" else 1.0 - ended
    rest = alive * world.config.discount ** jnp.sum(visited.mask, axis=0)
    # Past the end of an episode its last observation repeats.
    first, last = (world.encode(state.model.encoder, visited.observation[t]) for t in (0, -1))
    noise = jax.random.normal(key, visited.action[0].shape)
    following = world.sample_action(world.policy(state.policy, last), noise)
    followed = earned + rest * _value(world, state, last, following)
    return jnp.mean(_value(world, state, first, visited.action[0]) - followed)


def _value(world: WorldModel, state: AgentState, latent: Array, action: Array) -> Array:
    return jnp.mean(world.q_values(state.model.q, latent, action), axis=0)


def _policy_terms(parts: Parts) -> list[str]:
    read = {"kl": parts.kl, "value": parts.value, "entropy": True, "alignment": parts.alignment}
    return [name for name, present in read.items() if present]


def _norms(prefix: str, names: list[str], jacobian: Params) -> Metrics:
    norms = jax.vmap(optax.tree.norm)(jacobian)
    return {f"{prefix}_{name}": norms[index] for index, name in enumerate(names)}
