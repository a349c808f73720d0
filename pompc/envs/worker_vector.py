"""A vector of environments in worker processes that never import JAX."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Pipe
from typing import Any, NamedTuple

import numpy as np

from pompc.envs import gym
from pompc.envs.process import module_command, module_environment
from pompc.envs.restarting import PATIENCE, State, fresh_seed
from pompc.envs.vector import LocalVector, Observations, Vector
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
STEP_S = 60.0  # a worker that takes longer over a step hangs
START_S = 600.0  # to import a simulator and make environments, on a busy machine


def make_vector(task: str, seeds: Sequence[int], workers: int = 0) -> Vector:
    """Make one environment per seed; environment `i` depends on `seeds[i]` alone.

    Args:
        task: the name of the task.
        seeds: `P` seeds, at least one.
        workers: 0 keeps all environments in this process; otherwise the number of worker
            processes among which they are split evenly, at most `P`.

    Raises:
        ConfigError: for an unknown task or one whose package is not installed, no seeds, or a
            negative number of workers.
        RuntimeError: if a worker cannot start. Later, `receive` raises it when an environment or a
            worker failed three times without a whole episode between.
    """
    from pompc.envs import check_task

    task = check_task(task)
    if not seeds:
        raise ConfigError("seeds is empty, but a vector needs at least one environment")
    if workers < 0:
        raise ConfigError(f"workers is {workers}, but must be 0 (this process) or more")
    return WorkerVector(task, seeds, workers) if workers else LocalVector(task, seeds)


class Start(NamedTuple):
    """What a worker is told first: the task, one seed per environment, and who registers it."""

    task: str
    seeds: Sequence[int]
    registration: bytes  # of `gym.hand_over`


class Save(NamedTuple):
    """Asks a worker for the states of its environments."""


class Load(NamedTuple):
    """Tells a worker to go on from these states."""

    states: Sequence[State]


class LostWorkerError(RuntimeError):
    """A worker process died or hangs; a new one can take its place."""


class Failure(NamedTuple):
    """What a worker replies when it raised: the exception in one line, and its traceback."""

    cause: str
    traceback: str


class Refusal(NamedTuple):
    """What a worker replies to a task that cannot be made here: the sentence of its ConfigError."""

    sentence: str


class WorkerVector(Vector):
    """Step environments in worker processes, with one message per worker and step."""

    def __init__(self, task: str, seeds: Sequence[int], workers: int) -> None:
        """Start the workers together, and wait until all have made their environments."""
        self.task, self._seeds = task, list(seeds)
        self._registration = gym.hand_over(task)
        self.count = len(seeds)
        shares = np.array_split(np.arange(self.count), min(workers, self.count))
        self._slices = [slice(int(share[0]), int(share[-1]) + 1) for share in shares]
        self._workers: list[_Worker] = []
        self._lost = np.zeros(len(self._slices), int)  # workers, in all
        self._in_a_row = np.zeros(len(self._slices), int)  # without a whole episode between
        try:
            for index in range(len(self._slices)):
                self._workers.append(self._start(index))
            sizes = [worker.receive(START_S) for worker in self._workers]
            self.observation_dim, self.action_dim = sizes[0]
        except BaseException:
            self.close()
            raise

    def _start(self, index: int) -> _Worker:
        """Start a worker; after a lost one its environments have other seeds."""
        lost = int(self._lost[index])
        seeds = [fresh_seed(seed, lost) for seed in self._seeds[self._slices[index]]]
        worker = _Worker(self.task, index)
        worker.send(Start(self.task, seeds, self._registration))
        return worker

    def reset(self) -> np.ndarray:
        """Start an episode in every environment; return the observations, float32 `[P, O]`."""
        for worker in self._workers:
            worker.send(None)
        return np.concatenate([worker.receive(START_S) for worker in self._workers])

    def send(self, actions: np.ndarray) -> None:
        """Send each worker its rows of the actions `[P, A]`; the workers start to step."""
        self._check_actions(actions)
        actions = np.asarray(actions)
        for worker, part in zip(self._workers, self._slices, strict=True):
            with suppress(LostWorkerError):  # `receive` finds out
                worker.send(actions[part])

    def receive(self) -> Observations:
        """Wait for every worker, and return their results in the order of the seeds.

        The episodes of a worker that died, or hangs for a minute, are reported as failures.

        Raises:
            RuntimeError: with task, worker and cause, if a worker raised, or was lost three times
                without a whole episode between.
        """
        columns = zip(*(self._result(index) for index in range(len(self._workers))), strict=True)
        return Observations(*(np.concatenate(column) for column in columns))

    def _result(self, index: int) -> Observations:
        try:
            result = self._workers[index].receive(STEP_S)
        except LostWorkerError as error:
            return self._replace(index, error)
        if (result.terminated | result.truncated).any():
            self._in_a_row[index] = 0
        return result

    def _replace(self, index: int, cause: LostWorkerError) -> Observations:
        """Start a lost worker anew; return its first observations, as failures."""
        self._lost[index] += 1
        self._in_a_row[index] += 1
        if self._in_a_row[index] >= PATIENCE:
            raise RuntimeError(
                f"{cause}, for the {PATIENCE}rd time without a whole episode between"
            ) from cause
        self._workers[index].kill()
        self._workers[index] = worker = self._start(index)
        worker.receive(START_S)
        worker.send(None)
        first = worker.receive(START_S)
        nothing = np.zeros(len(first), bool)
        return Observations(
            first, first, np.zeros(len(first), np.float32), nothing, nothing,
            np.zeros(len(first), np.int64), np.full(len(first), str(cause)),
        )  # fmt: skip

    def save(self) -> list[State]:
        """Return the state of every environment."""
        for worker in self._workers:
            worker.send(Save())
        return [state for worker in self._workers for state in worker.receive(START_S)]

    def load(self, states: Sequence[State]) -> tuple[np.ndarray, np.ndarray]:
        """Let every environment go on where `save` was called."""
        for worker, part in zip(self._workers, self._slices, strict=True):
            worker.send(Load(states[part]))
        found = [worker.receive(START_S) for worker in self._workers]
        observations, restarted = zip(*found, strict=True)
        return np.concatenate(observations), np.concatenate(restarted)

    def close(self) -> None:
        """End the worker processes; a second call does nothing."""
        for worker in self._workers:
            worker.connection.close()
        while self._workers:
            self._workers.pop().join()


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
        """Send a message; raise LostWorkerError if the worker is gone."""
        try:
            self.connection.send(message)
        except ConnectionError:
            # Its last words, if it had any, are still in the pipe.
            self.receive(0.0)

    def receive(self, seconds: float) -> Any:
        """Return the reply to the last message, waiting so long at most.

        Raises:
            ConfigError: if the task cannot be made here.
            LostWorkerError: if the process died or hangs.
            RuntimeError: if it raised.
        """
        try:
            if not self.connection.poll(seconds):
                raise LostWorkerError(f"{self._name} hangs: no answer for {seconds:.0f} s")
            reply = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise LostWorkerError(f"{self._name} died with exit code {self.join()}") from error
        if isinstance(reply, Refusal):
            raise ConfigError(reply.sentence)
        if isinstance(reply, Failure):
            failure = RuntimeError(f"{self._name} failed: {reply.cause}")
            failure.add_note(f"In the worker:\n{reply.traceback}")
            raise failure
        return reply

    def kill(self) -> None:
        """End the process at once."""
        self.connection.close()
        self._process.kill()
        self._process.wait()

    def join(self) -> int:
        """Wait until the process has ended, kill it if it does not; return its exit code."""
        try:
            return self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
