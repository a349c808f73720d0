"""One update of one agent: Algorithm 2, lines 12 to 27, in the order of `update`'s body."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm import replay
from pompc.algorithm.agent import AgentState, Elites, make_plan, no_elites, stored_plan
from pompc.algorithm.loss_weights import Parts
from pompc.algorithm.losses import Metrics, masked_mean
from pompc.algorithm.maths import Gaussian
from pompc.algorithm.networks import Params
from pompc.algorithm.replay import Batch, Replay
from pompc.algorithm.rollout import make_rollout
from pompc.algorithm.update_model import step_model
from pompc.algorithm.update_policy import (
    policy_inputs,
    step_kl_scale,
    step_policy,
    step_prior,
    weighted_target_kl,
)
from pompc.algorithm.world_model import WorldModel
from pompc.runtime import at_once

EXPLORATION_LOG_STD = -2.0  # BMPC's lower bound of the policy's log std while it reanalyses


class Replanned(NamedTuple):
    """What planning anew leaves."""

    plans: Gaussian | None  # [H, R, A], to be written back
    elites: Elites | None  # of these H R plans, where Q learns on them


def sample(world: WorldModel, buffer: Replay, key: Array) -> Batch:
    """Draw the batch of the agent's next update (line 12); `key` is the agent's."""
    sample_key = jax.random.split(key, 4)[1]  # `update` takes the other three
    return replay.sample(buffer, sample_key, world.config.batch_size, world.config.horizon)


def update(
    world: WorldModel, state: AgentState, batch: Batch, parts: Parts, reanalyse_now: Array
) -> tuple[AgentState, Gaussian | None, Metrics]:
    """Make one update (Algorithm 2, lines 13 to 27) on the batch that `sample` drew.

    `parts` are the steps to make, at the end of seeding those of `loss_weights.pretraining`;
    `reanalyse_now` (bool, line 15) is the same for all agents of a program.

    Returns:
        The agent, plans `[H, R, A]` for the first rows of the batch, to be written back to the
        buffer (None if it does not reanalyse), and metrics.
    """
    key, _, plan_key, learn_key = jax.random.split(state.key, 4)
    model_key, policy_key = jax.random.split(learn_key)
    state, old = state._replace(key=key), state.model
    made = Replanned(None, state.elites if parts.imagined else None)
    rollout = make_rollout(world, old, batch)  # line 13
    if parts.reanalyse == "before":  # lines 14 to 19
        batch, made = replan(world, state, old.encoder, batch, plan_key, reanalyse_now)
    planner, next_planner = planners(world, batch)  # line 20
    metrics: Metrics = {"plan_std": plan_std(batch.plan)}
    # Line 23 goes first: its latents are those of the model before its step, as in all public
    # code, so that its result is the same; and Eq. (17) sees the prior of this update, although
    # Q^λ is stepped together with the model.
    if parts.prior:
        state, found = step_prior(world, state, batch, rollout, planner)
        metrics |= found
    if parts.kl and parts.reanalyse != "after":  # one S_KL serves Eq. (17) and (18)
        state, found = step_kl_scale(world, state, batch, rollout, planner)
        metrics |= found
    # Lines 21, 22, 24, 26 and 27: one gradient and one clipped norm over model, Q and Q^λ.
    kl = weighted_target_kl(world, state, rollout, next_planner) if parts.kl_value else None
    state, found = step_model(world, state, batch, rollout, kl, model_key, made.elites)
    metrics |= found
    if parts.reanalyse == "after":  # lines 14 to 20 as `bmpc_jax` has them, S_KL on the new plans
        batch, made = replan(world, state, old.encoder, batch, plan_key, reanalyse_now)
        planner, _ = planners(world, batch)
        if parts.kl:
            state, found = step_kl_scale(world, state, batch, rollout, planner)
            metrics |= found
    if parts.policy:  # line 25: the policy climbs the values just updated, or by option the old
        values = state.model if world.config.sequential_update else old
        inputs = policy_inputs(world, state, batch, rollout, planner, values, parts, policy_key)
        state, found = step_policy(world, state, batch, inputs, parts)
        metrics |= found
    return state, made.plans, metrics


def write_back(world: WorldModel, buffer: Replay, batch: Batch, plans: Gaussian | None) -> Replay:
    """Write the plans of an update into the buffer (line 18)."""
    if plans is None:
        return buffer
    rows, count = world.config.horizon, world.config.reanalyse_batch
    return replay.write_plans(buffer, batch.slot[:rows, :count], plans)


def replan(
    world: WorldModel, state: AgentState, encoder: Params, batch: Batch, key: Array, now: Array
) -> tuple[Batch, Replanned]:
    """Return the batch with plans of its first rows made anew, if `now`, and those."""
    rows, count = world.config.horizon, world.config.reanalyse_batch
    imagines = world.config.imagined_value_coef > 0

    def keep() -> Replanned:
        plans = jax.tree.map(lambda leaf: leaf[:rows, :count], batch.plan)
        return Replanned(plans, no_elites(world, rows * count) if imagines else None)

    made = jax.lax.cond(now, lambda: reanalyse(world, state, encoder, key, batch), keep)
    plan = jax.tree.map(lambda old, new: old.at[:rows, :count].set(new), batch.plan, made.plans)
    return batch._replace(plan=plan), made


def reanalyse(
    world: WorldModel, state: AgentState, encoder: Params, key: Array, batch: Batch
) -> Replanned:
    """Plan anew at the states of the batch's first sequences (lines 16 to 18).

    Sequences are drawn independently, so that the first ones are a random subset of the batch.
    `encoder` is the one that encoded the batch: the model may have been updated since.
    """
    config = world.config
    count = config.horizon * config.reanalyse_batch
    observation = batch.observation[: config.horizon, : config.reanalyse_batch]
    latents = world.encode(encoder, observation).reshape(count, -1)
    cold = jnp.zeros((config.horizon, world.action_dim))  # line 17 starts at 0
    log_std_min = EXPLORATION_LOG_STD if config.reanalyse_exploration else None
    imagines = config.imagined_value_coef > 0

    def plan_anew(inputs: tuple[Array, Array]) -> tuple[Gaussian, Array | None]:
        plan_key, latent = inputs
        made = make_plan(world, state, plan_key, latent, cold, log_std_min)
        return stored_plan(world, made, plan_key), made.elites if imagines else None

    inputs = jax.random.split(key, count), latents
    # A CPU takes a few plans at a time: the activations of all would not fit its caches.
    together = at_once(count, config.plan_samples, config.hidden_dim)
    plans, elites = jax.lax.map(plan_anew, inputs, batch_size=together)
    shape = config.horizon, config.reanalyse_batch, world.action_dim
    plans = jax.tree.map(lambda leaf: leaf.reshape(shape), plans)
    if elites is not None:
        seen = observation.reshape(count, -1)
        elites = Elites(seen, jnp.moveaxis(elites, 0, 1), jnp.bool_(True))
    return Replanned(plans, elites)


def plan_std(plan: Gaussian) -> Array:
    """Return the mean standard deviation of plans `[H + 1, B, A]`; 0 if there is none yet.

    While seeding nothing is planned: those rows hold N(0, σ_max²), whose mean is exactly 0.
    """
    planned = jnp.any(plan.mean != 0.0, axis=-1)
    return masked_mean(jnp.mean(plan.std, axis=-1), planned, at_least=1.0)


def planners(world: WorldModel, batch: Batch) -> tuple[Gaussian, Gaussian]:
    """Return π_P at z and at z' (line 20), `[H, B, A]` each, its std widened by option."""
    widened = batch.plan.std * world.config.clone_std_factor
    wide = Gaussian(batch.plan.mean, jnp.maximum(widened, world.config.clone_std_min))
    return Gaussian(wide.mean[:-1], wide.std[:-1]), Gaussian(wide.mean[1:], wide.std[1:])
