"""Populations: agents together equal agents alone, no arithmetic for nothing, many devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import agents
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pompc import Config, runtime
from pompc.algorithm import agent, replay, update
from pompc.algorithm.loss_weights import hypers, parts
from pompc.algorithm.world_model import WorldModel
from pompc.population import cost
from pompc.population.groups import (
    Learners,
    actors,
    initial_arguments,
    make_population,
    remember,
    replay_bytes,
    replay_on_host,
    replay_rows,
)
from pompc.population.programs import make_programs
from pompc.training import decision

STEPS = 80
# Episodes of agent 0 terminate early, those of the others are truncated together.
LENGTHS = (7, 20, 20)


def _population(config):
    return make_population(config.agents, agents.OBSERVATIONS, agents.ACTIONS)


def test_agents_that_differ_in_arrays_share_a_group(small):
    config = small(
        lam=[0, 0.5, 9, "inf"], prior=["reverse_kl", "forward_kl", "replay"], seeds=2,
        method=["pompc", "tdmpc2"],
    )  # fmt: skip
    found = [
        {(member.method, member.lam, member.prior) for member in group.agents}
        for group in _population(config).groups
    ]
    learned = [
        ("pompc", lam, prior) for lam in (0.5, 9.0) for prior in ("reverse_kl", "forward_kl")
    ]
    assert found == [
        {("pompc", 0.0, "reverse_kl")},
        set(learned),
        {("pompc", 0.5, "replay"), ("pompc", 9.0, "replay")},
        {("pompc", np.inf, "reverse_kl"), ("pompc", np.inf, "forward_kl")},
        {("pompc", np.inf, "replay")},
        {("tdmpc2", 0.0, "reverse_kl")},
    ]
    rows = [group.rows for group in _population(config).groups]
    assert [part.start for part in rows[1:]] == [part.stop for part in rows[:-1]]
    assert rows[-1].stop == len(config.agents)


@pytest.fixture(scope="module")
def three(small, request):
    """Return a population of two that share a group and one that does not, and each alone."""
    config = small(plan_samples=16, elites=5, value_nets=2, **request.param)
    together = make_programs(_population(config))
    return together, [make_programs(_population(member)) for member in config.agents]


@pytest.mark.parametrize(
    "three",
    [
        pytest.param(
            {"lam": [0.5, 0.0], "prior": ["reverse_kl", "forward_kl"]},
            id="directions of the KL, with λ = 0",
        ),
        pytest.param(
            {"method": ["pompc", "pompc_budget"], "lam": [0.5, 9.0], "prior_rate": 0.1},
            id="averaged priors, with a budget",
        ),
        pytest.param(
            {
                "method": ["boom", "pompc_imagined"],
                "prior": "mixture",
                "lam": [0.5, 9.0],
                "prior_components": 2,
            },
            id="BOOM, mixtures, imagined values",
        ),
    ],
    indirect=True,
)
def test_agents_together_equal_each_alone_step_by_step(three):
    """From the same state and keys, 80 steps with early terminations in one agent only.

    Where two trajectories are worth the same but for rounding, a group may rank them the other way
    round, and act on the other: seen once in 600 decisions.
    """
    together, alone = three
    population = together.population
    states, buffers = together.init(*initial_arguments(population))
    rng = np.random.default_rng(0)
    learners = Learners(tuple(agents.start_elsewhere(state, rng) for state in states), buffers)
    done, worst, ranked_otherwise = np.zeros(3, bool), 0.0, 0
    for step in range(1, STEPS + 1):
        seen = rng.normal(size=(3, agents.OBSERVATIONS)).astype(np.float32)
        feedback = rng.normal(size=3).astype(np.float32), np.zeros(3, bool), seen
        starts = [_copy(_one(learners, population, index)) for index in range(3)]
        learners, actions = decision.act(together, learners, feedback)
        ends = np.array([step % length == 0 for length in LENGTHS])
        done = ends & np.array([True, False, False])
        if ends.any():
            learners = _end(together, learners, feedback[0], done, seen, ends)
        if step > 10:
            *found, metrics = together.update(*learners, np.bool_(step % 10 == 0))
            learners = Learners(*found)
        for index in range(3):
            own = tuple(value[index : index + 1] for value in feedback)
            mine, action = decision.act(alone[index], starts[index], own)
            if not np.allclose(actions[index], action[0], atol=1e-5):
                ranked_otherwise += 1
                continue
            if ends.any():
                part = slice(index, index + 1)
                mine = _end(alone[index], mine, own[0], done[part], own[2], ends[part])
            if step > 10:
                *found, (own,) = alone[index].update(*mine, np.bool_(step % 10 == 0))
                mine = Learners(*found)
                if step == 11:
                    number, row = population.place(index)
                    np.testing.assert_allclose(metrics[number][row], own[0], rtol=1e-4, atol=1e-5)
            worst = max(worst, _difference(_one(learners, population, index), mine))
    assert worst < 1e-5
    assert ranked_otherwise <= 1
    measured = np.concatenate([np.ravel(found) for found in together.measure(*learners)])
    single = [alone[index].measure(*_copy(_one(learners, population, index))) for index in range(3)]
    np.testing.assert_allclose(measured, np.concatenate(single, axis=None), rtol=1e-3, atol=1e-5)


def _end(programs, learners, *outcome):
    changed = programs.end_episode(actors(learners.states), learners.buffers, *outcome)
    return remember(learners.states, *changed)


def _one(learners, population, index):
    """Return one agent of a population as a population of one, in the host's memory.

    Rows are taken there: on several devices each would be a program of all of them, and hundreds
    in a row can hold up one another for want of threads.
    """
    number, row = population.place(index)
    several = len(population.groups[number].agents) > 1
    return jax.tree.map(
        lambda leaf: np.asarray(leaf)[row] if several else np.asarray(leaf),
        Learners((learners.states[number],), (learners.buffers[number],)),
    )


def _copy(tree):
    return jax.tree.map(jnp.array, tree)


def _difference(first, second):
    """Return the largest difference of two trees, relative where numbers are above 1."""

    def of(a, b):
        a, b = np.asarray(a, float), np.asarray(b, float)
        return float((np.abs(a - b) / np.maximum(1.0, np.abs(a))).max())

    return max(map(of, jax.tree.leaves(first), jax.tree.leaves(second)))


DEVICES = """
import sys
import jax, numpy as np
sys.path.insert(0, {tests!r})
import agents
from pompc import Config
from pompc.population import build
from pompc.population.groups import (
    Learners, actors, initial_arguments, make_population, with_padding, without_padding,
)
from pompc.population.programs import make_programs
from pompc.training import decision

found = []
for used, memory in (({devices}, "device"), (1, "device"), ({devices}, "host")):
    build.jax.local_devices = lambda devices=jax.devices()[:used], backend=None: devices
    config = Config(replay_memory=memory, **{settings!r})
    population = make_population(config.agents, agents.OBSERVATIONS, agents.ACTIONS)
    programs = make_programs(population)
    states, buffers = programs.init(*initial_arguments(population))
    rng, count = np.random.default_rng(0), len(config.agents)
    own = without_padding(jax.device_get(states), population)
    moved = tuple(agents.start_elsewhere(state, rng, spread=0.3) for state in own)
    learners = Learners(with_padding(moved, like=states), buffers)
    for step in range(12):
        seen = rng.normal(size=(count, agents.OBSERVATIONS)).astype(np.float32)
        feedback = rng.normal(size=count).astype(np.float32), np.zeros(count, bool), seen
        learners, actions = decision.act(programs, learners, feedback)
    keys = np.zeros((count, 1, 2), np.uint32)
    means = np.zeros((count, 1, config.agents[0].horizon, agents.ACTIONS), np.float32)
    evaluated = programs.evaluation_actions(actors(learners.states), keys, seen[:, None], means)
    *learners, metrics = programs.update(*learners, np.bool_(True))
    where = [{{len(x.sharding.device_set) for x in jax.tree.leaves(part)}} for part in learners]
    print("axes", *programs.sizes, "on devices", programs.devices, *where)
    own = [without_padding(jax.device_get(part), population) for part in learners]
    found.append(jax.tree.leaves((own, *jax.device_get((actions, metrics, evaluated)))))
for first, *others in zip(*found, strict=True):
    for other in others:
        assert first.shape == other.shape
        np.testing.assert_allclose(first, other, rtol=1e-4, atol=1e-5)
print("equal")
"""


@pytest.mark.parametrize(
    ("chosen", "devices", "axes", "axes_on_one"),
    [
        pytest.param({"lam": [0.0, 0.5], "seeds": 8}, 8, "8 8", "8 8", id="two groups of eight"),
        pytest.param({"lam": [0.0, 0.5, 3.0, 9.0]}, 2, "1 4", "1 3", id="one, three and a copy"),
    ],
)
def test_agents_spread_over_devices_equal_one_device(small, chosen, devices, axes, axes_on_one):
    """Buffers lie on the agents' devices, or in the host's memory.

    The devices are forced ones of the host.
    """
    config = small(value_nets=2, horizon=2)
    settings = {
        name: getattr(config, name)
        for name in ("task", "preset", "encoder_dim", "latent_dim", "hidden_dim", "bins",
                     "plan_samples", "policy_samples", "elites", "mppi_iterations", "batch_size",
                     "reanalyse_batch", "seeding_decisions", "steps", "value_nets", "horizon")
    } | chosen  # fmt: skip
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    program = DEVICES.format(
        settings=settings, tests=str(Path(__file__).parents[1]), devices=devices
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    every = f"{{{devices}}}"
    assert done.stdout.split("\n")[:-1] == [
        f"axes {axes} on devices {devices} {every} {every}",
        f"axes {axes_on_one} on devices 1 {{1}} {{1}}",
        f"axes {axes} on devices {devices} {every} {{1}}",
        "equal",
    ]  # fmt: skip


def test_replay_holds_little_more_than_the_data():
    """dog-run, a million decisions: observation, action, planner's mean and std, reward."""
    least = 1_000_000 * 4 * (223 + 3 * 38 + 1)
    config = Config(task="dog-run", preset="paper")
    shapes = jax.eval_shape(lambda: replay.create(replay_rows(config), 223, 38))
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    assert held <= 1.1 * least


@pytest.mark.parametrize(
    "settings",
    [{"lam": 0.0}, {"lam": 1.0}, {"prior": "mixture"}, {"lam": 0.0, "imagined_value_coef": 0.1}],
)
def test_operations_are_those_that_the_mathematics_needs(settings):
    """XLA's count of plan and update, at the paper's sizes, against the products counted by hand.

    One iteration: XLA counts the body of a loop once.
    """
    config = Config(task="dog-run", preset="paper", dropout=0.0, mppi_iterations=1, **settings)
    world, needed = WorldModel(config, 223, 38), parts(config)
    key = jax.random.PRNGKey(0)
    state = jax.eval_shape(lambda key: agent.init(world, key, hypers(config), needed), key)
    buffer = jax.eval_shape(lambda: replay.create(1000, 223, 38))
    batch = jax.eval_shape(lambda state, buffer: replay.sample(buffer, key, 256, 3), state, buffer)
    latent, mean = jax.ShapeDtypeStruct((512,), jnp.float32), jnp.zeros((3, 38))
    alone = needed._replace(reanalyse="")  # counted apart
    programs = {
        "plan": (lambda s, z: agent.make_plan(world, s, key, z, mean), latent),
        "update": (lambda s, b: update.update(world, s, b, alone, jnp.bool_(False)), batch),
    }
    counted = cost.count(world, needed)
    for name, (program, argument) in programs.items():
        flops = jax.jit(program).lower(state, argument).cost_analysis()["flops"]
        assert 0.98 <= flops / getattr(counted, name) < 1.12, name


def test_fewer_updates_cost_less(small):
    """With one update in ten decisions, nine tenths of the updates after seeding are saved."""
    config = small(lam=0.0)
    (group,) = _population(config).groups
    saved = 0.9 * (config.decisions - config.seeding_decisions)
    every, tenth = (cost.operations(_population(small(lam=0.0, update_every=n))) for n in (1, 10))
    assert every - tenth == pytest.approx(saved * cost.count(group.world, group.parts).update)


def test_replay_goes_to_the_host_where_the_device_is_too_small(small, monkeypatch):
    population = _population(small(seeds=2, buffer_size=1000, steps=4000))
    needed = 2 * (1000 + 10 + 16) * 4 * (agents.OBSERVATIONS + 3 * agents.ACTIONS + 1)
    assert 2 * replay_bytes(population.groups[0]) == pytest.approx(needed, rel=0.15)
    for available, on_host in ((None, False), (10 * needed, False), (needed, True)):
        monkeypatch.setattr(runtime, "device_bytes", lambda found=available: found)
        assert replay_on_host(population, [2]) == on_host
    monkeypatch.undo()
    assert replay_on_host(_population(small(replay_memory="host")), [1])
