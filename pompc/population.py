"""A population of agents as one program each for acting, learning and evaluating.

Agents are ordered in groups: within one they differ in seed, λ and other weights only, so that
they are a leading axis of the same arithmetic; what a group does not need it does not compute.
All groups are one program: observations of all agents enter, actions of all leave.

Axes: `P` agents of the population, `G` agents of one group.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from pompc import agent, learner, replay
from pompc.agent import AgentState
from pompc.config import Config
from pompc.hypers import Parts, hypers, parts
from pompc.replay import Replay
from pompc.rollout import Metrics
from pompc.world_model import WorldModel

# What agents of one group may differ in: `Hypers` and keys, which are arrays.
_TRACED = (
    "method", "lam", "prior", "seed", "entropy_coef", "entropy_at_infinity", "cross_entropy_coef",
    "cloning_coef",
)  # fmt: skip


class Group(NamedTuple):
    """Agents that share one program."""

    agents: tuple[Config, ...]
    world: WorldModel
    parts: Parts
    rows: slice  # of the population


class Learners(NamedTuple):
    """What training carries on the device: of each group, with leading axis `G`."""

    states: tuple[AgentState, ...]
    buffers: tuple[Replay, ...]


class Programs(NamedTuple):
    """The jitted programs; learners are donated wherever new ones come back."""

    groups: tuple[Group, ...]
    init: Callable[..., Any]  # keys [P], hypers [P] -> learners
    act: Callable[..., Any]  # learners, observation, reward, terminated [P, ...] -> ..., actions
    act_seeding: Callable[..., Any]  # the same, before any learning
    close_episode: Callable[..., Any]  # learners, observation, reward, terminated, done -> learners
    close_seeding: Callable[..., Any]
    pretrain: Callable[..., Any]  # learners, reanalyse now -> learners, metrics of each group
    update: Callable[..., Any]  # the same
    evaluation_actions: Callable[..., Any]  # states, keys, [P, N, O], means -> actions, means
    policy_actions: Callable[..., Any]  # states, [P, N, O] -> actions
    metric_names: tuple[tuple[str, ...], ...]  # of each group: last axis of update's metrics
    pretrain_metric_names: tuple[tuple[str, ...], ...]
    devices: int  # that share the agents


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


def over_agents(
    function: Callable[..., Any], size: int, shared: int = 0, together: int | None = None
) -> Callable[..., Any]:
    """Map a function of one agent over a leading axis; the last `shared` arguments have none.

    One agent is not vmapped but squeezed: its program is that of a single agent. `together` agents
    are vmapped at once, and such batches follow one another; by default all are.
    """

    def squeezed(*args: Any) -> Any:
        split = len(args) - shared
        own = jax.tree.map(lambda leaf: leaf[0], args[:split])
        return jax.tree.map(lambda leaf: leaf[None], function(*own, *args[split:]))

    def mapped(*args: Any) -> Any:
        split = len(args) - shared

        def one(own: tuple[Any, ...]) -> Any:
            return function(*own, *args[split:])

        if together is None or together >= size:
            return jax.vmap(one)(args[:split])
        return jax.lax.map(one, args[:split], batch_size=together if together > 1 else None)

    return squeezed if size == 1 else mapped


def make_programs(groups: tuple[Group, ...]) -> Programs:
    """Return the programs of a population."""
    names: dict[tuple[str, int], tuple[str, ...]] = {}
    mesh = _mesh(groups)

    def jitted(
        per_agent: Callable[[Group], Callable[..., Any]],
        donate: tuple[int, ...] = (),
        shared: int = 0,
        rows: Callable[[Config], int] = _rows_of_plan,
    ) -> Any:
        program = _by_group(groups, per_agent, mesh, shared, rows)
        return jax.jit(program, donate_argnums=donate)

    def learning(name: str) -> Callable[[Group], Callable[..., Any]]:
        def of_group(group: Group) -> Callable[..., Any]:
            def program(state: AgentState, buffer: Replay, now: Array) -> Any:
                one_agent = getattr(learner, name)
                state, buffer, metrics = one_agent(group.world, state, buffer, group.parts, now)
                names[name, group.rows.start] = tuple(metrics)
                return state, buffer, _stack(metrics)

            return program

        return of_group

    programs = Programs(
        groups=groups,
        init=jitted(_init),
        act=jitted(lambda group: partial(agent.act, group.world), (0, 1)),
        act_seeding=jitted(lambda group: partial(agent.act_seeding, group.world), (0, 1)),
        close_episode=jitted(_close(seeding=False), (0, 1)),
        close_seeding=jitted(_close(seeding=True), (0, 1)),
        pretrain=jitted(learning("pretrain"), (0, 1), 1, _rows_of_update),
        update=jitted(learning("update"), (0, 1), 1, _rows_of_update),
        evaluation_actions=jitted(_evaluation),
        policy_actions=jitted(lambda group: partial(agent.policy_action, group.world)),
        metric_names=(),
        pretrain_metric_names=(),
        devices=mesh.size,
    )
    learners = jax.eval_shape(programs.init, *initial_arguments(groups))
    now = jax.ShapeDtypeStruct((), jnp.bool_)
    for program in (programs.pretrain, programs.update):
        jax.eval_shape(program, *learners, now)
    starts = [group.rows.start for group in groups]
    return programs._replace(
        metric_names=tuple(names["update", start] for start in starts),
        pretrain_metric_names=tuple(names["pretrain", start] for start in starts),
    )


class _PerGroup(NamedTuple):
    """Marks an output that stays apart by group."""

    value: Any


def _stack(metrics: Metrics) -> _PerGroup:
    # One array instead of thirty: a transfer each decision.
    return _PerGroup(jnp.stack([jnp.asarray(value, jnp.float32) for value in metrics.values()]))


def _init(group: Group) -> Callable[..., Any]:
    rows = replay_rows(group.agents[0])
    world = group.world

    def program(key: Array, point: Any) -> tuple[AgentState, Replay]:
        buffer = replay.create(rows, world.observation_dim, world.action_dim, group.parts.cloning)
        return agent.init(world, key, point, group.parts), buffer

    return program


def _close(seeding: bool) -> Callable[[Group], Callable[..., Any]]:
    return lambda group: partial(agent.close_episode, group.world, seeding=seeding)


def _evaluation(group: Group) -> Callable[..., Any]:
    def program(state: AgentState, keys: Array, observations: Array, means: Array) -> Any:
        one = partial(agent.evaluation_action, group.world, state)
        config = group.world.config
        together = agent.at_once(config, observations.shape[0], _rows_of_plan(config))
        return jax.lax.map(lambda xs: one(*xs), (keys, observations, means), batch_size=together)

    return program


def _by_group(
    groups: tuple[Group, ...],
    per_agent: Callable[[Group], Callable[..., Any]],
    mesh: Mesh,
    shared: int,
    rows: Callable[[Config], int],
) -> Callable[..., Any]:
    """Return one function of the population from a function of one agent of each group.

    Tuples of states or buffers are taken by group, arrays along their axis `P`, the last `shared`
    arguments whole. `rows` of the activations of one agent decide how many are batched.
    """

    def program(*args: Any) -> Any:
        results = []
        for index, group in enumerate(groups):
            size, config = len(group.agents) // mesh.size, group.world.config
            together = agent.at_once(config, size, rows(config))
            function = over_agents(per_agent(group), size, shared, together)
            split = len(args) - shared
            own = [_of_group(argument, index, group) for argument in args[:split]]
            results.append(_sharded(function, mesh, len(own), shared)(*own, *args[split:]))
        if not isinstance(results[0], tuple) or hasattr(results[0], "_fields"):
            return _join(results)
        return tuple(_join(outputs) for outputs in zip(*results, strict=True))

    return program


def _of_group(argument: Any, index: int, group: Group) -> Any:
    by_group = isinstance(argument, tuple) and not hasattr(argument, "_fields")
    return argument[index] if by_group else jax.tree.map(lambda leaf: leaf[group.rows], argument)


def _join(outputs: Sequence[Any]) -> Any:
    if isinstance(outputs[0], _PerGroup):
        return tuple(output.value for output in outputs)
    return jnp.concatenate(outputs) if isinstance(outputs[0], Array) else tuple(outputs)


def _rows_of_plan(config: Config) -> int:
    return config.plan_samples


def _rows_of_update(config: Config) -> int:
    # The forward pass of a layer is kept for the backward one; four of them, measured.
    return 4 * config.horizon * config.batch_size


def _mesh(groups: tuple[Group, ...]) -> Mesh:
    """Return the devices that share the agents: as many as divide every group evenly."""
    devices = jax.local_devices()
    sizes = math.gcd(*(len(group.agents) for group in groups))
    count = max(n for n in range(1, len(devices) + 1) if sizes % n == 0)
    return Mesh(np.array(devices[:count]), ("agents",))


def _sharded(function: Callable[..., Any], mesh: Mesh, own: int, shared: int) -> Callable[..., Any]:
    """Run a function of a group on its devices, each with its share of the agents."""
    if mesh.size == 1:
        return function
    along, whole = PartitionSpec("agents"), PartitionSpec()
    specs = (along,) * own + (whole,) * shared
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=along, check_vma=False)


def initial_arguments(groups: tuple[Group, ...]) -> tuple[Array, Any]:
    """Return keys `[P]` and hypers `[P]` of the agents at their start."""
    agents = [config for group in groups for config in group.agents]
    keys = jnp.stack([jax.random.PRNGKey(config.seed) for config in agents])
    return keys, jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(hypers, agents))


def replay_rows(config: Config) -> int:
    """Return the buffer's rows: a row a decision, and one more an episode (1 % allowed for)."""
    decisions = min(config.buffer_size, config.decisions)
    return decisions + decisions // 100 + 16
