"""Draw the figures of a profile into `figures/`: `python -m pompc.figures --help`.

Each is saved as SVG and PNG. `manifest.json` says of each its function, the runs that it draws with
their hashes, and the hashes of its files.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pompc import results, runs
from pompc.errors import said_by_command
from pompc.figures import registry, seed_statistics, style
from pompc.results import published
from pompc.runs import files

NAME = "manifest.json"


def make(
    found: results.Results, folder: Path, names: Sequence[str] = (), curves: Sequence[Path] = ()
) -> dict[str, bool]:
    """Draw figures, by default all, of runs and published curves, with a manifest into a folder.

    Returns name -> whether it was drawn; files of one without runs are removed. An unknown figure
    and a file without published curves are a ConfigError.
    """
    known = read(folder)
    table = published.read(curves) if curves else None
    drawn: dict[str, bool] = {}
    for name in names or list(registry.FIGURES):
        figure = registry.draw(name, found, table)
        drawn[name] = figure is not None
        if figure is None:
            for file in known.pop(name, {}).get("files", {}):
                (folder / file).unlink(missing_ok=True)
        else:
            saved = style.save(figure, folder / name)
            known[name] = _sources(name, found, curves) | {"files": _hashes(saved)}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(sorted(known.items())), indent=2, ensure_ascii=False)
    files.write_text(folder / NAME, text + "\n")
    return drawn


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest of a folder; empty where there is none."""
    path = folder / NAME
    return json.loads(path.read_text()) if path.exists() else {}


def _sources(name: str, found: results.Results, curves: Sequence[Path]) -> dict[str, Any]:
    """Return a figure's function, and hashes of the runs and published curves that it draws."""
    one = registry.entry(name)
    drawn = sorted(set(registry.drawn(name, found)["run"]))
    return {
        "function": f"{one.function.__module__}.{one.function.__name__}",
        "profile": found.profile,
        "runs": {run: found.digests[run] for run in drawn},
        "published": _hashes(curves if one.published else ()),
    }


def _hashes(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: files.checksum(path) for path in paths}


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m pompc.figures",
        description="Draw figures from runs as SVG and PNG; a figure without runs is left out. The "
        "word scores prints normalised last scores instead.",
        epilog=f"figures: {', '.join(registry.FIGURES)}",
    )
    parser.add_argument("names", nargs="*", metavar="FIGURE",
                        help="which (default: all), or the word scores")  # fmt: skip
    parser.add_argument("--json", action="store_true",
                        help="print scores, of runs and tasks, as rliable takes them")  # fmt: skip
    parser.add_argument("--profile", default="small",
                        help="paper, small, or a folder of runs (default: small)")  # fmt: skip
    parser.add_argument("--published", nargs="+", type=Path, metavar="FILE",
                        help="files of published curves, or their folder")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="where to (default: figures/PROFILE)")  # fmt: skip
    return parser.parse_args(values)


def _scores(found: results.Results, as_json: bool) -> str:
    """Return the score matrices as JSON, or as a table for people."""
    if as_json:
        return json.dumps(seed_statistics.score_matrices(found.returns), ensure_ascii=False)
    return seed_statistics.aggregates(found.returns).to_string(index=False)


def main(values: Sequence[str]) -> None:
    """Run the command line."""
    arguments = _arguments(values)
    # Figures with published curves lie apart, outside version control.
    name = Path(arguments.profile).name + ("-published" if arguments.published else "")
    with said_by_command():
        found = results.collect(arguments.profile)
        for warning in found.warnings:
            print(warning, file=sys.stderr)
        if arguments.names == ["scores"]:
            print(_scores(found, arguments.json))
            return
        folder = arguments.out or runs.ROOT / "figures" / name
        drawn = make(found, folder, arguments.names, published.files(arguments.published))
    for name, has_runs in drawn.items():
        print(f"{name}: {'drawn' if has_runs else 'not run'}")


if __name__ == "__main__":
    main(sys.argv[1:])
