"""Comparisons of the paper's Figures 2 to 8, on its tasks or on others: a panel for each task.

A panel is drawn for what the rows hold, and for nothing else; `registry` chooses the rows, returns
or metrics as in `pompc.results.Results`.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pompc.figures import curves, style
from pompc.figures.tasks import ordered, title

AGAINST_REPLAY = ("reverse_kl", "replay")  # priors of Figures 3, 6 and 7
DIRECTIONS = ("reverse_kl", "forward_kl")  # of Figures 4 and 8
METHODS = ("TD-MPC2", "BMPC", "λ = 0.1", "λ = 1", "λ = 9")  # short names; λ as in Table 3
_KL = {"kl_mean": "mean KL, nats", "kl_std": "std of KL, nats"}  # columns of metrics.csv


def returns(
    rows: pd.DataFrame, wanted: Sequence[str] = (), published: pd.DataFrame | None = None
) -> Figure:
    """Draw returns, a panel for each task after one for the average over shared tasks.

    A panel names those agents that it lacks of the `wanted` short names. Published curves, as
    `pompc.results.published.read` returns them, are dotted.
    """
    shown = ordered(rows["task"])
    average = len(curves.averages(rows)[0]) > 0
    with style.settings():
        figure, axes = style.grid(len(shown) + average)
        panels = iter(axes.flat)
        if average:
            curves.average_panel(next(panels), rows)
        for panel, task in zip(panels, shown, strict=False):
            curves.task_panel(panel, rows, task, wanted=wanted, published=published)
        return curves.finished(figure, axes, "return")


def returns_by_weight(rows: pd.DataFrame, shown: Sequence[str] | None = None) -> Figure:
    """Draw returns, a panel for each task and λ, after the averages; `shown` tasks only, if any."""
    of_lam = dict(curves.groups(rows, "lam"))
    averaged = [lam for lam, own in of_lam.items() if curves.averages(own)[0]]
    single = [(task, lam) for task in ordered(rows["task"]) for lam, own in of_lam.items()
              if task in set(own["task"]) and (shown is None or task in shown)]  # fmt: skip
    count = len(averaged) + len(single)
    with style.settings():
        # Where every λ has been run everywhere, each has its column.
        tasks = {task for task, _ in single}
        whole = len(of_lam) > 1 and count == len(of_lam) * (1 + len(tasks))
        figure, axes = style.grid(count, columns=len(of_lam) if whole else 0)
        panels = iter(axes.flat)
        for lam in averaged:
            curves.average_panel(next(panels), of_lam[lam], f", λ = {lam:g}")
        for task, lam in single:
            curves.task_panel(next(panels), of_lam[lam], task, f", λ = {lam:g}")
        return curves.finished(figure, axes, "return")


def kl_term(rows: pd.DataFrame) -> Figure:
    """Draw mean and std of the KL term of Eq. (18), before its scale, on log axes, a row a task."""
    shown = list(itertools.product(ordered(rows["task"]), _KL.items()))
    priors = [curves.short_name("pompc", 1.0, prior) for prior in AGAINST_REPLAY]
    with style.settings():
        figure, axes = style.grid(len(shown), height=2.1, columns=2)
        for panel, (task, (column, label)) in zip(axes.flat, shown, strict=True):
            of_task = rows.loc[rows["task"] == task]
            panel.set(title=title(task), ylabel=label, yscale="log")
            for key, own in curves.agents(of_task):
                found = curves.curve(curves.binned(own, [column]), column)
                curves.plot_seeds(panel, found, style.look(*key))
            curves.remark_missing(panel, of_task, priors)
        return curves.finished(figure, axes)


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Figures 2 and 5: the baselines, and PO-MPC with a prior of Eq. (12)."""
    first = (table["method"] != "pompc") | (table["lam"] == 0) | (table["prior"] == "reverse_kl")
    return table.loc[first]


def regularised(table: pd.DataFrame, priors: Sequence[str]) -> pd.DataFrame:
    """Return the rows of Figures 3, 4, 6 and 8: PO-MPC, 0 < λ < infinity, where priors meet."""
    lam = table["lam"].astype(float)
    inside = (table["method"] == "pompc") & (lam > 0) & (lam < math.inf)
    return curves.compared(table.loc[inside & table["prior"].isin(priors)], ["task", "lam"])


def first_weight(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Figure 7: λ = 1 with the priors of `AGAINST_REPLAY`, after an update.

    Before the first update there is no KL, and no column where no agent reads a prior.
    """
    rows = metrics.reindex(columns=metrics.columns.union([*_KL], sort=False))
    rows = regularised(rows.loc[rows["lam"] == 1.0], AGAINST_REPLAY)
    return rows.loc[np.isfinite(rows[list(_KL)].astype(float)).all(axis=1)]
