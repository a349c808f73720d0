"""The locks and the wheels that they allow: with this file, `make lock` writes two of its three.

A lock holds checksums but no file names. It does not say for which Pythons a package has a wheel.
requirements.wheels does: one line a wheel, with checksum and file name, as `sha256sum` prints.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parent.parent
PYTHONS = ((3, 11), (3, 12), (3, 13))
_GLIBC = 28  # the oldest glibc 2 whose machines need no compiler: Debian 10, RHEL 8


class Entry(NamedTuple):
    """One package of a lock."""

    requirement: Requirement  # name==version; marker
    hashes: frozenset[str]
    text: str


def entries(lock: str) -> Iterator[Entry]:
    """Yield the packages of a lock's text."""
    for text in re.split(r"\n(?=\S)", lock.strip()):
        hashes = re.findall(r"--hash=sha256:(\w+)", text)
        yield Entry(Requirement(text.split("\\")[0]), frozenset(hashes), text)


def tags(python: tuple[int, int]) -> frozenset[Tag]:
    """Return the tags of the wheels that CPython of this version takes on Linux x86_64."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(5, _GLIBC + 1)]
    platforms += ["manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"]
    name = f"cp{python[0]}{python[1]}"
    return frozenset(
        [*cpython_tags(python, [name], platforms), *compatible_tags(python, name, platforms)]
    )


def applies(requirement: Requirement, python: tuple[int, int]) -> bool:
    """Return whether a requirement's marker asks for it on CPython of this version on Linux."""
    version = f"{python[0]}.{python[1]}"
    place = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_version": version,
        "sys_platform": "linux",
    }
    return requirement.marker is None or any(
        # A marker may divide a version: one package up to 3.11.4, say, another from 3.11.5 on.
        requirement.marker.evaluate(place | {"python_full_version": f"{version}.{patch}"})
        for patch in (0, 99)
    )


def without_wheel(lock: str, table: str) -> list[str]:
    """Return the packages that one of the Pythons would have to build: "name==version on 3.13".

    Args:
        lock: text of a lock.
        table: text of requirements.wheels.
    """
    names = dict(line.split() for line in table.splitlines())
    found = []
    for python in PYTHONS:
        taken = tags(python)
        usable = {digest for digest in names if parse_wheel_filename(names[digest])[3] & taken}
        for requirement, hashes, _ in entries(lock):
            if applies(requirement, python) and not hashes & usable:
                package = f"{requirement.name}{requirement.specifier}"
                found.append(f"{package} on {python[0]}.{python[1]}")
    return found


def additions(lock: str, base: str) -> str:
    """Return the part of a lock that is not in another one, markers included."""
    known = {str(entry.requirement) for entry in entries(base)}
    return "".join(f"{e.text}\n" for e in entries(lock) if str(e.requirement) not in known)


def wheels(pylock: str, locks: str) -> str:
    """Return the table of the wheels in a pylock.toml that locks allow and one Python can use."""
    allowed = frozenset[str]().union(*(entry.hashes for entry in entries(locks)))
    usable = frozenset[Tag]().union(*map(tags, PYTHONS))
    rows = set()
    for package in tomllib.loads(pylock)["packages"]:
        for wheel in package.get("wheels", []):
            name, digest = wheel["url"].rsplit("/", 1)[1], wheel["hashes"]["sha256"]
            if digest in allowed and parse_wheel_filename(name)[3] & usable:
                rows.add((name, digest))
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(rows))


if __name__ == "__main__":
    scratch = Path(sys.argv[1])
    base = (ROOT / "requirements.lock").read_text()
    lab = additions((scratch / "lab.lock").read_text(), base)
    (ROOT / "requirements-lab.lock").write_text(lab)
    table = wheels((scratch / "pylock.toml").read_text(), base + lab)
    (ROOT / "requirements.wheels").write_text(table)
