"""A population of agents in groups, and what training carries of it.

Within a group agents differ in seed, λ and other weights only, so that they are a leading axis of
the same arithmetic. A group computes nothing that its agents do not need.

Axes: `P` agents of the population, `G` agents of one group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pompc import runtime
from pompc.algorithm import agent, replay
from pompc.algorithm.agent import Actor, AgentState
from pompc.algorithm.loss_weights import Parts, hypers, parts
from pompc.algorithm.replay import Replay
from pompc.algorithm.world_model import WorldModel
from pompc.errors import ConfigError
from pompc.settings.config import Config
from pompc.settings.field_types import shared_values

REPLAY_SHARE = 0.6  # of the device's memory; networks, batches and activations need the rest


class Group(NamedTuple):
    """Agents that share one program."""

    agents: tuple[Config, ...]
    world: WorldModel
    parts: Parts
    rows: slice  # of the population


@dataclasses.dataclass(frozen=True)
class Population:
    """All agents of a run, ordered by group."""

    groups: tuple[Group, ...]

    @property
    def agents(self) -> tuple[Config, ...]:
        """The configuration of each agent, `P` of them."""
        return tuple(config for group in self.groups for config in group.agents)

    @property
    def world(self) -> WorldModel:
        """The first group's networks, whose observation, action and horizon are everyone's."""
        return self.groups[0].world

    def place(self, agent: int) -> tuple[int, int]:
        """Return an agent's group and its row there; raise ConfigError if there is none."""
        count = len(self.agents)
        if not 0 <= agent < count:
            raise ConfigError(f"agent is {agent}, but the run holds agents 0 to {count - 1}")
        number = next(n for n, group in enumerate(self.groups) if agent < group.rows.stop)
        return number, agent - self.groups[number].rows.start


class Learners(NamedTuple):
    """The state of training: one entry a group, with leading axis `G` unless it is one agent."""

    states: tuple[AgentState, ...]
    buffers: tuple[Replay, ...]


def make_population(agents: Sequence[Config], observation_dim: int, action_dim: int) -> Population:
    """Group agents that can share a program; the population is ordered by group."""
    found: dict[tuple[Any, Parts], list[Config]] = {}
    for config in agents:
        # They may differ in their `Hypers` and keys alone, which are arrays.
        found.setdefault((shared_values(config), parts(config)), []).append(config)
    groups, start = [], 0
    for (_, needed), members in found.items():
        rows = slice(start, start := start + len(members))
        world = WorldModel(members[0], observation_dim, action_dim)
        groups.append(Group(tuple(members), world, needed, rows))
    return Population(tuple(groups))


def initial_arguments(population: Population) -> tuple[Array, Any]:
    """Return keys `[P]` and hypers `[P]` of the agents at their start."""
    agents = population.agents
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


def replay_bytes(group: Group) -> int:
    """Return the memory of one agent's buffer."""
    return tree_bytes(jax.eval_shape(partial(empty_buffer, group)))


def initial_bytes(group: Group) -> int:
    """Return the memory of one agent: networks, targets, optimisers, scales."""
    points = hypers(group.agents[0])
    start = partial(agent.init, group.world, hypers=points, parts=group.parts)
    return tree_bytes(jax.eval_shape(start, jax.random.key(0)))


def tree_bytes(shapes: Any) -> int:
    """Return the bytes of a tree's arrays."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def agent_size(agents: Sequence[AgentState], counts: Sequence[int]) -> int:
    """Return the number of trained parameters of the largest agent; each group has `counts`."""
    trained = [(states.model, states.policy, states.prior) for states in agents]
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(each)) for each in trained]
    return max(size // count for size, count in zip(sizes, counts, strict=True))


def replay_on_host(population: Population, sizes: Sequence[int]) -> bool:
    """Return whether buffers go to the host's memory: as asked, or if they fit nowhere else.

    `sizes` are the numbers of buffers of the groups.
    """
    choice = population.agents[0].replay_memory
    if choice != "auto":
        return choice == "host"
    available = runtime.device_bytes()
    if available is None:
        return False
    needed = np.dot(sizes, [replay_bytes(group) for group in population.groups])
    return bool(needed > REPLAY_SHARE * available)


def without_padding(states: tuple[Any, ...], population: Population) -> tuple[Any, ...]:
    """Return each group's states, without the copies of its last agent that pad it.

    The padding is cut in the host's memory: XLA would cut an array that lies on several devices
    by a program of all of them, which wait for each other.
    """
    return cut_padding(states, population, lambda leaf, count: np.asarray(leaf)[:count])


def cut_padding(
    states: tuple[Any, ...], population: Population, cut: Callable[[Any, int], Any]
) -> tuple[Any, ...]:
    """Apply `cut` to the leaves of padded groups and the number of the group's own agents."""

    def own(count: int, leaf: Any) -> Any:
        return cut(leaf, count) if 1 < count < len(leaf) else leaf

    return tuple(
        jax.tree.map(partial(own, len(group.agents)), state)
        for state, group in zip(states, population.groups, strict=True)
    )


def with_padding(own: tuple[Any, ...], like: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the states that `without_padding` left, padded and placed as those of `like`.

    Arrays that JAX is free to move stay so: a program that is compiled for them would be compiled
    once more for arrays that are bound to a device.
    """

    def complete(leaf: Any, whole: Any) -> Any:
        if leaf.shape != whole.shape:
            padding = np.repeat(leaf[-1:], len(whole) - len(leaf), axis=0)
            leaf = np.concatenate([leaf, padding])
        free = isinstance(whole, Array) and not whole.committed
        return jax.device_put(leaf, None if free else whole.sharding)

    return jax.tree.map(complete, own, like)


def actors(states: tuple[AgentState, ...]) -> tuple[Actor, ...]:
    """Return what each group's agents act with."""
    return tuple(map(agent.actor, states))


def remember(states: tuple[AgentState, ...], memories: Any, buffers: Any) -> Learners:
    """Return the learners after acting, which changed the agents' memories and the buffers."""
    pairs = zip(states, memories, strict=True)
    return Learners(tuple(state._replace(**own._asdict()) for state, own in pairs), buffers)
