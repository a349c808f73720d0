"""One process a run: who holds a run's folder."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from pompc.errors import ConfigError

_NAME = "lock.json"
_SILENT_S = (
    1800.0  # a holder on another machine that has not touched its lock for this long is gone
)


@contextmanager
def held(run_dir: Path) -> Iterator[Path]:
    """Hold a run's folder; yield the lock, which its holder touches now and then.

    Raises:
        ConfigError: if a live process holds it.
    """
    path = run_dir / _NAME
    own = {"host": socket.gethostname(), "pid": os.getpid(), "began": _began(os.getpid())}
    while True:
        try:
            with path.open("x") as file:
                json.dump(own, file)
            break
        except FileExistsError:
            _take_over(path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def touch(lock: Path) -> None:
    """Show other machines that the holder lives."""
    lock.touch()


def is_held(run_dir: Path) -> bool:
    """Tell whether a live process holds a run's folder."""
    path = run_dir / _NAME
    try:
        return _lives(json.loads(path.read_text()), _age(path))
    except (FileNotFoundError, ValueError):
        return False


def _take_over(path: Path) -> None:
    """Remove a stale lock; raise ConfigError if its holder lives."""
    try:
        holder, age = json.loads(path.read_text()), _age(path)
    except FileNotFoundError:
        return
    except ValueError:
        holder, age = {}, _age(path)  # torn: its writer was killed
        if age < 1.0:
            time.sleep(1.0)
            return
    if holder and _lives(holder, age):
        raise ConfigError(
            f"{str(path.parent)!r} is held by process {holder['pid']} on {holder['host']}: wait "
            f"until it ends, or choose another run_dir (if it is gone, remove {path})"
        )
    path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _lives(holder: dict[str, Any], age: float) -> bool:
    if holder["host"] != socket.gethostname():
        return age < _SILENT_S
    return holder["began"] is not None and holder["began"] == _began(holder["pid"])


def _began(pid: int) -> float | None:
    """Return when a process began, which tells it from a later one of the same number."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
