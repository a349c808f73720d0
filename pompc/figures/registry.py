"""Every figure by name: the function that draws it, the rows that it draws, and its caption.

`figure_2` to `figure_8` are the paper's, of its tasks; `small_tasks_...` are the same comparisons
on the tasks that the runs hold and the paper lacks. A figure without runs is not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from pompc.errors import ConfigError, nearest
from pompc.figures import (
    comparisons,
    first_figure,
    overview,
    public_code,
    sample_efficiency,
    seed_statistics,
    verdicts,
)
from pompc.figures.captions import Markdown, caption, not_run
from pompc.figures.tasks import AVERAGED, DMCONTROL, HUMANOIDBENCH, PAPER
from pompc.results.read_runs import Results, collect

_BANDS = "Lines are means over seeds, bands 95 % intervals of a bootstrap over seeds."
_PRIORS = f"the learned prior (solid) and replayed planners (dashed), by λ. {_BANDS}"
_DIRECTIONS = f"a prior trained by reverse (solid) and by forward KL (dash-dotted), by λ. {_BANDS}"
_KL = (
    "mean and standard deviation over a batch of the KL term of Eq. (18), before it is divided by "
    f"its scale, with λ = 1. The learned prior is solid, replayed planners are dashed. {_BANDS}"
)


class Entry(NamedTuple):
    """A figure."""

    function: Callable[..., Figure]
    about: str  # the beginning of its caption
    rows: Callable[[pd.DataFrame], pd.DataFrame] = comparisons.methods  # of its table
    tasks: tuple[str, ...] | None = None  # of the paper that it draws; None: any
    small: bool = False  # whether it draws those tasks only that the paper lacks
    table: str = "returns"  # of `Results`; "" for a figure without data
    options: Mapping[str, Any] = {}  # of its function
    published: bool = False  # whether published curves are drawn, too
    whole: bool = False  # whether it takes all of `Results`, and not only its rows


_against_replay = partial(comparisons.regularised, priors=comparisons.AGAINST_REPLAY)
_directions = partial(comparisons.regularised, priors=comparisons.DIRECTIONS)
_METHODS = {"wanted": comparisons.METHODS}


def _all(table: pd.DataFrame) -> pd.DataFrame:
    return table


def _compared_methods(table: pd.DataFrame) -> pd.DataFrame:
    return overview.compared_or_all(comparisons.methods(table))


FIGURES: dict[str, Entry] = {
    "figure_1": Entry(first_figure.figure_1,
        "The idea of Figure 1. The planner's distribution is stored with each transition. It "
        "becomes a prior, itself or through a network that is fitted to it. The sampling policy is "
        "trained towards high values and, with weight λ, towards that prior, and proposes "
        "trajectories to the planner. Below: Gaussians fitted to the same three plans by the two "
        "divergences.", table=""),
    "planner_over_policy": Entry(overview.planner_over_policy,
        "Planner and policy by λ: the last return with the planner minus the last return of the "
        "sampling policy alone. Points are seeds, bars their means.", overview.weights),
    "coverage": Entry(overview.coverage,
        "What was run: seeds × environment steps of each agent and task.", _all),
    "claims_verdicts": Entry(verdicts.claims_verdicts,
        "Comparisons that support each claim of the paper, contradict it, or cannot tell.",
        verdicts.rows_of, whole=True),
    "claims": Entry(verdicts.claims_forest,
        "Differences that the paper's claims are about, with 95 % intervals of a bootstrap over "
        "seeds. Positive supports the claim.", verdicts.rows_of, whole=True),
    "last_returns": Entry(overview.last_returns,
        "The last return of each seed (points) and their mean (bars).", overview.compared_or_all),
    "steps_to_return": Entry(sample_efficiency.steps_to_return,
        "Environment steps until half of the highest last return. Points are seeds, bars stand "
        "where half of them are there; a hollow triangle is a seed that never is.",
        overview.compared_or_all),
    "small_tasks_returns": Entry(comparisons.returns,
        f"Small tasks: returns. {_BANDS}", _compared_methods, small=True),
    "small_tasks_prior_or_replay": Entry(comparisons.returns_by_weight,
        f"Small tasks: {_PRIORS}", _against_replay, small=True),
    "small_tasks_kl_direction": Entry(comparisons.returns_by_weight,
        f"Small tasks: {_DIRECTIONS}", _directions, small=True),
    "small_tasks_kl_term": Entry(comparisons.kl_term,
        f"Small tasks: {_KL}", comparisons.first_weight, small=True, table="metrics"),
    "small_tasks_hours": Entry(seed_statistics.wall_clock,
        "Small tasks: returns over hours, evaluations included. Means over seeds of returns and of "
        "hours.", overview.compared_or_all, small=True),
    "iqm": Entry(seed_statistics.iqm_curves,
        "Interquartile mean of normalised scores over runs and tasks, with 95 % intervals of a "
        "bootstrap stratified by task.", seed_statistics.pooled),
    "performance_profiles": Entry(seed_statistics.performance_profiles,
        "Performance profiles: the share of runs whose last normalised score exceeds τ, with 95 % "
        "intervals of a bootstrap stratified by task.", seed_statistics.pooled),
    "public_code": Entry(public_code.public_code,
        "Public implementations (dashed) and this code, with the same hyper-parameters and "
        "environments. Thin lines are seeds, thick ones their means.", _all, table="peers"),
    "speed": Entry(public_code.decisions_per_second,
        "Decisions per second of the whole loop, all agents of a program counted. Behind each bar: "
        "how many times as fast it is as the public implementation that does as much.", table=""),
    "figure_2": Entry(comparisons.returns, f"Figure 2: HumanoidBench. {_BANDS}",
        tasks=HUMANOIDBENCH, options=_METHODS, published=True),
    "figure_3": Entry(comparisons.returns_by_weight, f"Figure 3: {_PRIORS}", _against_replay,
        AVERAGED, options={"shown": ("h1hand-balance_simple",)}),
    "figure_4": Entry(comparisons.returns_by_weight, f"Figure 4: {_DIRECTIONS}", _directions,
        AVERAGED, options={"shown": ("h1hand-stair", "h1hand-balance_simple")}),
    "figure_5": Entry(comparisons.returns, f"Figure 5: DMControl. {_BANDS}",
        tasks=DMCONTROL, options=_METHODS, published=True),
    "figure_6": Entry(comparisons.returns, f"Figure 6: {_PRIORS}", _against_replay, HUMANOIDBENCH),
    "figure_7": Entry(comparisons.kl_term, f"Figure 7: {_KL}", comparisons.first_weight,
        HUMANOIDBENCH, table="metrics"),
    "figure_8": Entry(comparisons.returns, f"Figure 8: {_DIRECTIONS}", _directions, HUMANOIDBENCH),
}  # fmt: skip


def entry(name: str) -> Entry:
    """Return a figure by its name; an unknown one is a ConfigError."""
    if name not in FIGURES:
        raise ConfigError(f"there is no figure {name!r}{nearest(name, FIGURES)}")
    return FIGURES[name]


def drawn(name: str, results: Results) -> pd.DataFrame:
    """Return the rows that a figure draws; empty for a figure without data."""
    one = entry(name)
    table: pd.DataFrame = getattr(results, one.table or "returns")
    if one.small:
        table = table.loc[~table["task"].isin(PAPER)]
    if one.tasks is not None:
        table = table.loc[table["task"].isin(one.tasks)]
    return one.rows(table) if one.table and len(table) else table.iloc[:0]


def draw(name: str, results: Results, published: pd.DataFrame | None = None) -> Figure | None:
    """Draw a figure; None where it has no runs, a ConfigError for an unknown name."""
    one, rows = entry(name), drawn(name, results)
    if not one.table:
        return one.function()
    if rows.empty:
        return None
    curves = {"published": published} if one.published else {}
    return one.function(results if one.whole else rows, **one.options, **curves)


def show(
    names: str | Sequence[str],
    results: Results | None = None,
    published: pd.DataFrame | None = None,
) -> list[Figure | Markdown]:
    """Return figures and their captions, for `display(*show(...))`; one line for all without runs.

    Without `results` the runs of the profile `small` are drawn. An unknown name is a ConfigError.
    """
    shown, left_out = list[Figure | Markdown](), list[str]()
    for name in [names] if isinstance(names, str) else names:
        one = entry(name)
        if not one.table:
            shown += [one.function(), Markdown(f"*{one.about}*")]
            continue
        results = collect() if results is None else results
        figure, rows = draw(name, results, published), drawn(name, results)
        missing = [task for task in one.tasks or () if task not in set(rows["task"])]
        if figure is None:
            left_out.append(name)
        else:
            shown += [figure, caption(rows, one.about, missing)]
    if left_out:
        tasks = {task for name in left_out for task in FIGURES[name].tasks or ()}
        shown.append(not_run(left_out, tasks))
    return shown
