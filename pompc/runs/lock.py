"""One process a run: who holds a run's folder.

The system's own lock on a file (`flock`) tells, and ends with the process that holds it. The file
says who that is, for people.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pompc.errors import ConfigError

_NAME = "lock.json"
_GLANCES = 10  # tenths of a second that `is_held`, which locks for an instant, may be in the way


@contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """Hold a run's folder, made if need be, and removed again if it is left empty.

    Raise ConfigError if another process does, or if no lock works there.
    """
    path, made = run_dir / _NAME, not run_dir.exists()
    run_dir.mkdir(parents=True, exist_ok=True)
    with _locked(path) as file:
        file.truncate(0)
        json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            if made:
                with suppress(OSError):  # of a folder with a run in it
                    run_dir.rmdir()


def is_held(run_dir: Path) -> bool:
    """Return whether a process holds a run's folder."""
    try:
        with (run_dir / _NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


def _locked(path: Path) -> IO[str]:
    """Open and lock a file; raise ConfigError if another process has locked it."""
    for _ in range(_GLANCES):
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):  # its last holder has just removed it
                if os.path.samefile(path, file.fileno()):
                    return file
        except BlockingIOError:
            time.sleep(0.1)
        except OSError as error:
            file.close()
            raise ConfigError(
                f"{str(path.parent)!r} cannot be locked ({error.strerror}): choose a run_dir on a "
                "file system with locks"
            ) from error
        file.close()
    holder = "another process"
    with suppress(OSError, ValueError, KeyError):  # until its holder wrote it, the file is empty
        known = json.loads(path.read_text())
        holder = f"process {known['pid']} on {known['host']}"
    raise ConfigError(
        f"{str(path.parent)!r} is held by {holder}: wait until it ends, or choose another run_dir"
    )
