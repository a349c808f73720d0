"""Room on disk and in memory, asked for before a long run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import psutil

from pompc.errors import ConfigError
from pompc.runs.checkpoint import CHAIN, KEPT


class Needs(NamedTuple):
    """What a run takes at its end, in bytes."""

    disk: int  # at most
    disk_at_least: int
    memory: int  # of the host


def needs(agents: int, replay: int, in_host_memory: bool) -> Needs:
    """Return what a run needs whose agents and full replay buffers take so many bytes."""
    return Needs(
        disk=(KEPT + 1) * agents + (CHAIN + 1) * replay,
        disk_at_least=(KEPT + 1) * agents + replay,
        memory=agents + replay if in_host_memory else agents,
    )


def check(folder: Path, needed: Needs) -> None:
    """Compare with what is free.

    Raises:
        ConfigError: where a run could not end for want of room.
    """
    disk, memory = shutil.disk_usage(folder).free, psutil.virtual_memory().available
    for what, need, free in (
        (f"disk of {str(folder)!r}", needed.disk_at_least, disk),
        ("memory", needed.memory, memory),
    ):
        if need > free:
            raise ConfigError(
                f"this run needs {gigabytes(need)} of the {what}, where {gigabytes(free)} are "
                "free: make room, or give fewer agents or a smaller buffer_size"
            )


def gigabytes(size: float) -> str:
    """Write a size for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
