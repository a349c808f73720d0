"""Whole runs of very small agents: what they leave, that they repeat, what stops them."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import pompc
from pompc import ConfigError, runs, runtime
from pompc.algorithm import update
from pompc.envs import vector
from pompc.population.groups import make_population
from pompc.population.programs import make_programs
from pompc.runs import checkpoint, files
from pompc.training import evaluation, log, progress, trained_agent, trainer

COLUMNS = [
    "task", "method", "lam", "prior", "seed", "env_step", "decision", "return", "return_policy",
    "wall_s",
]  # fmt: skip
ENVIRONMENT = '''
import gymnasium
import numpy as np


class Fall(gymnasium.Env):
    """A point that drifts; leaving [-1, 1] ends the episode, 25 steps truncate it.

    It has the sizes of cartpole-swingup, for which these tests have compiled everything.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (5,), np.float64)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.2, 0.2)
        return self.seen(), {}

    def seen(self):
        return np.array([self.place, 1.0, 0.0, 0.0, 0.0])

    def step(self, action):
        self.place += 0.2 * float(action[0])
        gone = abs(self.place) > 1
        return self.seen(), 1.0 - gone, gone, False, {}


gymnasium.register("Fall-v0", Fall, max_episode_steps=25)
'''


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """Return the folder and configuration of a finished run."""
    folder, config = tmp_path_factory.mktemp("runs") / "demo", small()
    pompc.train(config, folder)
    return folder, config


def test_a_run_leaves_its_tables(finished):
    folder, config = finished
    table = pd.read_csv(folder / "returns.csv")
    assert list(table.columns) == COLUMNS
    assert list(table.env_step) == [0, 200, 400]
    assert list(table.decision) == [0, 100, 200]
    assert table["return"].between(0, 1000).all()
    assert pompc.Config.from_json((folder / "config.json").read_text()) == config
    facts = json.loads((folder / "provenance.json").read_text())
    assert facts["finished"] is True
    for name in ("commit", "pompc", "jax", "mujoco", "device", "matmul_precision", "wall_s"):
        assert name in facts
    assert ("gpu_memory" in facts) == runtime.has_gpu()
    assert checkpoint.saved_steps(folder) == [200, 400]


def test_a_run_that_is_refused_leaves_no_folder(small, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise ConfigError("HumanoidBench is not installed")

    monkeypatch.setattr(trainer, "make_vector", refused)
    with pytest.raises(ConfigError, match="not installed"):
        pompc.train(small(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("used", "told"), [(1, "share 1 of 2 devices: seeds that 2"), (2, "")])
def test_the_first_lines_tell_of_devices_without_agents(small, used, told):
    names = "device", "matmul_precision", "replay_memory", "gpu_memory", "jax", "terminations"
    facts = dict.fromkeys(names, "-") | {"parameters": 1, "replay_bytes": 1, "disk_bytes": 1}
    facts |= {"agent_devices": used, "local_devices": 2}
    found = progress.first_line(small(seeds=3), facts, 1.0)
    assert told in found
    assert ("devices" in found) == bool(told)
    assert "devices" not in progress.first_line(small(), facts, 1.0)  # one agent has one


def test_load_runs_reads_one_run_or_a_folder_of_them(finished, tmp_path):
    folder, _ = finished
    one, many = pompc.load_runs(folder), pompc.load_runs(folder.parent)
    pd.testing.assert_frame_equal(one, many)
    assert set(one.run) == {str(folder)}
    with pytest.raises(ConfigError, match="no run found"):
        pompc.load_runs(tmp_path)


def test_a_finished_run_is_left_alone_and_another_configuration_refused(finished, small, capsys):
    folder, config = finished
    before = (folder / "returns.csv").read_text()
    pompc.train(config, folder)
    assert "finished: nothing to do" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"lam 1.0, not 9.0.*choose another run_dir"):
        pompc.train(small(lam=9.0), folder)
    assert (folder / "returns.csv").read_text() == before


def test_a_loaded_agent_acts_and_evaluates(finished):
    folder, config = finished
    agent, env = pompc.load_agent(folder), pompc.make_env(config.task, seed=3)
    observation, _ = env.reset(seed=3)
    first = agent.act(observation)
    agent.reset()
    np.testing.assert_array_equal(first, agent.act(observation))
    assert first.shape == (1,)
    assert np.abs(first).max() <= 1
    assert agent.act(observation, planner=False).shape == (1,)
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(5,\)"):
        agent.act(np.zeros(3))
    agent.reset()
    agent.act(observation)
    later = np.array([0.9, 0.1, 0.2, 0.3, 0.4])
    expected = agent.act(later)
    agent.reset()
    agent.act(observation)
    for bad in (np.nan, np.inf, 1e30, 1e300):
        for planner in (True, False):
            with pytest.raises(ValueError, match="no finite action at the observation"):
                agent.act(np.array([1.0, bad, 0.0, 0.0, 0.0]), planner)
    np.testing.assert_array_equal(agent.act(later), expected)  # as if nothing had happened
    table = pompc.evaluate(folder, episodes=2)
    last = pd.read_csv(folder / "returns.csv").iloc[-1]
    assert table["return"].mean() == pytest.approx(last["return"], abs=1e-3)
    assert table["return_policy"].mean() == pytest.approx(last["return_policy"], abs=1e-3)


def test_an_exported_agent_acts_as_that_of_its_run(finished, tmp_path, monkeypatch):
    folder, config = finished
    alone = pompc.export_agent(folder, tmp_path / "agent")
    assert sorted(path.name for path in alone.iterdir()) == [
        "agent.npz", "config.json", "provenance.json"
    ]  # fmt: skip
    seen = np.linspace(-1, 1, 5)
    actions = [pompc.load_agent(one).act(seen, planner) for one in (folder, alone)
               for planner in (True, False)]  # fmt: skip
    np.testing.assert_array_equal(actions[:2], actions[2:])
    pd.testing.assert_frame_equal(pompc.evaluate(folder, 1), pompc.evaluate(alone, 1))
    assert runs.read_provenance(alone)["steps"] == config.steps
    filmed = []
    monkeypatch.setattr(trained_agent.video, "record_actions", lambda *own: filmed.append(own))
    pompc.record_video(alone)
    ((task, seed, actions, path),) = filmed
    assert (task, path) == (config.task, alone / "video.mp4")
    assert seed == np.load(folder / runs.EPISODES)["seed"][0]
    assert actions.shape == (500, 1)
    assert np.abs(actions).max() > 0
    with pytest.raises(ConfigError, match="holds a run already"):
        pompc.export_agent(folder, alone)


def test_an_exported_agent_that_does_not_fit_is_named(finished, tmp_path):
    alone = pompc.export_agent(finished[0], tmp_path)
    arrays = files.read_arrays(alone / "agent.npz")
    first, *others = arrays
    files.write_arrays(alone / "agent.npz", {name: arrays[name] for name in others})
    with pytest.raises(ConfigError, match=f"{re.escape(first)} is missing"):
        pompc.load_agent(alone)
    (alone / "agent.npz").write_bytes(b"torn")
    with pytest.raises(ConfigError, match=r"agent\.npz was written by pompc .* cannot be read by"):
        pompc.load_agent(alone)


def test_rewards_of_the_newest_evaluation_add_up_to_its_return(finished, tmp_path):
    folder, _ = finished
    rewards, last = pompc.load_episodes(folder), pd.read_csv(folder / "returns.csv").iloc[-1]
    totals = rewards.groupby("episode")["reward"].sum()
    assert len(totals) == 2
    assert totals.mean() == pytest.approx(last["return"], abs=1e-3)
    assert (rewards["env_step"] == last["env_step"]).all()
    assert (rewards["lam"] == last["lam"]).all()
    with pytest.raises(FileNotFoundError, match=r"no episodes\.npz with rewards"):
        pompc.load_episodes(tmp_path)


def test_a_run_without_folder_or_checkpoint_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        pompc.load_agent(tmp_path)


@pytest.mark.parametrize("every", [1, 3])
def test_every_tenth_update_reanalyses_from_the_tenth_on(small, every):
    """Algorithm 2, lines 11 to 15, where the updates do not begin with the seeding's end, too."""
    config = small(update_every=every, seeding_decisions=40, reanalyse_interval=10)
    due = [trainer.update_due(config, decision) for decision in range(1, 200)]
    updates = [now for now in due if now is not None]
    assert len(updates) == 199 // every - 40 // every
    assert [number for number, now in enumerate(updates, 1) if now] == [
        *range(10, len(updates) + 1, 10)
    ]
    assert due[:40] == [None] * 40


class Uneven:
    """Two environments with a reward of 1: the first's episode is short, its next one fails."""

    count, steps = 2, 0

    def reset(self):
        return np.zeros((2, 3), np.float32)

    def step(self, actions):
        self.steps += 1
        seen, nothing = self.reset(), np.zeros(2, bool)
        over = np.array([self.steps == 3, self.steps == 10])
        failure = np.array(["broken" if self.steps in (1, 5) else "", ""])
        return vector.Observations(
            seen, seen, np.ones(2, np.float32), over, nothing, np.ones(2, int), failure
        )


def test_an_evaluated_episode_that_fails_starts_anew():
    begun = []

    def act(seen, first):
        begun.append(first[0].tolist())
        return np.full((1, 2, 1), len(begun), np.float32)

    found = evaluation.first_episodes(Uneven(), act, np.array([[0, 1]]))
    assert found.returns.tolist() == [[2.0, 10.0]]  # one of the first three rewards was broken off
    assert np.isfinite(found.rewards[0, 0]).tolist() == [False, True, True, *[False] * 7]
    # The failure at step 5 comes after the evaluated episode, and changes nothing.
    assert begun == [[True, True], [True, False], *[[False, False]] * 8]
    assert np.isnan(found.actions[0, 0])
    assert found.actions[0, 1:, 0].tolist() == [2.0, 3.0, *[0.0] * 7]


def test_the_planner_forgets_its_plan_where_an_episode_starts_anew(small, monkeypatch):
    seen = []

    def actions(actors, keys, observations, means):
        seen.append(np.asarray(means))
        return np.zeros((1, 2, 1), np.float32), means + 1.0

    programs = make_programs(make_population(small().agents, 3, 1))
    returns = evaluation.Evaluator(programs._replace(evaluation_actions=actions), episodes=2)
    monkeypatch.setattr(evaluation, "make_vector", lambda *_: contextlib.nullcontext(Uneven()))
    returns.planner(())
    assert [means[0, :, 0, 0].tolist() for means in seen[:3]] == [[0, 0], [0, 1], [1, 2]]


def test_an_episode_that_failed_has_no_video(finished, tmp_path):
    for name in ("config.json", "episodes.npz"):
        shutil.copy(finished[0] / name, tmp_path)
    stored = files.read_arrays(tmp_path / "episodes.npz")
    stored["actions"][0, :3] = np.nan
    files.write_arrays(tmp_path / "episodes.npz", stored)
    with pytest.raises(RuntimeError, match="no video of agent 0: the environment of its first"):
        pompc.record_video(tmp_path)
    assert not (tmp_path / "video.mp4").exists()


def test_a_non_finite_loss_stops_with_step_and_name(small, tmp_path, monkeypatch):
    original = update.update

    def poisoned(world, state, batch, needed, now):
        state, plans, metrics = original(world, state, batch, needed, now)
        # Only after pretraining, whose parts leave the policy alone.
        return state, plans, metrics | ({"value_loss": np.nan} if needed.policy else {})

    monkeypatch.setattr(update, "update", poisoned)
    with pytest.raises(log.NonFiniteError, match="value_loss of agent 0 is nan at decision 41"):
        pompc.train(small(), tmp_path)
    assert checkpoint.saved_steps(tmp_path) == [0]


def test_targets_outside_the_bins_are_said_once(small, tmp_path):
    config = small(lam=[1.0, 9.0], symlog_min=-2.0, symlog_max=7.0)
    programs = make_programs(make_population(config.agents, 3, 1))
    said = []
    logged = log.Log(programs, tmp_path, said.append)
    names = ("value_loss", "target_outside_bins", "kl_target_outside_bins")
    for number, values in enumerate(([9.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 1.0, 0.0])):
        logged.check(number, [np.array([[1.0, 0.0, 0.0], values])], [names])
    (line,) = said
    assert line.startswith("decision 1: targets of the values lie outside the bins, -6 to 1,096,")
    assert "symlog_max (now 7)" in line


def test_an_environment_that_terminates_trains(small, tmp_path, monkeypatch):
    """Through a worker-less run of one's own environment: early ends, another action range."""
    (tmp_path / "falling_env.py").write_text(ENVIRONMENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = small(task="gym:falling_env:Fall-v0", steps=200, evaluate_every=200)
    pompc.train(config, tmp_path / "run")
    table = pompc.load_runs(tmp_path / "run")
    assert list(table.env_step) == [0, 200]
    assert table["return"].between(0, 25).all()


def test_papermill_runs_the_notebook_and_refuses_a_mistyped_parameter(tmp_path):
    notebook = Path(pompc.__file__).parents[1] / "book" / "train.ipynb"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook)]
    output = str(tmp_path / "out.ipynb")
    done = subprocess.run(
        [*command, output, "-p", "lamda", "1", "-p", "horizon", "5"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "unknown parameter: horizon" not in done.stderr
    assert "pompc/settings" not in done.stderr  # no traceback through the package
    assert "unknown parameter 'lamda'; did you mean 'lam'?" in done.stderr
    assert not (tmp_path / "returns.csv").exists()


PAGE = nbformat.v4.new_notebook(
    metadata={
        "kernelspec": {"name": "python3", "display_name": "", "language": "python"},
        # Its own execution was killed: that is not the one under way.
        "papermill": {"input_path": "first.ipynb", "output_path": "page.ipynb", "end_time": None},
    },
    cells=[
        nbformat.v4.new_code_cell("preset, lam = 'laptop', 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "import pompc\nconfig, run_dir = pompc.notebook_config(globals())\n"
            "print('lands in', run_dir.resolve())"
        ),
    ],
)
CALL = "import sys, papermill; papermill.execute_notebook('page.ipynb', 'x/' + 'page.ipynb')"


@pytest.mark.parametrize("command", [
    "{python} -m papermill page.ipynb x/page.ipynb -p lam 1.0",
    "cat page.ipynb | {python} -m papermill - x/page.ipynb",
    "{python} -m papermill page.ipynb x/{{preset}}.ipynb -p preset laptop",
    "{python} -m papermill --inject-output-path page.ipynb x/page.ipynb",
    "{python} -m papermill --inject-paths --no-request-save-on-cell-execute page.ipynb "
    "$PWD/x/page.ipynb",
    '{python} -m papermill page.ipynb x/page.ipynb --cwd other -p run_dir "$PWD/x"',
])  # fmt: skip
def test_a_run_lands_beside_its_page(tmp_path, command):
    done = _papermill(tmp_path, command)
    assert done.returncode == 0, done.stderr
    (page,) = (tmp_path / "x").iterdir()
    assert f"lands in {tmp_path / 'x'}\\n" in page.read_text()


@pytest.mark.parametrize("command", [
    '{python} -c "' + CALL + '"',
    "{python} -m papermill page.ipynb > x/page.ipynb",
    "{python} -m papermill page.ipynb x/page.ipynb --cwd other",
    "{python} -m papermill --inject-output-path page.ipynb x/page.ipynb --cwd other",
])  # fmt: skip
def test_a_page_whose_folder_nothing_tells_asks_for_it(tmp_path, command):
    done = _papermill(tmp_path, command)
    assert done.returncode != 0
    assert "nothing tells in which folder this page is written: give run_dir" in done.stderr


def _papermill(folder, command):
    """Run a command in a folder with a page, and with a page of the same name elsewhere."""
    nbformat.write(PAGE, folder / "page.ipynb")
    for name in ("x", "other/x"):
        (folder / name).mkdir(parents=True)
    shutil.copy(folder / "page.ipynb", folder / "other" / "x")
    line = command.format(python=sys.executable)
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
    return subprocess.run(
        line, shell=True, cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
