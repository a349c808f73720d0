"""The figures of the paper, one function each: tidy table in, figure out; nothing here trains.

Each takes `tasks`, by default the paper's; a task without runs is drawn as "not run".
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import agents, binned, curve
from pompc.figures.panels import average_panel, draw, finished, name_missing, short_name, task_panel
from pompc.figures.tasks import AVERAGED, DMCONTROL, HUMANOIDBENCH, score_range, title

_LAMS = (0.1, 1.0, 9.0)  # of Table 3
AGAINST_REPLAY = ("reverse_kl", "replay")  # priors of Figures 3, 6 and 7
DIRECTIONS = ("reverse_kl", "forward_kl")  # of Figures 4 and 8
_METHODS = ("TD-MPC2", "BMPC", *(short_name("pompc", lam, "reverse_kl") for lam in _LAMS))
_KL = {"kl_mean": "mean KL, nats", "kl_std": "std of KL, nats"}  # columns of metrics.csv


def figure_2(
    table: pd.DataFrame,
    tasks: Sequence[str] | None = None,
    published: pd.DataFrame | None = None,
) -> Figure:
    """Draw Figure 2: returns of the methods on 14 HumanoidBench tasks, and their average.

    Args:
        table: returns, as in `pompc.results.Results`.
        tasks: others than the paper's; the average is over dm_control's among them.
        published: curves to draw dotted, from `pompc.results.published.read`.
    """
    return _grid(methods(table), HUMANOIDBENCH if tasks is None else tasks, _METHODS, published)


def figure_3(table: pd.DataFrame, tasks: Sequence[str] | None = None) -> Figure:
    """Draw Figure 3: the learned prior against replayed planners, a column for each λ.

    Args:
        table: as in `figure_2`.
        tasks: rows of panels, below the average over all of them.
    """
    return _by_weight(table, AGAINST_REPLAY, ("h1hand-balance_simple",), tasks)


def figure_4(table: pd.DataFrame, tasks: Sequence[str] | None = None) -> Figure:
    """Draw Figure 4: a prior trained by forward against reverse KL, a column for each λ.

    Args:
        table: as in `figure_2`.
        tasks: as in `figure_3`.
    """
    return _by_weight(table, DIRECTIONS, ("h1hand-stair", "h1hand-balance_simple"), tasks)


def figure_5(
    table: pd.DataFrame,
    tasks: Sequence[str] | None = None,
    published: pd.DataFrame | None = None,
) -> Figure:
    """Draw Figure 5: returns of the methods on 7 DMControl tasks, and their average.

    Args:
        table: as in `figure_2`.
        tasks: as there.
        published: as there.
    """
    return _grid(methods(table), DMCONTROL if tasks is None else tasks, _METHODS, published)


def figure_6(table: pd.DataFrame, tasks: Sequence[str] | None = None) -> Figure:
    """Draw Figure 6: the learned prior against replayed planners, a panel for each task.

    Args:
        table: as in `figure_2`.
        tasks: others than the paper's 14.
    """
    return _of_priors(table, AGAINST_REPLAY, tasks)


def figure_7(metrics: pd.DataFrame, tasks: Sequence[str] | None = None) -> Figure:
    """Draw Figure 7: mean and standard deviation of the KL term of Eq. (18), before its scale.

    The moments are over a batch, of λ = 1; `kl_mean` and `kl_std` in metrics.csv.

    Args:
        metrics: as in `pompc.results.Results`.
        tasks: columns of panels, others than the paper's 14.
    """
    tasks = list(HUMANOIDBENCH if tasks is None else tasks) or [""]
    rows = regularised(metrics, AGAINST_REPLAY)
    rows = rows.loc[rows["lam"] == 1.0]
    columns = min(len(tasks), 5)
    with style.settings():
        figure, axes = style.panels(2 * math.ceil(len(tasks) / columns), columns, height=1.3)
        for panel in axes.flat:
            panel.set_visible(False)
        for index, task in enumerate(tasks):
            block, place = divmod(index, columns)
            for row, (column, label) in enumerate(_KL.items()):
                panel = axes[2 * block + row, place]
                panel.set(visible=True, title="" if row else title(task),
                          ylabel="" if place else label)  # fmt: skip
                _kl_panel(panel, rows.loc[rows["task"] == task], column)
        return finished(figure, axes)


def figure_8(table: pd.DataFrame, tasks: Sequence[str] | None = None) -> Figure:
    """Draw Figure 8: a prior trained by forward against reverse KL, a panel for each task.

    Args:
        table: as in `figure_2`.
        tasks: others than the paper's 14.
    """
    return _of_priors(table, DIRECTIONS, tasks)


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Figures 2 and 5: the baselines, and PO-MPC with a prior of Eq. (12)."""
    first = (table["method"] != "pompc") | (table["lam"] == 0) | (table["prior"] == "reverse_kl")
    return table.loc[first]


def regularised(table: pd.DataFrame, priors: Sequence[str]) -> pd.DataFrame:
    """Return the rows of Figures 3, 4 and 6 to 8: PO-MPC, 0 < λ < infinity, one of some priors."""
    lam = table["lam"].astype(float)
    inside = (table["method"] == "pompc") & (lam > 0) & (lam < math.inf)
    return table.loc[inside & table["prior"].isin(priors)]


def _averaged(tasks: Iterable[str]) -> list[str]:
    """Return those of some tasks whose returns have one range, so that a mean says something."""
    return [task for task in tasks if task in AVERAGED or score_range(task) == (0.0, 1000.0)]


def _of_priors(table: pd.DataFrame, priors: Sequence[str], tasks: Sequence[str] | None) -> Figure:
    wanted = [short_name("pompc", lam, prior) for lam in _LAMS for prior in priors]
    return _grid(regularised(table, priors), HUMANOIDBENCH if tasks is None else tasks, wanted)


def _grid(
    table: pd.DataFrame,
    tasks: Iterable[str],
    wanted: Collection[str],
    published: pd.DataFrame | None = None,
) -> Figure:
    """Draw a panel for each task, after one for the average of those that can be averaged."""
    tasks = list(tasks) or [""]
    averaged = _averaged(tasks)
    count = len(tasks) + (len(averaged) > 1)
    columns = min(count, 4)
    with style.settings():
        figure, axes = style.panels(math.ceil(count / columns), columns)
        unused = iter(axes.flat)
        if len(averaged) > 1:
            average_panel(next(unused), table, averaged, wanted)
        for task in tasks:
            task_panel(next(unused), table, task, wanted, published)
        for panel in unused:
            panel.set_visible(False)
        return finished(figure, axes, "return")


def _by_weight(
    table: pd.DataFrame,
    priors: Sequence[str],
    default: Sequence[str],
    tasks: Sequence[str] | None,
) -> Figure:
    """Draw two priors in each panel, a column for each λ of Table 3, a row for each task."""
    rows = regularised(table, priors)
    averaged = AVERAGED if tasks is None else _averaged(tasks)
    names = list(default if tasks is None else tasks) or [""]
    shown = (["average"] if len(averaged) > 1 else []) + names
    with style.settings():
        figure, axes = style.panels(len(shown), len(_LAMS), width=2.6, height=1.5)
        for row, name in enumerate(shown):
            for panel, lam in zip(axes[row], _LAMS, strict=True):
                own = rows.loc[rows["lam"] == lam]
                wanted = [short_name("pompc", lam, prior) for prior in priors]
                if name == "average":
                    average_panel(panel, own, averaged, wanted)
                else:
                    task_panel(panel, own, name, wanted)
                panel.title.set_text(", ".join(filter(None, (panel.get_title(), f"λ = {lam:g}"))))
        return finished(figure, axes, "return")


def _kl_panel(panel: Axes, rows: pd.DataFrame, column: str) -> None:
    # Before the first update there is no KL, and no column where no agent reads a prior.
    rows = rows.dropna(subset=[column]) if column in rows else rows.iloc[:0]
    for key, own in agents(rows):
        draw(panel, curve(binned(own, [column]), column), style.look(*key))
    name_missing(panel, rows, [short_name("pompc", 1.0, prior) for prior in AGAINST_REPLAY])
    if len(rows):
        panel.set_ylim(bottom=0.0)
