"""What one update reads but does not train: latents along a batch, and steps of an optimiser."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from pompc.algorithm import losses
from pompc.algorithm.replay import Batch
from pompc.algorithm.world_model import ModelParams, WorldModel

Metrics = dict[str, Array]


class Rollout(NamedTuple):
    """Constants of one update, gradients stopped."""

    latents: Array  # [H + 1, B, Z]: the model's rollout along the batch's actions
    encoded: Array  # [H, B, Z]: of the observations after each action
    alive: Array  # [H, B]: 0 where the TD target has no bootstrap


def unroll(world: WorldModel, model: ModelParams, batch: Batch) -> Array:
    """Roll the dynamics from the first observation along the actions, `[H + 1, B, Z]`."""
    latents = [world.encode(model.encoder, batch.observation[0])]
    for action in batch.action:
        latents.append(world.next_latent(model.dynamics, latents[-1], action))
    return jnp.stack(latents)


def make_rollout(world: WorldModel, model: ModelParams, batch: Batch) -> Rollout:
    """Return the constants of one update.

    The model's step unrolls once more, under the gradient; XLA merges the two.
    """
    ignore = world.config.terminations == "ignore"
    rollout = Rollout(
        latents=unroll(world, model, batch),
        encoded=world.encode(model.encoder, batch.observation[1:]),
        alive=jnp.ones_like(batch.reward) if ignore else 1.0 - batch.terminated,
    )
    return jax.lax.stop_gradient(rollout)


def optimizer_step(
    optimizer: optax.GradientTransformation,
    gradient: Any,
    optimizer_state: Any,
    params: Any,
) -> tuple[Any, Any]:
    """Apply one step of an optimiser; return parameters and its state."""
    updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
    return optax.apply_updates(params, updates), optimizer_state


def clip_gradient(gradient: Any, max_norm: float) -> Any:
    """Clip the global norm of a tree of gradients."""
    return optax.clip_by_global_norm(max_norm).update(gradient, optax.EmptyState())[0]


def follow(target: Any, params: Any, rate: float) -> Any:
    """Move target parameters towards `params` by a share `rate` (τ) of the way."""
    return optax.incremental_update(params, target, rate)


def reduce_over_time(world: WorldModel, values: Array, mask: Array) -> Array:
    """Return the loss of terms `[H, B]`, weighted over time as the configuration says."""
    config = world.config
    return losses.discounted_mean(values, mask, config.time_discount, config.time_weights)


def masked_mean(values: Array, mask: Array) -> Array:
    """Return the mean of `[H, B]` over the transitions that belong to their episode."""
    return jnp.sum(values * mask) / jnp.sum(mask)
