"""Where the jobs of a sweep run: here, in SLURM, or wherever their commands are typed."""

import os
import queue
import shlex
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from pompc import runs
from pompc.errors import ConfigError
from pompc.runs.signals import EXIT_CODES
from pompc.sweep import job
from pompc.sweep.plan import Job, Sweep

BACKENDS = ("local", "slurm", "print")
_PREEMPTION = "USR1"  # what SLURM sends before a job's time is over, and the trainer listens to


def launch(sweep: Sweep, backend: str, at_once: int = 1) -> int:
    """Start what is not finished of a sweep; return how many of its jobs failed for good.

    The backend `local` runs the jobs here, `at_once` at a time, each with its share of the cores,
    and returns when they have ended; `slurm` hands them to SLURM and returns; `print` writes their
    commands. The first two leave alone what a process works on or what waits in SLURM.
    Raise ConfigError for an unknown backend, or where SLURM or submitit are not installed.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"unknown backend {backend!r}: {', '.join(BACKENDS)} are there")
    states = [(one, job.state(one.folder)) for one in sweep.jobs]
    left = [(one, state) for one, state in states if state.name != "done"]
    if len(left) < len(states):
        print(f"{len(states) - len(left)} of {len(states)} jobs are done")
    free = []
    for one, state in left:
        if backend == "print":
            print(command(one))
        elif state.name == "running" or state.in_slurm:
            print(f"{one.folder.name} is {state.cause or state.name}")
        else:
            free.append(one)
    if not free:
        return 0
    return _local(free, at_once) if backend == "local" else _slurm(sweep, free)


def command(one: Job) -> str:
    """Return a job as a line for a shell, run from the top of the checkout."""
    words = ["papermill", _shown(job.NOTEBOOK), _shown(one.folder / "train.ipynb")]
    for name, value in one.settings.items():
        words += ["-p", name, str(job.parameter(value))]
    return f"mkdir -p {shlex.quote(_shown(one.folder))} && {shlex.join(words)}"


def _shown(path: Path) -> str:
    """Return a path as seen from the checkout, where it is in it."""
    return str(path.relative_to(runs.ROOT) if path.is_relative_to(runs.ROOT) else path)


def _local(jobs: Sequence[Job], at_once: int) -> int:
    """Run the jobs here, `at_once` at a time; hand signals that ask for an end on to them."""
    shares: queue.Queue[list[int]] = queue.Queue()
    for share in _core_shares(at_once):
        shares.put(share)
    running: list[job.Attempts] = []
    ended = threading.Event()

    def run(number: int, one: Job) -> int:
        if ended.is_set():
            return 0
        share = shares.get()
        try:
            job.prepare(one.folder, one.settings)
            attempts = job.Attempts(one.folder, share)
            running.append(attempts)
            name, agents = f"[{number}/{len(jobs)}] {one.folder.name}", len(one.config.agents)
            what = f"{agents} agents" if agents > 1 else "1 agent"
            output = _shown(one.folder / job.OUTPUT)
            print(f"{name}: {what}; what it says is in {output}", flush=True)
            code = attempts.run()
        finally:
            shares.put(share)  # else a job that cannot be prepared would let the next one wait
        print(f"{name}: {_outcome(code, one.folder)}", flush=True)
        return int(code not in (0, *EXIT_CODES.values()))

    def end(number: int, _: FrameType | None) -> None:
        ended.set()
        for attempts in running:
            attempts.signal(number)

    with ExitStack() as stack, ThreadPoolExecutor(at_once) as pool:
        for name in EXIT_CODES:
            number = getattr(signal, name)
            stack.callback(signal.signal, number, signal.signal(number, end))
        return sum(pool.map(run, range(1, len(jobs) + 1), jobs))


def _outcome(code: int, folder: Path) -> str:
    if code == 0:
        return "done"
    if code in EXIT_CODES.values():
        return "ended with a checkpoint; start the sweep again to go on"
    known = job.read_record(folder)
    return f"failed {known.attempts} times: {known.failure}"


def _core_shares(parts: int) -> list[list[int]]:
    """Split this process's cores; jobs share cores where there are more jobs than cores."""
    cores = sorted(os.sched_getaffinity(0))
    return [cores[part::parts] or [cores[part % len(cores)]] for part in range(parts)]


class SlurmJob:
    """What submitit runs in SLURM; before the time is over it writes a checkpoint and is queued."""

    _attempts: job.Attempts | None = None

    def __call__(self, folder: str) -> int:
        """Run a job to its end; return its exit code."""
        self._attempts = job.Attempts(Path(folder))
        return self._attempts.run()

    def checkpoint(self, folder: str) -> Any:
        """End with a checkpoint; return what to queue again."""
        from submitit.helpers import DelayedSubmission

        if self._attempts is not None:
            self._attempts.end(getattr(signal, f"SIG{_PREEMPTION}"))
        return DelayedSubmission(SlurmJob(), folder)


def _slurm(sweep: Sweep, jobs: Sequence[Job]) -> int:
    """Hand the jobs to SLURM as one array."""
    executor = _executor(sweep, jobs[0].folder.parent / "slurm")
    for one in jobs:
        job.prepare(one.folder, one.settings)
    submitted = executor.map_array(SlurmJob(), [str(one.folder) for one in jobs])
    for one, queued in zip(jobs, submitted, strict=True):
        job.prepare(one.folder, one.settings, slurm=queued.job_id)
    numbers = submitted[0].job_id.partition("_")[0]
    print(f"{len(jobs)} jobs are in SLURM as {numbers}; python -m pompc.sweep status shows them")
    return 0


def _executor(sweep: Sweep, folder: Path) -> Any:
    """Return submitit's executor with the sweep's parameters."""
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _PREEMPTION  # read when submitit is imported, here
    try:  # and in the job, which has this environment
        import submitit
    except ImportError as error:
        raise ConfigError(
            "the backend slurm needs submitit: pip install submitit brings it"
        ) from error
    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=10**6)
        executor.update_parameters(**({"job_name": sweep.name} | sweep.slurm))
    except (RuntimeError, NameError, ValueError, TypeError) as error:
        raise ConfigError(f"SLURM cannot take this sweep: {' '.join(str(error).split())}") from None
    return executor
