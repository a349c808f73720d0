"""The step of the world model with both ensembles: TD-MPC2's losses, Eq. (14) to (17)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pompc.algorithm import losses
from pompc.algorithm.agent import AgentState, TargetParams
from pompc.algorithm.losses import Metrics, masked_mean
from pompc.algorithm.maths import outside_bins, two_hot_cross_entropy
from pompc.algorithm.networks import Params
from pompc.algorithm.optimizers import adam, clip_gradient, follow, model_optimizer, optimizer_step
from pompc.algorithm.replay import Batch
from pompc.algorithm.rollout import Rollout, unroll
from pompc.algorithm.world_model import ModelParams, WorldModel
from pompc.settings.config import Config


class TDTargets(NamedTuple):
    """TD targets `[H, B]`, in units of return; `kl_q` is None where no Q^λ is trained."""

    q: Array  # Eq. (15)
    kl_q: Array | None  # Eq. (17)


def td_targets(
    world: WorldModel,
    policy: Params,
    heads: TargetParams,
    batch: Batch,
    rollout: Rollout,
    target_kl: Array | None,
    noise: Array,
) -> TDTargets:
    """Return the targets of Eq. (15) and, given the weighted KL `[H, B]` at z', of Eq. (17).

    Both take the lower (by option: the mean) of two target heads at one action ã ~ π_s(z'), drawn
    with `noise [H, B, A]`.
    """
    action = world.sample_action(world.policy(policy, rollout.encoded), noise)
    discount = world.config.discount

    def value_of(pair: Params) -> Array:
        return _reduce_heads(world, world.q_values(pair, rollout.encoded, action))

    q = losses.td_target(batch.reward, rollout.alive, value_of(heads.q), discount)
    if target_kl is None:
        return TDTargets(q, None)
    value = value_of(heads.kl_q)
    kl_q = losses.kl_td_target(batch.reward, rollout.alive, value, target_kl, discount)
    return TDTargets(q, kl_q)


def state_value_targets(
    world: WorldModel,
    state: AgentState,
    heads: Params,
    rollout: Rollout,
    noise: Array,
) -> TDTargets:
    """Return BMPC's targets of state values: one step of the model with the policy's action."""
    latents = jnp.concatenate([rollout.latents[:1], rollout.encoded[:-1]])
    action = world.sample_action(world.policy(state.policy, latents), noise)
    reward = world.reward(state.model.reward, latents, action)
    following = world.next_latent(state.model.dynamics, latents, action)
    value = _reduce_heads(world, world.q_values(heads, following, action))
    target = losses.model_step_target(reward, value, world.config.discount)
    return TDTargets(jax.lax.stop_gradient(target), None)


def _reduce_heads(world: WorldModel, values: Array) -> Array:
    """Reduce the drawn target heads `[E, ...]` to one value, as `target_heads` says."""
    reduce = jnp.min if world.config.target_heads == "min_pair" else jnp.mean
    return reduce(values, axis=0)


def draw_targets(
    world: WorldModel,
    state: AgentState,
    batch: Batch,
    rollout: Rollout,
    target_kl: Array | None,
    keys: Array,
) -> TDTargets:
    """Return the targets of one update, with actions and target heads drawn by `keys [3]`."""
    noise = jax.random.normal(keys[0], batch.action.shape)
    # Line 22: targets take the lower (or mean) of two target heads, drawn anew at every update.
    how = "all" if world.config.target_heads == "mean_all" else "pair"
    pairs = TargetParams(
        world.draw_heads(keys[1], state.targets.q, how),
        world.draw_heads(keys[2], state.targets.kl_q, how),
    )
    if world.config.critic == "v":
        return state_value_targets(world, state, pairs.q, rollout, noise)
    return td_targets(world, state.policy, pairs, batch, rollout, target_kl, noise)


def model_losses(
    world: WorldModel,
    model: ModelParams,
    batch: Batch,
    rollout: Rollout,
    targets: TDTargets,
    dropout_keys: Array | None,
) -> Metrics:
    """Return the losses of model and ensembles as scalars, before their coefficients.

    `dropout_keys [2]` turns dropout on, one key an ensemble.
    """
    latents = unroll(world, model, batch)
    before, bins = latents[:-1], world.bins
    keys = (None, None) if dropout_keys is None else dropout_keys

    def ensemble_loss(heads: Params, latent: Array, target: Array, key: Array | None) -> Array:
        read = partial(losses.value_loss, target=target, bins=bins)
        return jnp.mean(world.q_function(read, heads, key)(latent, batch.action), axis=0)

    reward_logits = world.reward_logits(model.reward, before, batch.action)
    terms = {
        "consistency": losses.consistency_loss(latents[1:], rollout.encoded),
        "reward": two_hot_cross_entropy(reward_logits, batch.reward, bins),
        "value": ensemble_loss(model.q, before, targets.q, keys[0]),
    }
    if targets.kl_q is not None:
        trained = before if world.config.kl_value_trains_model else rollout.latents[:-1]
        terms["kl_value"] = ensemble_loss(model.kl_q, trained, targets.kl_q, keys[1])
    return {name: losses.over_time(world.config, term, batch.mask) for name, term in terms.items()}


def weighted(config: Config, terms: Metrics) -> Array:
    """Return the losses with their coefficients, stacked in their order."""
    return jnp.stack([getattr(config, f"{name}_coef") * term for name, term in terms.items()])


def step_model(
    world: WorldModel,
    state: AgentState,
    batch: Batch,
    rollout: Rollout,
    target_kl: Array | None,
    key: Array,
) -> tuple[AgentState, Metrics]:
    """Step encoder, dynamics, reward and ensembles on one sum of losses; move the targets."""
    config, keys = world.config, jax.random.split(key, 5)
    targets = draw_targets(world, state, batch, rollout, target_kl, keys[:3])

    def loss(model: ModelParams) -> tuple[Array, Metrics]:
        terms = model_losses(world, model, batch, rollout, targets, keys[3:])
        return jnp.sum(weighted(config, terms)), terms

    # Without a target Q^λ has no gradient and no optimiser step: pretraining leaves it alone.
    trained = state.model if targets.kl_q is not None else state.model._replace(kl_q=None)
    gradient, terms = jax.grad(loss, has_aux=True)(trained)
    state = _apply_gradient(world, state, gradient)
    metrics = {f"{name}_loss": term for name, term in terms.items()}
    return state, metrics | _target_metrics(world, batch, targets) | {
        "model_grad_norm": optax.tree.norm(gradient)
    }


def _apply_gradient(world: WorldModel, state: AgentState, gradient: ModelParams) -> AgentState:
    """Clip one norm over everything, step, and let the target networks follow."""
    config, optimizers = world.config, state.optimizers
    gradient = clip_gradient(gradient, config.max_grad_norm)
    # Q^λ has an optimiser of its own, since its first step comes after pretraining.
    kl_q, kl_optimizer = state.model.kl_q, optimizers.kl_q
    if gradient.kl_q is not None:
        kl_q, kl_optimizer = optimizer_step(adam(config), gradient.kl_q, kl_optimizer, kl_q)
    others = gradient._replace(kl_q=None), optimizers.model, state.model._replace(kl_q=None)
    model, optimizer = optimizer_step(model_optimizer(config), *others)
    return state._replace(
        model=model._replace(kl_q=kl_q),
        optimizers=optimizers._replace(model=optimizer, kl_q=kl_optimizer),
        targets=TargetParams(
            q=follow(state.targets.q, model.q, config.target_rate),
            kl_q=follow(state.targets.kl_q, kl_q, config.target_rate),
        ),
    )


def _target_metrics(world: WorldModel, batch: Batch, targets: TDTargets) -> Metrics:
    named = {"target": targets.q, "kl_target": targets.kl_q}
    metrics = {}
    for name, target in named.items():
        if target is not None:
            metrics[f"{name}_mean"] = masked_mean(target, batch.mask)
            metrics[f"{name}_outside_bins"] = masked_mean(
                outside_bins(target, world.bins), batch.mask
            )
    return metrics
