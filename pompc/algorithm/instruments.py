"""Instruments: what drives the policy and the model, measured between updates, changing nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pompc.algorithm import losses
from pompc.algorithm.agent import AgentState
from pompc.algorithm.loss_weights import Parts
from pompc.algorithm.losses import Metrics, masked_mean, masked_mean_and_std
from pompc.algorithm.maths import percentile_range
from pompc.algorithm.networks import Params
from pompc.algorithm.replay import Batch
from pompc.algorithm.rollout import Rollout, make_rollout
from pompc.algorithm.update import planners
from pompc.algorithm.update_model import draw_targets, model_losses, weighted
from pompc.algorithm.update_policy import (
    PolicyInputs,
    loss_weights,
    policy_inputs,
    policy_loss_terms,
    sample_policy,
    weighted_target_kl,
)
from pompc.algorithm.world_model import WorldModel


def measure(world: WorldModel, state: AgentState, batch: Batch, parts: Parts) -> Metrics:
    """Return what the update after this one would be driven by, as scalars.

    | metric | meaning |
    |---|---|
    | `policy_grad_kl`, `_value`, `_entropy`, `_alignment` | norms of the gradients of Eq. (18) |
    | `tax_mean`, `tax_std` | of what Eq. (17) subtracts a decision, in units of return |
    | `spread_q`, `spread_kl_q` | S_Q of this batch, by Q^π_s and by Q^λ |
    | `kl_to_plans` | KL[π_s ‖ stored planner], nats |
    | `model_grad_consistency`, ... | norms of each loss's gradient on encoder and dynamics |
    | `elites_from_policy` | share of the elites of recent plans that the policy proposed |
    """
    keys = jax.random.split(jax.random.fold_in(state.key, 1))
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
    return found | {"elites_from_policy": state.from_policy}


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


def _policy_terms(parts: Parts) -> list[str]:
    read = {"kl": parts.kl, "value": parts.value, "entropy": True, "alignment": parts.alignment}
    return [name for name, present in read.items() if present]


def _norms(prefix: str, names: list[str], jacobian: Params) -> Metrics:
    norms = jax.vmap(optax.tree.norm)(jacobian)
    return {f"{prefix}_{name}": norms[index] for index, name in enumerate(names)}
