"""The paper's claims against the runs at hand: each a difference, its interval, a verdict.

A verdict follows from numbers by a rule that was fixed when of the runs in `runs/small` only
TD-MPC2's had ended, which were replaced since. Two slips were mended: a claim that allows for
`MARGIN` is contradicted beyond it, and not beyond 0 (`judge`); tasks weigh the same, whatever their
number of seeds. Scores are normalised as in `pompc.figures.reviewers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pompc.figures import style
from pompc.figures.captions import Folded, Markdown
from pompc.figures.claims import SCALES, Agent, Claim, Comparison, claims, scale_of
from pompc.figures.curves import curve
from pompc.figures.tasks import score_range, title
from pompc.results.intervals import Interval, bootstrap_difference, iqm, normalise
from pompc.results.read_runs import AGENT, Results

SEEDS = 3  # of each agent, at least: the paper's number
MARGIN = 0.05  # of a normalised score, which "never worse" and "matches" allow
COLUMNS = ["compared", "task", "measure", "seeds", "difference", "low", "high", "verdict"]
SUPPORTS, CONTRADICTS, CANNOT_TELL = "supports", "contradicts", "cannot tell"
NOT_RUN = "not run"


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


def claims_of(results: Results) -> dict[str, Claim]:
    """Return the claims with the comparisons that fit the runs' tasks, by name."""
    nothing = results.returns.empty
    of_paper = nothing and results.profile == "paper"
    return claims(SCALES[1] if of_paper else scale_of(results.returns["task"]))


def rows_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of those tasks that the claims are tested on."""
    return table.loc[table["task"].isin(scale_of(table["task"]).tasks)]


def gather(claim: Claim, results: Results, seed: int = 0) -> pd.DataFrame:
    """Return what the runs say of a claim, columns `COLUMNS`, one row a comparison and measure.

    Each comparison is made on each of its tasks and, where both agents have run several, on all of
    them together. `difference` is one of interquartile means over seeds, with a 95 % interval of
    a bootstrap stratified by task, from two seeds of each on; of fewer than `SEEDS` seeds no
    verdict is given.

    Args:
        claim: one of `claims_of`.
        results: what `pompc.results.collect` returned.
        seed: of the bootstrap.
    """
    lines = list[dict[str, Any]]()
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
        if any(rows.empty for rows in pair):
            continue
        first, second = _equally_long(*pair)
        if max(first["env_step"]) > 0:
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
    return {
        "seeds": " and ".join(map(str, seeds)),
        "difference": float(found.center),
        "low": float(found.low),
        "high": float(found.high),
        "verdict": verdict,
    }


def judge(difference: Interval, matching: bool) -> str:
    """Return the verdict on a claim that a difference is positive, or no less than -`MARGIN`.

    Args:
        difference: with its interval.
        matching: whether the claim is the latter.
    """
    least = -MARGIN if matching else 0.0
    if difference.low > least:
        return SUPPORTS
    return CONTRADICTS if difference.high < least else CANNOT_TELL


def _paragraph(claim: Claim, table: pd.DataFrame) -> Markdown:
    """Return a claim, and how its comparisons turned out."""
    said = f"**The paper** ({claim.source}): {claim.sentence}"
    return Markdown(f"{said}\n\n**Our runs:** {_counted(table)}")


def _counted(table: pd.DataFrame) -> str:
    words = {SUPPORTS: "for it", CONTRADICTS: "against it", CANNOT_TELL: "that cannot tell",
             NOT_RUN: "not run"}  # fmt: skip
    parts = [f"{count} {words[verdict]}" for verdict, count in _counts(table).items() if count]
    return f"{len(table)} comparisons: {', '.join(parts)}."


def _counts(table: pd.DataFrame) -> dict[str, int]:
    verdicts = list(table["verdict"].str.partition(":")[0])
    kinds = (SUPPORTS, CONTRADICTS, CANNOT_TELL, NOT_RUN)
    return {verdict: verdicts.count(verdict) for verdict in kinds}


def summary(results: Results) -> pd.DataFrame:
    """Return how many comparisons of each claim support it, contradict it, cannot tell.

    Args:
        results: what `pompc.results.collect` returned.

    Returns:
        One row a claim, C1 to C5.
    """
    found = claims_of(results)
    rows = [{"question": claim.title} | _counts(gather(claim, results)) for claim in found.values()]
    return pd.DataFrame(rows, index=pd.Index(found))


def _interval(row: Mapping[Any, Any]) -> str:
    interval = f" [{row['low']:+.3f}, {row['high']:+.3f}]" if row["low"] == row["low"] else ""
    return f"{row['difference']:+.3f}{interval}".replace("-", "−")


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a claim's evidence as a page shows it: a row a comparison and task that was run.

    A cell has the difference by one measure, its interval and the verdict.
    """
    run = table.loc[table["verdict"] != NOT_RUN]
    rows = [
        {"compared": compared, "task": task, "seeds": own["seeds"].iloc[0]}
        | {row["measure"]: f"{_interval(row)} {row['verdict']}" for row in own.to_dict("records")}
        for (compared, task), own in run.groupby(["compared", "task"], sort=False)
    ]
    return pd.DataFrame(rows)


def answer(name: str, results: Results) -> tuple[object, ...]:
    """Return a claim with its verdicts and, if it was run, its numbers, folded, for `display`.

    Args:
        name: C1 to C5.
        results: what `pompc.results.collect` returned.
    """
    claim = claims_of(results)[name]
    table = gather(claim, results)
    shown = readable(table)
    return _paragraph(claim, table), *([Folded("Numbers", shown)] if len(shown) else [])
