"""A population of agents as one program each for acting, learning and evaluating.

Agents are the leading axis `P` of everything. They share shapes, task and preset, and differ in
`Hypers`, keys and data. All simulators' results enter and all actions leave by these programs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc import agent, learner, replay
from pompc.agent import AgentState
from pompc.config import Config
from pompc.methods import hypers, parts
from pompc.rollout import Metrics
from pompc.world_model import WorldModel


class Programs(NamedTuple):
    """The jitted programs; states and buffers are donated wherever new ones come back."""

    init: Callable[..., Any]  # keys [P], hypers [P] -> states
    create_replay: Callable[..., Any]  # -> buffers
    act: Callable[..., Any]  # states, buffers, observation, reward, terminated -> ..., actions
    act_seeding: Callable[..., Any]  # the same, before any learning
    close_episode: Callable[..., Any]  # ..., done -> states, buffers
    close_seeding: Callable[..., Any]
    pretrain: Callable[..., Any]  # states, buffers -> states, metrics
    update: Callable[..., Any]  # states, buffers, reanalyse now -> states, buffers, metrics
    evaluation_actions: Callable[..., Any]  # states, keys, [P, N, O], means -> actions, means
    policy_actions: Callable[..., Any]  # states, [P, N, O] -> actions
    metric_names: tuple[str, ...]  # last axis of update's metrics
    pretrain_metric_names: tuple[str, ...]


def over_agents(function: Callable[..., Any], size: int, shared: int = 0) -> Callable[..., Any]:
    """Map a function of one agent over a leading axis; the last `shared` arguments have none.

    One agent is not vmapped but squeezed: its program is that of a single agent.
    """

    def squeezed(*args: Any) -> Any:
        split = len(args) - shared
        own = jax.tree.map(lambda leaf: leaf[0], args[:split])
        return jax.tree.map(lambda leaf: leaf[None], function(*own, *args[split:]))

    def mapped(*args: Any) -> Any:
        axes = (0,) * (len(args) - shared) + (None,) * shared
        return jax.vmap(function, in_axes=axes)(*args)

    return squeezed if size == 1 else mapped


def make_programs(world: WorldModel, agents: tuple[Config, ...]) -> Programs:
    """Return the programs of agents that need the same parts."""
    size = len(agents)
    needed = parts(agents[0].lam, agents[0].prior)
    capacity = replay_rows(agents[0])
    names: dict[str, tuple[str, ...]] = {}

    def update(state: AgentState, buffer: replay.Replay, now: Array) -> Any:
        state, buffer, metrics = learner.update(world, state, buffer, needed, now)
        return state, buffer, _stack(metrics, names, "update")

    def pretrain(state: AgentState, buffer: replay.Replay) -> Any:
        state, metrics = learner.pretrain(world, state, buffer)
        return state, _stack(metrics, names, "pretrain")

    def create() -> replay.Replay:
        return replay.create(capacity, world.observation_dim, world.action_dim)

    def evaluate(state: AgentState, keys: Array, observations: Array, means: Array) -> Any:
        one = partial(agent.evaluation_action, world, state)
        together = agent.plans_at_once(world.config, observations.shape[0])
        return jax.lax.map(lambda xs: one(*xs), (keys, observations, means), batch_size=together)

    def policy(state: AgentState, observations: Array) -> Array:
        return agent.policy_action(world, state, observations)

    def jitted(function: Callable[..., Any], donate: tuple[int, ...] = (), shared: int = 0) -> Any:
        return jax.jit(over_agents(function, size, shared), donate_argnums=donate)

    keys, points = initial_arguments(agents)
    programs = Programs(
        init=jitted(lambda key, point: agent.init(world, key, point, needed)),
        create_replay=jax.jit(
            lambda: jax.tree.map(lambda leaf: jnp.stack([leaf] * size), create())
        ),
        act=jitted(partial(agent.act, world), (0, 1)),
        act_seeding=jitted(partial(agent.act_seeding, world), (0, 1)),
        close_episode=jitted(partial(agent.close_episode, world, seeding=False), (0, 1)),
        close_seeding=jitted(partial(agent.close_episode, world, seeding=True), (0, 1)),
        pretrain=jitted(pretrain, (0,)),
        update=jitted(update, (0, 1), shared=1),
        evaluation_actions=jitted(evaluate),
        policy_actions=jitted(policy),
        metric_names=(),
        pretrain_metric_names=(),
    )
    state = jax.eval_shape(programs.init, keys, points)
    buffer = jax.eval_shape(programs.create_replay)
    jax.eval_shape(programs.pretrain, state, buffer)
    jax.eval_shape(programs.update, state, buffer, jax.ShapeDtypeStruct((), jnp.bool_))
    return programs._replace(metric_names=names["update"], pretrain_metric_names=names["pretrain"])


def initial_arguments(agents: tuple[Config, ...]) -> tuple[Array, Any]:
    """Return keys `[P]` and hypers `[P]` of agents at their start."""
    keys = jnp.stack([jax.random.PRNGKey(config.seed) for config in agents])
    points = [hypers(config.lam, config.prior, config.entropy_coef) for config in agents]
    return keys, jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)


def replay_rows(config: Config) -> int:
    """Return the buffer's rows: a row a decision, and one more an episode (1 % allowed for)."""
    decisions = min(config.buffer_size, config.decisions)
    return decisions + decisions // 100 + 16


def _stack(metrics: Metrics, names: dict[str, tuple[str, ...]], program: str) -> Array:
    # One array instead of thirty: a transfer each decision.
    names[program] = tuple(metrics)
    return jnp.stack([jnp.asarray(value, jnp.float32) for value in metrics.values()])
