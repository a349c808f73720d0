"""The jitted programs of a population: acting, learning, evaluating.

All groups are one program: observations of all agents enter, actions of all leave. Agents compute
where the accelerator is. Their buffers lie there too, so that acting and learning are one program
each; or, where they do not fit, in the host's memory, where programs of their own read and write.

Axes: `P` agents of the population, `G` agents of one group, `N` environments of one agent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm import agent, instruments, replay, update
from pompc.algorithm.agent import Actor, AgentState
from pompc.algorithm.instruments import Drawn
from pompc.algorithm.loss_weights import Parts, pretraining
from pompc.algorithm.losses import Metrics
from pompc.algorithm.replay import Batch
from pompc.population.build import Builder, Function, jit, plans_at_once
from pompc.population.groups import Group, Population, empty_buffer, initial_arguments
from pompc.settings.config import Config

Names = Callable[[], tuple[tuple[str, ...], ...]]  # of each group; the first call traces it


class Programs(NamedTuple):
    """The jitted programs; states and buffers are donated wherever new ones come back."""

    population: Population
    init: Function  # keys [P], hypers [P] -> states, buffers
    # actors, buffers, reward, terminated, observation [P, ...] -> memories, buffers, actions
    act: Function
    act_seeding: Function  # the same, before any learning
    end_episode: Function  # the same and done [P] -> memories, buffers
    end_seeding_episode: Function
    discard_episode: Function  # actors, buffers, failed [P] -> memories, buffers
    pretrain: Function  # states, buffers, reanalyse now -> states, buffers, metrics of each group
    update: Function  # the same
    measure: Function  # states, buffers -> instruments of each group
    evaluation_actions: Function  # actors, keys, [P, N, O], means -> actions, means
    policy_actions: Function  # actors, [P, N, O] -> actions
    metric_names: Names  # last axis of update's metrics
    pretrain_metric_names: Names
    instrument_names: tuple[tuple[str, ...], ...]
    sizes: tuple[int, ...]  # of each group's axis, padding included
    devices: int  # that share the agents
    replay_on_host: bool


def make_programs(population: Population) -> Programs:
    """Return the programs of a population."""
    build = Builder(population)
    pretrain, pretrain_metric_names = _learn(build, pretraining)
    update_all, metric_names = _learn(build, lambda needed, _: needed)
    return Programs(
        population=population,
        init=_init(build),
        act=_act(build, agent.act),
        act_seeding=_act(build, agent.act_seeding),
        end_episode=_end_episode(build, agent.end_episode),
        end_seeding_episode=_end_episode(build, agent.end_seeding_episode),
        discard_episode=_discard_episode(build),
        pretrain=pretrain,
        update=update_all,
        measure=_measure(build),
        evaluation_actions=_evaluation_actions(build),
        policy_actions=_policy_actions(build),
        metric_names=metric_names,
        pretrain_metric_names=pretrain_metric_names,
        instrument_names=tuple(instruments.names(group.parts) for group in build.groups),
        sizes=build.sizes,
        devices=build.mesh.size,
        replay_on_host=build.replay_on_host,
    )


def _init(build: Builder) -> Function:
    def agent_of(group: Group) -> Function:
        return lambda key, point: agent.init(group.world, key, point, group.parts)

    start = build.computing(agent_of, 2)
    create = build.storing(lambda group: lambda _: empty_buffer(group), 1)

    def init(keys: Array, points: Any) -> Any:
        return start(keys, points), create(build.to_host(keys))

    return build.whole(init)


def _act(build: Builder, one_agent: Function) -> Function:
    # Line 6 where the agents are; then lines 7 and 8, of the decision before, with the buffers.
    choose = build.computing(lambda group: partial(one_agent, group.world), 2)
    record = build.storing(lambda _: replay.record, 6, donate=(0,))

    def act(actors: Any, buffers: Any, reward: Any, terminated: Any, observation: Any) -> Any:
        memories, choices = choose(actors, observation)
        actions, planners = zip(*choices, strict=True)  # of each group
        seen = build.to_host((reward, terminated, observation, actions, planners))
        chosen = build.along_agents(actions)
        return memories, record(buffers, *seen), chosen

    return build.whole(act, donate=(1,))


def _end_episode(build: Builder, one_agent: Function) -> Function:
    choose = build.computing(lambda group: partial(one_agent, group.world), 3)
    record = build.storing(lambda _: replay.record_end, 6, donate=(0,))

    def end_episode(
        actors: Any, buffers: Any, reward: Any, terminated: Any, observation: Any, done: Any
    ) -> Any:
        memories, planners = choose(actors, observation, done)
        seen = build.to_host((reward, terminated, observation, planners, done))
        return memories, record(buffers, *seen)

    return build.whole(end_episode, donate=(1,))


def _discard_episode(build: Builder) -> Function:
    abandon = build.computing(lambda _: agent.abandon_episode, 2)
    discard = build.storing(lambda _: replay.discard_episode, 2, donate=(0,))

    def discard_episode(actors: Any, buffers: Any, failed: Any) -> Any:
        return abandon(actors, failed), discard(buffers, build.to_host(failed))

    return build.whole(discard_episode, donate=(1,))


def _learn(build: Builder, choose: Callable[[Parts, Config], Parts]) -> tuple[Function, Names]:
    """Return the program of `update.update`, of the parts that `choose` keeps, and its metrics."""
    found: dict[int, tuple[str, ...]] = {}

    def of_group(group: Group) -> Function:
        needed = choose(group.parts, group.world.config)

        def learn(state: AgentState, batch: Batch, now: Array) -> Any:
            state, plans, metrics = update.update(group.world, state, batch, needed, now)
            found[build.groups.index(group)] = tuple(metrics)
            return state, plans, _stack(metrics)

        return learn

    # Three pieces: draw where the buffers are (line 12), learn where the agents are (lines 13 to
    # 27), write the new plans where the buffers are (line 18).
    sample = build.storing(lambda group: partial(update.sample, group.world), 2)
    learn = build.computing(of_group, 2, shared=1, donate=(0,), one_by_one=True)
    write = build.storing(lambda group: partial(update.write_back, group.world), 3, donate=(0,))

    def program(states: Any, buffers: Any, now: Any) -> Any:
        batches = sample(buffers, build.to_host(tuple(state.key for state in states)))
        states, plans, metrics = learn(states, build.to_device(batches), now)
        written = write(buffers, batches, build.to_host(plans))
        return states, written, _of_agents(build, metrics)

    program = build.whole(program, donate=(0, 1))

    @functools.cache
    def names() -> tuple[tuple[str, ...], ...]:
        # Traced without computing: the names of the metrics are known only then.
        init = jax.eval_shape(_init(build), *initial_arguments(build.population))
        jax.eval_shape(program, *init, jax.ShapeDtypeStruct((), jnp.bool_))
        return tuple(found[number] for number in range(len(build.groups)))

    return program, names


def _measure(build: Builder) -> Function:
    """Return the program of `instruments.measure`."""

    def of_group(group: Group) -> Function:
        def measure(state: AgentState, drawn: Drawn) -> Array:
            return _stack(instruments.measure(group.world, state, drawn, group.parts))

        return measure

    draw = build.storing(lambda group: partial(instruments.draw, group.world), 2)
    of_groups = build.computing(of_group, 2, one_by_one=True)

    def measure(states: Any, buffers: Any) -> Any:
        drawn = draw(buffers, build.to_host(tuple(state.key for state in states)))
        return _of_agents(build, of_groups(states, build.to_device(drawn)))

    # It runs every 500 decisions: compile it fast rather than for speed.
    quick = {"xla_backend_optimization_level": 0}
    return measure if build.replay_on_host else jax.jit(measure, compiler_options=quick)


def _of_agents(build: Builder, metrics: Any) -> Any:
    """Return the metrics `[G, M]` of each group, without its padding."""
    found = zip(build.groups, metrics, strict=True)
    return tuple(jnp.atleast_2d(values)[: len(group.agents)] for group, values in found)


def _stack(metrics: Metrics) -> Array:
    # One array instead of thirty: a transfer each decision.
    return jnp.stack([jnp.asarray(value, jnp.float32) for value in metrics.values()])


def _evaluation_actions(build: Builder) -> Function:
    def of_group(group: Group) -> Function:
        def act(state: Actor, keys: Array, observations: Array, means: Array) -> Any:
            config, one = group.world.config, partial(agent.evaluation_action, group.world, state)
            together = plans_at_once(observations.shape[0], config)
            inputs = keys, observations, means
            return jax.lax.map(lambda each: one(*each), inputs, batch_size=together)

        return act

    act = build.computing(of_group, 4)

    def evaluation_actions(*args: Any) -> Any:
        actions, means = act(*args)
        return build.along_agents(actions), build.along_agents(means)

    return jit(evaluation_actions)


def _policy_actions(build: Builder) -> Function:
    act = build.computing(lambda group: partial(agent.policy_action, group.world), 2)
    return jit(lambda *args: build.along_agents(act(*args)))
