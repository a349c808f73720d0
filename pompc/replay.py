"""Replay buffer: a functional ring of steps that keeps the planner's mean and std with each.

One row a decision, and one more for the last observation of an episode, so that each observation
is stored once: the next observation of a row is the row after it. Row t is written when action t
is chosen; its reward follows with the next call. A transition can be sampled as soon as the row
after it stands, since Eq. (17) needs the planner at both ends.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.ops import Gaussian


class Replay(NamedTuple):
    """The ring of `C` rows; counters count all that was ever written."""

    observation: Array  # [C, O]
    action: Array  # [C, A]
    reward: Array  # [C]
    terminated: Array  # [C] bool: the action led to a termination
    last: Array  # [C] bool: last observation of an episode, no action
    plan: Gaussian  # [C, A]: the planning policy π_P at this row
    starts: Array  # [C] int32: ring of the slots of complete transitions, oldest first
    rows: Array  # int32: rows written
    complete: Array  # int32: complete transitions written
    first: Array  # int32: complete transitions overwritten since


class Batch(NamedTuple):
    """Sequences of H transitions; past the end of an episode the last row repeats, mask 0."""

    observation: Array  # [H + 1, B, O]
    action: Array  # [H, B, A]
    reward: Array  # [H, B]
    terminated: Array  # [H, B]
    mask: Array  # [H, B]: 1 for transitions of the episode
    plan: Gaussian  # [H + 1, B, A]
    slot: Array  # [H + 1, B] int32: row in the ring, C where past the end


def create(capacity: int, observation_dim: int, action_dim: int) -> Replay:
    """Return an empty buffer of `capacity` rows."""
    actions = jnp.zeros((capacity, action_dim))
    return Replay(
        observation=jnp.zeros((capacity, observation_dim)),
        action=actions,
        reward=jnp.zeros(capacity),
        terminated=jnp.zeros(capacity, bool),
        last=jnp.ones(capacity, bool),
        plan=Gaussian(jnp.zeros_like(actions), jnp.ones_like(actions)),
        starts=jnp.zeros(capacity, jnp.int32),
        rows=jnp.int32(0),
        complete=jnp.int32(0),
        first=jnp.int32(0),
    )


def set_outcome(replay: Replay, reward: Array, terminated: Array) -> Replay:
    """Store the outcome of the newest row's action; nothing happens at the start of an episode."""
    newest = (replay.rows - 1) % replay.last.size
    slot = jnp.where(replay.last[newest], replay.last.size, newest)
    return replay._replace(
        reward=replay.reward.at[slot].set(reward, mode="drop"),
        terminated=replay.terminated.at[slot].set(terminated, mode="drop"),
    )


def append(
    replay: Replay, observation: Array, action: Array, plan: Gaussian, last: Array, write: Array
) -> Replay:
    """Append a row, if `write`; the transition of the row before it is complete with this."""
    capacity = replay.last.size
    slot, before = replay.rows % capacity, (replay.rows - 1) % capacity
    overwritten = (
        (replay.rows >= capacity)
        & (replay.first < replay.complete)
        & (replay.starts[replay.first % capacity] == slot)
    )
    completes = write & ~replay.last[before]
    row = jnp.where(write, slot, capacity)
    start = jnp.where(completes, replay.complete % capacity, capacity)

    def put(ring: Array, value: Array) -> Array:
        return ring.at[row].set(value, mode="drop")

    return replay._replace(
        observation=put(replay.observation, observation),
        action=put(replay.action, action),
        reward=put(replay.reward, jnp.zeros(())),
        terminated=put(replay.terminated, jnp.zeros((), bool)),
        last=put(replay.last, last),
        plan=jax.tree.map(put, replay.plan, plan),
        starts=replay.starts.at[start].set(before, mode="drop"),
        rows=replay.rows + write,
        complete=replay.complete + completes,
        first=replay.first + (write & overwritten),
    )


def sample(replay: Replay, key: Array, batch_size: int, horizon: int) -> Batch:
    """Draw `batch_size` sequences of H transitions whose starts are uniform over transitions.

    A sequence that reaches the end of its episode is padded, so that the last transitions are
    learned at every position; none crosses a reset or the seam of the ring.
    """
    capacity = replay.last.size
    drawn = jax.random.randint(key, (batch_size,), replay.first, replay.complete)
    start = replay.starts[drawn % capacity]
    window = (start[None] + jnp.arange(horizon + 1)[:, None]) % capacity
    newest = (replay.rows - 1) % capacity
    ends = replay.last[window] | (window == newest)
    ended = jnp.cumsum(ends, axis=0) - ends > 0  # the episode ended before this row
    steps_in = jnp.arange(horizon + 1)[:, None] - jnp.cumsum(ended, axis=0)
    row = jnp.take_along_axis(window, steps_in, axis=0)
    return Batch(
        observation=replay.observation[row],
        action=replay.action[row[:-1]],
        reward=replay.reward[row[:-1]],
        terminated=replay.terminated[row[:-1]].astype(jnp.float32),
        mask=(~ended & ~ends)[:-1].astype(jnp.float32),
        plan=jax.tree.map(lambda ring: ring[row], replay.plan),
        slot=jnp.where(ended, capacity, row),
    )


def write_plans(replay: Replay, slot: Array, plan: Gaussian) -> Replay:
    """Write reanalysed planning policies `[..., A]` back to rows `slot [...]` (C: nowhere)."""
    return replay._replace(
        plan=jax.tree.map(
            lambda ring, value: ring.at[slot].set(value, mode="drop"), replay.plan, plan
        )
    )
