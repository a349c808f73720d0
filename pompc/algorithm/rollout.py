"""The model's rollout along a batch: the latents that values, policy and prior train at."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm.replay import Batch
from pompc.algorithm.world_model import ModelParams, WorldModel


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
