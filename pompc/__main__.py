"""Train agents and look at them from a shell: `python -m pompc --help`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

import pompc
from pompc import runs
from pompc.errors import ConfigError, said_by_command

_TRAIN = """examples:
  python -m pompc train task=walker-walk
  python -m pompc train task=walker-walk lam=9 seeds=3 out=runs/nine
  python -m pompc train task=gym:Pendulum-v1 "lam=[0, 1, inf]" steps=20_000

Without a word it trains PO-MPC with the default settings, in runs/default. Every setting of
pompc.Config is a name; task, method, lam, prior, preset, seed, seeds and steps are
the usual ones. Started again with the same words, a run goes on from its last checkpoint."""


_NO_SETTING = 'must be NAME=VALUE, such as task=walker-walk, and in quotes as a list: "lam=[0, 1]"'


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m pompc", description="PO-MPC from a shell.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function: Any, name: str, about: str, **more: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about, **more)
        added.set_defaults(function=function)
        return added

    raw = argparse.RawDescriptionHelpFormatter
    train = command(_train, "train", "train agents", epilog=_TRAIN, formatter_class=raw)
    train.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="a setting, or out=FOLDER")
    evaluate = command(_evaluate, "evaluate", "evaluate the newest checkpoint of a run anew")
    evaluate.add_argument("run", metavar="RUN", help="folder of the run")
    evaluate.add_argument("--episodes", type=int, default=10, help="of each agent (default: 10)")
    video = command(_video, "video", "record the first episode of a run's newest evaluation")
    video.add_argument("run", metavar="RUN", help="folder of the run")
    video.add_argument("--agent", type=int, default=0, help="its number (default: 0)")
    video.add_argument("--out", metavar="FILE", help="default: video.mp4 in the run's folder")
    export = command(_export, "export", "write what one agent needs to act into a folder")
    export.add_argument("run", metavar="RUN", help="folder of the run")
    export.add_argument("folder", metavar="FOLDER", help="where to; evaluate takes it as a run")
    export.add_argument("--agent", type=int, default=0, help="its number (default: 0)")
    table = command(_runs, "runs", "show a table of all runs in a folder")
    table.add_argument("folder", nargs="?", default="runs", metavar="FOLDER", help="default: runs")
    return parser.parse_args(values)


def _train(arguments: argparse.Namespace) -> None:
    given: dict[str, Any] = {}
    for word in arguments.settings:
        name, equals, text = word.partition("=")
        if not equals or name in given:
            problem = "is given twice" if equals else _NO_SETTING
            raise ConfigError(f"{name!r} {problem}")
        given[name] = text if name == "out" else _value(text)
    out = given.pop("out", "runs/" + _folder_name(arguments.settings))
    config = pompc.Config(**{name: value for name, value in given.items() if value is not None})
    print(f"the run is in {out}", flush=True)
    pompc.train(config, out)


def _folder_name(words: Sequence[str]) -> str:
    return re.sub(r"[/:]", "-", re.sub(r"[\s\[\]'\"]", "", "_".join(words))) or "default"


def _value(text: str) -> Any:
    """Return what papermill's `-p` makes of a word; lists stay text, which `Config` reads."""
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _evaluate(arguments: argparse.Namespace) -> None:
    _print(pompc.evaluate(arguments.run, arguments.episodes))


def _video(arguments: argparse.Namespace) -> None:
    print(pompc.record_video(arguments.run, arguments.out, arguments.agent))


def _export(arguments: argparse.Namespace) -> None:
    print(pompc.export_agent(arguments.run, arguments.folder, arguments.agent))


def _runs(arguments: argparse.Namespace) -> None:
    table = pompc.load_runs(arguments.folder)
    newest = table[table["env_step"] == table.groupby("run")["env_step"].transform("max")]
    by = newest.groupby(["run", "task", "method", "lam", "prior"], as_index=False, dropna=False)
    grid = pd.DataFrame(
        by.agg(seeds=("seed", "count"), env_step=("env_step", "max"), last=("return", "mean"))
    )
    folders = [Path(run) for run in grid["run"]]
    finished = [runs.read_provenance(folder).get("finished", "") for folder in folders]
    steps = [_steps(folder) for folder in folders]
    shown = {"steps": steps, "last return": grid["last"].round(1), "finished": finished}
    _print(grid.drop(columns="last").assign(**shown))


def _steps(run: Path) -> Any:
    """Return the environment steps that a run is to take, whatever version wrote it."""
    path = run / "config.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    return (values[0] if isinstance(values, list) else values).get("steps", "")


def _print(table: pd.DataFrame) -> None:
    print(table.to_string(index=False, formatters={"lam": "{:g}".format}))


def main(values: Sequence[str]) -> None:
    """Run the command line; an error of ours is one sentence, and exit code 2."""
    arguments = _arguments(values)
    try:
        with said_by_command():
            arguments.function(arguments)
    except KeyboardInterrupt:
        print("ended at once, without a checkpoint", file=sys.stderr, flush=True)
        os._exit(130)  # without waiting for a thread that compiles


if __name__ == "__main__":
    main(sys.argv[1:])
