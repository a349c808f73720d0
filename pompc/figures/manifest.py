"""Figures as files: each as SVG and PNG, redrawn only if what it is made of has changed.

`manifest.json` beside them says of each figure: its function, the runs that it draws with their
hashes, the code's hash and commit, and the hashes of its files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from pompc import results, runs
from pompc.figures import registry, speed, style
from pompc.results import intervals, read_runs, scores
from pompc.results import published as curves
from pompc.runs import files

NAME = "manifest.json"


def make(
    found: results.Results,
    folder: Path,
    names: Sequence[str] = (),
    published: Sequence[Path] = (),
    force: bool = False,
) -> dict[str, bool]:
    """Draw figures into a folder, and write its manifest.

    Args:
        found: the runs.
        folder: where the files and the manifest go.
        names: of the figures; by default all.
        published: files of published curves.
        force: draw what has not changed, too.

    Returns:
        Name -> whether it was drawn; False: it was there already.

    Raises:
        ConfigError: for an unknown figure, or a file without published curves.
    """
    names = names or list(registry.FIGURES)
    known = read(folder)
    table = curves.read(published) if published else None
    drawn: dict[str, bool] = {}
    for name in names:
        sources = _sources(name, found, published)
        drawn[name] = force or not _is_current(known.get(name, {}), sources, folder)
        if drawn[name]:
            saved = style.save(registry.draw(name, found, table), folder / name)
            hashes = {path.name: files.checksum(path) for path in saved}
            known[name] = {**sources, "commit": runs.commit(), "files": hashes}
    if any(drawn.values()):
        text = json.dumps(dict(sorted(known.items())), indent=2, ensure_ascii=False)
        files.write_text(folder / NAME, text + "\n")
    return drawn


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest of a folder; empty where there is none."""
    path = folder / NAME
    return json.loads(path.read_text()) if path.exists() else {}


def _sources(
    name: str, found: results.Results, published: Sequence[Path]
) -> dict[str, str | dict[str, str]]:
    """Return everything that a figure's bytes depend on."""
    one = registry.entry(name)
    drawn = sorted(set(registry.drawn(name, found)["run"]))
    used = published if one.published else ()
    return {
        "function": f"{one.function.__module__}.{one.function.__name__}",
        "profile": found.profile,
        "runs": {run: found.digests[run] for run in drawn},
        "published": {path.name: files.checksum(path) for path in used},
        "code": code_digest(),
    }


def code_digest() -> str:
    """Return the SHA-256 of the modules that draw, what they scale by, and what they draw with."""
    others = [Path(str(module.__file__)) for module in (read_runs, intervals, scores, curves)]
    paths = [*sorted(Path(__file__).parent.glob("*.py")), *others, scores.RANDOM, *speed.TABLES]
    parts = [f"{path.name} {files.checksum(path)}" for path in paths]
    parts += [f"{module.__name__} {module.__version__}" for module in (mpl, np, pd)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _is_current(known: dict[str, Any], sources: dict[str, Any], folder: Path) -> bool:
    """Tell whether a figure was drawn from the same sources, and its files are as it left them."""
    if not known or any(known.get(key) != value for key, value in sources.items()):
        return False
    paths = {folder / name: digest for name, digest in known["files"].items()}
    return all(path.exists() and files.checksum(path) == digest for path, digest in paths.items())
