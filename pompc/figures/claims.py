"""The paper's claims against the runs at hand: each a difference, its interval, a verdict.

A verdict follows from numbers by a rule that was fixed when of the runs in `runs/small` only those
of TD-MPC2 had ended, so that it moves only when they do. Scores are normalised as in
`pompc.figures.reviewers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pompc.figures import style
from pompc.figures.captions import Markdown
from pompc.figures.curves import curve
from pompc.figures.tasks import score_range, title
from pompc.results import AGENT, Results
from pompc.statistics import Interval, bootstrap_difference, iqm, normalise

SEEDS = 3  # of each agent, at least: the paper's number
MARGIN = 0.05  # of a normalised score, which "never worse" and "matches" allow
COLUMNS = ["compared", "task", "measure", "seeds", "difference", "low", "high", "verdict"]
SUPPORTS, CONTRADICTS, CANNOT_TELL = "supports", "contradicts", "cannot tell"
NOT_RUN = "not run"

Agent = tuple[str, float, str]  # method, λ, prior
_TDMPC2: Agent = ("tdmpc2", 0.0, "reverse_kl")
_BMPC: Agent = ("bmpc_v3", math.inf, "replay")
_WEIGHTS: tuple[Agent, ...] = tuple(("pompc", lam, "reverse_kl") for lam in (0.1, 1.0, 9.0))
_NONE: Agent = ("pompc", 0.0, "reverse_kl")
_LEARNED, _REPLAY, _FORWARD = (
    ("pompc", 1.0, prior) for prior in ("reverse_kl", "replay", "forward_kl")
)
_EXPLORATION, _PRECISION = ("cartpole-swingup-sparse",), ("hopper-stand",)
_TASKS = ("walker-run", "hopper-stand", "cartpole-swingup-sparse")  # of sweeps/small.yaml


class Comparison(NamedTuple):
    """Two agents on some tasks; the claim says that the first has more."""

    first: Agent
    second: Agent
    tasks: tuple[str, ...] = _TASKS
    matching: bool = False  # whether the claim holds if the first has no less, but for `MARGIN`


class Claim(NamedTuple):
    """What the paper says, and what of the runs tells."""

    title: str
    sentence: str
    source: str
    comparisons: tuple[Comparison, ...]
    measure: str = "area"  # what is compared: a key of `MEASURES`


CLAIMS = {
    "C1": Claim(
        "does KL regularisation help?",
        "λ > 0 is more sample efficient than λ = 0 and than TD-MPC2.",
        "Figures 2 and 5, Table 1",
        tuple(Comparison(agent, other) for other in (_NONE, _TDMPC2) for agent in _WEIGHTS),
    ),
    "C2": Claim(
        "is an intermediate λ ever worse than BMPC?",
        "Intermediate λ is never worse than BMPC (λ = ∞ on replayed planners).",
        "Section 5.1, Figure 2",
        tuple(Comparison(agent, _BMPC, matching=True) for agent in _WEIGHTS),
    ),
    "C3": Claim(
        "learned prior or replayed planners?",
        "The learned prior matches or beats replayed planners.",
        "Figures 3 and 6",
        (Comparison(_LEARNED, _REPLAY, matching=True),),
    ),
    "C4": Claim(
        "which direction of the KL, and where?",
        "A prior trained by forward KL helps where exploration decides, one trained by reverse KL "
        "where precision does.",
        "Figures 4 and 8",
        (
            Comparison(_FORWARD, _LEARNED, _EXPLORATION),
            Comparison(_LEARNED, _FORWARD, _PRECISION),
        ),
    ),
    "C5": Claim(
        "the size of the KL term",
        "Mean and standard deviation of the KL term are larger with replayed planners than with "
        "the learned prior.",
        "Figure 7",
        (Comparison(_REPLAY, _LEARNED),),
        measure="kl",
    ),
}


class Measure(NamedTuple):
    """A number of each seed, by which agents are compared on a task."""

    name: str
    table: str  # of `Results`
    of_seeds: Callable[[pd.DataFrame, str], np.ndarray]  # rows of one agent and task, task -> [N]


def _normalised(rows: pd.DataFrame, task: str) -> np.ndarray:
    """Return the normalised scores `[N, S]` of the evaluations after the first, untrained one."""
    low, high = score_range(task) or (0.0, 1.0)
    found = curve(rows)
    return normalise(found.scores[:, found.x > 0], low, high)


def _area(rows: pd.DataFrame, task: str) -> np.ndarray:
    return _normalised(rows, task).mean(axis=1)


def _final(rows: pd.DataFrame, task: str) -> np.ndarray:
    return _normalised(rows, task)[:, -1]


def _log_mean(column: str) -> Callable[[pd.DataFrame, str], np.ndarray]:
    """Return a function of the log of a metric's mean over the second half of training."""

    def of_seeds(rows: pd.DataFrame, task: str) -> np.ndarray:
        del task
        late = rows.loc[rows["env_step"] > rows["env_step"].max() / 2]
        return np.log(late.groupby("seed")[column].mean().to_numpy(float))

    return of_seeds


MEASURES = {
    "area": (
        Measure("mean score over training", "returns", _area),
        Measure("last score", "returns", _final),
    ),
    "kl": (
        Measure("log of the KL term's mean", "metrics", _log_mean("kl_mean")),
        Measure("log of its standard deviation", "metrics", _log_mean("kl_std")),
    ),
}


def evidence(name: str, results: Results, seed: int = 0) -> pd.DataFrame:
    """Return what the runs say of a claim, columns `COLUMNS`, one row a comparison and measure.

    Each comparison is made on each of its tasks and, where both agents have run several, on all of
    them together. `difference` is that of interquartile means over seeds, with a 95 % interval of
    a bootstrap stratified by task, from two seeds of each on; of fewer than `SEEDS` seeds no
    verdict is given.

    Args:
        name: a key of `CLAIMS`.
        results: what `pompc.results.collect` returned.
        seed: of the bootstrap.
    """
    claim, lines = CLAIMS[name], list[dict[str, Any]]()
    for comparison in claim.comparisons:
        for measure in MEASURES[claim.measure]:
            lines += _compare(comparison, measure, results, np.random.default_rng(seed))
    return pd.DataFrame(lines, columns=COLUMNS)


def _compare(
    comparison: Comparison, measure: Measure, results: Results, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Return the rows of one comparison by one measure."""
    table = getattr(results, measure.table)
    # "λ" is PO-MPC's alone, so that its name need not stand before it.
    shown = (
        style.look(*agent).label.removeprefix("PO-MPC, ")
        for agent in (comparison.first, comparison.second)
    )
    head = {"compared": " against ".join(shown), "measure": measure.name}
    pairs = {}
    for task in comparison.tasks:
        pair = [_of_agent(table, agent, task) for agent in (comparison.first, comparison.second)]
        if not any(rows.empty for rows in pair):
            first, second = _equally_long(*pair)
            pairs[task] = measure.of_seeds(first, task), measure.of_seeds(second, task)
    lines = []
    for tasks in [[task] for task in comparison.tasks] + [list(pairs)] * (len(pairs) > 1):
        own = [pairs[task] for task in tasks if task in pairs]
        where = title(tasks[0]) if len(tasks) == 1 else f"all {len(tasks)}"
        lines.append(head | {"task": where} | _line(own, comparison.matching, generator))
    return lines


def _of_agent(table: pd.DataFrame, agent: Agent, task: str) -> pd.DataFrame:
    mine = table["task"] == task
    for column, value in zip(AGENT, agent, strict=True):
        mine &= table[column] == value
    return table.loc[mine]


def _equally_long(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut two tables at the last step that every seed of both has reached."""
    last = [max(own["env_step"]) for rows in (first, second) for _, own in rows.groupby("seed")]
    end = min(last)
    return first.loc[first["env_step"] <= end], second.loc[second["env_step"] <= end]


def _line(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    matching: bool,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Return difference, interval, seeds and verdict of the scores `[N]` of two agents by task."""
    if not pairs:
        return {"verdict": NOT_RUN}
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    seeds = [min(map(len, side)) for side in (ours, theirs)]
    found = bootstrap_difference(ours, theirs, iqm, generator)
    verdict = judge(found, matching) if min(seeds) >= SEEDS else f"{CANNOT_TELL}: few seeds"
    several = min(seeds) > 1
    return {
        "seeds": " and ".join(map(str, seeds)),
        "difference": float(found.center),
        "low": float(found.low) if several else math.nan,
        "high": float(found.high) if several else math.nan,
        "verdict": verdict,
    }


def judge(difference: Interval, matching: bool) -> str:
    """Return the verdict on a claim that a difference is positive.

    Args:
        difference: with its interval.
        matching: whether the claim holds, too, if it is no less than -`MARGIN`.
    """
    if difference.low > (-MARGIN if matching else 0.0):
        return SUPPORTS
    return CONTRADICTS if difference.high < 0.0 else CANNOT_TELL


def paragraph(name: str, table: pd.DataFrame) -> Markdown:
    """Return a claim, how its comparisons turned out, and the numbers of the broadest of them.

    Args:
        name: a key of `CLAIMS`.
        table: what `evidence` returned for it.
    """
    claim, measure = CLAIMS[name], MEASURES[CLAIMS[name].measure][0].name
    run = table.loc[(table["measure"] == measure) & (table["verdict"] != NOT_RUN)]
    broadest = run.drop_duplicates("compared", keep="last")  # all tasks, or the one that was run
    lines = [
        f"**The paper** ({claim.source}): {claim.sentence}",
        "",
        f"**Our runs:** {_counted(table)}",
    ]
    lines += [""] + [
        f"- {row['compared']}, {row['task']}: {measure} {_interval(row)}, {row['seeds']} seeds: "
        f"**{row['verdict']}**."
        for row in broadest.to_dict(orient="records")
    ]
    return Markdown("\n".join(lines))


def _counted(table: pd.DataFrame) -> str:
    counts = table["verdict"].str.partition(":")[0].value_counts()
    words = {SUPPORTS: "support it", CONTRADICTS: "contradict it", CANNOT_TELL: "cannot tell",
             NOT_RUN: "were not run"}  # fmt: skip
    parts = [f"{counts[verdict]} {said}" for verdict, said in words.items() if verdict in counts]
    return f"of {len(table)} comparisons {', '.join(parts)}."


def _interval(row: Mapping[Any, Any]) -> str:
    interval = f" [{row['low']:+.3f}, {row['high']:+.3f}]" if row["low"] == row["low"] else ""
    return f"{row['difference']:+.3f}{interval}"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a claim's evidence as a page shows it: interval in one column, no empty rows."""
    run = table.loc[table["verdict"] != NOT_RUN]
    interval = [_interval(row) for row in run.to_dict(orient="records")]
    shown = run.drop(columns=["difference", "low", "high"])
    shown.insert(len(shown.columns) - 1, "difference", interval)
    return shown.set_index("compared")
