"""How one agent learns: reanalyse, then prior, model with Q and Q^λ, policy (Algorithm 2)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm import replay, update_model, update_policy
from pompc.algorithm.agent import AgentState, make_plan, stored_plan
from pompc.algorithm.loss_weights import Parts
from pompc.algorithm.maths import Gaussian
from pompc.algorithm.networks import Params
from pompc.algorithm.replay import Batch, Replay
from pompc.algorithm.rollout import Metrics, Rollout, make_rollout
from pompc.algorithm.world_model import ModelParams, WorldModel
from pompc.runtime import at_once

EXPLORATION_LOG_STD = -2.0  # BMPC's lower bound of the policy's log std while it reanalyses


def sample(world: WorldModel, buffer: Replay, key: Array) -> Batch:
    """Draw the batch of the update that an agent with this key makes next."""
    sample_key = jax.random.split(key, 4)[1]
    return replay.sample(buffer, sample_key, world.config.batch_size, world.config.horizon)


def pretrain(
    world: WorldModel, state: AgentState, batch: Batch, parts: Parts, reanalyse_now: Array
) -> tuple[AgentState, Gaussian | None, Metrics]:
    """Update the model and Q^π_s once, nothing else (end of seeding, B.4).

    Two published methods do more there, by option: TD-MPC2 trains its policy too, `bmpc-jax`
    reanalyses. Arguments and results are those of `update`.
    """
    key, _, learn_key, plan_key = jax.random.split(state.key, 4)
    state, encoder = state._replace(key=key), state.model.encoder
    if world.config.pretrain_policy:
        state, metrics = learn(world, state, batch, parts, learn_key)
        return state, None, metrics
    rollout = make_rollout(world, state.model, batch)
    fitted, metrics = update_model.step_model(world, state, batch, rollout, None, learn_key)
    plans = None
    if _reanalyses_after(world, parts):
        plans = _refreshed(world, fitted, encoder, batch, plan_key, reanalyse_now)
    return fitted, plans, metrics


def update(
    world: WorldModel, state: AgentState, batch: Batch, parts: Parts, reanalyse_now: Array
) -> tuple[AgentState, Gaussian | None, Metrics]:
    """Make one update of everything (Algorithm 2, lines 11 to 27).

    Args:
        world: the networks.
        state: the agent.
        batch: what `sample` drew for it.
        parts: what the agent needs.
        reanalyse_now: bool, line 15; the same for all agents of a program.

    Returns:
        The agent, plans `[H, R, A]` for the first rows of the batch, to be written back to the
        buffer (None where it does not reanalyse), and metrics.
    """
    key, _, plan_key, learn_key = jax.random.split(state.key, 4)
    state, encoder, plans = state._replace(key=key), state.model.encoder, None
    after = _reanalyses_after(world, parts)
    if parts.reanalyse and not after:
        plans = _refreshed(world, state, encoder, batch, plan_key, reanalyse_now)
        batch = _with_plans(batch, plans)
    fitted, rollout, metrics, policy_key = _fit(world, state, batch, parts, learn_key)
    if after:
        plans = _refreshed(world, fitted, encoder, batch, plan_key, reanalyse_now)
        batch = _with_plans(batch, plans)
        planner, _ = _planners(world, batch)
        fitted, found = update_policy.step_kl_scale(world, fitted, batch, rollout, planner)
        metrics |= found
    fitted, found = _improve(world, fitted, state.model, batch, rollout, parts, policy_key)
    return fitted, plans, metrics | found


def write_back(world: WorldModel, buffer: Replay, batch: Batch, plans: Gaussian | None) -> Replay:
    """Write the plans of an update into the buffer (line 18)."""
    if plans is None:
        return buffer
    rows, count = world.config.horizon, world.config.reanalyse_batch
    return replay.write_plans(buffer, batch.slot[:rows, :count], plans)


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

    The scale waits where plans are made after this, so that it is measured on those.

    The prior goes first. It reads the rollout of the model before its step, as in every public
    code, so that the result is that of line 23; and Eq. (17) sees the updated prior although Q^λ
    is stepped together with the model.
    """
    model_key, policy_key = jax.random.split(key)
    rollout = make_rollout(world, state.model, batch)
    planner, next_planner = _planners(world, batch)
    metrics: Metrics = {"plan_std": jnp.mean(batch.plan.std)}
    if parts.prior:
        state, found = update_policy.step_prior(world, state, batch, rollout, planner)
        metrics |= found
    if parts.kl and not _reanalyses_after(world, parts):
        state, found = update_policy.step_kl_scale(world, state, batch, rollout, planner)
        metrics |= found
    target_kl = None
    if parts.kl_value:
        target_kl = update_policy.weighted_target_kl(world, state, rollout, next_planner)
    state, found = update_model.step_model(world, state, batch, rollout, target_kl, model_key)
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
    return update_policy.step_policy(world, state, batch, rollout, planner, values, parts, key)


def _reanalyses_after(world: WorldModel, parts: Parts) -> bool:
    return parts.reanalyse and world.config.reanalyse_order == "after"


def _refreshed(
    world: WorldModel, state: AgentState, encoder: Params, batch: Batch, key: Array, now: Array
) -> Gaussian:
    """Return plans of the batch's first rows `[H, R, A]`: made anew, if `now`."""
    rows, count = world.config.horizon, world.config.reanalyse_batch
    return jax.lax.cond(
        now,
        lambda: reanalyse(world, state, encoder, key, batch),
        lambda: jax.tree.map(lambda leaf: leaf[:rows, :count], batch.plan),
    )


def _with_plans(batch: Batch, plans: Gaussian) -> Batch:
    rows, count = plans.mean.shape[:2]
    plan = jax.tree.map(lambda old, new: old.at[:rows, :count].set(new), batch.plan, plans)
    return batch._replace(plan=plan)


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
        return stored_plan(world, made, plan_key)

    inputs = jax.random.split(key, count), latents
    together = at_once(count, config.plan_samples, config.hidden_dim)
    plans = jax.lax.map(replan, inputs, batch_size=together)
    shape = config.horizon, config.reanalyse_batch, world.action_dim
    return jax.tree.map(lambda leaf: leaf.reshape(shape), plans)


def _planners(world: WorldModel, batch: Batch) -> tuple[Gaussian, Gaussian]:
    """Return the planner at z and at z', `[H, B, A]` each, its std widened where asked for."""
    widened = batch.plan.std * world.config.clone_std_factor
    wide = Gaussian(batch.plan.mean, jnp.maximum(widened, world.config.clone_std_min))
    return Gaussian(wide.mean[:-1], wide.std[:-1]), Gaussian(wide.mean[1:], wide.std[1:])
