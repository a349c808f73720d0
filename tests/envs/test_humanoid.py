"""HumanoidBench: the compatibility module against a fake of what it patches; the real package."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest

from pompc import envs
from pompc.envs import humanoid, make_env, make_vector, physics
from pompc.envs import humanoid_compat as compat
from pompc.errors import ConfigError
from pompc.results import published, scores
from pompc.settings.config import Config
from pompc.training import progress

ROOT = Path(__file__).parents[2]
REAL = importlib.util.find_spec("humanoid_bench") is not None
needs_package = pytest.mark.skipif(
    not REAL, reason="HumanoidBench is not installed: run `make humanoid`"
)
ALL = humanoid.task_names()

# What HumanoidBench looks like from outside: the import that asks for torch, a table of fields that
# this MuJoCo partly lacks, a viewer unless told otherwise, goals from NumPy's global state.
FAKE = {
    "__init__.py": """
from gymnasium import register
import humanoid_bench.env
for task in ("h1hand-walk", "h1hand-reach", "h1-walk", "h1hand-push", "h1-kitchen"):
    register(f"{task}-v0", "humanoid_bench.env:Env", max_episode_steps=5, kwargs={"task": task})
register("Elsewhere-v0", "elsewhere:Env")
""",
    "env.py": """
import gymnasium, mujoco, numpy as np
from humanoid_bench.mjx.flax_to_torch import TorchModel, TorchPolicy
from humanoid_bench.dmc_deps import dmc_sizes

XML = "<mujoco><worldbody><camera name='side' pos='0 -2 0' xyaxes='1 0 0 0 0 1'/><body>"
XML += "<freejoint/><geom size='.1'/></body></worldbody></mujoco>"


class Env(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (10,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}
    camera_name = "side"

    def __init__(self, task, render_mode="rgb_array"):
        if task == "h1-kitchen":
            raise OSError("File kitchen.xml does not exist")
        assert render_mode is None, "a viewer"
        self.render_mode = render_mode
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)
        for fields, structure in ((dmc_sizes.array_sizes["mjmodel"], self.model),
                                  (dmc_sizes.array_sizes["mjdata"], self.data)):
            for name in fields:
                getattr(structure, name)
        self.task = type("Task", (), {"goal": np.zeros(3)})()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:3] += self.np_random.uniform(-1, 1, 3)
        mujoco.mj_forward(self.model, self.data)
        self.task.goal = np.random.uniform(-2, 2, 3)
        return self.observe(), {}

    def observe(self):
        return np.concatenate([self.data.qpos, self.task.goal])

    def step(self, action):
        assert action.dtype == np.float32 and abs(action).max() <= 1
        self.data.qvel[:2] += action
        mujoco.mj_step(self.model, self.data)
        return self.observe(), 1.0, False, False, {}
""",
    "mjx/__init__.py": "",
    "mjx/flax_to_torch.py": "import jax\nimport no_torch_here\n",
    "dmc_deps/dmc_sizes.py": """
array_sizes = {
    "mjmodel": {"body_pos": ("nbody", 3), "flex_evpair": ("nflexevpair", 2)},
    "mjdata": {"qpos": ("nq",), "qM": ("nM",)},
}
""",
}


def forget_package() -> None:
    """Forget an imported HumanoidBench, so that the next import finds what is on the path."""
    compat.load.cache_clear()
    envs.dimensions.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == compat.PACKAGE]:
        del sys.modules[name]
    for name in [name for name, spec in gymnasium.registry.items() if compat.is_ours(spec)]:
        del gymnasium.registry[name]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put the fake package on the path, before a real one; return its folder."""
    folder = tmp_path / compat.PACKAGE
    for name, text in FAKE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    forget_package()
    registered = dict(gymnasium.registry)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    forget_package()
    gymnasium.registry.clear()
    gymnasium.registry.update(registered)


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide HumanoidBench, installed or not."""
    forget_package()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec",
        lambda name, *more: None if name == compat.PACKAGE else find_spec(name, *more),
    )  # fmt: skip


# --- Names and sizes, which need no package -------------------------------------------------------


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize(
    ("task", "canonical", "sizes"),
    [
        ("h1hand-walk", "h1hand-walk", (151, 61)),
        ("h1hand-balance-hard-v0", "h1hand-balance_hard", (177, 61)),
        ("h1hand_sit_hard", "h1hand-sit_hard", (164, 61)),
        ("h1-reach", "h1-reach", (57, 19)),
        ("h1-walk-v0", "h1-walk", (51, 19)),
    ],
)
def test_the_papers_tasks_are_known_without_the_package(
    task: str, canonical: str, sizes: tuple[int, int]
) -> None:
    assert envs.check_task(task) == canonical
    assert envs.dimensions(task) == sizes
    config = Config(task, preset="paper")
    assert (config.task, config.action_repeat, config.terminations) == (canonical, 1, "ignore")
    assert (config.discount, config.horizon, config.seeding_decisions) == (0.99, 3, 5000)


def test_terminations_are_a_choice_and_other_suites_use_them() -> None:
    assert Config("h1hand-walk", preset="laptop", terminations="use").terminations == "use"
    assert Config("dog-run", preset="laptop").terminations == "use"
    assert Config("gym:Pendulum-v1", preset="laptop").terminations == "use"
    own = Config("h1hand-walk", preset="laptop")
    assert Config.from_json(own.to_json()) == own


def test_no_task_of_dm_control_is_taken_for_one_of_humanoidbench() -> None:
    assert not [name for name in envs.task_names() if name.startswith(("h1", "g1-"))]


def test_sizes_of_other_suites_are_those_of_their_environments() -> None:
    assert envs.dimensions("cartpole-swingup") == (5, 1)
    assert envs.dimensions("gym:Pendulum-v1") == (3, 1)


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize(
    ("task", "words"),
    [
        (
            "h1hand-wlak",
            ["'h1hand-wlak'", "such as 'h1hand-walk'", "make humanoid", "did you mean"],
        ),
        ("h1hand-push", ["'h1hand-push'", "HumanoidBench's other tasks", "make humanoid"]),
        ("g1-walk", ["'g1-walk'", "make humanoid"]),
        ("hand-walk", ["'hand-walk'", "'dog-run'", "did you mean 'h1hand-walk'"]),
    ],
)
def test_unknown_tasks_end_with_one_sentence(task: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        envs.check_task(task)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


@pytest.mark.usefixtures("absent")
def test_without_the_package_the_sentence_names_the_command() -> None:
    with pytest.raises(ConfigError) as caught:
        make_env("h1hand-walk")
    assert str(caught.value) == (
        "HumanoidBench is not installed, which the tasks h1hand-* and h1-* need: run `make "
        "humanoid` (book/environments.md has the command for other set-ups)"
    )


@pytest.mark.skipif(REAL, reason="HumanoidBench is installed, so that workers find it")
def test_a_worker_without_the_package_gives_the_same_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^HumanoidBench is not installed, .*`make humanoid`"):
        make_vector("h1hand-walk", [0, 1], workers=1)


# --- The compatibility module, against a fake -----------------------------------------------------


@pytest.mark.usefixtures("fake")
def test_the_fake_works_once_it_is_patched() -> None:
    """Fields that MuJoCo lacks, the import of torch, and the viewer would each raise."""
    env = make_env("h1hand-walk", seed=3)
    observation, _ = env.reset()
    assert (observation.dtype, observation.shape) == (np.float32, (10,))
    *_, info = env.step(np.full(2, 5.0))
    assert info["env_steps"] == 1
    sizes = sys.modules["humanoid_bench.dmc_deps.dmc_sizes"].array_sizes
    assert sizes == {"mjmodel": {"body_pos": ("nbody", 3)}, "mjdata": {"qpos": ("nq",)}}
    assert "no_torch_here" not in sys.modules
    with pytest.raises(ConfigError, match="hierarchical policies are not supported"):
        sys.modules["humanoid_bench.env"].TorchPolicy(None)
    with pytest.raises(RuntimeError, match="render=True"):
        env.render()


@pytest.mark.usefixtures("fake")
def test_episodes_depend_on_their_own_seed_alone() -> None:
    def episodes(seed: int, others: int = 0) -> np.ndarray:
        crowd = [make_env("h1hand-reach", seed=90 + other) for other in range(others)]
        env = make_env("h1hand-reach", seed=seed)
        found = []
        for _ in range(3):
            for other in crowd:
                other.reset()
            found.append(env.reset()[0])
        return np.array(found)

    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    alone = episodes(4)
    assert len(np.unique(alone[:, -3:], axis=0)) == 3  # goals differ from episode to episode
    np.testing.assert_array_equal(episodes(4, others=2), alone)
    assert not np.isclose(episodes(5)[:, -3:], alone[:, -3:]).any()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # the user's own is untouched
    env = make_env("h1hand-reach", seed=0)
    np.testing.assert_array_equal(env.reset(seed=4)[0], alone[0])
    np.testing.assert_array_equal(env.reset()[0], alone[1])


@pytest.mark.usefixtures("fake")
def test_an_environment_goes_on_where_it_was_saved() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 2)).astype(np.float32)
    with make_vector("h1hand-reach", [3]) as vector:
        vector.reset()
        for action in actions[:7]:  # one episode of five steps, and two of the next
            vector.step(action[None])
        (state,) = vector.save()
        expected = vector.step(actions[7:])
    with make_vector("h1hand-reach", [8]) as vector:
        vector.reset()
        observation, restarted = vector.load([state])
        assert not restarted.any()
        found = vector.step(actions[7:])
    np.testing.assert_array_equal(found.observation, expected.observation)
    np.testing.assert_array_equal(observation[:, -3:], expected.observation[:, -3:])
    rounded = {**state, "physics": state["physics"] + 1e-3}
    with make_vector("h1hand-reach", [8]) as vector:
        vector.reset()
        vector.load([rounded])
        np.testing.assert_array_equal(vector.save()[0]["physics"], rounded["physics"])


@pytest.mark.usefixtures("fake")
def test_tasks_beyond_the_papers_are_allowed_with_a_note() -> None:
    assert envs.check_task("h1hand-push-v0") == "h1hand-push"
    assert envs.dimensions("h1hand-push") == (10, 2)
    assert "the paper" in envs.describe("h1hand-push")["note"]
    assert "without hands" in envs.describe("h1-walk")["note"]
    assert "note" not in envs.describe("h1hand-walk")
    assert compat.task_names() == ["h1-kitchen", "h1-walk", "h1hand-push", "h1hand-reach",
                                   "h1hand-walk"]  # fmt: skip
    with pytest.raises(ConfigError, match=r"^unknown task 'h1hand-psuh'.*did you mean 'h1hand-pu"):
        envs.check_task("h1hand-psuh")
    with pytest.raises(ConfigError) as caught:
        make_env("h1-kitchen")
    assert str(caught.value) == (
        "task 'h1-kitchen' cannot be made with HumanoidBench: File kitchen.xml does not exist"
    )


@pytest.mark.parametrize(
    ("file", "text", "cause"),
    [
        ("dmc_deps/dmc_sizes.py", "sizes = {}", "AttributeError"),
        ("dmc_deps/dmc_sizes.py", "array_sizes = {'model': {}}", "KeyError: 'mjmodel'"),
        ("__init__.py", "import no_such_module", "ModuleNotFoundError: No module named 'no_such"),
        ("__init__.py", "import mujoco; mujoco.MjModel.no_such_field", "AttributeError"),
    ],
)
def test_another_version_is_named_with_those_tested(
    file: str, text: str, cause: str, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake / file).write_text(text)
    versions = {"humanoid_bench": "0.9", "mujoco": "4.0.0", "dm-control": "1.0.20"}
    monkeypatch.setattr(compat, "version", versions.__getitem__)
    with pytest.raises(ConfigError) as caught:
        make_env("h1hand-walk")
    sentence = str(caught.value)
    assert sentence.startswith(
        "HumanoidBench 0.9 is not supported with MuJoCo 4.0.0 and dm-control 1.0.20, tested: 0.2 "
        f"(commit 791405f) with MuJoCo 3.17.0 and dm-control 1.0.50 ({cause}"
    )
    assert "\n" not in sentence


def test_a_field_that_only_an_environment_asks_for_is_no_riddle_either(fake: Path) -> None:
    source = (fake / "env.py").read_text()
    (fake / "env.py").write_text(source.replace("self.model = mujoco", "self.model = mujoco.No"))
    with pytest.raises(ConfigError, match=r"^HumanoidBench .* is not supported .*AttributeError"):
        make_env("h1hand-walk")


def test_workers_step_the_fake_without_jax_or_opengl(fake: Path) -> None:
    code = (
        "import sys, pompc.envs as envs\n"
        "env = envs.make_env('h1hand-reach')\n"
        "env.reset()\n"
        "print([name for name in ('jax', 'torch', 'OpenGL') if name in sys.modules])\n"
    )
    path = os.pathsep.join([str(fake.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[]\n", "")
    with make_vector("h1hand-reach", [0, 1], workers=2) as apart:
        seen = apart.reset()
    with make_vector("h1hand-reach", [0, 1]) as together:
        np.testing.assert_array_equal(together.reset(), seen)


def test_the_first_line_tells_of_terminations_and_the_note() -> None:
    facts = dict.fromkeys(("device", "matmul_precision", "replay_memory", "gpu_memory", "jax"), "-")
    facts |= {"parameters": 1, "replay_bytes": 1, "disk_bytes": 10**6, "note": "no numbers"}
    facts |= {"agent_devices": 1, "local_devices": 1}
    line = progress.first_line(Config("h1-walk", preset="laptop"), facts, 1.0)
    assert line.endswith("terminations in the TD targets: ignore; note: no numbers")


def test_the_command_installs_the_commit_that_was_tested() -> None:
    for name in ("Makefile", "environment.yml", "book/environments.md"):
        text = (ROOT / name).read_text()
        assert re.findall(r"carlosferrazza/humanoid-bench@(\w+)", text) == [compat.COMMIT], name
        assert "--no-deps" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = project["dependencies"]
    for package, name in (("mujoco", "MuJoCo"), ("dm-control", "dm-control")):
        (pin,) = [pin for pin in pins if pin.startswith(f"{package}==")]
        assert f"{name} {pin.partition('==')[2]}" in compat.TESTED
    assert "humanoid" in project["optional-dependencies"]


# --- Scores ---------------------------------------------------------------------------------------

RANDOM = {"h1hand-walk": 100.0, "h1hand-maze": 200.0, "h1hand-reach": -3000.0, "h1-walk": 4.0}


def test_scores_are_0_for_a_random_agent_and_1_at_the_target() -> None:
    assert scores.normalise("h1hand-walk", 100.0, RANDOM) == 0.0
    assert scores.normalise("h1hand-walk", 700.0, RANDOM) == 1.0
    assert scores.normalise("h1hand-maze", 700.0, RANDOM) == 0.5
    assert scores.normalise("h1hand-reach", 12000.0, RANDOM) == 1.0


def test_aggregates_leave_reach_out_and_give_it_apart() -> None:
    returns = {"h1hand-walk": 400.0, "h1hand-maze": 1200.0, "h1hand-reach": 4500.0}
    assert scores.aggregate(returns, RANDOM) == scores.Aggregate(2, 800.0, 0.75, 4500.0, 0.5)
    without = scores.aggregate({"h1hand-walk": 400.0}, RANDOM)
    assert without[:3] == (1, 400.0, 0.5)
    assert np.isnan(without[3:]).all()


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (["h1hand-walk", "h1-walk"], ["the robots are h1, h1hand", "one robot"]),
        ([], ["the robots are none"]),
        (["h1hand-push"], ["'h1hand-push' has no target score", "14"]),
        (["h1hand-pole"], ["no random agent of 'h1hand-pole'", "--robot h1hand"]),
    ],
)
def test_what_cannot_be_aggregated_ends_with_one_sentence(
    tasks: list[str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        scores.aggregate(dict.fromkeys(tasks, 1.0), RANDOM)
    for word in words:
        assert word in str(caught.value)


def curve(steps: list[int], values: list[float]) -> dict[str, list[int] | list[float]]:
    """Return a published curve whose interval is its mean."""
    return {"steps": steps, "values": values, "lcbs": values, "ucbs": values}


def test_groups_of_a_tidy_table_count_each_task_once(tmp_path: Path) -> None:
    curves = tmp_path / "curves.json"
    walk, maze = curve([0, 5], [100.0, 400.0]), curve([0], [200.0])
    curves.write_text(json.dumps({"BMPC": {"walk": walk, "maze": maze}}))
    table = published.read(curves)
    table.loc[len(table)] = ["bmpc", "h1hand-walk", 0, 700.0, 0.0, 0.0]  # a second seed
    found = scores.aggregate_groups(table, ["method", "env_step"], RANDOM)
    assert found[["env_step", "tasks", "raw", "normalised"]].to_numpy().tolist() == [
        [0, 2, (400.0 + 200.0) / 2, 0.25],  # walk is the mean of 100 and 700
        [5, 1, 400.0, 0.5],
    ]


def test_published_curves_stand_beside_the_random_agents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"BMPC": {name: curve([0], [5.0]) for name in humanoid.TASKS}}))
    scores.main(["published", str(path)])
    told = capsys.readouterr().out
    assert "h1hand-walk" in told
    assert "12000.0" in told
    path.write_text(json.dumps({"BMPC": {"dog-run": curve([0], [5.0])}}))
    with pytest.raises(SystemExit):
        scores.main(["published", str(path)])
    assert "no curve of the paper's 14 HumanoidBench tasks" in capsys.readouterr().err


@pytest.mark.usefixtures("fake")
def test_random_agents_are_measured_by_seed() -> None:
    both = scores.measure("h1hand-reach", [3, 4], episodes=2)
    assert both[0] == {"task": "h1hand-reach", "seed": 3, "episodes": 2, "return": 5.0, "length": 5}
    assert scores.measure("h1hand-reach", [4], episodes=2) == both[1:]
    with pytest.raises(ConfigError, match="episodes is 0"):
        scores.measure("h1hand-reach", [3], episodes=0)


def test_random_agents_are_written_task_by_task(
    fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "random.csv"
    options = ["random", "--seeds", "2", "--episodes", "1", "--csv", str(path), "--tasks"]
    scores.main([*options, "walk", "reach"])
    scores.main([*options, "walk"])
    table = scores.read_random(path)
    assert table["task"].tolist() == ["h1hand-reach"] * 2 + ["h1hand-walk"] * 2
    assert table["seed"].tolist() == [0, 1, 0, 1]
    assert scores.random_returns(path) == {"h1hand-reach": 5.0, "h1hand-walk": 5.0}
    assert "h1hand-walk" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"python -m pompc\.results\.scores random"):
        scores.read_random(tmp_path / "nowhere.csv")


def test_the_stored_table_of_random_agents_is_whole_and_printed() -> None:
    table = scores.read_random()
    for task in ALL:
        rows = table[table["task"] == task]
        assert rows["seed"].tolist() == list(range(10)), task
        assert (rows["episodes"] == 10).all()
        assert rows["commit"].str.fullmatch(r"[0-9a-f]{40}").all()
    page = (ROOT / "book/environments.md").read_text().replace("−", "-")
    for name, (observations, target) in humanoid.TASKS.items():
        measured = scores.random_returns()[f"h1hand-{name}"]
        assert f"| `{name}` | {observations} | {target:.0f} | {measured:.1f} |" in page
    perfect = {task: humanoid.TASKS[humanoid.split(task)[1]].target for task in ALL}
    found = scores.aggregate(perfect, scores.random_returns())
    assert (found.tasks, found.normalised, found.reach_normalised) == (13, 1.0, 1.0)


# --- The real package -----------------------------------------------------------------------------


def thousand_steps(task: str, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the observations and rewards of 1000 random steps of two environments."""
    random = np.random.default_rng(0)
    with make_vector(task, [0, 1], workers) as vector:
        observations, rewards = [vector.reset()], []
        assert (vector.observation_dim, vector.action_dim) == envs.dimensions(task)
        for _ in range(1000):
            result = vector.step(random.uniform(-1, 1, (2, vector.action_dim)).astype(np.float32))
            assert (result.failure == "").all()
            observations.append(result.observation)
            rewards.append(result.reward)
    return np.array(observations), np.array(rewards)


@needs_package
@pytest.mark.slow
@pytest.mark.parametrize("task", ALL)
def test_a_thousand_steps_in_workers_repeat(task: str) -> None:
    first, rewards = thousand_steps(task, workers=2)
    again, rewards_again = thousand_steps(task, workers=1)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(rewards, rewards_again)
    assert not np.array_equal(first[:, 0], first[:, 1])


@needs_package
def test_real_environments_say_nothing_at_exit_and_import_no_jax() -> None:
    code = (
        "import sys, numpy as np, pompc.envs as envs\n"
        "env = envs.make_env('h1hand-reach')\n"
        "env.reset()\n"
        "env.step(np.zeros(61))\n"
        "print([name for name in ('jax', 'torch', 'OpenGL') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[]\n", "")


@needs_package
@pytest.mark.parametrize("task", ["h1hand-maze", "h1hand-sit_hard"])
def test_a_real_environment_goes_on_where_it_was_saved(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Playing the episode again is exact here, so that nothing has to be put in place."""
    actions = np.random.default_rng(0).uniform(-1, 1, (60, 1, 61)).astype(np.float32)
    with make_vector(task, [3]) as vector:
        vector.reset()
        for action in actions[:-20]:
            vector.step(action)
        states = vector.save()
        expected = [vector.step(action) for action in actions[-20:]]
    monkeypatch.setattr(physics, "set_state", lambda *_: pytest.fail("physics differ"))
    with make_vector(task, [8]) as vector:
        vector.reset()
        _, restarted = vector.load(states)
        assert not restarted.any()
        for action, former in zip(actions[-20:], expected, strict=True):
            for found, wanted in zip(vector.step(action), former, strict=True):
                np.testing.assert_array_equal(found, wanted)


@needs_package
def test_real_sizes_and_targets_are_those_of_the_table() -> None:
    compat.load()
    tasks = sys.modules["humanoid_bench.env"].TASKS
    for name, row in humanoid.TASKS.items():
        assert tasks[name].success_bar == row.target, name
        for robot in humanoid.ROBOTS:
            env: Any = compat.make(f"{robot}-{name}")
            shapes = env.observation_space.shape + env.action_space.shape
            assert shapes == envs.dimensions(f"{robot}-{name}"), name


@needs_package
def test_a_video_shows_an_episode_of_the_real_robot(tmp_path: Path) -> None:
    from pompc.envs.video import record_actions

    actions = np.random.default_rng(0).uniform(-1, 1, (10, 61))
    try:
        path = record_actions("h1hand-reach", 3, actions, tmp_path / "a.mp4", 160, 120)
    except RuntimeError as error:
        pytest.skip(f"no OpenGL here (apt install libegl1 libgl1-mesa-dri): {error}")
    options = ["-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    found = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), *options], capture_output=True, check=True
    )
    frames = np.frombuffer(found.stdout, np.uint8).reshape(-1, 120, 160, 3)
    assert len(frames) == 11
    assert frames.std() > 10.0  # something is seen
    assert np.abs(frames[0].astype(float) - frames[-1]).mean() > 0.5  # and it moves
