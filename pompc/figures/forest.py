"""Differences with their intervals, one below the other: what each claim rests on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import claims, style

_COLORS = {claims.SUPPORTS: "#0B62A8", claims.CONTRADICTS: "#D55E00", claims.CANNOT_TELL: "#767676"}
_MARKERS = {claims.SUPPORTS: "o", claims.CONTRADICTS: "X", claims.CANNOT_TELL: "D"}
_ROW = 0.17  # inches


def forest(evidence: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the differences of every claim, a panel each, as far as they were run.

    Args:
        evidence: name of a claim -> what `pompc.figures.claims.evidence` returned.
    """
    tables = {name: table.loc[table["difference"].notna()] for name, table in evidence.items()}
    rows = [max(len(table), 2) for table in tables.values()]
    with style.settings():
        figure, axes = style.panels(
            len(rows), 1, width=6.6, height=_ROW * sum(rows) / len(rows) + 0.6,
            gridspec_kw={"height_ratios": rows},
        )  # fmt: skip
        for panel, (name, table) in zip(axes[:, 0], tables.items(), strict=True):
            panel.set_title(name, loc="left")
            if table.empty:
                style.not_run(panel)
            else:
                _rows(panel, table)
        style.legend(figure)
        return figure


def _rows(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the rows of one claim from top to bottom."""
    height = np.arange(len(table))[::-1]
    verdicts = table["verdict"].str.partition(":")[0]
    panel.axvline(0.0, color=style.INK, linewidth=0.8)
    for verdict, color in _COLORS.items():
        own = (verdicts == verdict).to_numpy()
        if not own.any():
            continue
        center, low, high = (table.loc[own, name].to_numpy(float)
                             for name in ("difference", "low", "high"))  # fmt: skip
        panel.errorbar(center, height[own], xerr=[center - low, high - center], color=color,
                       fmt=_MARKERS[verdict], markersize=3.5, linewidth=1.2,
                       label=verdict)  # fmt: skip
    labels = table["compared"] + ", " + table["task"] + ": " + table["measure"]
    panel.set_yticks(height, labels.tolist())
    panel.set_ylim(-0.7, len(table) - 0.3)
