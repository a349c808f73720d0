"""Verdicts on the paper's claims as figures: how many there are, and what each rests on."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.evidence import CANNOT_TELL, CONTRADICTS, SUPPORTS, claims_of, gather, summary
from pompc.results.read_runs import Results

_COLORS = {SUPPORTS: "#0B62A8", CONTRADICTS: "#D55E00", CANNOT_TELL: "#A0A0A0"}
_MARKERS = (  # of a claim's two measures, the upper and the lower point of a row
    ("o", 0.17, "mean score over training; C5: log of the KL term's mean"),
    ("s", -0.17, "last score; C5: log of its standard deviation"),
)
_ROW = 0.22  # inches


def claims_verdicts(results: Results) -> Figure:
    """Draw how many comparisons of each claim support it, contradict it, cannot tell.

    Args:
        results: what `pompc.results.collect` returned.
    """
    counts = summary(results)
    counts = counts.loc[counts[list(_COLORS)].sum(axis=1) > 0]
    with style.settings():
        figure, axes = style.panels(1, 1, style.WIDTH, 0.36 * len(counts) + 0.4)
        panel, left = axes[0, 0], pd.Series(0, counts.index)
        for verdict, color in _COLORS.items():
            bars = panel.barh(counts.index, counts[verdict], left=left, color=color, label=verdict)
            panel.bar_label(bars, [str(n or "") for n in counts[verdict]], label_type="center",
                            color="white", fontweight="bold")  # fmt: skip
            left = left + counts[verdict]
        names = [f"{name}: {row['question']}" for name, row in counts.iterrows()]
        panel.set_yticks(range(len(names)), names)
        panel.invert_yaxis()
        panel.grid(visible=False)
        panel.set_xlabel("comparisons")
        style.legend(figure)
        return figure


def claims_forest(results: Results) -> Figure:
    """Draw the differences of every claim with their intervals, a panel each, of what was run.

    A row is a comparison on a task, with a point for each of the claim's two measures.

    Args:
        results: what `pompc.results.collect` returned.
    """
    claims = claims_of(results)
    evidence = {name: gather(claim, results) for name, claim in claims.items()}
    tables = {name: table.loc[table["difference"].notna()] for name, table in evidence.items()}
    tables = {name: table for name, table in tables.items() if len(table)}
    rows = [len(table) // 2 + table["compared"].nunique() for table in tables.values()]
    with style.settings():
        figure, axes = style.stacked(rows, _ROW)
        for panel, (name, table) in zip(axes[:, 0], tables.items(), strict=True):
            panel.set_title(f"{name}: {claims[name].title}", loc="left", fontweight="bold")
            _rows(panel, table)
        _key(axes[0, 0])
        style.legend(figure)
        return figure


def _rows(panel: Axes, table: pd.DataFrame) -> None:
    """Draw the rows of one claim from top to bottom, below the name of what they compare."""
    panel.axvline(0.0, color=style.INK, linewidth=0.8)
    labels = list[str]()
    for compared, own in table.groupby("compared", sort=False):
        labels.append(str(compared))
        panel.axhline(len(labels) - 1, color="white", linewidth=1.5, zorder=0.9)  # no grid
        for task, measures in own.groupby("task", sort=False):
            for point, mark in zip(measures.to_dict(orient="records"), _MARKERS, strict=True):
                marker, above, _ = mark
                center, color = point["difference"], _COLORS[point["verdict"].partition(":")[0]]
                interval = [[center - point["low"]], [point["high"] - center]]
                panel.errorbar(center, len(labels) - above, xerr=interval, color=color, fmt=marker,
                               markersize=3.5, linewidth=1.2)  # fmt: skip
            labels.append(f"    {task}")
    panel.set_yticks(range(len(labels)), labels)
    for label in panel.get_yticklabels():
        label.set_fontweight("normal" if label.get_text().startswith(" ") else "bold")
    panel.set_ylim(len(labels) - 0.4, -0.6)


def _key(panel: Axes) -> None:
    """Name colours and markers for the legend, without drawing anything."""
    for verdict, color in _COLORS.items():
        panel.plot([], [], "-", color=color, linewidth=3, label=verdict)
    for marker, _, name in _MARKERS:
        panel.plot([], [], marker, color=style.INK, markersize=3.5, label=name)
