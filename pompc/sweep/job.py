"""One job: one papermill execution of the training notebook. `python -m pompc.sweep.job FOLDER`.

The notebook's kernel is a process of its own; signals that ask for an end are handed on to it, so
that the run writes a checkpoint, and the job ends with that run's exit code.
"""

import json
import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import psutil

from pompc import runs
from pompc.runs import files, lock
from pompc.runs.signals import EXIT_CODES

NOTEBOOK = runs.SHIPPED / "book" / "train.ipynb"
ATTEMPTS = 3  # the first, and two more
RECORD, OUTPUT = "job.json", "output.log"


class Record(NamedTuple):
    """What is known of a job beyond its run."""

    parameters: dict[str, Any]  # of the notebook
    attempts: int = 0  # that failed
    failure: str = ""  # the last line of the last of them
    slurm: str = ""  # number of the job in SLURM


class State(NamedTuple):
    """What a job is doing."""

    name: str  # done, running, waiting or failed
    cause: str = ""  # of a failure; or where it waits
    in_slurm: bool = False  # queued or running there


def state(folder: Path) -> State:
    """Return what a job is doing."""
    known = read_record(folder)
    if lock.is_held(folder):
        return State("running")
    if known.slurm and _in_slurm(known.slurm):
        return State("waiting", f"in SLURM as {known.slurm}", in_slurm=True)
    if known.failure:
        return State("failed", known.failure)
    return State("done" if runs.read_provenance(folder).get("finished") else "waiting")


def _in_slurm(number: str) -> bool:
    """Return whether SLURM has a job queued or running."""
    try:
        found = subprocess.run(
            ["squeue", "--noheader", "--job", number, "--format", "%T"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return False
    return bool(found.stdout.strip())


def read_record(folder: Path) -> Record:
    """Return what is known of a job; nothing where it was never prepared."""
    path = folder / RECORD
    return Record(**json.loads(path.read_text())) if path.exists() else Record({})


def write_record(folder: Path, record: Record) -> None:
    """Keep what is known of a job."""
    files.write_text(folder / RECORD, json.dumps(record._asdict(), indent=1) + "\n")


def prepare(folder: Path, settings: Mapping[str, Any], slurm: str = "") -> None:
    """Make a job's folder, with none of its attempts made."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: parameter(value) for name, value in settings.items()}
    write_record(folder, Record(values, slurm=slurm))


def parameter(value: Any) -> Any:
    """Return a value as papermill takes it: a list as "[0, 0.1, inf]", infinity as "inf"."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(str(parameter(one)) for one in value)}]"
    return "inf" if value == math.inf else value


class Attempts:
    """The attempts of one job: it is tried again when it fails, not when it was asked to end."""

    def __init__(self, folder: Path, cores: Sequence[int] = ()) -> None:
        """Take a job's folder, and the CPU cores that it may use (none named: all)."""
        self._folder = folder
        self._cores = {"POMPC_CORES": ",".join(map(str, cores))} if cores else {}
        self._process: subprocess.Popen[bytes] | None = None
        self._signals: list[int] = []

    def run(self) -> int:
        """Run the job until it is done, asked to end, or failed for good; return its exit code."""
        command = [sys.executable, "-m", "pompc.sweep.job", str(self._folder)]
        while True:
            with (self._folder / OUTPUT).open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True, env=os.environ | self._cores,
                )  # fmt: skip
                for number in self._signals:
                    self._process.send_signal(number)
                code = self._process.wait()
            if code == 0 or self._signals or code in EXIT_CODES.values():
                return code
            known = read_record(self._folder)
            text = (self._folder / OUTPUT).read_text(errors="replace").strip()
            last = text.rpartition("\n")[2].strip() or "no output"
            known = known._replace(attempts=known.attempts + 1, failure=last)
            write_record(self._folder, known)
            if known.attempts >= ATTEMPTS:
                return code

    def signal(self, number: int) -> None:
        """Hand a signal on to the job."""
        self._signals.append(number)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def end(self, number: int) -> None:
        """Hand a signal on, and return when the job has ended: for handlers of signals."""
        self.signal(number)
        if self._process is not None:  # whose own `wait`, which was interrupted, holds a lock
            with suppress(psutil.NoSuchProcess):
                psutil.Process(self._process.pid).wait()


def attempt(folder: Path) -> int:
    """Execute the notebook once in this process; return the exit code."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    if not (folder / RECORD).exists():
        print(f"{folder} holds no job: there is no {RECORD} in it")
        return 2
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of every other parameter
    for name in EXIT_CODES:
        signal.signal(getattr(signal, name), _hand_on)
    parameters = read_record(folder).parameters | {"run_dir": str(folder)}
    try:
        papermill.execute_notebook(
            NOTEBOOK, folder / "train.ipynb", parameters, progress_bar=False,
            stdout_file=sys.stdout, stderr_file=sys.stderr, kernel_name="python3",
        )  # fmt: skip
    except PapermillExecutionError as error:
        print(f"{error.ename}: {error.evalue}", flush=True)
        signal_name = error.evalue.partition(":")[0]  # of a run that was asked to end
        return EXIT_CODES.get(signal_name, 1) if error.ename == "Interrupted" else 1
    return 0


def _hand_on(number: int, _: FrameType | None) -> None:
    """Hand a signal on to the kernel, this process's child."""
    for kernel in psutil.Process().children():
        kernel.send_signal(number)


if __name__ == "__main__":
    if cores := os.environ.get("POMPC_CORES"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    sys.exit(attempt(Path(sys.argv[1])))
