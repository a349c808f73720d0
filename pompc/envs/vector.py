"""A vector of environments. Axes: `P` environments, `O` observation, `A` action."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from gymnasium.spaces import flatdim

from pompc.envs.restarting import RestartingEnv, State


class Observations(NamedTuple):
    """What one step of `P` environments returns; an environment that is done starts again.

    Where an episode ended, `observation`, to act on next, is the first of the next one, and
    `final_observation` the last of its own; elsewhere they are equal. Where an environment failed,
    its episode is to be discarded; `observation` is the first of a new one, the rest means nothing.
    """

    observation: np.ndarray  # float32 [P, O]
    final_observation: np.ndarray  # float32 [P, O]
    reward: np.ndarray  # float32 [P]
    terminated: np.ndarray  # bool [P]: the task itself ended the episode
    truncated: np.ndarray  # bool [P]: a time limit did
    env_steps: np.ndarray  # int64 [P]: simulator steps taken, action repeat included
    failure: np.ndarray  # str [P]: its cause, empty where all went well


class Feedback(NamedTuple):
    """What the environments last said, `[P, ...]`."""

    reward: np.ndarray
    terminated: np.ndarray
    observation: np.ndarray


class Vector:
    """Step `P` environments of one task, here one after the other; a context manager that closes.

    It has `task`, and the sizes `count` (`P`), `observation_dim` (`O`) and `action_dim` (`A`).
    """

    def __init__(self, task: str, seeds: Sequence[int]) -> None:
        """Make one environment per seed."""
        self.task, self.count = task, len(seeds)
        self._environments = [RestartingEnv(task, seed) for seed in seeds]
        self._actions: np.ndarray | None = None
        first = self._environments[0].environment
        self.observation_dim = flatdim(first.observation_space)
        self.action_dim = flatdim(first.action_space)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def reset(self) -> np.ndarray:
        """Start an episode in every environment; return the observations, float32 `[P, O]`."""
        return np.stack([environment.reset() for environment in self._environments])

    def step(self, actions: np.ndarray) -> Observations:
        """Take one step with actions `[P, A]` in [-1, 1]: `send`, then `receive`."""
        self.send(actions)
        return self.receive()

    def send(self, actions: np.ndarray) -> None:
        """Hand over the next actions `[P, A]`, in [-1, 1], without waiting for the result.

        Work that the caller dispatches in between, such as an update on the accelerator, thereby
        runs while the environments step. Raise ValueError for actions of another shape.
        """
        expected = (self.count, self.action_dim)
        if actions.shape != expected:
            raise ValueError(f"actions of {self.task!r} have shape {actions.shape}, not {expected}")
        self._actions = actions

    def receive(self) -> Observations:
        """Return the result of the actions that were sent last; exactly once per `send`.

        Raise RuntimeError if none were sent, or an environment failed three times in a row.
        """
        if self._actions is None:
            raise RuntimeError("receive() needs the actions of a send()")
        actions, self._actions = self._actions, None
        pairs = zip(self._environments, actions, strict=True)
        columns = zip(*(environment.step(action) for environment, action in pairs), strict=True)
        types = np.float32, np.float32, np.float32, np.bool_, np.bool_, np.int64, np.str_
        return Observations(*(np.array(c, kind) for c, kind in zip(columns, types, strict=True)))

    def save(self) -> list[State]:
        """Return the state of every environment, arrays by name."""
        return [environment.save() for environment in self._environments]

    def load(self, states: Sequence[State]) -> tuple[np.ndarray, np.ndarray]:
        """Let every environment go on where `save` was called.

        Return the present observations `[P, O]`, and bool `[P]`: where that could not be done and a
        new episode started instead.
        """
        pairs = zip(self._environments, states, strict=True)
        observations = np.stack([environment.load(state) for environment, state in pairs])
        return observations, np.array([not env.restores for env in self._environments])

    def close(self) -> None:
        """Close every environment; a second call does nothing."""
        while self._environments:
            self._environments.pop().close()
