"""Any Gymnasium id with `Box` observations and actions, one's own environments among them."""

import dataclasses
import importlib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.spaces import Box, Space, flatdim
from gymnasium.vector.utils import CloudpickleWrapper

from pompc.envs.physics import opengl
from pompc.errors import ConfigError, nearest

ACTION_REPEAT = 1
TERMINATIONS = "use"
EPISODE_STEPS = 1000  # for ids that were registered without a limit of their own


def check(task: str) -> str:
    """Return the name of a Gymnasium task, unchanged; raise ConfigError as `make` does."""
    _create(task, render=False).close()
    return task


def make(task: str, seed: int, render: bool) -> "GymEnv":
    """Make the environment of a task `gym:Id-v0` or `gym:module:Id-v0`.

    Raise ConfigError for an unknown id, a module or environment that cannot be imported, a space
    that is not a `Box`, or infinite action bounds.
    """
    return GymEnv(_create(task, render), seed)


def hand_over(task: str) -> bytes:
    """Return the registration of a task, for a process in which nobody has registered it.

    Empty for a task of another suite, and for one that names the module that registers it. Classes
    of a script or notebook go by value; what cannot be handed over raises ConfigError.
    """
    if not task.startswith("gym:") or task.count(":") > 1:
        return b""
    spec = _find(task)
    creator = spec.entry_point
    with _between_processes(task):
        if isinstance(creator, str):  # "__main__:Target" would be another module there
            creator = load_env_creator(creator)
        return pickle.dumps(CloudpickleWrapper(dataclasses.replace(spec, entry_point=creator).make))


def take_over(task: str, registration: bytes) -> None:
    """Register what `hand_over` returned in another process; raise ConfigError if it cannot be."""
    if registration:
        with _between_processes(task):
            spec = pickle.loads(registration).fn.__self__  # whose `make` it is
        gymnasium.registry[spec.id] = spec


@contextmanager
def _between_processes(task: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a user's class holds, or its import raises
        raise ConfigError(
            f"task {task!r} cannot be made in the worker processes of a population ({error}): put "
            "it in a module on Python's path that registers it, and write 'gym:module:Id-v0'"
        ) from error


def _create(task: str, render: bool) -> gymnasium.Env[Any, Any]:
    """Make the Gymnasium environment itself, truncated at 1000 steps if it has no limit."""
    try:
        with opengl(render):
            spec = _find(task)
            environment = gymnasium.make(
                spec,
                max_episode_steps=spec.max_episode_steps or EPISODE_STEPS,
                disable_env_checker=True,
                **({"render_mode": "rgb_array"} if render else {}),
            )
    except (ImportError, TypeError, gymnasium.error.Error) as error:
        raise ConfigError(f"task {task!r} cannot be made here: {error}") from error
    _check_spaces(task, environment)
    return environment


def _find(task: str) -> EnvSpec:
    """Return the registered specification of a task, after importing its module."""
    module, _, name = task.removeprefix("gym:").rpartition(":")
    try:
        if module:
            importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"unknown task {task!r}: module {module!r} cannot be imported ({error}), but "
            "'gym:module:Id-v0' needs a module on Python's path that registers the id"
        ) from error
    if name in gymnasium.registry:
        return gymnasium.registry[name]
    raise ConfigError(
        f"unknown Gymnasium id {name!r} in task {task!r}: choose a registered id such as "
        "'Pendulum-v1', or write 'gym:module:Id-v0' for one that your own module registers"
        f"{nearest(name, gymnasium.registry)}"
    )


def _check_spaces(task: str, environment: gymnasium.Env[Any, Any]) -> None:
    """Raise ConfigError unless both are a `Box`, and actions are floats between finite bounds."""

    def refuse(kind: str, space: Space[Any], allowed: str) -> NoReturn:
        raise ConfigError(f"task {task!r} has the {kind} space {space}, but only {allowed} allowed")

    observations, actions = environment.observation_space, environment.action_space
    if not isinstance(observations, Box):
        refuse("observation", observations, "Box is")
    if not isinstance(actions, Box):
        refuse("action", actions, "Box is")
    if not np.issubdtype(actions.dtype, np.floating):
        refuse("action", actions, "floats are")
    if not np.isfinite([actions.low, actions.high]).all():
        refuse("action", actions, "finite bounds are")


class GymEnv(gymnasium.Wrapper[np.ndarray, np.ndarray, Any, Any]):
    """Flatten observations to float32 `[O]` and scale actions `[A]` from [-1, 1] to the bounds."""

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int) -> None:
        """Wrap an environment with `Box` spaces; `seed` determines the first `reset()`."""
        super().__init__(env)
        self._seed: int | None = seed
        self._box: Any = env.action_space
        self._low, self._high = (
            bound.astype(np.float64).ravel() for bound in (self._box.low, self._box.high)
        )
        self.action_space = Box(-1.0, 1.0, self._low.shape, np.float32)
        self.observation_space = Box(-np.inf, np.inf, (flatdim(env.observation_space),), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode, a function of `seed` if it is given."""
        seed, self._seed = self._seed if seed is None else seed, None
        observation, info = self.env.reset(seed=seed, options=options)
        return self._flatten(observation), {**info, "env_steps": 0}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step with an action `[A]`, clipped to [-1, 1] and scaled to the bounds."""
        fraction = (np.clip(np.asarray(action, np.float64), -1.0, 1.0) + 1.0) * 0.5
        scaled = (self._low + fraction * (self._high - self._low)).reshape(self._box.shape)
        # Rounding to the space's own type may step over a bound, which some environments assert.
        scaled = np.clip(scaled.astype(self._box.dtype), self._box.low, self._box.high)
        observation, reward, terminated, truncated, info = self.env.step(scaled)
        info = {**info, "env_steps": 1}
        return self._flatten(observation), float(reward), bool(terminated), bool(truncated), info

    def _flatten(self, observation: Any) -> np.ndarray:
        """Copy an observation of any shape to float32 `[O]`; raise ConfigError if it has others."""
        flat = np.array(observation, np.float32).ravel()
        if flat.shape != self.observation_space.shape:
            name = self.spec.id if self.spec else str(self.unwrapped)
            raise ConfigError(
                f"task {name!r} declares observations of shape "
                f"{self.env.observation_space.shape}, but returned one of shape "
                f"{np.shape(observation)}: make the two agree"
            )
        return flat
