"""dm_control suite tasks as Gymnasium environments, without OpenGL unless asked to render."""

import copy
import functools
import logging
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from pompc.envs import humanoid
from pompc.envs.physics import MujocoEnv, opengl, require_opengl
from pompc.errors import ConfigError, nearest

ACTION_REPEAT = 2
TERMINATIONS = "use"
EPISODE_STEPS = 1000  # simulator steps; the suite's own limit, which only lqr lacks
_NO_LIMIT = 1e10  # MuJoCo's mjMAXVAL: dm_control's bound for an actuator without one (lqr)
# Domains whose tasks never change their model, which all environments of a process can then share:
# ten dogs of their own, as an evaluation has, would hold 730 MB of meshes.
_SHARED = ("dog",)
_RANDOM_STATE = ("key", "position", "has_gauss", "gauss")  # of NumPy's MT19937
_CAMERAS = {"quadruped": 2}  # the other domains' first camera shows the whole robot


def _is_news(record: logging.LogRecord) -> bool:
    """Drop MuJoCo's remark on dm_control's own cheetah, once per environment."""
    return "'settotalmass' is deprecated" not in record.getMessage()


def _import_suite(render: bool = False) -> ModuleType:
    """Import `dm_control.suite`; only the first import of a process chooses its OpenGL back end."""
    with opengl(render):
        from dm_control import suite
    logging.getLogger("absl").addFilter(_is_news)
    return suite


@functools.cache
def _load_once(domain: str, level: str, render: bool) -> Any:
    # lqr draws its model here: seed 0 keeps it one task, whatever the seed of the episodes.
    return _import_suite(render).load(domain, level, task_kwargs={"random": 0})


def _load(domain: str, level: str, render: bool) -> Any:
    """Return a simulator of a task, of its own but for a model that can be shared."""
    if domain not in _SHARED:
        return _load_once.__wrapped__(domain, level, render)
    first = _load_once(domain, level, render)
    own = copy.copy(first)
    own._physics, own._task = first.physics.copy(share_model=True), copy.deepcopy(first.task)
    return own


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
    """Return a task's canonical name, `-` for `_`; raise ConfigError for an unknown task."""
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


def make(task: str, seed: int, render: bool) -> "DmControlEnv":
    """Make a dm_control task; errors as of `pompc.envs.make_env`."""
    _import_suite(render)
    return DmControlEnv(check(task), seed, render)


def _flatten(observation: Mapping[str, Any]) -> np.ndarray:
    """Concatenate an observation's entries, in the order of its spec, as float32 `[O]`."""
    return np.concatenate([np.ravel(entry) for entry in observation.values()], dtype=np.float32)


class DmControlEnv(MujocoEnv):
    """Run a dm_control suite task at action repeat 2.

    An episode is 1000 simulator steps, so 500 decisions, and then truncated; it is terminated
    where the task itself ends with discount 0 (only lqr does).
    """

    def __init__(self, task: str, seed: int, render: bool) -> None:
        """Load the task whose canonical name is `task`, and seed its random state."""
        domain, level = _tasks()[task]
        self._simulator = _load(domain, level, render)
        self._simulator.task.random.seed(seed)
        self._camera = _CAMERAS.get(domain, 0)
        self._steps, self._over = 0, True
        self._start: Any = None  # the task's random state when the episode began
        self._renders, self.render_mode = render, "rgb_array" if render else None
        frequency = 1.0 / (self._simulator.control_timestep() * ACTION_REPEAT)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": frequency}
        self._set_spaces()
        if render:
            from dm_control import _render

            require_opengl("dm_control", _render.BACKEND not in (None, "off"))
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

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode, a function of `seed` if it is given; `options` has no effect."""
        super().reset(seed=seed, options=options)
        random = self._simulator.task.random
        if seed is not None:
            random.seed(seed)
        self._steps, self._over = 0, False
        self._start, self._actions = random.get_state(), []
        return _flatten(self._simulator.reset().observation), {"env_steps": 0}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold an action for two simulator steps and sum their rewards.

        The action `[A]` is clipped to [-1, 1] and scaled to the actuators' bounds. Raise
        RuntimeError when the episode is over, or has not been started.
        """
        if self._over:
            raise RuntimeError("the episode is over: call reset() before step()")
        self._actions.append(np.array(action))
        control = self._low + (np.clip(action, -1.0, 1.0) + 1.0) * 0.5 * (self._high - self._low)
        steps = [self._simulator.step(control)]
        while len(steps) < ACTION_REPEAT and not steps[-1].last():
            steps.append(self._simulator.step(control))
        self._steps += len(steps)
        last, ended = steps[-1], steps[-1].last()
        terminated = bool(ended and last.discount == 0.0)
        truncated = not terminated and (ended or self._steps >= EPISODE_STEPS)
        self._over = terminated or truncated
        reward = sum(float(step.reward) for step in steps)
        return _flatten(last.observation), reward, terminated, truncated, {"env_steps": len(steps)}

    def _beginning(self) -> dict[str, Any]:
        return dict(zip(_RANDOM_STATE, map(np.asarray, self._start[1:]), strict=True))

    def _begin(self, state: Mapping[str, Any]) -> None:
        key, *numbers = (state[name] for name in _RANDOM_STATE)
        self._simulator.task.random.set_state(("MT19937", key, *map(np.ndarray.item, numbers)))

    def _mujoco(self) -> tuple[Any, Any]:
        simulator = self._simulator.physics
        return simulator.model.ptr, simulator.data.ptr

    def _frame(self) -> np.ndarray:
        return self._simulator.physics.render(*self.frame_size, camera_id=self._camera)

    def close(self) -> None:
        """Free the simulator; the environment cannot be used afterwards."""
        self._over = True
        self._simulator.physics.free()
