"""Comparisons of the paper's Figures 2 to 8, on its tasks or on others: a panel for each task.

A panel is drawn for what the rows hold, and for nothing else; `registry` chooses the rows, returns
or metrics as in `pompc.results.Results`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import (
    agents,
    average_panel,
    averages,
    binned,
    compared,
    curve,
    finished,
    plot_seeds,
    remark_missing,
    short_name,
    task_panel,
)
from pompc.figures.tasks import ordered, title

_LAMS = (0.1, 1.0, 9.0)  # of Table 3
AGAINST_REPLAY = ("reverse_kl", "replay")  # priors of Figures 3, 6 and 7
DIRECTIONS = ("reverse_kl", "forward_kl")  # of Figures 4 and 8
METHODS = ("TD-MPC2", "BMPC", *(short_name("pompc", lam, "reverse_kl") for lam in _LAMS))
_KL = {"kl_mean": "mean KL, nats", "kl_std": "std of KL, nats"}  # columns of metrics.csv


def returns(
    rows: pd.DataFrame, wanted: Sequence[str] = (), published: pd.DataFrame | None = None
) -> Figure:
    """Draw returns, a panel for each task after one for the average over shared tasks.

    A panel names those agents that it lacks of the `wanted` short names. Published curves, as
    `pompc.results.published.read` returns them, are dotted.
    """
    shown = ordered(rows["task"])
    average = len(averages(rows)[0]) > 0
    with style.settings():
        figure, axes = style.grid(len(shown) + average)
        panels = iter(axes.flat)
        if average:
            average_panel(next(panels), rows)
        for task in shown:
            task_panel(next(panels), rows, task, wanted=wanted, published=published)
        return finished(figure, axes, "return")


def returns_by_weight(rows: pd.DataFrame, shown: Sequence[str] | None = None) -> Figure:
    """Draw returns, a panel for each task and λ after those for the average over shared tasks.

    The tasks `shown`, by default all, have panels of their own.
    """
    lams = sorted(set(rows["lam"]))
    of_lam = {lam: rows.loc[rows["lam"] == lam] for lam in lams}
    averaged = [lam for lam in lams if averages(of_lam[lam])[0]]
    single = [(task, lam) for task in ordered(rows["task"]) for lam in lams
              if task in set(of_lam[lam]["task"]) and (shown is None or task in shown)]  # fmt: skip
    count = len(averaged) + len(single)
    with style.settings():
        # Where every λ has been run everywhere, each has its column.
        whole = len(lams) > 1 and count == len(lams) * (1 + len({task for task, _ in single}))
        figure, axes = style.grid(count, columns=len(lams) if whole else 0)
        panels = iter(axes.flat)
        for lam in averaged:
            average_panel(next(panels), of_lam[lam], f", λ = {lam:g}")
        for task, lam in single:
            task_panel(next(panels), of_lam[lam], task, f", λ = {lam:g}")
        return finished(figure, axes, "return")


def kl_term(rows: pd.DataFrame) -> Figure:
    """Draw mean and standard deviation of the KL term of Eq. (18), before its scale, on log axes.

    The moments are over a batch: `kl_mean` and `kl_std` in metrics.csv. A row of panels is a task.
    """
    shown = ordered(rows["task"])
    with style.settings():
        figure, axes = style.grid(2 * len(shown), height=2.1, columns=2)
        for task, pair in zip(shown, axes, strict=True):
            for panel, (column, label) in zip(pair, _KL.items(), strict=True):
                panel.set(title=title(task), ylabel=label, yscale="log")
                _kl_panel(panel, rows.loc[rows["task"] == task], column)
        return finished(figure, axes)


def _kl_panel(panel: Axes, rows: pd.DataFrame, column: str) -> None:
    for key, own in agents(rows.dropna(subset=[column])):
        plot_seeds(panel, curve(binned(own, [column]), column), style.look(*key))
    remark_missing(panel, rows, [short_name("pompc", 1.0, prior) for prior in AGAINST_REPLAY])


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Figures 2 and 5: the baselines, and PO-MPC with a prior of Eq. (12)."""
    first = (table["method"] != "pompc") | (table["lam"] == 0) | (table["prior"] == "reverse_kl")
    return table.loc[first]


def regularised(table: pd.DataFrame, priors: Sequence[str]) -> pd.DataFrame:
    """Return the rows of Figures 3, 4, 6 and 8: PO-MPC, 0 < λ < infinity, where priors meet.

    These are the tasks and λ that several of the priors were run with.
    """
    lam = table["lam"].astype(float)
    inside = (table["method"] == "pompc") & (lam > 0) & (lam < math.inf)
    return compared(table.loc[inside & table["prior"].isin(priors)], ["task", "lam"])


def first_weight(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Figure 7: λ = 1 with the priors of `AGAINST_REPLAY`, after an update.

    Before the first update there is no KL, and no column where no agent reads a prior.
    """
    rows = metrics.reindex(columns=[*metrics, *(name for name in _KL if name not in metrics)])
    rows = regularised(rows.loc[rows["lam"] == 1.0], AGAINST_REPLAY)
    return rows.loc[np.isfinite(rows[list(_KL)].astype(float)).all(axis=1)]
