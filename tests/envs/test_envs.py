"""Environments: observations, actions, episodes, and where their randomness comes from."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from pompc.envs import action_repeat, check_task, dmc, make_env, make_vector, physics, task_names
from pompc.envs import worker_vector as workers_module
from pompc.envs.dmc import DmControlEnv
from pompc.envs.process import module_environment
from pompc.envs.vector import Observations, Vector
from pompc.envs.worker_vector import WorkerVector
from pompc.errors import ConfigError, nearest

# One's own environments, as a user would write them: a module somewhere on Python's path.
OWN_MODULE = '''
import os
import sys
import time

import gymnasium
import numpy as np


class Countdown(gymnasium.Env):
    """Terminate after three steps; observe [[steps, noise], [a witness: jax imported, action]]."""

    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (2, 2), np.float64)
    action_space = gymnasium.spaces.Box(np.float32([[2], [10]]), np.float32([[4], [30]]))

    def __init__(self, length=3, fault="", witness=False):
        self.length, self.fault, self.witness = length, fault, witness

    def observe(self, first_action=0.0):
        noise = self.np_random.random()
        seen = self.witness and "jax" in sys.modules
        return np.array([[self.steps, noise], [seen, first_action]])

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action):
        assert action.shape == (2, 1)
        self.steps += 1
        fault = self.fault if self.steps == 2 else ""
        if fault == "raise":
            raise ValueError("the spring broke")
        if fault == "exit":
            os._exit(7)
        if fault == "hang":
            time.sleep(1000)
        reward = float("nan") if fault == "nan reward" else float(action[1, 0])
        observation = self.observe(float(action[0, 0]))
        if fault == "nan observation":
            observation[0, 1] = np.inf
        return observation, reward, self.steps == self.length, False, {}


class Unbounded(Countdown):
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))


class Whole(Countdown):
    action_space = gymnasium.spaces.Box(0, 5, (1,), np.int32)


def register(name, entry=Countdown, **kwargs):
    gymnasium.register(f"{name}-v0", entry, kwargs=kwargs)


register("Countdown")
register("Witness", witness=True)
register("Endless", length=10**9)
register("Unbounded", Unbounded)
register("Whole", Whole)
for fault in ("raise", "exit", "hang", "nan reward", "nan observation"):
    register("Fault" + fault.title().replace(" ", ""), fault=fault)
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Put one's own module on the path; return the task prefix of its environments."""
    (tmp_path / "own_environments.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(gymnasium.registry)
    yield "gym:own_environments:"
    sys.modules.pop("own_environments", None)
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def rollout(vector: Vector, steps: int, seed: int = 0) -> tuple[np.ndarray, list[Observations]]:
    """Reset a vector and step it with random actions, the same for each number of workers."""
    random = np.random.default_rng(seed)
    first = vector.reset()
    shape = (vector.count, vector.action_dim)
    actions = [random.uniform(-1, 1, shape).astype(np.float32) for _ in range(steps)]
    return first, [vector.step(action) for action in actions]


def simulator(env: gymnasium.Env) -> Any:
    """Return the dm_control environment inside one of ours."""
    assert isinstance(env, DmControlEnv)
    return env._simulator


# --- One environment ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "observation_dim", "action_dim"),
    [
        ("cartpole-swingup", 5, 1),
        ("dog-run", 223, 38),
        ("humanoid-walk", 67, 21),
        ("gym:Pendulum-v1", 3, 1),
    ],
)
def test_spaces_are_flat_float32(task: str, observation_dim: int, action_dim: int) -> None:
    env = make_env(task, seed=0)
    assert env.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (observation_dim,))
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (action_dim,))
    first, info = env.reset()
    after, reward, *_ = env.step(np.zeros(action_dim, np.float32))
    for observation in (first, after):
        assert observation.shape == (observation_dim,)
        assert observation.dtype == np.float32
    assert type(reward) is float
    assert info["env_steps"] == 0
    env.close()


@pytest.mark.parametrize(
    ("task", "decisions", "repeat"),
    [("cartpole-swingup", 500, 2), ("lqr-lqr-2-1", 500, 2), ("gym:Pendulum-v1", 200, 1)],
)
def test_episode_length_and_action_repeat(task: str, decisions: int, repeat: int) -> None:
    env = make_env(task, seed=0)
    env.reset()
    action = np.zeros(1, np.float32)
    steps = [env.step(action) for _ in range(decisions)]
    assert action_repeat(task) == repeat
    assert all(info["env_steps"] == repeat for *_, info in steps)
    assert not any(terminated for _, _, terminated, _, _ in steps)
    assert [truncated for *_, truncated, _ in steps] == [False] * (decisions - 1) + [True]


def test_ids_without_a_limit_are_truncated_at_1000(own: str) -> None:
    env = make_env(own + "Endless-v0")
    env.reset()
    ends = [env.step(np.zeros(2))[2:4] for _ in range(1000)]
    assert ends == [(False, False)] * 999 + [(False, True)]


def test_dm_control_sums_the_rewards_of_both_steps() -> None:
    from dm_control import suite

    reference = suite.load("cartpole", "swingup", task_kwargs={"random": 5})
    env = make_env("cartpole-swingup", seed=5)
    observation, _ = env.reset()
    expected = reference.reset()
    for action in ([0.7], [-1.0], [0.2]):
        np.testing.assert_array_equal(observation, flat32(expected.observation))
        first, expected = reference.step(action), reference.step(action)
        observation, reward, *_ = env.step(np.asarray(action, np.float64))
        assert reward == first.reward + expected.reward


def flat32(observation: dict[str, np.ndarray]) -> np.ndarray:
    """Concatenate position and velocity, in the order in which dm_control names them."""
    assert list(observation) == ["position", "velocity"]
    return np.concatenate([observation["position"], observation["velocity"]]).astype(np.float32)


def test_actions_are_scaled_to_the_actuators_bounds() -> None:
    """The quadruped's actuators have the bounds -1 (or 0.8 times less) and 1.1."""
    env = make_env("quadruped-walk", seed=0)
    spec = simulator(env).action_spec()
    for value, expected in ((-1, spec.minimum), (1, spec.maximum), (5, spec.maximum)):
        env.reset()
        env.step(np.full(12, value, np.float32))
        control = simulator(env).physics.control()
        np.testing.assert_allclose(control, expected, rtol=1e-12)
    assert spec.maximum.max() > 1.0


def test_gymnasium_actions_are_scaled_reshaped_and_observations_flattened(own: str) -> None:
    env = make_env(own + "Countdown-v0")
    first, _ = env.reset()
    assert first.shape == (4,)
    observation, reward, *_ = env.step(np.array([-0.5, 0.0], np.float32))
    assert observation[3] == 2.5  # [2, 4]
    assert reward == 20.0  # [10, 30]


def test_gymnasium_check_env_passes_on_dm_control() -> None:
    with warnings.catch_warnings():
        # Its advice: bounded observations, and a spec to check other render modes with.
        warnings.filterwarnings("ignore", message=".*A Box observation space m..imum value is.*")
        check_env(make_env("cartpole-swingup", seed=0).unwrapped, skip_render_check=True)


def test_a_step_after_the_end_is_an_error() -> None:
    env = make_env("cartpole-swingup", seed=0)
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        env.step(np.zeros(1, np.float32))


def test_dogs_share_their_model_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(dogs: list[Any]) -> list[list[np.ndarray]]:
        seen = [[dog.reset()[0]] for dog in dogs]
        rng = np.random.default_rng(0)
        for action in rng.uniform(-1.0, 1.0, (10, 38)):
            for dog, own in zip(dogs, seen, strict=True):
                own.append(dog.step(action)[0])
        return seen

    def models(dogs: list[Any]) -> set[int]:
        return {id(dog._simulator.physics.model.ptr) for dog in dogs}

    dogs = [make_env("dog-run", seed=seed) for seed in (0, 1)]
    together = walk(dogs)
    monkeypatch.setattr(dmc, "_SHARED", ())
    others = [make_env("dog-run", seed=seed) for seed in (0, 1)]
    np.testing.assert_array_equal(together, [walk([dog])[0] for dog in others])
    assert (len(models(dogs)), len(models(others))) == (1, 2)
    assert not np.array_equal(together[0], together[1])


def test_lqr_terminates_and_is_one_task_for_all_seeds() -> None:
    """Its task ends with discount 0 near the origin; its random model must not follow the seed."""
    envs = [make_env("lqr-lqr-2-1", seed=seed) for seed in (0, 1)]
    stiffness = [simulator(env).physics.model.jnt_stiffness for env in envs]
    np.testing.assert_array_equal(stiffness[0], stiffness[1])
    env = envs[0]
    env.reset()
    physics = simulator(env).physics
    physics.data.qpos[:] = 0.0
    physics.data.qvel[:] = 0.0
    physics.forward()
    _, _, terminated, truncated, info = env.step(np.zeros(1, np.float32))
    assert (terminated, truncated, info["env_steps"]) == (True, False, 1)


# --- Randomness -----------------------------------------------------------------------------------


def episode_start(env: gymnasium.Env, seed: int | None = None) -> np.ndarray:
    """Return the first two observations of an episode, concatenated."""
    first, _ = env.reset(seed=seed)
    second, *_ = env.step(np.full(env.action_space.shape or (), 0.3, np.float32))
    return np.concatenate([first, second])


@pytest.mark.parametrize(
    "task", ["cartpole-swingup", "cheetah-run", "point_mass-hard", "gym:Pendulum-v1"]
)
def test_an_episode_is_a_function_of_its_seed(task: str) -> None:
    fresh, used = make_env(task, seed=3), make_env(task, seed=8)
    first, second = episode_start(fresh), episode_start(fresh)
    other = episode_start(used)
    np.testing.assert_array_equal(episode_start(used, seed=3), first)
    np.testing.assert_array_equal(episode_start(used), second)  # the stream goes on
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


# --- The vector -----------------------------------------------------------------------------------


def test_a_vector_restarts_episodes_and_keeps_the_final_observation(own: str) -> None:
    with make_vector(own + "Countdown-v0", seeds=[0, 1]) as vector:
        first, steps = rollout(vector, 7)
    assert first.shape == (2, 4)
    assert first.dtype == np.float32
    np.testing.assert_array_equal([s.final_observation[0, 0] for s in steps], [1, 2, 3, 1, 2, 3, 1])
    np.testing.assert_array_equal([s.observation[0, 0] for s in steps], [1, 2, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal([s.terminated[1] for s in steps], [0, 0, 1, 0, 0, 1, 0])
    assert not any(s.truncated.any() for s in steps)
    for step in steps:
        going_on = ~step.terminated
        np.testing.assert_array_equal(step.observation[going_on], step.final_observation[going_on])
    dtypes = [array.dtype for array in steps[0]]
    assert dtypes[:-1] == [np.float32, np.float32, np.float32, np.bool_, np.bool_, np.int64]
    assert not any(step.failure.any() for step in steps)


def test_a_vector_truncates_dm_control() -> None:
    with make_vector("pendulum-swingup", seeds=[4]) as vector:
        _, steps = rollout(vector, 501)
    assert [int(np.flatnonzero([s.truncated[0] for s in steps])[0])] == [499]
    assert not any(s.terminated[0] for s in steps)
    assert sum(int(s.env_steps[0]) for s in steps[:500]) == 1000
    last, after = steps[499], steps[500]
    assert not np.array_equal(last.observation, last.final_observation)
    np.testing.assert_array_equal(after.observation, after.final_observation)


@pytest.mark.parametrize("task", ["cartpole-swingup", "own"])
def test_workers_return_what_one_process_does(task: str, own: str) -> None:
    """Three environments over 0, 1 and 2 workers; each alone; across an episode's end."""
    name = own + "Countdown-v0" if task == "own" else task
    seeds = [5, 2, 9]
    with make_vector(name, seeds) as vector:
        first, steps = rollout(vector, 5)
        assert type(vector) is Vector
    for workers in (1, 2):
        with make_vector(name, seeds, workers) as vector:
            assert isinstance(vector, WorkerVector)
            other_first, other_steps = rollout(vector, 5)
        np.testing.assert_array_equal(first, other_first)
        for step, other in zip(steps, other_steps, strict=True):
            for mine, theirs in zip(step, other, strict=True):
                assert mine.dtype == theirs.dtype or mine.dtype.kind == "U"
                np.testing.assert_array_equal(mine, theirs)
    with make_vector(name, seeds[1:2]) as alone:
        np.testing.assert_array_equal(alone.reset()[0], first[1])


def test_send_then_receive_is_a_step() -> None:
    actions = np.full((2, 1), 0.5, np.float32)
    for workers in (0, 2):
        with make_vector("cartpole-swingup", [0, 1], workers) as vector:
            assert (vector.observation_dim, vector.action_dim) == (5, 1)
            vector.reset()
            vector.send(actions)
            sent = vector.receive()
        with make_vector("cartpole-swingup", [0, 1]) as vector:
            vector.reset()
            np.testing.assert_array_equal(vector.step(actions).observation, sent.observation)


SCRIPT = """
import sys, threading
import gymnasium, numpy as np
import pompc
from pompc.envs import make_vector

class Line(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    guard = {guard}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.float32([seed]), {}

    def step(self, action):
        return np.float32([0.5]), 2.0, False, False, {}

gymnasium.register("Line-v0", {entry})
with make_vector("gym:Line-v0", [3, 4], workers=2) as vector:
    print(vector.reset().ravel(), vector.step(np.zeros((2, 1), np.float32)).reward)
"""


@pytest.mark.parametrize("entry", ["Line", "'__main__:Line'", "lambda **_: Line()"])
def test_workers_know_what_a_script_registered(entry: str) -> None:
    done = _script(SCRIPT.replace("{entry}", entry).replace("{guard}", "None"))
    assert done.stdout.split() == ["[3.", "4.]", "[2.", "2.]"], done.stderr


def test_what_workers_cannot_know_is_one_sentence() -> None:
    done = _script(SCRIPT.replace("{entry}", "Line").replace("{guard}", "threading.Lock()"))
    assert "ConfigError: task 'gym:Line-v0' cannot be made in the worker" in done.stderr
    assert "write 'gym:module:Id-v0'" in done.stderr


def _script(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-"], input=text, capture_output=True, text=True, check=False,
        env=module_environment(),
    )  # fmt: skip


class Liar(gymnasium.Env[np.ndarray, np.ndarray]):
    """Declares one number and returns more, from a step of the episode on."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, since: int) -> None:
        self.steps, self.since = 0, since

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros((1, 2) if self.since == 0 else (1,), np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        seen = np.zeros((1, 2) if self.steps == self.since else (1,), np.float32)
        return seen, 1.0, False, False, {}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("since", [0, 3])
def test_an_observation_of_another_shape_is_one_sentence(since: int, workers: int) -> None:
    task, action = f"gym:Liar{since}-v0", np.zeros((1, 1), np.float32)
    gymnasium.register(f"Liar{since}-v0", Liar, kwargs={"since": since})
    sentence = rf"'Liar{since}-v0' declares observations of shape \(1,\), .* of shape \(1, 2\)"

    def play(vector: Vector) -> list[Observations]:
        vector.reset()
        return [vector.step(action) for _ in range(3)]

    with make_vector(task, [0], workers) as vector, pytest.raises(ConfigError, match=sentence):
        play(vector)
    del gymnasium.registry[f"Liar{since}-v0"]


def test_workers_never_import_jax(own: str) -> None:
    import jax

    assert "jax" in sys.modules, jax
    with make_vector(own + "Witness-v0", [0], workers=1) as vector:
        assert vector.reset()[0, 2] == 0.0
    with make_vector(own + "Witness-v0", [0]) as vector:
        assert vector.reset()[0, 2] == 1.0


SPRING = "ValueError: the spring broke"
NAN = "FloatingPointError: it returned a {} that is NaN or infinite"
FAULTS = {
    "Raise": SPRING, "NanReward": NAN.format("reward"), "NanObservation": NAN.format("observation")
}  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_environment_is_made_anew_and_the_third_time_in_a_row_ends_it(
    own: str, fault: str, workers: int
) -> None:
    """It fails at each second step of an episode."""
    task = f"{own}Fault{fault}-v0"
    action = np.zeros((1, 2), np.float32)
    with make_vector(task, [7], workers) as vector:
        first = vector.reset()
        for _ in range(2):
            assert vector.step(action).failure == [""]
            failed = vector.step(action)
            assert failed.failure == [FAULTS[fault]]
            assert failed.observation[0, 0] == 0, "the first of a new episode"
            assert failed.observation[0, 1] != first[0, 1], "with another seed"
            assert np.isfinite(failed.observation).all()
            assert np.isfinite(failed.reward).all()
            assert not (failed.terminated | failed.truncated).any()
        vector.step(action)
        with pytest.raises(
            RuntimeError, match="seed 7 failed 3 times without a whole episode"
        ) as e:
            vector.step(action)
    assert FAULTS[fault] in str(e.value)
    assert task in str(e.value)


@pytest.mark.parametrize("fault", ["Exit", "Hang"])
def test_a_worker_that_dies_or_hangs_is_replaced(
    own: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "STEP_S", 2.0)
    task, action = f"{own}Fault{fault}-v0", np.zeros((2, 2), np.float32)
    cause = "died with exit code 7" if fault == "Exit" else "hangs: no answer for 2 s"
    with make_vector(task, [0, 1], workers=2) as vector:
        vector.reset()
        for _ in range(2):
            vector.step(action)
            failed = vector.step(action)
            expected = [f"task {task!r}, worker {index} {cause}" for index in range(2)]
            assert list(failed.failure) == expected
            assert (failed.observation[:, 0] == 0).all()
        vector.step(action)
        with pytest.raises(RuntimeError, match=f"worker 0 {cause}, for the 3rd time"):
            vector.step(action)


TASKS_WITH_MEMORY = [
    "cartpole-swingup", "dog-run", "lqr-lqr-2-1", "reacher-hard", "finger-turn-hard",
    "quadruped-escape", "fish-swim", "point-mass-hard", "stacker-stack-2", "swimmer-swimmer6",
]  # fmt: skip


@pytest.mark.parametrize("task", TASKS_WITH_MEMORY)
def test_dm_control_goes_on_from_a_stored_state(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a third episode, and in the episode after it; all equal, bit for bit."""
    random = np.random.default_rng(0)

    def tail(vector: Vector) -> list[Observations]:
        draws = np.random.default_rng(1)
        shape = (1, vector.action_dim)
        return [vector.step(draws.uniform(-1, 1, shape).astype(np.float32)) for _ in range(12)]

    with Vector(task, [3]) as vector, Vector(task, [99]) as other:
        monkeypatch.setattr(dmc, "EPISODE_STEPS", 40)
        monkeypatch.setattr(physics, "set_state", lambda *_: pytest.fail("physics differ"))
        vector.reset()
        for _ in range(50):
            action = random.uniform(-1, 1, (1, vector.action_dim)).astype(np.float32)
            result = vector.step(action)
        (state,) = vector.save()
        observation, restarted = other.load([state])
        np.testing.assert_array_equal(observation, result.observation)
        assert not restarted.any()
        for mine, theirs in zip(tail(vector), tail(other), strict=True):
            for first, second in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(first, second)


def test_stored_physics_replaces_what_another_processor_rounded() -> None:
    with Vector("humanoid-walk", [0]) as vector, Vector("humanoid-walk", [1]) as other:
        rollout(vector, 5)
        (state,) = vector.save()
        state["physics"] = state["physics"] + 1e-9
        other.load([state])
        np.testing.assert_array_equal(other.save()[0]["physics"], state["physics"])


def test_gymnasium_starts_a_new_episode_and_says_so(own: str) -> None:
    with make_vector(own + "Countdown-v0", [0, 1], workers=1) as vector:
        first, _ = rollout(vector, 1)
        observation, restarted = vector.load(vector.save())
        assert restarted.all()
        assert (observation[:, 0] == 0).all()
        assert (observation[:, 1] != first[:, 1]).all(), "not the first episode again"


def test_workers_end_with_their_vector_and_with_their_parent(own: str) -> None:
    vector = WorkerVector(own + "Countdown-v0", [0], workers=1)
    process = vector._workers[0]._process
    vector.close()
    vector.close()
    assert process.returncode == 0
    code = (
        "import os, pompc.envs as envs\n"
        "vector = envs.make_vector('cartpole-swingup', [0], workers=1)\n"
        "print(vector._workers[0]._process.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    pid = int(run_python(code))
    wait_for_end(pid)


def wait_for_end(pid: int) -> None:
    """Wait until a process that is not a child has ended; fail after 5 s."""
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"worker {pid} outlived its parent")


def test_actions_of_the_wrong_shape_are_refused() -> None:
    with make_vector("cartpole-swingup", [0, 1]) as vector:
        vector.reset()
        with pytest.raises(ValueError, match=r"have shape \(1, 1\), not \(2, 1\)"):
            vector.step(np.zeros((1, 1), np.float32))
        with pytest.raises(RuntimeError, match=r"needs the actions of a send\(\)"):
            vector.receive()


# --- Names and bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "canonical"),
    [
        ("dog-run", "dog-run"),
        ("cartpole-swingup_sparse", "cartpole-swingup-sparse"),
        ("point_mass-easy", "point-mass-easy"),
        ("ball_in_cup-catch", "cup-catch"),
        ("cup_catch", "cup-catch"),
        ("humanoid_CMU-run", "humanoid-CMU-run"),
        ("gym:Pendulum-v1", "gym:Pendulum-v1"),
    ],
)
def test_canonical_names(task: str, canonical: str) -> None:
    assert check_task(task) == canonical


def test_task_names_are_canonical_and_distinct() -> None:
    from dm_control import suite

    names = task_names()
    assert len(set(names)) == len(names) == len(suite.ALL_TASKS)
    assert [check_task(name) for name in names] == names


DM_CONTROL_HELP = (
    "choose a dm_control task such as 'dog-run' (pompc.envs.task_names() lists them), one of "
    "HumanoidBench such as 'h1hand-walk', or 'gym:' and a Gymnasium id such as 'gym:Pendulum-v1'"
)
GYM_HELP = (
    "choose a registered id such as 'Pendulum-v1', or write 'gym:module:Id-v0' for one that your "
    "own module registers"
)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("dog-rnu", f"unknown task 'dog-rnu': {DM_CONTROL_HELP}; did you mean 'dog-run'?"),
        (
            "Pendulum-v1",
            f"unknown task 'Pendulum-v1': {DM_CONTROL_HELP}; did you mean 'gym:Pendulum-v1'?",
        ),
        ("", f"unknown task '': {DM_CONTROL_HELP}"),
        (
            "gym:Pendulm-v1",
            (
                f"unknown Gymnasium id 'Pendulm-v1' in task 'gym:Pendulm-v1': {GYM_HELP}; "
                "did you mean 'Pendulum-v1'?"
            ),
        ),
        (
            "gym:no_such_module:Own-v0",
            (
                "unknown task 'gym:no_such_module:Own-v0': module 'no_such_module' cannot be "
                "imported (No module named 'no_such_module'), but 'gym:module:Id-v0' needs a "
                "module on Python's path that registers the id"
            ),
        ),
        (
            "gym:CartPole-v1",
            "task 'gym:CartPole-v1' has the action space Discrete(2), but only Box is allowed",
        ),
        (
            "gym:FrozenLake-v1",
            (
                "task 'gym:FrozenLake-v1' has the observation space Discrete(16), but only Box is "
                "allowed"
            ),
        ),
        (
            "OWN:Unbounded-v0",
            (
                "task 'gym:own_environments:Unbounded-v0' has the action space "
                "Box(-inf, inf, (1,), float32), but only finite bounds are allowed"
            ),
        ),
        (
            "OWN:Whole-v0",
            (
                "task 'gym:own_environments:Whole-v0' has the action space Box(0, 5, (1,), int32), "
                "but only floats are allowed"
            ),
        ),
    ],
)
def test_bad_tasks_end_with_one_sentence(task: str, sentence: str, own: str) -> None:
    task = task.replace("OWN:", own)
    for refuse in (check_task, make_env):
        with pytest.raises(ConfigError) as caught:
            refuse(task)
        assert str(caught.value) == sentence


def test_bad_vectors_end_with_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^seeds is empty, but a vector needs at least one env"):
        make_vector("dog-run", [])
    with pytest.raises(ConfigError, match=r"^workers is -1, but must be 0 \(this process\) or mor"):
        make_vector("dog-run", [0], workers=-1)
    with pytest.raises(ConfigError, match=r"^unknown task 'dog-rnu'"):
        make_vector("dog-rnu", [0], workers=1)


def test_nearest_finds_a_name_or_says_nothing() -> None:
    assert nearest("lamda", ["lam", "lambda", "seed"]) == "; did you mean 'lambda'?"
    assert nearest("xyz", ["lam", "seed"]) == ""


# --- What a process imports -----------------------------------------------------------------------


# dm_control's, with NumPy 2.5, which the lock has from Python 3.12 on: see pyproject.toml.
NUMPY_SHAPE = "ignore:Setting the shape on a NumPy array:DeprecationWarning"


def run_python(code: str, **variables: str) -> str:
    """Run code in a fresh process that treats warnings as errors; return its standard output."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-W", NUMPY_SHAPE, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout


@pytest.mark.parametrize("chosen", [None, "glfw"])
def test_environments_import_neither_jax_nor_opengl(
    chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever MUJOCO_GL is; and its value is still there for child processes."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    code = (
        "import os, sys, pompc.envs as envs, pompc.envs.video\n"
        "for task in ('cheetah-run', 'quadruped-escape'):\n"
        "    envs.make_env(task).reset()\n"
        "from dm_control import _render\n"
        "loaded = [name for name in ('jax', 'glfw', 'OpenGL') if name in sys.modules]\n"
        "print(_render.BACKEND, os.environ.get('MUJOCO_GL'), loaded)\n"
    )
    variables = {"MUJOCO_GL": chosen} if chosen else {}
    assert run_python(code, **variables) == f"off {chosen} []\n"


def test_render_needs_render_true() -> None:
    code = (
        "import pompc.envs as envs\n"
        "for render in (False, True):\n"
        "    try:\n"
        "        envs.make_env('cartpole-swingup', render=render).render()\n"
        "    except RuntimeError as error:\n"
        "        print(error)\n"
    )
    assert run_python(code).splitlines() == [
        "render() needs an environment made with render=True",
        (
            "dm_control was imported without OpenGL in this process: make the rendering "
            "environment before any other, or use pompc.envs.video.record_actions, which renders "
            "in a process of its own"
        ),
    ]
