"""Tables 1, 2 and 3 of the paper with our numbers, which come from runs and presets alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pompc import runs
from pompc.errors import ConfigError
from pompc.figures import style
from pompc.figures.comparisons import methods
from pompc.figures.curves import agents, final
from pompc.figures.panels import short_name
from pompc.figures.tasks import DMCONTROL, title
from pompc.results.intervals import mean_interval
from pompc.settings.config import preset_values

NUMBERS = runs.SHIPPED / "book" / "paper_numbers.csv"  # every number that we copied from the paper
_COLUMNS = ["table", "page", "method", "lam", "prior", "task", "quantity", "value", "interval"]
_KEYS = {  # row of Table 3 -> key of a preset
    "General: Num. steps": "steps",
    "General: Replay buffer": "buffer_size",
    "General: Learning rate": "learning_rate",
    "General: Max. gradient norm": "max_grad_norm",
    "World model: Encoder dim.": "encoder_dim",
    "World model: Num. encoder layers": "encoder_layers",
    "World model: Encoder learning rate": "encoder_learning_rate",
    "World model: Latent dim.": "latent_dim",
    "World model: Dropout": "dropout",
    "World model: Num. value nets": "value_nets",
    "World model: Num. bins": "bins",
    "World model: Symlog min": "symlog_min",
    "World model: Symlog max": "symlog_max",
    "World model: Simnorm dim.": "simnorm_dim",
    "TD-MPC2: Horizon": "horizon",
    "TD-MPC2: MPPI iterations": "mppi_iterations",
    "TD-MPC2: Population size": "plan_samples",
    "TD-MPC2: Policy prior samples": "policy_samples",
    "TD-MPC2: Num. elites": "elites",
    "TD-MPC2: Min. plan std": "min_plan_std",
    "TD-MPC2: Max. plan std": "max_plan_std",
    "TD-MPC2: Temperature": "temperature",
    "TD-MPC2: Batch size": "batch_size",
    "TD-MPC2: Discount": "discount",
    "TD-MPC2: Time discount": "time_discount",
    "TD-MPC2: Consistency coef.": "consistency_coef",
    "TD-MPC2: Reward model coef.": "reward_coef",
    "TD-MPC2: Value function coef.": "value_coef",
    "TD-MPC2: Entropy coef.": "entropy_coef",
    "TD-MPC2: Target update coef.": "target_rate",
    "PO-MPC: Biased value function coef.": "kl_value_coef",
    "PO-MPC: Reanalyzed batch": "reanalyse_batch",
    "PO-MPC: Reanalyzed interval": "reanalyse_interval",
}
_CHOICES = {  # rows of Table 3 that a preset leaves to the caller -> what takes them
    "General: Optimizer": "Adam",
    "PO-MPC: KL reg. strength λ": "lam: 0 to inf",
    "PO-MPC: Learned intermediate prior policy": "prior: replay",
    "PO-MPC: Prior policy learning loss": "forward_kl, reverse_kl",
}


def paper_numbers(table: int, path: Path = NUMBERS) -> pd.DataFrame:
    """Return what the paper prints in one of its tables, a row a number.

    Args:
        table: 1, 2 or 3.
        path: the CSV, with columns that name table and page.

    Raises:
        ConfigError: for a file that lacks a column, or a table without numbers.
    """
    numbers = pd.read_csv(path, dtype={"value": str}, keep_default_na=False)
    missing = [name for name in _COLUMNS if name not in numbers]
    if missing:
        raise ConfigError(f"{path.name!r} lacks the columns {', '.join(missing)}")
    found = numbers.loc[numbers["table"] == table]
    if found.empty:
        raise ConfigError(f"{path.name!r} holds no numbers of Table {table}")
    return found


def table_1(table: pd.DataFrame) -> pd.DataFrame:
    """Return Table 1: final returns on 7 DMControl tasks, the paper's and ours below each other.

    Ours are means over seeds at the last step that all seeds of a cell reached, with the 95 %
    interval of a bootstrap; a task without runs has no row of ours.

    Args:
        table: returns, as in `pompc.results.Results`.

    Returns:
        Rows: task and source; columns: agents.
    """
    paper, ours = dict[str, dict[str, str]](), _finals(methods(table))
    for row in paper_numbers(1).to_dict(orient="records"):
        name = short_name(row["method"], float(row["lam"]), row["prior"] or "reverse_kl")
        paper.setdefault(row["task"], {})[name] = f"{row['value']} ± {row['interval']}"
    sources = {"paper": paper, "ours": ours}
    cells = {(title(task), source): of_task[task] for task in DMCONTROL
             for source, of_task in sources.items() if task in of_task}  # fmt: skip
    frame = pd.DataFrame.from_dict(cells, orient="index")
    frame.index = pd.MultiIndex.from_tuples(list(cells), names=["", "source"])
    return frame.fillna("–")


def final_returns(table: pd.DataFrame) -> pd.DataFrame:
    """Return the last return of every agent at hand: mean over seeds and 95 % interval.

    Args:
        table: returns, as in `pompc.results.Results`.

    Returns:
        One row a task and agent: step, seeds, the planner's return and the policy's alone.
    """
    rows = []
    for task in sorted(set(table["task"])):
        for key, own in agents(table.loc[table["task"] == task]):
            step, scores = final(own)
            _, alone = final(own, "return_policy")
            rows.append({"task": task, "agent": style.look(*key).label, "step": step,
                         "seeds": len(scores), "return": _text(scores),
                         "policy alone": _text(alone)})  # fmt: skip
    return pd.DataFrame(rows, columns=["task", "agent", "step", "seeds", "return", "policy alone"])


def table_2() -> pd.DataFrame:
    """Return Table 2, the paper's comparison of methods: rows are methods."""
    numbers = paper_numbers(2)
    wide = numbers.pivot(index="method", columns="quantity", values="value")
    names = {"tdmpc2": "TD-MPC2", "bmpc": "BMPC", "pompc": "PO-MPC"}
    order = list(dict.fromkeys(numbers["quantity"]))
    return wide.loc[list(names), order].rename(index=names).rename_axis(index=None, columns=None)


def table_3() -> pd.DataFrame:
    """Return Table 3 beside the presets `paper` and `laptop`, read from the presets themselves."""
    rows = []
    for row in paper_numbers(3).to_dict(orient="records"):
        name, key = row["quantity"], _KEYS.get(row["quantity"])
        presets = (
            [_CHOICES[name], "the same"]
            if key is None
            else [_plain(p[key]) for p in map(preset_values, ("paper", "laptop"))]
        )
        rows.append({"hyper-parameter": name, "Table 3": row["value"], "key": key or "",
                     "paper": presets[0], "laptop": presets[1]})  # fmt: skip
    return pd.DataFrame(rows)


def _plain(value: Any) -> str:
    """Return a number as Table 3 writes it: thousands apart, no needless digits."""
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:g}"


def _finals(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return task -> short name of an agent -> its last return as text; several BMPCs apart."""
    found: dict[str, dict[str, str]] = {}
    for task in set(table["task"]):
        for key, own in agents(table.loc[table["task"] == task]):
            cells, name = found.setdefault(task, {}), short_name(*key)
            cells[style.look(*key).label if name in cells else name] = _text(final(own)[1])
    return found


def _text(scores: np.ndarray) -> str:
    center, low, high = mean_interval(scores)
    several = len(scores) > 1
    return f"{center:.0f} [{low:.0f}, {high:.0f}]" if several else f"{center:.0f} (one seed)"
