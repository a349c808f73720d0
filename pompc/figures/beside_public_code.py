"""Public implementations beside this code: what of a learning curve is due to the code itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.captions import Markdown
from pompc.figures.curves import curve
from pompc.figures.panels import draw, finished, limit
from pompc.figures.tasks import title


def public_code(rows: pd.DataFrame) -> Figure:
    """Draw the returns of public implementations, a panel each, and ours of the same method.

    Thin lines are seeds. A method that this code has not run on the task says so.

    Args:
        rows: as in `pompc.results.Results.peers`.
    """
    public, ours = rows.loc[rows["peer"].notna()], rows.loc[rows["peer"].isna()]
    groups: list[tuple[Any, pd.DataFrame]] = list(public.groupby(["task", "peer"]))
    with style.settings():
        figure, axes = style.panels(1, max(len(groups), 1), width=3.2, height=2.2, sharey=True)
        if not groups:
            style.not_run(axes[0, 0])
        for panel, ((task, peer), theirs) in zip(axes[0], groups, strict=False):
            panel.set_title(f"{title(task)}, beside {peer}")
            _theirs(panel, theirs)
            _ours(panel, ours.loc[ours["task"] == task], str(theirs["method"].iloc[0]))
            limit(panel, [task])
        return finished(figure, axes, "return")


def returns_beside(rows: pd.DataFrame) -> pd.DataFrame | Markdown:
    """Return the mean returns that `public_code` draws, one row an implementation."""
    if rows.empty:
        return Markdown("*not run*")
    named = rows.assign(code=rows["peer"].fillna("this code"))
    by = ["task", "method", "code"]
    named["seeds"] = named.groupby(by)["seed"].transform("nunique")
    table = named.pivot_table(index=[*by, "seeds"], columns="env_step", values="return")
    return table.round().astype("Int64")


def _theirs(panel: Axes, rows: pd.DataFrame) -> None:
    found, dashed = curve(rows), partial(panel.plot, color=style.INK, linestyle="--")
    dashed(found.x, found.scores.T, linewidth=0.6, alpha=0.6)
    dashed(found.x, found.scores.mean(axis=0), linewidth=1.3, label="public implementation")


def _ours(panel: Axes, returns: pd.DataFrame, method: str) -> None:
    rows = returns.loc[returns["method"] == method]
    if rows.empty:
        style.remark(panel, f"not run by this code: {method}")
        return
    look = style.look(method, float(rows["lam"].iloc[0]), str(rows["prior"].iloc[0]))
    found = curve(rows)
    panel.plot(found.x, found.scores.T, color=look.color, linewidth=0.6, alpha=0.6)
    draw(panel, found, look)
