"""Tables 1, 2 and 3 of the paper with our numbers, which come from runs and presets alone.

Tables of returns are as in `pompc.results.Results`.
"""

from typing import Any

import numpy as np
import pandas as pd

from pompc import runs
from pompc.figures import style
from pompc.figures.comparisons import methods
from pompc.figures.curves import agents, final, groups, short_name, short_steps
from pompc.figures.tasks import DMCONTROL, title
from pompc.results.intervals import mean_interval
from pompc.settings.config import preset_values

NUMBERS = runs.SHIPPED / "book" / "paper_numbers.csv"  # every number that we copied from the paper
_KEYS = {  # row of Table 3, without its group and "Num." -> key of a preset, where another
    "Replay buffer": "buffer_size",
    "Max. gradient norm": "max_grad_norm",
    "Population size": "plan_samples",
    "Policy prior samples": "policy_samples",
    "Reward model coef.": "reward_coef",
    "Value function coef.": "value_coef",
    "Target update coef.": "target_rate",
    "Biased value function coef.": "kl_value_coef",
    "Reanalyzed batch": "reanalyse_batch",
    "Reanalyzed interval": "reanalyse_interval",
}
_CHOICES = {  # rows of Table 3 that a preset leaves to the caller -> what takes them
    "General: Optimizer": "Adam",
    "PO-MPC: KL reg. strength λ": "lam: 0 to inf",
    "PO-MPC: Learned intermediate prior policy": "prior: replay",
    "PO-MPC: Prior policy learning loss": "forward_kl, reverse_kl",
}


def paper_numbers(table: int) -> pd.DataFrame:
    """Return what the paper prints in Table 1, 2 or 3, a row a number."""
    numbers = pd.read_csv(NUMBERS, dtype={"value": str}, keep_default_na=False)
    return numbers.loc[numbers["table"] == table]


def table_1(table: pd.DataFrame) -> pd.DataFrame:
    """Return Table 1: final returns on 7 DMControl tasks, the paper's and ours below each other.

    Ours are means over seeds at the last step that all seeds of a cell reached, with the 95 %
    interval of a bootstrap; a task without runs has no row of ours. Rows are task and source,
    columns agents. A row of ours names the preset and the longest run's steps.
    """
    paper, ours = dict[str, dict[str, str]](), methods(table)
    for row in paper_numbers(1).to_dict(orient="records"):
        name = short_name(row["method"], float(row["lam"]), row["prior"] or "reverse_kl")
        paper.setdefault(row["task"], {})[name] = f"{row['value']} ± {row['interval']}"
    cells = dict[tuple[str, str], dict[str, str]]()
    for task in DMCONTROL:
        cells[title(task), "paper"] = paper[task]
        if len(own := ours.loc[ours["task"] == task]):
            presets = " and ".join(sorted(set(own["preset"])))
            source = f"ours: {presets}, {short_steps(own['env_step'].max())} steps"
            cells[title(task), source] = _finals(own)
    frame = pd.DataFrame.from_dict(cells, orient="index")
    frame.index = pd.MultiIndex.from_tuples(list(cells), names=["", "source"])
    return frame.fillna("–")


def final_returns(table: pd.DataFrame) -> pd.DataFrame:
    """Return each agent's last return and the policy's alone: mean over seeds, 95 % interval."""
    rows = []
    for task, of_task in groups(table, "task"):
        for key, own in agents(of_task):
            (step, scores), (_, alone) = final(own), final(own, "return_policy")
            name = style.look(*key).label
            rows.append((task, name, step, len(scores), _text(scores), _text(alone)))
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
        name = str(row["quantity"])
        short = name.partition(": ")[2].removeprefix("Num. ")
        key = _KEYS.get(short, short.lower().replace(".", "").replace(" ", "_"))
        if name in _CHOICES:
            key, presets = "", [_CHOICES[name], "the same"]
        else:
            presets = [_plain(preset_values(preset)[key]) for preset in ("paper", "laptop")]
        rows.append((name, row["value"], key, *presets))
    return pd.DataFrame(rows, columns=["hyper-parameter", "Table 3", "key", "paper", "laptop"])


def _plain(value: Any) -> str:
    """Return a number as Table 3 writes it: thousands apart, no needless digits."""
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:g}"


def _finals(rows: pd.DataFrame) -> dict[str, str]:
    """Return short name of an agent -> its last return on a task as text; several BMPCs apart."""
    cells: dict[str, str] = {}
    for key, own in agents(rows):
        name = short_name(*key)
        cells[style.look(*key).label if name in cells else name] = _text(final(own)[1])
    return cells


def _text(scores: np.ndarray) -> str:
    center, low, high = mean_interval(scores)
    return f"{center:.0f} " + (f"[{low:.0f}, {high:.0f}]" if len(scores) > 1 else "(one seed)")
