"""What each job of a sweep is doing, read from its folder."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from pompc import runs
from pompc.results.read_runs import CELL
from pompc.sweep import job
from pompc.sweep.plan import Job, Sweep
from pompc.training.progress import duration


def table(sweeps: Sequence[Sweep]) -> pd.DataFrame:
    """Return the grid, one row for each task, method, λ and prior of each job.

    Columns: `sweep`, `job`, `task`, `method`, `lam`, `prior`, any other setting that varies,
    `seeds` (how many), `state` (done, running, waiting or failed), `env_step` and `return` (mean
    over seeds) of the newest evaluation, `time left`, and `cause` of a failure.
    """
    return pd.DataFrame(
        [row for sweep in sweeps for one in sweep.jobs for row in _rows(sweep, one)]
    )


def readable(grid: pd.DataFrame) -> str:
    """Return the grid as lines for a terminal; columns that say nothing are left out."""
    empty = [name for name in ("time left", "cause") if not any(grid[name])]
    shown = grid.drop(columns=["sweep", *empty])
    return shown.to_string(index=False, na_rep="", formatters={"lam": "{:g}".format})


def summary(sweep: Sweep) -> str:
    """Return one line: how many jobs are in each state, and what the whole takes."""
    states = Counter(job.state(one.folder).name for one in sweep.jobs)
    counts = ", ".join(f"{count} {name}" for name, count in states.most_common())
    line = (
        f"{sweep.name}: {len(sweep.jobs)} jobs ({counts}), {sweep.agents} agents, "
        f"{sweep.operations / 1e15:,.0f} PFLOP"
    )
    if sweep.hours is None:
        return line
    return f"{line}; {sweep.hours:,.0f} hours of a device that sustains {sweep.tflops:g} TFLOP/s"


def _rows(sweep: Sweep, one: Job) -> list[dict[str, Any]]:
    """Return the rows of one job."""
    state, path = job.state(one.folder), one.folder / "returns.csv"
    table = runs.read_table(path).to_dict("records") if path.exists() else []
    newest = [row for row in table if row["env_step"] == table[-1]["env_step"]]
    done = newest[0]["env_step"] if newest else 0
    left = ""
    if state.name == "running" and done:  # at its own pace so far
        left = duration((one.config.steps - done) * newest[0]["wall_s"] / done)
    cells: dict[tuple[Any, ...], set[int]] = {}
    for agent in one.config.agents:
        cells.setdefault(tuple(getattr(agent, key) for key in CELL), set()).add(agent.seed)
    rows = []
    for cell, seeds in cells.items():
        mine = [row for row in newest
                if cell == tuple(row[key] for key in CELL) and row["seed"] in seeds]  # fmt: skip
        rows.append({
            "sweep": sweep.name, "job": one.folder.name, **dict(zip(CELL, cell, strict=True)),
            **{name: getattr(one.config, name) for name in sweep.varied},
            "seeds": len(seeds), "state": state.name,
            "env_step": done if mine else 0,
            "return": round(fmean(row["return"] for row in mine), 1) if mine else math.nan,
            "time left": left, "cause": state.cause,
        })  # fmt: skip
    return rows
