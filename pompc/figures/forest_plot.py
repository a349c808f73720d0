"""Differences with their intervals, one below the other: what each claim rests on."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.evidence import CANNOT_TELL, CONTRADICTS, SUPPORTS, claims_of, gather
from pompc.results.read_runs import Results

_COLORS = {SUPPORTS: "#0B62A8", CONTRADICTS: "#D55E00", CANNOT_TELL: "#767676"}
_MARKERS = (  # of a claim's two measures, the upper and the lower point of a row
    ("o", 0.17, "mean score over training; C5: log of the KL term's mean"),
    ("s", -0.17, "last score; C5: log of its standard deviation"),
)
_ROW = 0.24  # inches


def claims_forest(results: Results) -> Figure:
    """Draw the differences of every claim, a panel each, as far as they were run.

    A row is a comparison on a task, with a point for each of the claim's two measures.

    Args:
        results: what `pompc.results.collect` returned.
    """
    claims = claims_of(results)
    evidence = {name: gather(claim, results) for name, claim in claims.items()}
    tables = {name: table.loc[table["difference"].notna()] for name, table in evidence.items()}
    rows = [max(len(table) // 2, 2) for table in tables.values()]
    with style.settings():
        figure, axes = style.stacked(rows, _ROW)
        for panel, (name, table) in zip(axes[:, 0], tables.items(), strict=True):
            panel.set_title(f"{name}: {claims[name].title}", loc="left")
            if table.empty:
                style.not_run(panel)
            else:
                _rows(panel, table)
        _key(axes[0, 0])
        style.legend(figure)
        return figure


def _rows(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the rows of one claim from top to bottom."""
    panel.axvline(0.0, color=style.INK, linewidth=0.8)
    named = table.assign(row=table["compared"] + ", " + table["task"])
    rows = list(named.groupby("row", sort=False))[::-1]
    for place, (_, measures) in enumerate(rows):
        points = zip(measures.to_dict(orient="records"), _MARKERS, strict=True)
        for point, (marker, offset, _) in points:
            center, color = point["difference"], _COLORS[point["verdict"].partition(":")[0]]
            interval = [[center - point["low"]], [point["high"] - center]]
            panel.errorbar(center, place + offset, xerr=interval, color=color, fmt=marker,
                           markersize=3.5, linewidth=1.2)  # fmt: skip
    panel.set_yticks(range(len(rows)), [str(label) for label, _ in rows])
    panel.set_ylim(-0.6, len(rows) - 0.4)


def _key(panel: Axes) -> None:
    """Name colours and markers for the legend, without drawing anything."""
    for verdict, color in _COLORS.items():
        panel.plot([], [], "-", color=color, linewidth=3, label=verdict)
    for marker, _, name in _MARKERS:
        panel.plot([], [], marker, color=style.INK, markersize=3.5, label=name)
