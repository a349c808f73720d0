"""A vector of environments in worker processes that never import JAX."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from multiprocessing.connection import Pipe
from typing import Any, NamedTuple

import numpy as np

from pompc.envs.process import module_command, module_environment
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


class Start(NamedTuple):
    """What a worker is told first: the task, and one seed per environment."""

    task: str
    seeds: Sequence[int]


class Failure(NamedTuple):
    """What a worker replies when it raised: the exception in one line, and its traceback."""

    cause: str
    traceback: str


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
