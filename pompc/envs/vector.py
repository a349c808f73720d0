"""A vector of environments, in this process or in worker processes that never import JAX.

Axes: `P` environments, `O` observation, `A` action.
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from multiprocessing.connection import Pipe
from typing import Any, NamedTuple, Self

import numpy as np
from gymnasium.spaces import flatdim

from pompc.envs.process import module_command, module_environment
from pompc.errors import ConfigError

# A worker is one simulator on one core; without this, NumPy starts a thread per core in each. It
# renders nothing, whatever the parent's MUJOCO_GL.
_WORKER_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MUJOCO_GL": "disabled",
}
_GRACE_S = 5.0  # for a worker to end by itself once its pipe is closed


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


class Start(NamedTuple):
    """What a worker is told first: the task, and one seed per environment."""

    task: str
    seeds: Sequence[int]


class Failure(NamedTuple):
    """What a worker replies when it raised: the exception in one line, and its traceback."""

    cause: str
    traceback: str


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


def make_vector(task: str, seeds: Sequence[int], workers: int = 0) -> Vector:
    """Make one environment per seed; environment `i` depends on `seeds[i]` alone.

    Args:
        task: the name of the task.
        seeds: `P` seeds, at least one.
        workers: 0 keeps all environments in this process; otherwise the number of worker
            processes among which they are split evenly, at most `P`.

    Raises:
        ConfigError: for an unknown task, no seeds, or a negative number of workers.
        RuntimeError: if a worker cannot start. Later, `reset`, `send` and `receive` raise it when
            a worker fails or an environment returns NaN or infinity.
    """
    from pompc.envs import check_task

    task = check_task(task)
    if not seeds:
        raise ConfigError("seeds is empty, but a vector needs at least one environment")
    if workers < 0:
        raise ConfigError(f"workers is {workers}, but must be 0 (this process) or more")
    return WorkerVector(task, seeds, workers) if workers else LocalVector(task, seeds)


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


class WorkerVector(Vector):
    """Step environments in worker processes, with one message per worker and step."""

    def __init__(self, task: str, seeds: Sequence[int], workers: int) -> None:
        """Start the workers together, and wait until all have made their environments."""
        self.task = task
        self.count = len(seeds)
        shares = np.array_split(np.arange(self.count), min(workers, self.count))
        self._slices = [slice(int(share[0]), int(share[-1]) + 1) for share in shares]
        self._workers: list[_Worker] = []
        try:
            for index, part in enumerate(self._slices):
                self._workers.append(_Worker(task, index))
                self._workers[-1].send(Start(task, list(seeds[part])))
            self.observation_dim, self.action_dim = self._receive_all()[0]
        except BaseException:
            self.close()
            raise

    def reset(self) -> np.ndarray:
        """Start an episode in every environment; return the observations, float32 `[P, O]`."""
        for worker in self._workers:
            worker.send(None)
        return np.concatenate(self._receive_all())

    def send(self, actions: np.ndarray) -> None:
        """Send each worker its rows of the actions `[P, A]`; the workers start to step."""
        self._check_actions(actions)
        actions = np.asarray(actions)
        for worker, part in zip(self._workers, self._slices, strict=True):
            worker.send(actions[part])

    def receive(self) -> Observations:
        """Wait for every worker, and return their results in the order of the seeds.

        Raises:
            RuntimeError: with task, worker and cause, if a worker raised or died.
        """
        columns = zip(*self._receive_all(), strict=True)
        return Observations(*(np.concatenate(column) for column in columns))

    def close(self) -> None:
        """End the worker processes; a second call does nothing."""
        for worker in self._workers:
            worker.connection.close()
        while self._workers:
            self._workers.pop().join()

    def _receive_all(self) -> list[Any]:
        """Return one reply per worker."""
        return [worker.receive() for worker in self._workers]


class _Worker:
    """One worker process and this end of its pipe."""

    def __init__(self, task: str, index: int) -> None:
        """Start the process; it inherits nothing but the other end of the pipe."""
        self._name = f"task {task!r}, worker {index}"
        self.connection, theirs = Pipe()
        # Not `multiprocessing.Process`: fork deadlocks with JAX's threads, and spawn imports the
        # user's __main__ again.
        self._process = subprocess.Popen(
            module_command("pompc.envs.worker", str(theirs.fileno())),
            env=module_environment(**_WORKER_VARIABLES),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()

    def send(self, message: Any) -> None:
        """Send a message; raise RuntimeError if the worker is gone."""
        try:
            self.connection.send(message)
        except ConnectionError:
            # Its last words, if it had any, are still in the pipe.
            self.receive()

    def receive(self) -> Any:
        """Return the reply to the last message; raise RuntimeError if the worker failed."""
        try:
            reply = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(f"{self._name} died with exit code {self.join()}") from error
        if isinstance(reply, Failure):
            failure = RuntimeError(f"{self._name} failed: {reply.cause}")
            failure.add_note(f"In the worker:\n{reply.traceback}")
            raise failure
        return reply

    def join(self) -> int:
        """Wait until the process has ended, kill it if it does not; return its exit code."""
        try:
            return self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
