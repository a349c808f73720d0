"""How one agent learns: reanalyse, then prior, model, Q, Q^λ and policy (Algorithm 2)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pompc import losses, replay
from pompc.agent import AgentState, Targets, make_plan, model_optimizer, plans_at_once, policy_optimizer
from pompc.config import Config
from pompc.methods import Parts
from pompc.networks import Params
from pompc.ops import Gaussian, entropy, kl_divergence, outside_bins, update_scale
from pompc.replay import Batch, Replay
from pompc.world_model import ModelParams, WorldModel

Metrics = dict[str, Array]


class Learned(NamedTuple):
    """Constants of one update: what the losses read but do not train."""

    latents: Array  # [H + 1, B, Z]: the model's rollout
    encoded: Array  # [H, B, Z]: of the observations after each action
    alive: Array  # [H, B]: 0 where the TD target has no bootstrap


def pretrain(world: WorldModel, state: AgentState, buffer: Replay) -> tuple[AgentState, Metrics]:
    """Update the model and Q^π_s once, nothing else (end of seeding, B.4)."""
    key, sample_key, update_key = jax.random.split(state.key, 3)
    state = state._replace(key=key)
    batch = replay.sample(buffer, sample_key, world.config.batch_size, world.config.horizon)
    learned = _constants(world, state, batch)
    return _update_model(world, state, batch, learned, None, update_key)


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
    key, sample_key, plan_key, *keys = jax.random.split(state.key, 6)
    state = state._replace(key=key)
    batch = replay.sample(buffer, sample_key, world.config.batch_size, world.config.horizon)
    if parts.reanalyse:
        fresh = jax.lax.cond(
            reanalyse_now,
            lambda: _reanalyse(world, state, plan_key, batch),
            lambda: _reanalysed_part(world, batch.plan),
        )
        buffer, batch = _write_back(world, buffer, batch, fresh)
    state, metrics = learn(world, state, batch, parts, jnp.stack(keys))
    return state, buffer, metrics


def learn(
    world: WorldModel, state: AgentState, batch: Batch, parts: Parts, keys: Array
) -> tuple[AgentState, Metrics]:
    """Update prior, model, Q, Q^λ and policy on one batch (Algorithm 2, lines 21 to 27).

    The prior goes first: it reads the rollout of the model before its step, so that the result is
    that of line 23, and Eq. (17) then sees the updated prior while Q^λ trains the model too.
    """
    before = state
    learned = _constants(world, state, batch)
    planner = _widened(world, batch.plan)
    metrics: Metrics = {"plan_std": jnp.mean(batch.plan.std)}
    if parts.prior:
        state, prior_metrics = _update_prior(world, state, batch, learned, planner)
        metrics |= prior_metrics
    target_kl = None
    if parts.reanalyse:
        state, kl_metrics = _update_kl_scale(world, state, batch, learned, planner)
        metrics |= kl_metrics
    if parts.kl_value:
        target_kl = _target_kl(world, state, learned, planner)
    model_key, noise_key, heads_key = keys[0], keys[1], keys[2]
    state, model_metrics = _update_model(world, state, batch, learned, target_kl, model_key)
    critic = state.model if world.config.sequential_update else before.model
    state, policy_metrics = _update_policy(
        world, state, batch, learned, planner, critic, (noise_key, heads_key)
    )
    return state, metrics | model_metrics | policy_metrics


def _widened(world: WorldModel, planner: Gaussian) -> Gaussian:
    std = planner.std * world.config.clone_std_factor
    return planner._replace(std=jnp.maximum(std, world.config.clone_std_min))


def _scaled(values: Array, scale: Array) -> Array:
    return values / jnp.maximum(1.0, scale)


def _rollout(world: WorldModel, model: ModelParams, batch: Batch) -> Array:
    """Roll the dynamics `[H + 1, B, Z]` from the first observation along the batch's actions."""
    latents = [world.encode(model.encoder, batch.observation[0])]
    for action in batch.action:
        latents.append(world.next_latent(model.dynamics, latents[-1], action))
    return jnp.stack(latents)


def _constants(world: WorldModel, state: AgentState, batch: Batch) -> Learned:
    # The rollout is computed again under the gradient; XLA merges the two.
    ignore = world.config.terminations == "ignore"
    constants = Learned(
        latents=_rollout(world, state.model, batch),
        encoded=world.encode(state.model.encoder, batch.observation[1:]),
        alive=jnp.ones_like(batch.reward) if ignore else 1.0 - batch.terminated,
    )
    return jax.lax.stop_gradient(constants)


def _reference(
    world: WorldModel, state: AgentState, latents: Array, planner: Gaussian
) -> Gaussian:
    """Return π_p at latents: the learned prior, or the planner stored with each."""
    if state.prior is None:
        return planner
    learned = world.policy(state.prior, latents)
    replayed = state.hypers.replay_prior > 0
    return jax.tree.map(lambda p, l: jnp.where(replayed, p, l), planner, learned)


def _update_prior(
    world: WorldModel, state: AgentState, batch: Batch, learned: Learned, planner: Gaussian
) -> tuple[AgentState, Metrics]:
    """Fit the prior to the planner, Eq. (12) or (13)."""
    config = world.config
    planner = jax.tree.map(lambda leaf: leaf[:-1], planner)

    def divergence(prior: Params) -> Array:
        gaussian = world.policy(prior, learned.latents[:-1])
        return losses.prior_loss(gaussian, planner, state.hypers.forward_kl)

    scale = update_scale(state.scales.prior, divergence(state.prior)[0], config.scale_rate)

    def loss(prior: Params) -> tuple[Array, Array]:
        values = divergence(prior)
        return losses.discounted_mean(
            _scaled(values, scale), batch.mask, config.time_discount
        ), values

    (value, raw), gradient = jax.value_and_grad(loss, has_aux=True)(state.prior)
    prior, optimizer = _step(policy_optimizer(config), gradient, state.optimizers.prior, state.prior)
    state = state._replace(
        prior=prior,
        optimizers=state.optimizers._replace(prior=optimizer),
        scales=state.scales._replace(prior=scale),
    )
    return state, {"prior_loss": value, "prior_kl": _masked_mean(raw, batch), "scale_prior": scale}


def _policy_kl(
    world: WorldModel, state: AgentState, latents: Array, planner: Gaussian
) -> Array:
    reference = _reference(world, state, latents, planner)
    return kl_divergence(world.policy(state.policy, latents), reference)


def _update_kl_scale(
    world: WorldModel, state: AgentState, batch: Batch, learned: Learned, planner: Gaussian
) -> tuple[AgentState, Metrics]:
    """Update S_KL, once an update: the same one serves Eq. (17) and (18)."""
    planner = jax.tree.map(lambda leaf: leaf[:-1], planner)
    kl = _policy_kl(world, state, learned.latents[:-1], planner)
    scale = update_scale(state.scales.kl, kl[0], world.config.scale_rate)
    mean = _masked_mean(kl, batch)
    metrics = {
        "kl_mean": mean,
        "kl_std": jnp.sqrt(_masked_mean(jnp.square(kl - mean), batch)),
        "scale_kl": scale,
    }
    return state._replace(scales=state.scales._replace(kl=scale)), metrics


def _target_kl(
    world: WorldModel, state: AgentState, learned: Learned, planner: Gaussian
) -> Array:
    """Return λ KL[π_s ‖ π_p] / max(1, S_KL) at the encoded next observations, `[H, B]`."""
    planner = jax.tree.map(lambda leaf: leaf[1:], planner)
    kl = _policy_kl(world, state, learned.encoded, planner)
    return state.hypers.kl_target_weight * _scaled(kl, state.scales.kl)


def _update_model(
    world: WorldModel,
    state: AgentState,
    batch: Batch,
    learned: Learned,
    target_kl: Array | None,
    key: Array,
) -> tuple[AgentState, Metrics]:
    """Step on consistency, reward, Eq. (14) and, given the KL of its target, Eq. (16)."""
    noise_key, heads_key, kl_heads_key, dropout_key, kl_dropout_key = jax.random.split(key, 5)
    noise = jax.random.normal(noise_key, batch.action.shape)
    action = world.sample_action(world.policy(state.policy, learned.encoded), noise)
    config = world.config

    def lowest(heads_key: Array, target: Params) -> Array:
        heads = world.draw_heads(heads_key, target)
        return jnp.min(world.q_values(heads, learned.encoded, action)[:2], axis=0)

    q_target = losses.td_target(
        batch.reward, learned.alive, lowest(heads_key, state.targets.q), config.discount
    )
    kl_q_target = None
    if target_kl is not None:
        value = lowest(kl_heads_key, state.targets.kl_q)
        kl_q_target = losses.kl_td_target(
            batch.reward, learned.alive, value, target_kl, config.discount
        )

    def loss(model: ModelParams) -> tuple[Array, Metrics]:
        latents = _rollout(world, model, batch)
        before, bins = latents[:-1], world.bins
        terms = {
            "consistency_loss": losses.consistency_loss(latents[1:], learned.encoded),
            "reward_loss": losses.two_hot_cross_entropy(
                world.reward_logits(model.reward, before, batch.action), batch.reward, bins
            ),
            "value_loss": losses.value_loss(
                world.q_logits(model.q, before, batch.action, dropout_key), q_target, bins
            ),
        }
        if kl_q_target is not None:
            kept = before if config.kl_value_trains_model else learned.latents[:-1]
            logits = world.q_logits(model.kl_q, kept, batch.action, kl_dropout_key)
            terms["kl_value_loss"] = losses.value_loss(logits, kl_q_target, bins)
        reduced = {
            name: losses.discounted_mean(term, batch.mask, config.time_discount)
            for name, term in terms.items()
        }
        return sum(_coefficient(config, name) * term for name, term in reduced.items()), reduced

    gradient, metrics = jax.grad(loss, has_aux=True)(state.model)
    model, optimizer = _step(model_optimizer(config), gradient, state.optimizers.model, state.model)
    metrics |= {
        "model_grad_norm": optax.global_norm(gradient),
        "target_mean": _masked_mean(q_target, batch),
        "targets_outside_bins": _masked_mean(outside_bins(q_target, world.bins), batch),
    }
    if kl_q_target is not None:
        metrics["kl_target_mean"] = _masked_mean(kl_q_target, batch)
        metrics["kl_targets_outside_bins"] = _masked_mean(
            outside_bins(kl_q_target, world.bins), batch
        )
    targets = jax.tree.map(
        lambda old, new: old + config.target_rate * (new - old),
        state.targets, Targets(model.q, model.kl_q),
    )  # fmt: skip
    state = state._replace(
        model=model, targets=targets, optimizers=state.optimizers._replace(model=optimizer)
    )
    return state, metrics


def _coefficient(config: Config, name: str) -> float:
    return getattr(config, name.replace("loss", "coef"))


def _update_policy(
    world: WorldModel,
    state: AgentState,
    batch: Batch,
    learned: Learned,
    planner: Gaussian,
    critic: ModelParams,
    keys: tuple[Array, Array],
) -> tuple[AgentState, Metrics]:
    """Step on Eq. (18); without λ there is no Q^λ, and Q^π_s takes its place."""
    config, latents = world.config, learned.latents[:-1]
    noise = jax.random.normal(keys[0], batch.action.shape)
    ensemble = critic.q if critic.kl_q is None else critic.kl_q
    heads = world.draw_heads(keys[1], ensemble, config.policy_heads)
    planner = jax.tree.map(lambda leaf: leaf[:-1], planner)
    reference = _reference(world, state, latents, planner)
    entropy_factor = world.action_dim if config.entropy_times_actions else 1

    def values(policy: Params) -> tuple[Gaussian, Array]:
        gaussian = world.policy(policy, latents)
        action = world.sample_action(gaussian, noise)
        return gaussian, jnp.mean(world.q_values(heads, latents, action), axis=0)

    scale = update_scale(state.scales.value, values(state.policy)[1][0], config.scale_rate)

    def loss(policy: Params) -> tuple[Array, tuple[Gaussian, Array]]:
        gaussian, value = values(policy)
        kl = _scaled(kl_divergence(gaussian, reference), state.scales.kl)
        bonus = entropy_factor * entropy(gaussian)
        terms = losses.policy_loss(kl, _scaled(value, scale), bonus, state.hypers)
        return losses.discounted_mean(terms, batch.mask, config.time_discount), (gaussian, value)

    (policy_loss, (gaussian, value)), gradient = jax.value_and_grad(loss, has_aux=True)(
        state.policy
    )
    policy, optimizer = _step(
        policy_optimizer(config), gradient, state.optimizers.policy, state.policy
    )
    clipped = jnp.abs(gaussian.mean + gaussian.std * noise) > 1.0
    metrics = {
        "policy_loss": policy_loss,
        "policy_grad_norm": optax.global_norm(gradient),
        "policy_value": _masked_mean(value, batch),
        "policy_entropy": _masked_mean(entropy(gaussian), batch),
        "policy_std": _masked_mean(jnp.mean(gaussian.std, axis=-1), batch),
        "clipped_fraction": _masked_mean(jnp.mean(clipped, axis=-1), batch),
        "scale_value": scale,
    }
    state = state._replace(
        policy=policy,
        optimizers=state.optimizers._replace(policy=optimizer),
        scales=state.scales._replace(value=scale),
    )
    return state, metrics


def _step(
    optimizer: optax.GradientTransformation,
    gradient: Params,
    optimizer_state: optax.OptState,
    params: Params,
) -> tuple[Params, optax.OptState]:
    updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
    return optax.apply_updates(params, updates), optimizer_state


def _masked_mean(values: Array, batch: Batch) -> Array:
    return jnp.sum(values * batch.mask) / jnp.sum(batch.mask)


def _reanalysed_part(world: WorldModel, planner: Gaussian) -> Gaussian:
    config = world.config
    return jax.tree.map(lambda leaf: leaf[: config.horizon, : config.reanalyse_batch], planner)


def _reanalyse(world: WorldModel, state: AgentState, key: Array, batch: Batch) -> Gaussian:
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


def _write_back(
    world: WorldModel, buffer: Replay, batch: Batch, fresh: Gaussian
) -> tuple[Replay, Batch]:
    horizon, count = world.config.horizon, world.config.reanalyse_batch
    buffer = replay.write_plans(buffer, batch.slot[:horizon, :count], fresh)
    planner = jax.tree.map(
        lambda old, new: old.at[:horizon, :count].set(new), batch.plan, fresh
    )
    return buffer, batch._replace(plan=planner)
