"""The step of the world model with both ensembles: TD-MPC2's losses, Eq. (14) to (17)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pompc.algorithm import losses
from pompc.algorithm.agent import AgentState, Elites, TargetParams
from pompc.algorithm.losses import Metrics, masked_mean
from pompc.algorithm.maths import outside_bins, two_hot_cross_entropy
from pompc.algorithm.networks import Params
from pompc.algorithm.optimizers import adam, clip_gradient, follow, model_optimizer, optimizer_step
from pompc.algorithm.replay import Batch
from pompc.algorithm.rollout import Rollout, unroll
from pompc.algorithm.world_model import ModelParams, WorldModel
from pompc.settings.config import Config


class Imagined(NamedTuple):
    """`N` trajectories in the model and the TD targets of their transitions, gradients stopped."""

    latents: Array  # [H, N, Z]
    actions: Array  # [H, N, A]
    targets: Array  # [H, N], in units of return


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
    pairs = TargetParams(
        _draw_targets(world, keys[1], state.targets.q),
        _draw_targets(world, keys[2], state.targets.kl_q),
    )
    if world.config.critic == "v":
        return state_value_targets(world, state, pairs.q, rollout, noise)
    return td_targets(world, state.policy, pairs, batch, rollout, target_kl, noise)


def _draw_targets(world: WorldModel, key: Array, heads: Params) -> Params:
    how = "all" if world.config.target_heads == "mean_all" else "pair"
    return world.draw_heads(key, heads, how)


def imagine(world: WorldModel, state: AgentState, elites: Elites, key: Array) -> Imagined:
    r"""Roll elites once more in the model, and value each of their steps.

    $$\hat r(z_h, a_h) + \gamma \min Q^-(z_{h+1}, \tilde a), \quad
    z_{h+1} = d(z_h, a_h), \quad \tilde a \sim \pi_s(z_{h+1})$$

    The paper's future work: the planner's simulated data in value learning. With an exact model
    Q^π_s is its fixed point, whatever the elites.
    """
    heads_key, noise_key = jax.random.split(key)
    plans, best = elites.actions.shape[1:3]
    actions = elites.actions.reshape(-1, plans * best, world.action_dim)
    start = world.encode(state.model.encoder, elites.observation)
    latents = [jnp.repeat(start, best, axis=0)]
    for action in actions:
        latents.append(world.next_latent(state.model.dynamics, latents[-1], action))
    before, after = jnp.stack(latents[:-1]), jnp.stack(latents[1:])
    noise = jax.random.normal(noise_key, actions.shape)
    following = world.sample_action(world.policy(state.policy, after), noise)
    heads = _draw_targets(world, heads_key, state.targets.q)
    value = _reduce_heads(world, world.q_values(heads, after, following))
    reward = world.reward(state.model.reward, before, actions)
    target = losses.model_step_target(reward, value, world.config.discount)
    return jax.lax.stop_gradient(Imagined(before, actions, target))


def imagined_loss(world: WorldModel, q: Params, found: Imagined, key: Array | None) -> Array:
    r"""Return $\sum_h \rho^h / H$ of CE(Q(z_h, a_h), target), a mean over trajectories.

    A scalar before its coefficient; a key turns dropout on.
    """
    terms = _ensemble_loss(world, q, found.latents, found.actions, found.targets, key)
    return losses.over_time(world.config, terms, jnp.ones_like(terms))


def _ensemble_loss(
    world: WorldModel, heads: Params, latent: Array, action: Array, target: Array, key: Array | None
) -> Array:
    """Return the loss of values `[H, B]`, Eq. (14) and (16), averaged over the heads."""
    read = partial(losses.value_loss, target=target, bins=world.bins)
    return jnp.mean(world.q_function(read, heads, key)(latent, action), axis=0)


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
    before, action = latents[:-1], batch.action
    keys = (None, None) if dropout_keys is None else dropout_keys
    reward_logits = world.reward_logits(model.reward, before, batch.action)
    terms = {
        "consistency": losses.consistency_loss(latents[1:], rollout.encoded),
        "reward": two_hot_cross_entropy(reward_logits, batch.reward, world.bins),
        "value": _ensemble_loss(world, model.q, before, action, targets.q, keys[0]),
    }
    if targets.kl_q is not None:
        trained = before if world.config.kl_value_trains_model else rollout.latents[:-1]
        own = model.kl_q, trained, action, targets.kl_q, keys[1]
        terms["kl_value"] = _ensemble_loss(world, *own)
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
    elites: Elites | None = None,
) -> tuple[AgentState, Metrics]:
    """Step encoder, dynamics, reward and ensembles on one sum of losses; move the targets.

    Fresh elites train Q besides, and nothing but Q.
    """
    config, keys = world.config, jax.random.split(key, 5)
    targets = draw_targets(world, state, batch, rollout, target_kl, keys[:3])

    def loss(model: ModelParams) -> tuple[Array, Metrics]:
        terms = model_losses(world, model, batch, rollout, targets, keys[3:])
        if elites is not None:
            terms["imagined_value"] = _learn_imagined(world, state, model.q, elites, key)
        return jnp.sum(weighted(config, terms)), terms

    # Without a target Q^λ has no gradient and no optimiser step: pretraining leaves it alone.
    trained = state.model if targets.kl_q is not None else state.model._replace(kl_q=None)
    gradient, terms = jax.grad(loss, has_aux=True)(trained)
    state = _apply_gradient(world, state, gradient)
    metrics = {f"{name}_loss": term for name, term in terms.items()}
    return state, metrics | _target_metrics(world, batch, targets) | {
        "model_grad_norm": optax.tree.norm(gradient)
    }


def _learn_imagined(
    world: WorldModel, state: AgentState, q: Params, elites: Elites, key: Array
) -> Array:
    """Return `imagined_loss` of the elites; 0, at no cost, if they are not fresh."""
    keys = jax.random.split(jax.random.fold_in(key, 5))  # beside the five of `step_model`

    def learn(q: Params) -> Array:
        return imagined_loss(world, q, imagine(world, state, elites, keys[0]), keys[1])

    return jax.lax.cond(elites.fresh, learn, lambda _: jnp.float32(0.0), q)


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
