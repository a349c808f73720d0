"""Signals that end a run at its next decision, with a checkpoint."""

import signal
import threading
from types import FrameType
from typing import Any, Self

EXIT_CODES = {"SIGTERM": 75, "SIGUSR1": 75, "SIGINT": 130}  # 75: try again later (sysexits.h)


class Interrupted(SystemExit):
    """A run was asked to end, and left a checkpoint to go on from.

    Its `code`, the exit code of a program that does not catch it, is 75 for SIGTERM and SIGUSR1
    (which SLURM sends before a job's time is over), 130 for Ctrl-C.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(EXIT_CODES[name])
        self.message = message

    def __str__(self) -> str:
        return self.message


class Interruption:
    """A context in which the signals are noted; a second Ctrl-C is immediate.

    `received` is the name of the first signal, or None. Handlers can be set in the main thread
    only; elsewhere nothing is noted.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in EXIT_CODES:
                number = getattr(signal, name)
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        if number == signal.SIGINT:
            print("\nending with a checkpoint; Ctrl-C again ends at once", flush=True)
