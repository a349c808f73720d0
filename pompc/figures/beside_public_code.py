"""Public implementations next to this code: whether its learning curves are theirs."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import curve
from pompc.figures.panels import finished, limit
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
        figure, axes = style.grid(len(groups), height=2.2)
        for panel, ((task, peer), theirs) in zip(axes.flat, groups, strict=False):
            panel.set_title(f"{title(task)}, {peer.replace('_', '-')}")
            _theirs(panel, theirs)
            _ours(panel, ours.loc[ours["task"] == task], str(theirs["method"].iloc[0]))
            limit(panel, [task])
        return finished(figure, axes, "return")


def returns_beside(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean returns that `public_code` draws, one row an implementation."""
    named = rows.assign(code=rows["peer"].fillna("this code"))
    by = ["task", "method", "code"]
    named["seeds"] = named.groupby(by)["seed"].transform("nunique")
    table = named.pivot_table(index=[*by, "seeds"], columns="env_step", values="return")
    return table.round().astype("Int64")


def _theirs(panel: Axes, rows: pd.DataFrame) -> None:
    _seeds(panel, rows, color=style.INK, linestyle="--", label="public implementation")


def _ours(panel: Axes, returns: pd.DataFrame, method: str) -> None:
    rows = returns.loc[returns["method"] == method]
    if rows.empty:
        style.remark(panel, f"not run by this code: {method}")
        return
    look = style.look(method, float(rows["lam"].iloc[0]), str(rows["prior"].iloc[0]))
    _seeds(panel, rows, color=look.color, label=look.label)


def _seeds(panel: Axes, rows: pd.DataFrame, label: str, **line: Any) -> None:
    """Draw every seed as a thin line and their mean as a thick one."""
    found = curve(rows)
    panel.plot(found.x, found.scores.T, linewidth=0.7, alpha=0.6, **line)
    panel.plot(found.x, found.scores.mean(axis=0), linewidth=1.6, label=label, **line)
