"""Figures of what a run measures besides its returns (book/metrics.md)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import short_steps

_COLORS = ("#0B62A8", "#D55E00", "#767676", "#00916A")


def over_steps(
    metrics: pd.DataFrame, runs: Mapping[str, str], columns: Mapping[str, str], unit: str
) -> Figure:
    """Draw columns of metrics.csv over environment steps on a log axis, a panel a run.

    Args:
        metrics: what `pompc.load_metrics` returns.
        runs: the folder of each run, as in the column `run`, and the title of its panel.
        columns: names of the columns and their words in the legend. Of several agents the mean is
            drawn; what a run does not have is left out.
        unit: label of the axis.
    """
    with style.settings():
        figure, axes = style.grid(len(runs), sharey=True)
        for panel, (run, title) in zip(axes.flat, runs.items(), strict=False):
            rows = metrics.loc[metrics["run"] == run].groupby("env_step").mean(numeric_only=True)
            for color, (column, label) in zip(_COLORS, columns.items(), strict=False):
                values = rows[column].dropna().rolling(5, min_periods=1).mean()
                panel.plot(values.index, values, color=color, label=label if len(values) else None)
            panel.set_title(title, loc="left")
            panel.set_yscale("log")
            panel.xaxis.set_major_formatter(lambda step, _: short_steps(step))
            panel.set_xlabel("environment steps")
        axes[0, 0].set_ylabel(unit)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left",
                      ncols=len(columns))  # fmt: skip
        return figure
