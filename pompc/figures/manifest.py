"""Figures as files, each as SVG and PNG, and `manifest.json`, which says where each comes from.

The manifest says of each figure: its function, the runs that it draws with their hashes, and the
hashes of its files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pompc import results
from pompc.figures import registry, style
from pompc.results.published import read as read_published
from pompc.runs import files

NAME = "manifest.json"


def make(
    found: results.Results,
    folder: Path,
    names: Sequence[str] = (),
    published: Sequence[Path] = (),
) -> dict[str, bool]:
    """Draw figures into a folder, and write its manifest.

    Args:
        found: the runs.
        folder: where the files and the manifest go.
        names: of the figures; by default all.
        published: files of published curves.

    Returns:
        Name -> whether it was drawn; False: it has no runs, and files of it are removed.

    Raises:
        ConfigError: for an unknown figure, or a file without published curves.
    """
    known = read(folder)
    table = read_published(published) if published else None
    drawn: dict[str, bool] = {}
    for name in names or list(registry.FIGURES):
        figure = registry.draw(name, found, table)
        drawn[name] = figure is not None
        if figure is None:
            _remove(folder, known.pop(name, {}))
        else:
            saved = style.save(figure, folder / name)
            hashes = {path.name: files.checksum(path) for path in saved}
            known[name] = _sources(name, found, published) | {"files": hashes}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(sorted(known.items())), indent=2, ensure_ascii=False)
    files.write_text(folder / NAME, text + "\n")
    return drawn


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest of a folder; empty where there is none."""
    path = folder / NAME
    return json.loads(path.read_text()) if path.exists() else {}


def _remove(folder: Path, entry: dict[str, Any]) -> None:
    """Remove the files of a figure that is not drawn any more."""
    for name in entry.get("files", {}):
        (folder / name).unlink(missing_ok=True)


def _sources(name: str, found: results.Results, published: Sequence[Path]) -> dict[str, Any]:
    """Return a figure's function, and hashes of the runs and published curves that it draws."""
    one = registry.entry(name)
    drawn = sorted(set(registry.drawn(name, found)["run"]))
    used = published if one.published else ()
    return {
        "function": f"{one.function.__module__}.{one.function.__name__}",
        "profile": found.profile,
        "runs": {run: found.digests[run] for run in drawn},
        "published": {path.name: files.checksum(path) for path in used},
    }
