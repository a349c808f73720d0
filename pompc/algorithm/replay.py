"""Replay buffer: a functional ring of steps that keeps the planner's mean and std with each.

A row index past the end of the ring means *no write*: JAX drops such writes (`mode="drop"`), so
that one program serves every case without a branch.

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

from pompc.algorithm.maths import Gaussian


class EpisodeReturns(NamedTuple):
    """Returns of whole episodes, for those who weigh stored actions by them (Eq. 43)."""

    of_row: Array  # [C]: return of the row's episode, NaN until it has ended
    so_far: Array  # return of the present episode
    best: Array  # of all episodes that have ended


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
    opened: Array  # int32: rows written when the present episode began
    replanned: Array  # [C] bool: the plan was written again, since a checkpoint cleared this
    returns: EpisodeReturns | None


class Batch(NamedTuple):
    """Sequences of H transitions; past the end of an episode the last row repeats, mask 0."""

    observation: Array  # [H + 1, B, O]
    action: Array  # [H, B, A]
    reward: Array  # [H, B]
    terminated: Array  # [H, B]
    mask: Array  # [H, B]: 1 for transitions of the episode
    plan: Gaussian  # [H + 1, B, A]
    slot: Array  # [H + 1, B] int32: row in the ring, C where past the end
    returns: Array | None = None  # [H, B]: of each transition's whole episode, NaN until it ends
    best: Array | None = None  # the best return of an episode so far


def create(
    capacity: int, observation_dim: int, action_dim: int, with_returns: bool = False
) -> Replay:
    """Return an empty buffer of `capacity` rows, `with_returns` of episodes if they are read."""
    actions = jnp.zeros((capacity, action_dim))
    returns = None
    if with_returns:
        unknown = jnp.full(capacity, jnp.nan, jnp.float32)
        returns = EpisodeReturns(unknown, jnp.zeros(()), jnp.float32(-jnp.inf))
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
        opened=jnp.int32(0),
        replanned=jnp.zeros(capacity, bool),
        returns=returns,
    )


def set_outcome(replay: Replay, reward: Array, terminated: Array) -> Replay:
    """Store the outcome of the newest row's action; nothing happens at the start of an episode.

    Of a population, all agents' outcomes are stored where an episode of one ends, and those of the
    others once more with their next row: the return counts what is new in a row.
    """
    newest = (replay.rows - 1) % replay.last.size
    # After an episode's last observation no action was taken: the outcome goes nowhere.
    slot = jnp.where(replay.last[newest], replay.last.size, newest)
    if replay.returns is not None:
        added = jnp.where(replay.last[newest], 0.0, reward - replay.reward[newest])
        so_far = replay.returns.so_far + added
        replay = replay._replace(returns=replay.returns._replace(so_far=so_far))
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
    # The new row may overwrite the start of the oldest complete transition, which is then lost.
    overwritten = (
        (replay.rows >= capacity)
        & (replay.first < replay.complete)
        & (replay.starts[replay.first % capacity] == slot)
    )
    # The row before this one is a whole transition now, unless its episode ended there.
    completes = write & ~replay.last[before]
    row = jnp.where(write, slot, capacity)
    start = jnp.where(completes, replay.complete % capacity, capacity)

    def put(ring: Array, value: Array) -> Array:
        return ring.at[row].set(value, mode="drop")

    returns = replay.returns
    if returns is not None:
        returns = returns._replace(of_row=put(returns.of_row, jnp.full((), jnp.nan)))
    return replay._replace(
        returns=returns,
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


def record(
    replay: Replay,
    reward: Array,
    terminated: Array,
    observation: Array,
    action: Array,
    plan: Gaussian,
) -> Replay:
    """Store the outcome of the last action, then what was seen and done since (lines 7 and 8)."""
    replay = set_outcome(replay, reward, terminated)
    return append(replay, observation, action, plan, jnp.bool_(False), jnp.bool_(True))


def record_end(
    replay: Replay,
    reward: Array,
    terminated: Array,
    observation: Array,
    plan: Gaussian,
    done: Array,
) -> Replay:
    """Store the outcome of the last action and, if `done`, its episode's last observation."""
    replay = set_outcome(replay, reward, terminated)
    no_action = jnp.zeros(replay.action.shape[-1])
    replay = append(replay, observation, no_action, plan, jnp.bool_(True), done)
    return close_episode(replay, done)


def close_episode(replay: Replay, done: Array) -> Replay:
    """Note that the episode ended, if `done`, and give its rows its return, where one is kept.

    Call it after the last row was appended.
    """
    opened = jnp.where(done, replay.rows, replay.opened)
    if replay.returns is None:
        return replay._replace(opened=opened)
    capacity, (of_row, so_far, best) = replay.last.size, replay.returns
    age = (replay.rows - 1 - jnp.arange(capacity)) % capacity  # rows written since each slot's
    in_episode = age < replay.rows - replay.opened
    returns = EpisodeReturns(
        of_row=jnp.where(done & in_episode, so_far, of_row),
        so_far=jnp.where(done, 0.0, so_far),
        best=jnp.where(done, jnp.maximum(best, so_far), best),
    )
    return replay._replace(opened=opened, returns=returns)


def discard_episode(replay: Replay, failed: Array) -> Replay:
    """Forget the present episode, if `failed`: none of its transitions can be drawn any more."""
    newest, present = (replay.rows - 1) % replay.last.size, replay.rows - replay.opened
    transitions = jnp.where(failed, jnp.maximum(present - 1, 0), 0)
    complete = jnp.maximum(replay.complete - transitions, replay.first)
    ended = replay.last.at[newest].set(replay.last[newest] | failed)
    opened = jnp.where(failed, replay.rows, replay.opened)
    returns = replay.returns
    if returns is not None:
        returns = returns._replace(so_far=jnp.where(failed, 0.0, returns.so_far))
    return replay._replace(complete=complete, last=ended, opened=opened, returns=returns)


def sample(replay: Replay, key: Array, batch_size: int, horizon: int) -> Batch:
    """Draw `batch_size` sequences of H transitions whose starts are uniform over transitions.

    A sequence that reaches the end of its episode is padded, so that the last transitions are
    learned at every position; none crosses a reset or the seam of the ring.
    """
    capacity = replay.last.size
    # Uniform over complete transitions, through the ring of their rows: no rejection, no mask.
    drawn = jax.random.randint(key, (batch_size,), replay.first, replay.complete)
    start = replay.starts[drawn % capacity]
    window = (start[None] + jnp.arange(horizon + 1)[:, None]) % capacity
    # A sequence ends with its episode, or with the newest row, behind which the seam lies.
    newest = (replay.rows - 1) % capacity
    ends = replay.last[window] | (window == newest)
    ended = jnp.cumsum(ends, axis=0) - ends > 0  # the episode ended before this row
    # Past the end the last row repeats, with mask 0, and its plans are written back nowhere.
    steps_in = jnp.arange(horizon + 1)[:, None] - jnp.cumsum(ended, axis=0)
    row = jnp.take_along_axis(window, steps_in, axis=0)
    returns = replay.returns
    return Batch(
        returns=None if returns is None else returns.of_row[row[:-1]],
        best=None if returns is None else returns.best,
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
        ),
        replanned=replay.replanned.at[slot].set(True, mode="drop"),
    )
