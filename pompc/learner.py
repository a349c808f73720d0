"""How one agent learns: reanalyse, then prior, model with Q and Q^λ, policy (Algorithm 2)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from pompc import actor, critic, replay
from pompc.agent import AgentState, make_plan, plans_at_once
from pompc.methods import Parts
from pompc.ops import Gaussian
from pompc.replay import Batch, Replay
from pompc.rollout import Metrics, make_rollout
from pompc.world_model import WorldModel


def pretrain(world: WorldModel, state: AgentState, buffer: Replay) -> tuple[AgentState, Metrics]:
    """Update the model and Q^π_s once, nothing else (end of seeding, B.4)."""
    key, sample_key, update_key = jax.random.split(state.key, 3)
    state = state._replace(key=key)
    batch = replay.sample(buffer, sample_key, world.config.batch_size, world.config.horizon)
    rollout = make_rollout(world, state.model, batch)
    return critic.step_model(world, state, batch, rollout, None, update_key)


def update(
    world: WorldModel, state: AgentState, buffer: Replay, parts: Parts, reanalyse_now: Array
) -> tuple[AgentState, Replay, Metrics]:
    """Make one update of everything (Algorithm 2, lines 11 to 27).

    Args:
        world: the networks.
        state: the agent.
        buffer: its replay buffer.
        parts: what the agent needs.
        reanalyse_now: bool, line 15; the same for all agents of a program.
    """
    key, sample_key, plan_key, learn_key = jax.random.split(state.key, 4)
    state = state._replace(key=key)
    batch = replay.sample(buffer, sample_key, world.config.batch_size, world.config.horizon)
    if parts.reanalyse:
        fresh = jax.lax.cond(
            reanalyse_now,
            lambda: reanalyse(world, state, plan_key, batch),
            lambda: _reanalysed(world, batch.plan),
        )
        buffer, batch = _write_back(world, buffer, batch, fresh)
    state, metrics = learn(world, state, batch, parts, learn_key)
    return state, buffer, metrics


def learn(
    world: WorldModel, state: AgentState, batch: Batch, parts: Parts, key: Array
) -> tuple[AgentState, Metrics]:
    """Update prior, model, Q, Q^λ and policy on one batch (Algorithm 2, lines 21 to 27).

    The prior goes first. It reads the rollout of the model before its step, as in every public
    code, so that the result is that of line 23; and Eq. (17) sees the updated prior although Q^λ
    is stepped together with the model.
    """
    model_key, policy_key = jax.random.split(key)
    before = state.model
    rollout = make_rollout(world, state.model, batch)
    planner, next_planner = _planners(world, batch)
    metrics: Metrics = {"plan_std": jnp.mean(batch.plan.std)}
    if parts.prior:
        state, found = actor.step_prior(world, state, batch, rollout, planner)
        metrics |= found
    if parts.reanalyse:
        state, found = actor.step_kl_scale(world, state, batch, rollout, planner)
        metrics |= found
    target_kl = None
    if parts.kl_value:
        target_kl = actor.weighted_target_kl(world, state, rollout, next_planner)
    state, found = critic.step_model(world, state, batch, rollout, target_kl, model_key)
    metrics |= found
    values = state.model if world.config.sequential_update else before
    state, found = actor.step_policy(world, state, batch, rollout, planner, values, policy_key)
    return state, metrics | found


def reanalyse(world: WorldModel, state: AgentState, key: Array, batch: Batch) -> Gaussian:
    """Plan anew at the first sequences' states (lines 15 to 18), `[H, R, A]`.

    Sequences are drawn independently, so that the first ones are a random subset of the batch.
    """
    config = world.config
    count = config.horizon * config.reanalyse_batch
    observation = batch.observation[: config.horizon, : config.reanalyse_batch]
    latents = world.encode(state.model.encoder, observation).reshape(count, -1)
    cold = jnp.zeros((config.horizon, world.action_dim))

    def replan(inputs: tuple[Array, Array]) -> Gaussian:
        plan_key, latent = inputs
        return make_plan(world, state, plan_key, latent, cold).first()

    inputs = jax.random.split(key, count), latents
    plans = jax.lax.map(replan, inputs, batch_size=plans_at_once(config, count))
    shape = config.horizon, config.reanalyse_batch, world.action_dim
    return jax.tree.map(lambda leaf: leaf.reshape(shape), plans)


def _reanalysed(world: WorldModel, planner: Gaussian) -> Gaussian:
    config = world.config
    return jax.tree.map(lambda leaf: leaf[: config.horizon, : config.reanalyse_batch], planner)


def _write_back(
    world: WorldModel, buffer: Replay, batch: Batch, fresh: Gaussian
) -> tuple[Replay, Batch]:
    horizon, count = world.config.horizon, world.config.reanalyse_batch
    buffer = replay.write_plans(buffer, batch.slot[:horizon, :count], fresh)
    planner = jax.tree.map(lambda old, new: old.at[:horizon, :count].set(new), batch.plan, fresh)
    return buffer, batch._replace(plan=planner)


def _planners(world: WorldModel, batch: Batch) -> tuple[Gaussian, Gaussian]:
    """Return the planner at z and at z', `[H, B, A]` each, its std widened where asked for."""
    widened = batch.plan.std * world.config.clone_std_factor
    wide = Gaussian(batch.plan.mean, jnp.maximum(widened, world.config.clone_std_min))
    return Gaussian(wide.mean[:-1], wide.std[:-1]), Gaussian(wide.mean[1:], wide.std[1:])
