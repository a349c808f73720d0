"""Published curves of BMPC and TD-MPC2, read from files that the reader has; none comes with us.

The files lie in `results/` of github.com/wertyuilife2/bmpc (d5dabc6): algorithm -> task -> `steps`,
`values`, `lcbs`, `ucbs`, which are means over seeds and the ends of their 95 % intervals.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pompc import runs
from pompc.envs import check_task, humanoid
from pompc.errors import ConfigError

METHODS = {"BMPC": "bmpc", "TD-MPC2": "tdmpc2", "tdmpc2": "tdmpc2"}  # their names -> ours
COLUMNS = ["method", "task", "env_step", "return", "low", "high"]
_ENDS = {"return": "values", "low": "lcbs", "high": "ucbs"}


def read(paths: str | Path | Sequence[str | Path] | None) -> pd.DataFrame:
    """Return the published curves of BMPC and TD-MPC2, columns `COLUMNS`, a row a task and moment.

    Paths are of files or of folders of JSON files, seen from here or else from the checkout. Where
    two files hold the same curve, the one named first counts. Returns are as published, steps with
    the action repeat. A missing path, another kind of file and an unknown task are a ConfigError.
    """
    found = [_read_file(path) for path in files(paths)] or [pd.DataFrame(columns=COLUMNS)]
    return pd.concat(found, ignore_index=True).drop_duplicates(["method", "task", "env_step"])


def files(paths: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Return the JSON files that `read` reads; a path that is not there is a ConfigError."""
    found: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths or []):
        place = next((place for place in (path, runs.ROOT / path) if place.exists()), None)
        if place is None:
            raise ConfigError(f"published curves are given as {str(path)!r}, but nothing is there")
        found += sorted(place.glob("*.json")) if place.is_dir() else [place]
    return found


def _read_file(path: Path) -> pd.DataFrame:
    try:
        curves: dict[str, Any] = json.loads(path.read_text())
        tables = [
            _curve(METHODS[algorithm], task, curve)
            for algorithm, tasks in curves.items()
            if algorithm in METHODS
            for task, curve in tasks.items()
        ]
        return pd.concat(tables, ignore_index=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path.name!r} holds no published curves (algorithm, task, then steps, values, lcbs "
            f"and ucbs): {error}"
        ) from error


def _curve(method: str, task: str, curve: dict[str, list[float]]) -> pd.DataFrame:
    # HumanoidBench's tasks have no robot in these files.
    ours = check_task(f"h1hand-{task}" if task in humanoid.TASKS else task)
    columns = {name: np.asarray(curve[theirs], float) for name, theirs in _ENDS.items()}
    steps = np.asarray(curve["steps"], int)
    return pd.DataFrame({"method": method, "task": ours, "env_step": steps, **columns})
