"""Runs of earlier versions of this code load, go on, or end in a sentence that says why not."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from agents import ACTIONS, OBSERVATIONS, make

import pompc
from pompc import ConfigError, runs
from pompc.algorithm.agent import TargetParams
from pompc.algorithm.loss_weights import hypers
from pompc.population.groups import Learners, initial_arguments, make_population
from pompc.population.programs import make_programs
from pompc.runs import checkpoint, stored_agents
from pompc.training.log import Log
from pompc.training.trained_agent import population_of


@pytest.fixture
def oldest(tmp_path):
    """Return a run of commit 0a7734d, whose checkpoints had no format: 120 steps, tiny networks."""
    with tarfile.open(Path(__file__).with_name("checkpoint_v0.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_an_agent_of_the_oldest_format_acts_as_it_did(oldest):
    action = pompc.load_agent(oldest).act(np.linspace(-1, 1, 5), planner=False)
    np.testing.assert_allclose(action, [-0.01518482], rtol=1e-4)  # by commit 0a7734d


def test_a_run_of_the_oldest_format_goes_on(oldest):
    population = population_of(runs.read_config(oldest))
    programs = make_programs(population)
    start = Learners(*programs.init(*initial_arguments(population)))
    found = checkpoint.Checkpoints(oldest, population).restore(start)
    assert found is not None
    assert found.decision == 60
    assert found.learners.states[0].hypers == hypers(population.agents[0])
    assert int(found.learners.buffers[0].rows) == 60
    Log(programs, oldest, print).load(found.log)


@pytest.fixture
def stored(small, tmp_path):
    """Return the population and state of one agent, and the folder where it is to be stored."""
    config = small()
    return make_population([config], OBSERVATIONS, ACTIONS), make(config)[2], tmp_path / "agents"


def test_a_part_that_was_added_starts_as_the_table_says(stored, monkeypatch):
    population, state, path = stored
    stored_agents.write_agents(path, (state._replace(targets=None),))
    with pytest.raises(stored_agents.DifferentError, match=r"^0\.targets\.\S+ is missing, .* more"):
        stored_agents.read_agents(path, (state,), population)

    def targets(read):
        return TargetParams(read.model.q, read.model.kl_q)

    monkeypatch.setitem(stored_agents.STARTS, "targets", targets)
    (found,) = stored_agents.read_agents(path, (state,), population)
    expected = state._replace(targets=targets(state))
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(found)]
    assert len(places) == len(set(places))  # all can be donated
    # Where the part is stored, its default is not used.
    stored_agents.write_agents(path.with_name("whole"), (state,))
    (found,) = stored_agents.read_agents(path.with_name("whole"), (state,), population)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_part_that_was_dropped_is_named(stored):
    population, state, path = stored
    stored_agents.write_agents(path, (state,))
    without = state._replace(prior=None)
    with pytest.raises(stored_agents.DifferentError, match=r"0\.prior\.\S+ is unknown.* 7 more"):
        stored_agents.read_agents(path, (without,), population)


def test_other_shapes_and_the_version_that_wrote_them_are_named(oldest):
    settings = json.loads((oldest / "config.json").read_text())
    (oldest / "config.json").write_text(json.dumps(settings | {"hidden_dim": 9}))
    with pytest.raises(ConfigError, match=(
        r"120 was written by pompc 0\.1\.0 or earlier and cannot be read by .*: "
        r"\S+ is float32\[8\], not float32\[9\],.* and \d+ more$"
    )):  # fmt: skip
        pompc.load_agent(oldest)


def test_a_format_of_a_later_version_is_refused(oldest):
    path = oldest / "checkpoints" / "120" / "checkpoint.json"
    body = json.loads(path.read_text())["body"] | {"format": 9, "pompc": "7.0"}
    path.write_text(json.dumps({"sha256": checkpoint._digest(body), "body": body}))
    with pytest.raises(ConfigError, match=r"by pompc 7\.0 and .*: its format is 9, the newest"):
        checkpoint.restore_agents(oldest, (), make_population([], 0, 0))


def test_a_table_gets_the_columns_that_it_lacks(tmp_path):
    path = tmp_path / "metrics.csv"
    for rows in ([{"env_step": 2, "loss": 0.5}, {"env_step": 4, "loss": 0.25}],
                 [{"env_step": 6, "new": 1}],
                 [{"env_step": 8, "new": 2, "loss": 0.125}]):  # fmt: skip
        runs.append_rows(path, rows)
    table = runs.read_table(path)
    expected = {
        "env_step": [2, 4, 6, 8],
        "loss": [0.5, 0.25, None, 0.125],
        "new": [None] * 2 + [1, 2],
    }
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected).astype({"new": float}))
    with path.open("a") as file:
        file.write("10,0.")  # torn
    runs.cut_tables(tmp_path, 4)
    pd.testing.assert_frame_equal(runs.read_table(path), table.head(2))
    runs.cut_tables(tmp_path, -1)
    assert not path.exists()


def test_an_interval_of_other_metrics_is_begun_anew(small, tmp_path):
    population = make_population([small()], OBSERVATIONS, ACTIONS)

    def log_of(*names):
        programs: Any = SimpleNamespace(
            metric_names=lambda: (names,), instrument_names=((),), population=population
        )
        return Log(programs, tmp_path, print)

    before = log_of("a", "b")
    before.add(1, [jnp.array([[2.0, 4.0]])])
    before.tick(np.ones(3))
    for names, expected in (
        (("a", "b"), "2.0,4.0"),
        (("a", "c"), "nan,nan"),
        (("a", "b", "c"), "nan"),
    ):
        (tmp_path / "metrics.csv").unlink(missing_ok=True)
        after = log_of(*names)
        after.load(before.save())
        after.tick(np.ones(3))
        after.write(2, 2)
        assert expected in (tmp_path / "metrics.csv").read_text().splitlines()[1]
