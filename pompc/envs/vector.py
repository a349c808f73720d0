"""A vector of environments, in this process or in worker processes that never import JAX.

Axes: `P` environments, `O` observation, `A` action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from gymnasium.spaces import flatdim


class Observations(NamedTuple):
    """What one step of `P` environments returns; an environment that is done starts again.

    Attributes:
        observation: float32 `[P, O]`, what to act on next: where an episode ended, the first
            observation of the next one.
        final_observation: float32 `[P, O]`, where this step led: where an episode ended, its last
            observation, and equal to `observation` elsewhere.
        reward: float32 `[P]`.
        terminated: bool `[P]`, the task itself ended the episode.
        truncated: bool `[P]`, a time limit ended the episode.
        env_steps: int64 `[P]`, simulator steps taken, action repeat included.
    """

    observation: np.ndarray
    final_observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    env_steps: np.ndarray


class Vector(ABC):
    """Step `P` environments together; a context manager that closes them.

    Attributes:
        task: the task of all environments.
        count: `P`.
        observation_dim: `O`.
        action_dim: `A`.
    """

    task: str
    count: int
    observation_dim: int
    action_dim: int

    @abstractmethod
    def reset(self) -> np.ndarray:
        """Start an episode in every environment; return the observations, float32 `[P, O]`."""

    @abstractmethod
    def send(self, actions: np.ndarray) -> None:
        """Hand over the next actions `[P, A]`, in [-1, 1], without waiting for the result."""

    @abstractmethod
    def receive(self) -> Observations:
        """Return the result of the actions that were sent last; exactly once per `send`."""

    @abstractmethod
    def close(self) -> None:
        """Close every environment; a second call does nothing."""

    def step(self, actions: np.ndarray) -> Observations:
        """Take one step with actions `[P, A]` in [-1, 1]: `send`, then `receive`."""
        self.send(actions)
        return self.receive()

    def __enter__(self) -> Self:
        """Return the vector itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the vector."""
        self.close()

    def _check_actions(self, actions: np.ndarray) -> None:
        """Raise ValueError unless actions are `[P, A]`: a wrong shape might broadcast."""
        expected = (self.count, self.action_dim)
        if actions.shape != expected:
            raise ValueError(f"actions of {self.task!r} have shape {actions.shape}, not {expected}")


class LocalVector(Vector):
    """Step environments one after the other in this process."""

    def __init__(self, task: str, seeds: Sequence[int]) -> None:
        """Make one environment per seed."""
        from pompc.envs import make_env

        self.task = task
        self.count = len(seeds)
        self._seeds = list(seeds)
        self._environments = [make_env(task, seed) for seed in seeds]
        self._actions: np.ndarray | None = None
        self.observation_dim = flatdim(self._environments[0].observation_space)
        self.action_dim = flatdim(self._environments[0].action_space)

    def reset(self) -> np.ndarray:
        """Start an episode in every environment; return the observations, float32 `[P, O]`."""
        observation = np.stack([environment.reset()[0] for environment in self._environments])
        self._require_finite("observation", observation)
        return observation

    def send(self, actions: np.ndarray) -> None:
        """Keep the actions `[P, A]`; `receive` takes the step.

        Work that the caller dispatches in between, such as an update on the accelerator, thereby
        runs while the environments step.
        """
        self._check_actions(actions)
        self._actions = actions

    def receive(self) -> Observations:
        """Step every environment, and reset those whose episode ended.

        Raises:
            RuntimeError: for an observation or reward that is NaN or infinite, or if no actions
                were sent.
        """
        if self._actions is None:
            raise RuntimeError("receive() needs the actions of a send()")
        actions, self._actions = self._actions, None
        result = self._empty()
        for index, environment in enumerate(self._environments):
            observation, reward, terminated, truncated, info = environment.step(actions[index])
            result.final_observation[index] = observation
            result.reward[index] = reward
            result.terminated[index] = terminated
            result.truncated[index] = truncated
            result.env_steps[index] = info["env_steps"]
            over = terminated or truncated
            result.observation[index] = environment.reset()[0] if over else observation
        self._require_finite("observation", result.observation)
        self._require_finite("observation", result.final_observation)
        self._require_finite("reward", result.reward[:, np.newaxis])
        return result

    def close(self) -> None:
        """Close every environment; a second call does nothing."""
        while self._environments:
            self._environments.pop().close()

    def _empty(self) -> Observations:
        """Return arrays to be filled by one step."""
        shape = (self.count, self.observation_dim)
        return Observations(
            observation=np.empty(shape, np.float32),
            final_observation=np.empty(shape, np.float32),
            reward=np.empty(self.count, np.float32),
            terminated=np.empty(self.count, np.bool_),
            truncated=np.empty(self.count, np.bool_),
            env_steps=np.empty(self.count, np.int64),
        )

    def _require_finite(self, name: str, values: np.ndarray) -> None:
        """Raise RuntimeError that names the first environment with non-finite `values [P, N]`."""
        finite = np.isfinite(values)
        if not finite.all():
            seed = self._seeds[int(np.argmin(finite.all(axis=1)))]
            raise RuntimeError(
                f"the environment of {self.task!r} with seed {seed} returned a {name} that is NaN "
                "or infinite"
            )
