"""The paper's claims against the runs at hand: each a difference, its interval, a verdict.

A verdict follows from numbers by a rule that was fixed when of the runs in `runs/small` only
TD-MPC2's had ended, which were replaced since. Two slips were mended: a claim that allows for
`MARGIN` is contradicted beyond it, and not beyond 0 (`judge`); tasks weigh the same, whatever their
number of seeds. Scores are normalised as in `pompc.figures.seed_statistics`.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.captions import Folded, Markdown
from pompc.figures.claims import SCALES, Claim, Comparison, claims, scale_of
from pompc.figures.curves import curve, told_apart
from pompc.figures.tasks import normalised, title
from pompc.results.intervals import Interval, bootstrap_difference, iqm
from pompc.results.read_runs import CELL, CHANGES, Results

SEEDS = 3  # of each agent, at least: the paper's number
MARGIN = 0.05  # of a normalised score, which "never worse" and "matches" allow
COLUMNS = ["compared", "task", "measure", "seeds", "difference", "low", "high", "verdict"]
SUPPORTS, CONTRADICTS, CANNOT_TELL = "supports", "contradicts", "cannot tell"
NOT_RUN = "not run"
_COLORS = {SUPPORTS: "#0B62A8", CONTRADICTS: "#D55E00", CANNOT_TELL: "#A0A0A0"}
_MARKERS = (  # of a claim's two measures, the upper and the lower point of a row
    ("o", 0.17, "mean score over training; C5: log of the KL term's mean"),
    ("s", -0.17, "last score; C5: log of its standard deviation"),
)


class Measure(NamedTuple):
    """A number of each seed, by which agents are compared on a task."""

    name: str
    table: str  # of `Results`
    of_seeds: Callable[[pd.DataFrame, str], np.ndarray]  # rows of one agent and task, task -> [N]


def _scores(rows: pd.DataFrame, task: str) -> np.ndarray:
    """Return the normalised scores `[N, S]` of the evaluations after the first, untrained one."""
    found = curve(rows)
    return normalised(task, found.scores[:, found.x > 0])


def _late(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return the log of a metric's mean over the second half of training, `[N]`."""
    late = rows.loc[rows["env_step"] > rows["env_step"].max() / 2]
    return np.log(late.groupby("seed")[column].mean().to_numpy(float))


MEASURES = {
    "area": (
        Measure("mean score over training", "returns", lambda *own: _scores(*own).mean(axis=1)),
        Measure("last score", "returns", lambda *own: _scores(*own)[:, -1]),
    ),
    "kl": (
        Measure("log of the KL term's mean", "metrics", lambda own, _: _late(own, "kl_mean")),
        Measure("log of its standard deviation", "metrics", lambda own, _: _late(own, "kl_std")),
    ),
}


def claims_of(results: Results) -> dict[str, Claim]:
    """Return the claims with the comparisons that fit the runs' tasks, by name."""
    of_paper = results.returns.empty and results.profile == "paper"
    return claims(SCALES[1] if of_paper else scale_of(results.returns["task"]))


def rows_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of those tasks that the claims are tested on."""
    return table.loc[table["task"].isin(scale_of(table["task"]).tasks)]


def gather(claim: Claim, results: Results) -> pd.DataFrame:
    """Return what the runs say of a claim, columns `COLUMNS`, one row a comparison and measure.

    Each comparison is made on each of its tasks and, where both agents have run several, on all of
    them together. `difference` is one of interquartile means over seeds, with a 95 % interval of
    a bootstrap stratified by task, from two seeds of each on; a verdict needs `SEEDS` seeds.
    """
    pairs = itertools.product(claim.comparisons, MEASURES[claim.measure])
    lines = [line for pair in pairs for line in _compare(*pair, results)]
    return pd.DataFrame(lines, columns=COLUMNS)


def _compare(comparison: Comparison, measure: Measure, results: Results) -> list[dict[str, Any]]:
    """Return the rows of one comparison by one measure."""
    generator = np.random.default_rng(0)
    table = told_apart(getattr(results, measure.table))
    table = table.loc[table[CHANGES] == ""]  # the claims are on agents as they are
    agents = (comparison.first, comparison.second)
    compared = " against ".join(style.name(*agent) for agent in agents)
    pairs = {}
    for task in comparison.tasks:
        pair = [table.loc[(table[CELL] == [task, *agent]).all(axis=1)] for agent in agents]
        # The last step that every seed of both has reached.
        end = min(rows.groupby("seed")["env_step"].max().min() for rows in pair)
        if all(len(rows) for rows in pair) and end > 0:
            pairs[task] = tuple(measure.of_seeds(rows.loc[rows["env_step"] <= end], task)
                                for rows in pair)  # fmt: skip
    lines = []
    for tasks in [[task] for task in comparison.tasks] + [list(pairs)] * (len(pairs) > 1):
        own = [pairs[task] for task in tasks if task in pairs]
        where = title(tasks[0]) if len(tasks) == 1 else f"all {len(tasks)}"
        line = _line(own, comparison.matching, generator)
        lines.append({"compared": compared, "measure": measure.name, "task": where} | line)
    return lines


def _line(
    pairs: Sequence[tuple[np.ndarray, ...]], matching: bool, generator: np.random.Generator
) -> dict[str, Any]:
    """Return difference, interval, seeds and verdict of the scores `[N]` of two agents by task."""
    if not pairs:
        return {"verdict": NOT_RUN}
    ours, theirs = zip(*pairs, strict=True)
    seeds = [min(map(len, side)) for side in (ours, theirs)]
    found = bootstrap_difference(ours, theirs, iqm, generator)
    verdict = judge(found, matching) if min(seeds) >= SEEDS else f"{CANNOT_TELL}: few seeds"
    numbers = dict(zip(("difference", "low", "high"), map(float, found), strict=True))
    return {"seeds": " and ".join(map(str, seeds)), "verdict": verdict} | numbers


def judge(difference: Interval, matching: bool) -> str:
    """Return the verdict on: a difference is positive or, if `matching`, no less than -`MARGIN`."""
    least = -MARGIN if matching else 0.0
    if difference.low > least:
        return SUPPORTS
    return CONTRADICTS if difference.high < least else CANNOT_TELL


def _counts(table: pd.DataFrame) -> dict[str, int]:
    verdicts = list(table["verdict"].str.partition(":")[0])
    kinds = (SUPPORTS, CONTRADICTS, CANNOT_TELL, NOT_RUN)
    return {verdict: verdicts.count(verdict) for verdict in kinds}


def summary(results: Results) -> pd.DataFrame:
    """Return how many comparisons support, contradict, or cannot tell: a row a claim, C1 to C5."""
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
    """Return a claim, C1 to C5, with its verdicts and, if it was run, its numbers, folded."""
    claim = claims_of(results)[name]
    table = gather(claim, results)
    words = ("for it", "against it", "that cannot tell", "not run")
    counts = zip(_counts(table).values(), words, strict=True)
    parts = [f"{count} {told}" for count, told in counts if count]
    said = Markdown(
        f"**The paper** ({claim.source}): {claim.sentence}\n\n"
        f"**Our runs:** {len(table)} comparisons: {', '.join(parts)}."
    )
    shown = readable(table)
    return said, *([Folded("Numbers", shown)] if len(shown) else [])


def claims_verdicts(results: Results) -> Figure:
    """Draw how many comparisons of each claim support it, contradict it, cannot tell."""
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
    """Draw the differences of every claim, a panel each, with a point for each of two measures."""
    claims = claims_of(results)
    tables = {
        name: gather(claim, results).dropna(subset="difference") for name, claim in claims.items()
    }
    tables = {name: table for name, table in tables.items() if len(table)}
    rows = [len(table) // 2 + len(set(table["compared"])) for table in tables.values()]
    with style.settings():
        figure, axes = style.stacked(rows, 0.22)
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
            points = measures.to_dict(orient="records")
            for point, (marker, above, _) in zip(points, _MARKERS, strict=True):
                center, color = point["difference"], _COLORS[point["verdict"].partition(":")[0]]
                interval = [[center - point["low"]], [point["high"] - center]]
                panel.errorbar(center, len(labels) - above, xerr=interval, color=color, fmt=marker,
                               markersize=3.5, linewidth=1.2)  # fmt: skip
            labels.append(f"    {task}")
    style.name_rows(panel, labels)
    for label in panel.get_yticklabels():
        label.set_fontweight("normal" if label.get_text().startswith(" ") else "bold")


def _key(panel: Axes) -> None:
    """Name colours and markers for the legend, without drawing anything."""
    for verdict, color in _COLORS.items():
        panel.plot([], [], "-", color=color, linewidth=3, label=verdict)
    for marker, _, name in _MARKERS:
        panel.plot([], [], marker, color=style.INK, markersize=3.5, label=name)
