"""Every figure by name: the function that draws it, the rows that it draws, and what it shows.

Names that end in `_at_hand` are the same figures of tasks that the runs hold and the paper lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from pompc.errors import ConfigError, nearest
from pompc.figures import (
    beside_public_code,
    evidence,
    first_figure,
    forest_plot,
    paper,
    reviewers,
    seed_returns,
    speed,
)
from pompc.figures.captions import Markdown, caption
from pompc.figures.tasks import AVERAGED, DMCONTROL, HUMANOIDBENCH, others
from pompc.results.read_runs import Results, collect

_BANDS = "Lines are means over seeds, bands 95 % intervals of Student's t."
_AT_HAND = "_at_hand"


class Entry(NamedTuple):
    """A figure."""

    function: Callable[..., Figure]
    about: str  # the beginning of its caption
    rows: Callable[[pd.DataFrame], pd.DataFrame] = paper.methods  # of its table, that it draws
    tasks: tuple[str, ...] | None = None  # of the paper that it draws; None: all
    table: str = "returns"  # of `Results`; "" for a figure without data
    published: bool = False  # whether published curves are drawn, too
    whole: bool = False  # whether it takes all of `Results`, and not only its rows


def _priors(priors: tuple[str, ...]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return partial(paper.regularised, priors=priors)


def _first_weight(table: pd.DataFrame) -> pd.DataFrame:
    rows = paper.regularised(table, paper.AGAINST_REPLAY)
    return rows.loc[rows["lam"] == 1.0]


_BENCH = tuple(HUMANOIDBENCH)
_PAPER = {
    "figure_1": Entry(
        first_figure.figure_1,
        "The idea of Figure 1. The planner's distribution, stored with each transition, becomes a "
        "prior, itself or through a network that is fitted to it; the sampling policy is trained "
        "towards high values and, with weight λ, towards that prior, and proposes trajectories to "
        "the planner. Below: what the two divergences fit to the same three stored plans.",
        table="",
    ),
    "figure_2": Entry(
        paper.figure_2, f"Figure 2: HumanoidBench. {_BANDS}", tasks=_BENCH, published=True
    ),
    "figure_3": Entry(
        paper.figure_3,
        f"Figure 3: the learned prior (solid) against replayed planners (dashed). {_BANDS}",
        _priors(paper.AGAINST_REPLAY),
        AVERAGED,
    ),
    "figure_4": Entry(
        paper.figure_4,
        f"Figure 4: a prior trained by reverse (solid) against forward KL (dash-dotted). {_BANDS}",
        _priors(paper.DIRECTIONS),
        AVERAGED,
    ),
    "figure_5": Entry(
        paper.figure_5, f"Figure 5: DMControl. {_BANDS}", tasks=DMCONTROL, published=True
    ),
    "figure_6": Entry(
        paper.figure_6,
        f"Figure 6: the learned prior (solid) against replayed planners (dashed). {_BANDS}",
        _priors(paper.AGAINST_REPLAY),
        _BENCH,
    ),
    "figure_7": Entry(
        paper.figure_7,
        "Figure 7: mean and standard deviation over a batch of the KL term of Eq. (18), before it "
        f"is divided by its scale, with λ = 1; the learned prior is solid. {_BANDS}",
        _first_weight,
        _BENCH,
        "metrics",
    ),
    "figure_8": Entry(
        paper.figure_8,
        f"Figure 8: a prior trained by reverse (solid) against forward KL (dash-dotted). {_BANDS}",
        _priors(paper.DIRECTIONS),
        _BENCH,
    ),
}
_OWN = ("figure_3", "figure_4", "figure_5", "figure_6", "figure_7", "figure_8")
FIGURES: dict[str, Entry] = {
    **_PAPER,
    **{
        name + _AT_HAND: _PAPER[name]._replace(
            about=_PAPER[name].about.replace("DMControl", "the methods")
        )
        for name in _OWN
    },
    "iqm": Entry(
        reviewers.iqm_curves,
        "Interquartile mean of normalised scores over runs and tasks, with 95 % intervals of a "
        "bootstrap stratified by task.",
    ),
    "performance_profiles": Entry(
        reviewers.performance_profiles,
        "Performance profiles: the share of runs whose last normalised score exceeds τ, with 95 % "
        "intervals of a bootstrap stratified by task.",
    ),
    "wall_clock" + _AT_HAND: Entry(
        reviewers.wall_clock,
        "Returns over hours, evaluations included; means over seeds of returns and of hours.",
        rows=lambda table: table,
    ),
    "claims": Entry(
        forest_plot.claims_forest,
        "Differences that the paper's claims are about, with 95 % intervals of a bootstrap over "
        "seeds; positive is what the claim says.",
        rows=evidence.rows_of,
        whole=True,
    ),
    "last_returns": Entry(
        seed_returns.last_returns,
        "The last return of each seed (points) and their mean (bars).",
        rows=seed_returns.compared,
    ),
    "speed": Entry(
        speed.decisions_per_second,
        "Decisions per second of the whole loop, all agents of a program counted, and how many "
        "times those of the public implementation that does as much are.",
        table="",
    ),
    "public_code": Entry(
        beside_public_code.public_code,
        "Public implementations (dashed) and this code, with the same hyper-parameters and "
        "environments. Thin lines are seeds; bands are 95 % intervals of Student's t.",
        rows=lambda table: table,
        table="peers",
    ),
}


def entry(name: str) -> Entry:
    """Return a figure by its name.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in FIGURES:
        raise ConfigError(f"there is no figure {name!r}{nearest(name, FIGURES)}")
    return FIGURES[name]


def drawn(name: str, results: Results) -> pd.DataFrame:
    """Return the rows that a figure draws; empty for a figure without data.

    Raises:
        ConfigError: as in `entry`.
    """
    one = entry(name)
    if not one.table:
        return results.returns.iloc[:0]
    table: pd.DataFrame = getattr(results, one.table)
    tasks = others(table["task"]) if name.endswith(_AT_HAND) else one.tasks
    rows = one.rows(table)
    return rows if tasks is None else rows.loc[rows["task"].isin(tasks)]


def draw(name: str, results: Results, published: pd.DataFrame | None = None) -> Figure:
    """Draw a figure.

    Args:
        name: one of `FIGURES`.
        results: what `pompc.results.collect` returned.
        published: what `pompc.results.published.read` returned.

    Raises:
        ConfigError: as in `entry`.
    """
    one, rows = entry(name), drawn(name, results)
    if not one.table:
        return one.function()
    if one.whole:
        return one.function(results)
    curves = {"published": published} if one.published and published is not None else {}
    tasks = {"tasks": others(results.returns["task"])} if name.endswith(_AT_HAND) else {}
    return one.function(rows, **tasks, **curves)


def show(
    name: str, results: Results | None = None, published: pd.DataFrame | None = None
) -> tuple[Figure, Markdown]:
    """Return a figure and its caption, for a notebook's `display(*show(...))`.

    Args:
        name: as in `draw`.
        results: as there; by default the runs of the profile `small`.
        published: as there.

    Raises:
        ConfigError: as in `entry`.
    """
    one = entry(name)
    if not one.table:
        return one.function(), Markdown(f"*{one.about}*")
    results = collect() if results is None else results
    return draw(name, results, published), caption(drawn(name, results), one.about)
