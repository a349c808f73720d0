"""Files that are either whole or not there, and checksums that tell."""

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from pompc.errors import SaidError


class DamagedError(SaidError, RuntimeError):
    """A file is not what was written."""


class DiskFullError(SaidError, RuntimeError):
    """There is no room left for what a run writes."""


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, so that the file is whole or not there."""
    with _replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote; no pickle is loaded."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def write_text(path: Path, text: str) -> None:
    """Write a text file, so that it is the old one or the new one."""
    with _replacing(path) as file:
        file.write(text.encode())


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` once it is whole and on the disk."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renamed and new entries of a folder survive a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def whole_lines(path: Path) -> str:
    """Return the text of a file up to its last line break: a torn last line is left out."""
    text = path.read_bytes()
    return text[: text.rfind(b"\n") + 1].decode()


@contextmanager
def reporting_full_disk(folder: Path) -> Iterator[None]:
    """Raise DiskFullError where the system says that the disk of `folder` has no room left."""
    try:
        yield
    except (OSError, ValueError) as error:  # Orbax reports it as a ValueError
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and "No space left" not in str(error):
            raise
        raise DiskFullError(
            f"no room is left on the disk of {str(folder)!r}: the run ends, and its last "
            "checkpoint is kept; make room and start it again to go on from there"
        ) from error
