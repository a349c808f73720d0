"""Public implementations beside this code: what of a learning curve is due to the code itself."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import curve
from pompc.figures.panels import draw, finished
from pompc.figures.tasks import title


def beside(ours: pd.DataFrame, theirs: pd.DataFrame) -> Figure:
    """Draw the returns of public implementations, a panel each, and ours of the same method.

    Thin lines are our seeds. A method that this code has not run on the task says so.

    Args:
        ours: returns, as `pompc.results.collect` gives them, of any tasks and methods.
        theirs: the tables that `python -m pompc.peer_runs` writes, as one; not empty.
    """
    with style.settings():
        groups: list[tuple[Any, pd.DataFrame]] = list(theirs.groupby(["task", "peer"]))
        figure, axes = style.panels(1, len(groups), width=3.2, height=2.2, sharey=True)
        for panel, ((task, peer), rows) in zip(axes[0], groups, strict=True):
            panel.set_title(f"{title(task)}, beside {peer}")
            _theirs(panel, rows)
            _ours(panel, ours.loc[ours["task"] == task], str(rows["method"].iloc[0]))
        return finished(figure, axes, "return")


def _theirs(panel: Axes, rows: pd.DataFrame) -> None:
    found = curve(rows)
    panel.plot(found.x, found.scores.mean(axis=0), color=style.INK, linestyle="--", linewidth=1.3,
               label="public implementation")  # fmt: skip


def _ours(panel: Axes, returns: pd.DataFrame, method: str) -> None:
    rows = returns.loc[returns["method"] == method]
    if rows.empty:
        style.remark(panel, f"not run by this code: {method}")
        return
    look = style.look(method, float(rows["lam"].iloc[0]), str(rows["prior"].iloc[0]))
    found = curve(rows)
    panel.plot(found.x, found.scores.T, color=look.color, linewidth=0.6, alpha=0.6)
    draw(panel, found, look)
