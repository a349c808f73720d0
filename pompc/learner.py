"""How one agent learns: reanalyse, then prior, model with Q and Q^λ, policy (Algorithm 2)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from pompc import actor, critic, replay
from pompc.agent import AgentState, at_once, make_plan
from pompc.hypers import Parts
from pompc.networks import Params
from pompc.ops import Gaussian
from pompc.planner import stored_policy
from pompc.replay import Batch, Replay
from pompc.rollout import Metrics, Rollout, make_rollout
from pompc.world_model import ModelParams, WorldModel

EXPLORATION_LOG_STD = -2.0  # BMPC's lower bound of the policy's log std while it reanalyses


def pretrain(
    world: WorldModel, state: AgentState, buffer: Replay, parts: Parts, reanalyse_now: Array
) -> tuple[AgentState, Replay, Metrics]:
    """Update the model and Q^π_s once, nothing else (end of seeding, B.4).

    Two published methods do more there, by option: TD-MPC2 trains its policy too, `bmpc-jax`
    reanalyses.
    """
    key, sample_key, update_key = jax.random.split(state.key, 3)
    state = state._replace(key=key)
    batch = replay.sample(buffer, sample_key, world.config.batch_size, world.config.horizon)
    if world.config.pretrain_policy:
        state, metrics = learn(world, state, batch, parts, update_key)
        return state, buffer, metrics
    rollout = make_rollout(world, state.model, batch)
    fitted, metrics = critic.step_model(world, state, batch, rollout, None, update_key)
    if parts.reanalyse and world.config.reanalyse_order == "after":
        encoder, plan_key = state.model.encoder, jax.random.fold_in(key, 0)
        buffer, _ = _refresh(world, fitted, encoder, buffer, batch, plan_key, reanalyse_now)
    return fitted, buffer, metrics


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
    state, encoder = state._replace(key=key), state.model.encoder
    batch = replay.sample(buffer, sample_key, world.config.batch_size, world.config.horizon)
    after = world.config.reanalyse_order == "after"
    if parts.reanalyse and not after:
        buffer, batch = _refresh(world, state, encoder, buffer, batch, plan_key, reanalyse_now)
    fitted, rollout, metrics, policy_key = _fit(world, state, batch, parts, learn_key)
    if parts.reanalyse and after:
        buffer, batch = _refresh(world, fitted, encoder, buffer, batch, plan_key, reanalyse_now)
    fitted, found = _improve(world, fitted, state.model, batch, rollout, parts, policy_key)
    return fitted, buffer, metrics | found


def learn(
    world: WorldModel, state: AgentState, batch: Batch, parts: Parts, key: Array
) -> tuple[AgentState, Metrics]:
    """Update prior, model, Q, Q^λ and policy on one batch (Algorithm 2, lines 21 to 27)."""
    fitted, rollout, metrics, policy_key = _fit(world, state, batch, parts, key)
    fitted, found = _improve(world, fitted, state.model, batch, rollout, parts, policy_key)
    return fitted, metrics | found


def _fit(
    world: WorldModel, state: AgentState, batch: Batch, parts: Parts, key: Array
) -> tuple[AgentState, Rollout, Metrics, Array]:
    """Update prior, scale of the KL, model, Q and Q^λ; return the key left for the policy too.

    The prior goes first. It reads the rollout of the model before its step, as in every public
    code, so that the result is that of line 23; and Eq. (17) sees the updated prior although Q^λ
    is stepped together with the model.
    """
    model_key, policy_key = jax.random.split(key)
    rollout = make_rollout(world, state.model, batch)
    planner, next_planner = _planners(world, batch)
    metrics: Metrics = {"plan_std": jnp.mean(batch.plan.std)}
    if parts.prior:
        state, found = actor.step_prior(world, state, batch, rollout, planner)
        metrics |= found
    if parts.kl:
        state, found = actor.step_kl_scale(world, state, batch, rollout, planner)
        metrics |= found
    target_kl = None
    if parts.kl_value:
        target_kl = actor.weighted_target_kl(world, state, rollout, next_planner)
    state, found = critic.step_model(world, state, batch, rollout, target_kl, model_key)
    return state, rollout, metrics | found, policy_key


def _improve(
    world: WorldModel,
    state: AgentState,
    before: ModelParams,
    batch: Batch,
    rollout: Rollout,
    parts: Parts,
    key: Array,
) -> tuple[AgentState, Metrics]:
    """Update the policy; by option it sees the values `before` their step."""
    values = state.model if world.config.sequential_update else before
    planner, _ = _planners(world, batch)
    return actor.step_policy(world, state, batch, rollout, planner, values, parts, key)


def _refresh(
    world: WorldModel,
    state: AgentState,
    encoder: Params,
    buffer: Replay,
    batch: Batch,
    key: Array,
    now: Array,
) -> tuple[Replay, Batch]:
    """Reanalyse, if `now`, and write the plans into buffer and batch."""
    fresh = jax.lax.cond(
        now,
        lambda: reanalyse(world, state, encoder, key, batch),
        lambda: _reanalysed(world, batch.plan),
    )
    return _write_back(world, buffer, batch, fresh)


def reanalyse(
    world: WorldModel, state: AgentState, encoder: Params, key: Array, batch: Batch
) -> Gaussian:
    """Plan anew at the first sequences' states (lines 15 to 18), `[H, R, A]`.

    Sequences are drawn independently, so that the first ones are a random subset of the batch.
    `encoder` is that of the rollout: the state's own, unless the model was updated since.
    """
    config = world.config
    count = config.horizon * config.reanalyse_batch
    observation = batch.observation[: config.horizon, : config.reanalyse_batch]
    latents = world.encode(encoder, observation).reshape(count, -1)
    cold = jnp.zeros((config.horizon, world.action_dim))
    log_std_min = EXPLORATION_LOG_STD if config.reanalyse_exploration else None

    def replan(inputs: tuple[Array, Array]) -> Gaussian:
        plan_key, latent = inputs
        made = make_plan(world, state, plan_key, latent, cold, log_std_min)
        return stored_policy(made, plan_key, config.clone_mean)

    inputs = jax.random.split(key, count), latents
    together = at_once(config, count, config.plan_samples)
    plans = jax.lax.map(replan, inputs, batch_size=together)
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
