"""Launch a grid, or see how far it is: `python -m pompc.sweep --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pompc import runs
from pompc.errors import ConfigError, said_by_command
from pompc.sweep import status
from pompc.sweep.backends import BACKENDS, launch
from pompc.sweep.plan import load

_EXAMPLES = """examples:
  python -m pompc.sweep sweeps/small.yaml --backend print    the commands, one a line
  python -m pompc.sweep sweeps/small.yaml --at-once 2        on this machine, two jobs at a time
  python -m pompc.sweep sweeps/paper.yaml --backend slurm    as a SLURM array
  python -m pompc.sweep status                               how far every sweep is, a line each
  python -m pompc.sweep status sweeps/small.yaml             each job of one

Finished jobs are skipped, also where a run of the same folder has trained their agents among
others; unfinished ones go on from their checkpoint."""


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m pompc.sweep",
        description="Turn a grid of tasks, methods, λ, priors and seeds into jobs, and run them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", metavar="FILE | status [FILE ...]",
                        help="a sweep in YAML to launch, or the word status")  # fmt: skip
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--backend", choices=BACKENDS, default="local",
                        help="where the jobs run (default: local)")  # fmt: skip
    parser.add_argument("--at-once", type=int, default=1, metavar="N",
                        help="jobs at the same time on this machine (default: 1)")  # fmt: skip
    arguments = parser.parse_args(values)
    if arguments.at_once < 1:
        parser.error("--at-once must be at least 1")
    if arguments.files and arguments.what != "status":
        parser.error("one sweep is launched at a time")
    return arguments


def _show(files: Sequence[Path]) -> None:
    """Print a line for every sweep of the repository; of files that are named, their jobs, too."""
    found = files or sorted((runs.ROOT / "sweeps").glob("*.yaml"))
    if not found:
        raise ConfigError("there is no sweep: name a YAML file, see sweeps/ in the repository")
    for sweep in map(load, found):
        print(status.summary(sweep))
        if files:
            print(status.readable(status.table([sweep])), end="\n\n")


def main(values: Sequence[str]) -> None:
    """Run the command line."""
    arguments = _arguments(values)
    with said_by_command():
        if arguments.what == "status":
            return _show(arguments.files)
        sweep = load(arguments.what)
        if arguments.backend != "print":
            print(status.summary(sweep))
        failed = launch(sweep, arguments.backend, arguments.at_once)
        if arguments.backend == "local":
            print(status.readable(status.table([sweep])))
        sys.exit(int(failed > 0))


if __name__ == "__main__":
    main(sys.argv[1:])
