"""A vector of environments in worker processes that never import JAX."""

import itertools
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Pipe
from typing import Any

import numpy as np

from pompc.envs import gym
from pompc.envs.process import module_command, module_environment
from pompc.envs.restarting import PATIENCE, State, fresh_seed
from pompc.envs.vector import Observations, Vector
from pompc.errors import ConfigError

# A worker is one simulator on one core; without this, NumPy starts a thread per core in each. It
# renders nothing, whatever the parent's MUJOCO_GL.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_GRACE_S = 5.0  # for a worker to end by itself once its pipe is closed
STEP_S = 60.0  # a worker that takes longer over a step hangs
START_S = 600.0  # to import a simulator and make environments, on a busy machine


def make_vector(task: str, seeds: Sequence[int], workers: int = 0) -> Vector:
    """Make one environment per seed; environment `i` depends on `seeds[i]` alone.

    With 0 `workers` all are in this process; otherwise they are split evenly among so many worker
    processes, at most `P`. Raise ConfigError for an unknown task or one whose package is not
    installed, no seeds, or a negative number of workers; RuntimeError if a worker cannot start.
    """
    from pompc.envs import check_task

    task = check_task(task)
    if not seeds:
        raise ConfigError("seeds is empty, but a vector needs at least one environment")
    if workers < 0:
        raise ConfigError(f"workers is {workers}, but must be 0 (this process) or more")
    return WorkerVector(task, seeds, workers) if workers else Vector(task, seeds)


class LostWorkerError(RuntimeError):
    """A worker process died or hangs; a new one can take its place."""


class WorkerVector(Vector):
    """Step environments in worker processes, with one message per worker and step."""

    def __init__(self, task: str, seeds: Sequence[int], workers: int) -> None:
        """Start the workers together, and wait until all have made their environments."""
        self.task, self.count = task, len(seeds)
        registration = gym.hand_over(task)
        shares = np.array_split(np.arange(self.count), min(workers, self.count))
        self._slices = [slice(int(share[0]), int(share[-1]) + 1) for share in shares]
        self._workers: list[_Worker] = []
        try:
            for index, part in enumerate(self._slices):
                self._workers.append(_Worker(index, task, seeds[part], registration))
            sizes = [worker.receive(START_S) for worker in self._workers]
        except BaseException:
            self.close()
            raise
        self.observation_dim, self.action_dim = sizes[0]

    def _call(self, method: str, *rows: Sequence[Any]) -> list[Any]:
        """Let every worker call a method on its share of the rows; return their answers."""
        for worker, part in zip(self._workers, self._slices, strict=True):
            worker.send(method, *(values[part] for values in rows))
        return [worker.receive(START_S) for worker in self._workers]

    def reset(self) -> np.ndarray:
        """Start an episode in every environment; return the observations, float32 `[P, O]`."""
        return np.concatenate(self._call("reset"))

    def send(self, actions: np.ndarray) -> None:
        """Send each worker its rows of the actions `[P, A]`; the workers start to step."""
        super().send(actions)
        actions = np.asarray(actions)
        for worker, part in zip(self._workers, self._slices, strict=True):
            with suppress(LostWorkerError):  # `receive` finds out
                worker.send("step", actions[part])

    def receive(self) -> Observations:
        """Wait for every worker, and return their results in the order of the seeds.

        The episodes of a worker that died, or hangs for a minute, are reported as failures. Raise
        RuntimeError, with task, worker and cause, if a worker raised, or was lost three times
        without a whole episode between.
        """
        columns = zip(*(worker.receive_step() for worker in self._workers), strict=True)
        return Observations(*(np.concatenate(column) for column in columns))

    def save(self) -> list[State]:
        """Return the state of every environment."""
        return list(itertools.chain.from_iterable(self._call("save")))

    def load(self, states: Sequence[State]) -> tuple[np.ndarray, np.ndarray]:
        """Let every environment go on where `save` was called."""
        observations, restarted = zip(*self._call("load", states), strict=True)
        return np.concatenate(observations), np.concatenate(restarted)

    def close(self) -> None:
        """End the worker processes; a second call does nothing."""
        for worker in self._workers:
            worker.connection.close()
        while self._workers:
            self._workers.pop().join()


class _Worker:
    """One worker process, which can be lost and replaced, and this end of its pipe."""

    def __init__(self, index: int, task: str, seeds: Sequence[int], registration: bytes) -> None:
        self._name = f"task {task!r}, worker {index}"
        self._task, self._seeds, self._registration = task, seeds, registration
        self._lost = 0  # processes, in all
        self._in_a_row = 0  # of them, without a whole episode between
        self._start()

    def _start(self) -> None:
        """Start a process; after a lost one its environments have other seeds."""
        self.connection, theirs = Pipe()
        # Not `multiprocessing.Process`: fork deadlocks with JAX's threads, and spawn imports the
        # user's __main__ again.
        self._process = subprocess.Popen(
            module_command("pompc.envs.worker", str(theirs.fileno())),
            env=module_environment(MUJOCO_GL="disabled", **_ONE_THREAD),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        seeds = [fresh_seed(seed, self._lost) for seed in self._seeds]
        self.send(self._task, seeds, self._registration)

    def send(self, *message: Any) -> None:
        """Send a message; raise LostWorkerError if the worker is gone."""
        try:
            self.connection.send(message)
        except ConnectionError:
            # Its last words, if it had any, are still in the pipe.
            self.receive(0.0)

    def receive(self, seconds: float) -> Any:
        """Return the reply to the last message, waiting so long at most.

        Raise LostWorkerError if the process died or hangs, or what it raised.
        """
        try:
            if not self.connection.poll(seconds):
                raise LostWorkerError(f"{self._name} hangs: no answer for {seconds:.0f} s")
            reply = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise LostWorkerError(f"{self._name} died with exit code {self.join()}") from error
        if isinstance(reply, RuntimeError):
            reply.args = (f"{self._name} failed: {reply}",)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def receive_step(self) -> Observations:
        """Return the result of a step; of a lost worker the first observations of a new one."""
        try:
            result = self.receive(STEP_S)
        except LostWorkerError as error:
            return self._replace(error)
        if (result.terminated | result.truncated).any():
            self._in_a_row = 0
        return result

    def _replace(self, cause: LostWorkerError) -> Observations:
        """Start a process in place of a lost one; return its first observations, as failures."""
        self._lost += 1
        self._in_a_row += 1
        if self._in_a_row >= PATIENCE:
            raise RuntimeError(
                f"{cause}, for the {PATIENCE}rd time without a whole episode between"
            ) from cause
        self.connection.close()
        self._process.kill()
        self._process.wait()
        self._start()
        self.receive(START_S)
        self.send("reset")
        first = self.receive(START_S)
        nothing = np.zeros(len(first), bool)
        return Observations(
            first, first, np.zeros(len(first), np.float32), nothing, nothing,
            np.zeros(len(first), np.int64), np.full(len(first), str(cause)),
        )  # fmt: skip

    def join(self) -> int:
        """Wait until the process has ended, kill it if it does not; return its exit code."""
        try:
            return self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
