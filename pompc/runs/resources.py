"""Room on disk and in memory, asked for before a long run."""

import math
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from pompc.errors import ConfigError
from pompc.runs.checkpoint import CHAIN, KEPT

MAPS = 6_000  # memory maps of the programs of one group, at most; XLA has three a piece of code
_MAPS_ALLOWED, _MAPS_TAKEN = Path("/proc/sys/vm/max_map_count"), Path("/proc/self/maps")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
# Of version 2 and 1: what a group may take, what it takes, and the prefix of counts that include
# the groups in it. Cached files give way where memory is wanted.
_MEMORY_FILES = (
    ("memory.max", "memory.current", ""),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)
_CACHED = "active", "inactive"


class Needs(NamedTuple):
    """What a run takes at its end, in bytes but for the last."""

    disk: int  # at most
    disk_at_least: int
    memory: int  # of the host
    maps: int  # of memory, for code that runs on a CPU


def needs(agents: int, replay: int, in_host_memory: bool, groups: int) -> Needs:
    """Return what a run needs whose agents and full replay buffers take so many bytes.

    Each of the `groups` of agents, 0 on a GPU, has programs of its own that run on a CPU.
    """
    return Needs(
        disk=(KEPT + 1) * agents + (CHAIN + 1) * replay,
        disk_at_least=(KEPT + 1) * agents + replay,
        memory=agents + replay if in_host_memory else agents,
        maps=MAPS * groups,
    )


def check(folder: Path, needed: Needs) -> None:
    """Raise ConfigError where a run could not end for want of room."""
    for what, need, free in (
        (f"disk of {str(folder)!r}", needed.disk_at_least, shutil.disk_usage(folder).free),
        ("memory", needed.memory, free_memory()),
    ):
        if need > free:
            raise ConfigError(
                f"this run needs {gigabytes(need)} of the {what}, where {gigabytes(free)} are "
                "free: make room, or give fewer agents or a smaller buffer_size"
            )
    if needed.maps > (free := _free_maps()):  # XLA would end the process without a word
        raise ConfigError(
            f"the programs of {needed.maps // MAPS} kinds of agents need about {needed.maps} "
            f"memory maps, where Linux leaves this process {free}: give fewer methods and priors "
            "in one run, or raise vm.max_map_count"
        )


def free_memory() -> float:
    """Return the bytes that this process may still take: of the host, its groups and its limit."""
    own = [psutil.virtual_memory().available, *map(_free_in, _control_groups())]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)  # what `ulimit -v` sets
    if limit != resource.RLIM_INFINITY:
        own.append(limit - psutil.Process().memory_info().vms)
    return max(min(own), 0)


def _free_maps() -> float:
    """Return how many memory maps the system still allows this process."""
    allowed = _read(_MAPS_ALLOWED)
    return int(allowed) - _read(_MAPS_TAKEN).count("\n") if allowed else math.inf


def _control_groups() -> Iterator[Path]:
    """Yield the folders of this process's control groups and of the visible ones around them."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            top = _CONTROL_GROUPS / ("memory" if controllers else "")
            own = top / name.lstrip("/")
            yield from (one for one in (own, *own.parents) if one.is_relative_to(top))


def _free_in(group: Path) -> float:
    """Return the bytes that a control group may still take, of either version of the interface."""
    for limit, used, prefix in _MEMORY_FILES:
        if (most := _read(group / limit).strip()).isdigit():
            counted = dict(line.split() for line in _read(group / "memory.stat").splitlines())
            cached = sum(int(counted.get(f"{prefix}{kind}_file", 0)) for kind in _CACHED)
            return int(most) - int(_read(group / used)) + cached
    return math.inf


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def gigabytes(size: float) -> str:
    """Write a size for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
