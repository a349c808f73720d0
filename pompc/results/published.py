"""Published curves of BMPC, BOOM and TD-MPC2, read from files that the reader has, not from us.

BMPC's are JSON files in `results/` of github.com/wertyuilife2/bmpc (d5dabc6): algorithm -> task ->
`steps`, `values`, `lcbs`, `ucbs`, which are means over seeds and the ends of their 95 % intervals.

BOOM's are pickles in `results/` of github.com/molumitu/BOOM_MBRL (b3b2f09): (task, algorithm) ->
means over seeds and standard deviations. They give no steps. What they say of BMPC and TD-MPC2 is
nearest to BMPC's files if a point stands every 100 000 environment steps, from 0 on.
"""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pompc import runs
from pompc.envs import check_task, humanoid
from pompc.errors import ConfigError

METHODS = {"BMPC": "bmpc", "TD-MPC2": "tdmpc2", "tdmpc2": "tdmpc2",
           "bmpc": "bmpc", "ours": "boom"}  # their names -> ours  # fmt: skip
COLUMNS = ["method", "task", "env_step", "return", "low", "high"]
Curves = dict[str, dict[str, dict[str, Any]]]  # algorithm -> task -> column -> numbers
_ENDS = {"return": "values", "low": "lcbs", "high": "ucbs"}
_SUFFIXES = (".json", ".pkl")
_BOOM_STEPS = 100_000  # between the points of BOOM's files
_OF_ARRAYS = {  # of NumPy 1, 2 and both
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"), ("numpy", "dtype"),
}  # fmt: skip


def read(paths: str | Path | Sequence[str | Path] | None) -> pd.DataFrame:
    """Return published curves, columns `COLUMNS`, a row a method, task and moment.

    Paths are of files or of folders of them, seen from here or else from the checkout. Where
    two files hold the same curve, the one named first counts. Returns are as published, steps with
    the action repeat. A missing path, another kind of file and an unknown task are a ConfigError.
    """
    found = [_read_file(path) for path in files(paths)] or [pd.DataFrame(columns=COLUMNS)]
    return pd.concat(found, ignore_index=True).drop_duplicates(["method", "task", "env_step"])


def files(paths: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Return the files that `read` reads; a path that is not there is a ConfigError."""
    found: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths or []):
        place = next((place for place in (path, runs.ROOT / path) if place.exists()), None)
        if place is None:
            raise ConfigError(f"published curves are given as {str(path)!r}, but nothing is there")
        if place.is_dir():
            found += sorted(one for one in place.iterdir() if one.suffix in _SUFFIXES)
        else:
            found.append(place)
    return found


def _read_file(path: Path) -> pd.DataFrame:
    try:
        pickled = path.suffix == ".pkl"
        curves: Curves = _of_boom(path) if pickled else json.loads(path.read_text())
        tables = [
            _curve(METHODS[algorithm], task, curve)
            for algorithm, tasks in curves.items()
            if algorithm in METHODS
            for task, curve in tasks.items()
        ]
        return pd.concat(tables, ignore_index=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError,
            pickle.UnpicklingError) as error:  # fmt: skip
        raise ConfigError(
            f"{path.name!r} holds no published curves (BMPC's: algorithm, task, then steps, "
            f"values, lcbs and ucbs; or BOOM's): {error}"
        ) from error


def _of_boom(path: Path) -> Curves:
    """Return BOOM's file in the form of BMPC's; the ends are a standard deviation off."""
    with path.open("rb") as file:
        stored = _Arrays(file).load()
    curves: Curves = {}
    for (task, algorithm), (mean, deviation) in stored.items():
        curves.setdefault(algorithm, {})[task] = {
            "steps": _BOOM_STEPS * np.arange(len(mean)),
            "values": mean, "lcbs": mean - deviation, "ucbs": mean + deviation,
        }  # fmt: skip
    return curves


class _Arrays(pickle.Unpickler):
    """Reads pickled arrays and nothing else: a file can name what NumPy builds them with."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _OF_ARRAYS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _curve(method: str, task: str, curve: dict[str, Any]) -> pd.DataFrame:
    # HumanoidBench's tasks have no robot in these files.
    ours = check_task(f"h1hand-{task}" if task in humanoid.TASKS else task)
    columns = {name: np.asarray(curve[theirs], float) for name, theirs in _ENDS.items()}
    steps = np.asarray(curve["steps"], int)
    return pd.DataFrame({"method": method, "task": ours, "env_step": steps, **columns})
