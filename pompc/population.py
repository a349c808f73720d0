"""A population of agents, and what training carries of it.

Agents are ordered in groups: within one they differ in seed, λ and other weights only, so that
they are a leading axis of the same arithmetic; what a group does not need it does not compute.

Axes: `P` agents of the population, `G` agents of one group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc import agent, replay, runtime
from pompc.agent import AgentState, Memory
from pompc.config import Config
from pompc.hypers import Parts, hypers, parts
from pompc.replay import Replay
from pompc.world_model import WorldModel

# What agents of one group may differ in: `Hypers` and keys, which are arrays.
_TRACED = (
    "method", "lam", "prior", "seed", "entropy_coef", "entropy_at_infinity", "cross_entropy_coef",
    "cloning_coef",
)  # fmt: skip


REPLAY_SHARE = 0.6  # of the device's memory; networks, batches and activations need the rest


class Group(NamedTuple):
    """Agents that share one program."""

    agents: tuple[Config, ...]
    world: WorldModel
    parts: Parts
    rows: slice  # of the population


class Learners(NamedTuple):
    """What training carries: of each group, with leading axis `G` unless it is one agent."""

    states: tuple[AgentState, ...]
    buffers: tuple[Replay, ...]


def make_groups(
    agents: Sequence[Config], observation_dim: int, action_dim: int
) -> tuple[Group, ...]:
    """Group agents that can share a program; the population is ordered by group."""
    found: dict[tuple[Any, Parts], list[Config]] = {}
    for config in agents:
        found.setdefault((_shape(config), parts(config)), []).append(config)
    groups, start = [], 0
    for (_, needed), members in found.items():
        rows = slice(start, start := start + len(members))
        world = WorldModel(members[0], observation_dim, action_dim)
        groups.append(Group(tuple(members), world, needed, rows))
    return tuple(groups)


def _shape(config: Config) -> tuple[Any, ...]:
    """Return everything of a configuration that may not differ within a group."""
    names = [field.name for field in dataclasses.fields(config) if field.name not in _TRACED]
    return tuple(getattr(config, name) for name in names)


def initial_arguments(groups: tuple[Group, ...]) -> tuple[Array, Any]:
    """Return keys `[P]` and hypers `[P]` of the agents at their start."""
    agents = [config for group in groups for config in group.agents]
    keys = jnp.stack([jax.random.PRNGKey(config.seed) for config in agents])
    return keys, jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(hypers, agents))


def replay_rows(config: Config) -> int:
    """Return the buffer's rows: a row a decision, and one more an episode (1 % allowed for)."""
    decisions = min(config.buffer_size, config.decisions)
    return decisions + decisions // 100 + 16


def empty_buffer(group: Group) -> Replay:
    """Return the buffer of one agent at its start."""
    rows, world = replay_rows(group.agents[0]), group.world
    return replay.create(rows, world.observation_dim, world.action_dim, group.parts.cloning)


def replay_bytes(groups: tuple[Group, ...]) -> int:
    """Return the memory of all buffers."""
    total = 0
    for group in groups:
        total += len(group.agents) * _bytes(jax.eval_shape(partial(empty_buffer, group)))
    return total


def initial_bytes(group: Group) -> int:
    """Return the memory of a group's agents: networks, targets, optimisers, scales."""
    world, needed = group.world, group.parts
    points = hypers(group.agents[0])
    shapes = jax.eval_shape(lambda key: agent.init(world, key, points, needed), jax.random.key(0))
    return len(group.agents) * _bytes(shapes)


def _bytes(shapes: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def replay_on_host(groups: tuple[Group, ...]) -> bool:
    """Tell whether buffers lie in the host's memory: as asked, or if they do not fit elsewhere."""
    choice = groups[0].agents[0].replay_memory
    if choice != "auto":
        return choice == "host"
    available = runtime.device_bytes()
    return available is not None and replay_bytes(groups) > REPLAY_SHARE * available


def remember(
    states: tuple[AgentState, ...], memories: tuple[Memory, ...]
) -> tuple[AgentState, ...]:
    """Return the agents of each group with what acting changed in them."""
    return tuple(
        state._replace(**memory._asdict()) for state, memory in zip(states, memories, strict=True)
    )
