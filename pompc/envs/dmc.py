"""dm_control suite tasks as Gymnasium environments, without OpenGL unless asked to render."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from pompc.envs import humanoid, physics
from pompc.envs.opengl import opengl
from pompc.envs.sizes import flat_sizes
from pompc.errors import ConfigError, nearest

ACTION_REPEAT = 2
TERMINATIONS = "use"
EPISODE_STEPS = 1000  # simulator steps; the suite's own limit, which only lqr lacks
_NO_LIMIT = 1e10  # MuJoCo's mjMAXVAL: dm_control's bound for an actuator without one (lqr)
# Domains whose tasks never change their model, which all environments of a process can then share:
# ten dogs of their own, as an evaluation has, would hold 730 MB of meshes.
_SHARED = ("dog",)
_CAMERAS = {"quadruped": 2}  # the other domains' first camera shows the whole robot


def _is_news(record: logging.LogRecord) -> bool:
    """Drop MuJoCo's remark on an attribute of dm_control's own cheetah, once per environment."""
    return "'settotalmass' is deprecated" not in record.getMessage()


def _import_suite(render: bool = False) -> ModuleType:
    """Import `dm_control.suite`; only the first import of a process chooses its OpenGL back end."""
    with opengl(render):
        from dm_control import suite
    logging.getLogger("absl").addFilter(_is_news)
    return suite


def _load(domain: str, level: str, render: bool) -> Any:
    """Return a simulator of a task, of its own but for a model that can be shared."""
    if domain not in _SHARED:
        return _load_anew(domain, level, render)
    first = _load_once(domain, level, render)
    own = copy.copy(first)
    own._physics, own._task = first.physics.copy(share_model=True), copy.deepcopy(first.task)
    return own


def _load_anew(domain: str, level: str, render: bool) -> Any:
    # lqr draws its model here: seed 0 keeps it one task, whatever the seed of the episodes.
    return _import_suite(render).load(domain, level, task_kwargs={"random": 0})


_load_once = functools.cache(_load_anew)


def _canonical(name: str) -> str:
    """Return the published curves' spelling: dashes only, and `cup-catch`."""
    return name.replace("_", "-").removeprefix("ball-in-")


@functools.cache
def _tasks() -> dict[str, tuple[str, str]]:
    """Return canonical name -> (domain, task) of the whole suite."""
    pairs = _import_suite().ALL_TASKS
    return {_canonical(f"{domain}-{task}"): (domain, task) for domain, task in pairs}


def task_names() -> list[str]:
    """Return the canonical names of all dm_control tasks, sorted."""
    return sorted(_tasks())


def check(task: str) -> str:
    """Return the canonical name of a dm_control task; `-` and `_` are interchangeable.

    Raises:
        ConfigError: for an unknown task.
    """
    name = _canonical(task)
    if name in _tasks():
        return name
    others = [*humanoid.task_names(), *(f"gym:{name}" for name in gymnasium.registry)]
    raise ConfigError(
        f"unknown task {task!r}: choose a dm_control task such as 'dog-run' "
        "(pompc.envs.task_names() lists them), one of HumanoidBench such as 'h1hand-walk', or "
        "'gym:' and a Gymnasium id such as 'gym:Pendulum-v1'"
        f"{nearest(task, [*task_names(), *others])}"
    )


def dimensions(task: str) -> tuple[int, int]:
    """Return the numbers of observations and actions of a task."""
    return flat_sizes(make(task, seed=0, render=False))


def describe(task: str) -> dict[str, str]:
    """Return nothing: the versions that every provenance holds are enough."""
    return {}


def make(task: str, seed: int, render: bool) -> DmControlEnv:
    """Make a dm_control task.

    Raises:
        ConfigError: for an unknown task.
        RuntimeError: for `render` after an import of dm_control without rendering.
    """
    _import_suite(render)
    return DmControlEnv(check(task), seed, render)


def _flatten(observation: Mapping[str, Any]) -> np.ndarray:
    """Concatenate an observation's entries, in the order of its spec, as float32 `[O]`."""
    return np.concatenate([np.ravel(entry) for entry in observation.values()], dtype=np.float32)


class DmControlEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Run a dm_control suite task at action repeat 2.

    An episode is 1000 simulator steps, so 500 decisions, and then truncated; it is terminated
    where the task itself ends with discount 0 (only lqr does).

    Attributes:
        frame_size: height and width of rendered frames, in pixels.
    """

    def __init__(self, task: str, seed: int, render: bool) -> None:
        """Load the task whose canonical name is `task`, and seed its random state."""
        domain, level = _tasks()[task]
        self._simulator = _load(domain, level, render)
        self._simulator.task.random.seed(seed)
        self._camera = _CAMERAS.get(domain, 0)
        self._steps = 0
        self._over = True
        self._start: dict[str, Any] = {}  # of the task's random state, when the episode began
        self._actions: list[np.ndarray] = []  # since then
        self.frame_size: tuple[int, int] = (360, 480)
        self.render_mode = "rgb_array" if render else None
        frequency = 1.0 / (self._simulator.control_timestep() * ACTION_REPEAT)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": frequency}
        self._set_spaces()
        if render:
            self._require_renderer()
        else:
            # quadruped-escape uploads its terrain to the GPU at each reset, and would thereby
            # create an OpenGL context: without contexts it skips that.
            self._simulator.physics._make_rendering_contexts = lambda: None

    def _set_spaces(self) -> None:
        """Set both spaces, and the bounds `[A]` that actions are scaled to."""
        spec = self._simulator.action_spec()
        unlimited = spec.maximum >= _NO_LIMIT
        self._low = np.where(unlimited, -1.0, spec.minimum)
        self._high = np.where(unlimited, 1.0, spec.maximum)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, spec.shape, np.float32)
        entries = self._simulator.observation_spec().values()
        size = sum(int(np.prod(entry.shape)) for entry in entries)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    @staticmethod
    def _require_renderer() -> None:
        """Raise if this process imported dm_control without an OpenGL back end."""
        from dm_control import _render

        if _render.BACKEND in (None, "off"):
            raise RuntimeError(
                "dm_control was imported without OpenGL in this process: make the rendering "
                "environment before any other, or use pompc.envs.video.record_actions, which "
                "renders in a process of its own"
            )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode, a function of `seed` if it is given; `options` has no effect."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._simulator.task.random.seed(seed)
        self._steps = 0
        self._over = False
        self._start, self._actions = self._simulator.task.random.get_state(legacy=False), []
        return _flatten(self._simulator.reset().observation), {"env_steps": 0}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold an action for two simulator steps and sum their rewards.

        Args:
            action: `[A]`, clipped to [-1, 1] and scaled to the actuators' bounds.

        Raises:
            RuntimeError: when the episode is over, or has not been started.
        """
        if self._over:
            raise RuntimeError("the episode is over: call reset() before step()")
        self._actions.append(np.array(action))
        control = self._low + (np.clip(action, -1.0, 1.0) + 1.0) * 0.5 * (self._high - self._low)
        reward, steps = 0.0, 0
        while True:
            time_step = self._simulator.step(control)
            steps += 1
            reward += float(time_step.reward)
            if time_step.last() or steps == ACTION_REPEAT:
                break
        self._steps += steps
        terminated = bool(time_step.last() and time_step.discount == 0.0)
        truncated = not terminated and (time_step.last() or self._steps >= EPISODE_STEPS)
        self._over = terminated or truncated
        observation = _flatten(time_step.observation)
        return observation, reward, terminated, truncated, {"env_steps": steps}

    def save(self) -> dict[str, Any]:
        """Return what `load` needs: how the episode began, its actions, and the physics now."""
        generator = self._start["state"]
        return {
            "key": generator["key"],
            "position": np.int64(generator["pos"]),
            "has_gauss": np.int64(self._start["has_gauss"]),
            "gauss": np.float64(self._start["gauss"]),
            "actions": np.array(self._actions).reshape(-1, self._low.size),
            "physics": self._physics_state(),
        }

    def load(self, state: Mapping[str, Any]) -> np.ndarray:
        """Go on from a state that `save` returned; return the present observation `[O]`.

        The episode is played again, which restores all that a task keeps: what it drew, what it
        changed in its model, its counters. On another processor that may round differently; then
        the stored physics (with warm start) is put in place at its end.
        """
        self._simulator.task.random.set_state({
            "bit_generator": "MT19937",
            "state": {"key": state["key"], "pos": int(state["position"])},
            "has_gauss": int(state["has_gauss"]),
            "gauss": float(state["gauss"]),
        })  # fmt: skip
        observation, _ = self.reset()
        for action in state["actions"]:
            observation = self.step(action)[0]
        if not np.array_equal(self._physics_state(), state["physics"]):
            self._set_physics_state(state["physics"])
        return observation

    def _physics_state(self) -> np.ndarray:
        simulator = self._simulator.physics
        return physics.get_state(simulator.model.ptr, simulator.data.ptr)

    def _set_physics_state(self, state: np.ndarray) -> None:
        simulator = self._simulator.physics
        physics.set_state(simulator.model.ptr, simulator.data.ptr, state)

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the current frame, uint8 `[height, width, 3]`.

        Raises:
            RuntimeError: if the environment was made without `render=True`.
        """
        if self.render_mode is None:
            raise RuntimeError("render() needs an environment made with render=True")
        height, width = self.frame_size
        return self._simulator.physics.render(height, width, camera_id=self._camera)

    def close(self) -> None:
        """Free the simulator; the environment cannot be used afterwards."""
        self._over = True
        self._simulator.physics.free()
