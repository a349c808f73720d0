"""Draw the figures of a profile into `figures/`: `python -m pompc.figures --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pompc import results, runs
from pompc.errors import ConfigError
from pompc.figures import manifest, registry
from pompc.results import published


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m pompc.figures",
        description="Draw figures from runs as SVG and PNG; a figure without runs is left out.",
        epilog=f"figures: {', '.join(registry.FIGURES)}",
    )
    parser.add_argument("names", nargs="*", metavar="FIGURE", help="which (default: all)")
    parser.add_argument("--profile", default="small",
                        help="paper, small, or a folder of runs (default: small)")  # fmt: skip
    parser.add_argument("--published", nargs="+", type=Path, metavar="FILE",
                        help="JSON files of published curves, or their folder")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="where to (default: figures/PROFILE)")  # fmt: skip
    return parser.parse_args(values)


def _folder(arguments: argparse.Namespace) -> Path:
    """Return where the figures go; those with published curves apart, outside version control."""
    suffix = "-published" if arguments.published else ""
    name = Path(arguments.profile).name + suffix
    return arguments.out or runs.ROOT / "figures" / name


def main(values: Sequence[str]) -> None:
    """Run the command line."""
    arguments = _arguments(values)
    try:
        found = results.collect(arguments.profile)
        for warning in found.warnings:
            print(warning, file=sys.stderr)
        folder = _folder(arguments)
        drawn = manifest.make(found, folder, arguments.names, published.files(arguments.published))
    except ConfigError as error:
        sys.exit(str(error))
    for name, has_runs in drawn.items():
        print(f"{name}: {'drawn' if has_runs else 'not run'}")


if __name__ == "__main__":
    main(sys.argv[1:])
