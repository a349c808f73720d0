"""What one change of PO-MPC does: each treatment, what was predicted of it, what runs say.

A treatment is the settings in which it differs from the preset `laptop` on `walker-run`. The
predictions were written before the runs of `sweeps/lambda.yaml`; their verdicts follow the rules of
`pompc.figures.verdicts`.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pompc import envs, runs
from pompc.figures import style
from pompc.figures.curves import short_steps
from pompc.figures.verdicts import CANNOT_TELL, CONTRADICTS, NOT_RUN, SEEDS, SUPPORTS, judge
from pompc.results.intervals import bootstrap_difference, iqm
from pompc.settings.config import Config

_TASK = {"task": "walker-run", "preset": "laptop", "steps": 100_000, "evaluate_every": 20_000}
_FREE = ("seed", "seeds", "matmul_precision")  # on a CPU, precision has one value
_SETTINGS = tuple(f.name for f in dataclasses.fields(Config) if f.name not in _FREE)
_HIGHEST = 1000.0  # return of a task of dm_control
_AVERAGED = 0.01  # `prior_rate` of an averaged prior
_KL = ["kl_mean", "kl_to_plans"]
MEASURED = (*_KL, "policy_grad_kl", "policy_grad_value", "consistency_loss", "kl_weight")
TREATMENTS: dict[str, dict[str, Any]] = {
    "TD-MPC2": {"method": "tdmpc2"},
    "BMPC": {"method": "bmpc"},
    "BMPC, Variant 3": {"method": "bmpc_v3"},
    "λ = 0": {"lam": 0.0},
    "λ = 0.03": {"lam": 0.03},
    "λ = 0.1": {"lam": 0.1},
    "λ = 1": {"lam": 1.0},
    "λ = 9": {"lam": 9.0},
    "λ = ∞": {"lam": math.inf},
    "budget 0.5": {"method": "pompc_budget", "kl_budget": 0.5},
    "budget 0.1": {"method": "pompc_budget", "kl_budget": 0.1},
    "λ = 1, averaged prior": {"lam": 1.0, "prior_rate": _AVERAGED},
    "λ = 1, Q^λ apart": {"lam": 1.0, "kl_value_trains_model": False},
    "λ = 1, no KL in Q": {"lam": 1.0, "kl_in_target": False},
    "λ = ∞, averaged prior": {"lam": math.inf, "prior_rate": _AVERAGED},
    "λ = ∞, mean of two Q": {"lam": math.inf, "target_heads": "mean_pair"},
}


class Prediction(NamedTuple):
    """What was said of a treatment before its runs: a range of a measure, or more than another."""

    treatment: str
    words: str
    measure: str = "return"  # a column of `gather`
    others: tuple[str, ...] = ()  # whose measure, pooled, it exceeds; none: see `low` and `high`
    matching: bool = False  # whether a little less than the other is as good
    low: float = -math.inf
    high: float = math.inf


PREDICTIONS = (
    Prediction("λ = 0.03", "returns at least those of λ = 0.1", others=("λ = 0.1",), matching=True),
    Prediction("λ = 1, Q^λ apart", "consistency loss at most 4.5e-4", "consistency_loss",
               high=4.5e-4),
    Prediction("λ = 1, Q^λ apart", "returns higher than with λ = 1", others=("λ = 1",)),
    Prediction("λ = 1, no KL in Q", "returns higher than with λ = 1", others=("λ = 1",)),
    # That is, half of Variant 3's lead over λ = ∞.
    Prediction("λ = ∞, mean of two Q", "returns above the middle of λ = ∞ and Variant 3",
               others=("λ = ∞", "BMPC, Variant 3")),
    Prediction("λ = 1, averaged prior", "KL to the reference at most 1 nat", "kl_mean", high=1.0),
    Prediction("λ = 1, averaged prior", "returns at least those of λ = 1", others=("λ = 1",),
               matching=True),
    Prediction("λ = ∞, averaged prior", "returns higher than with λ = ∞", others=("λ = ∞",)),
    Prediction("budget 0.5", "λ near 0.13, within a factor of 1.5", "kl_weight", low=0.13 / 1.5,
               high=0.13 * 1.5),
    Prediction("budget 0.5", "returns at least those of λ = 0.1", others=("λ = 0.1",),
               matching=True),
    Prediction("budget 0.1", "λ near 0.3, within a factor of 1.5", "kl_weight", low=0.2, high=0.45),
)  # fmt: skip


def load(*folders: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return evaluations and metrics with all settings; a ConfigError for a folder without runs."""
    returns = pd.concat([runs.load_runs(folder, _SETTINGS) for folder in folders])
    return returns, pd.concat([runs.load_metrics(folder, _SETTINGS) for folder in folders])


def gather(returns: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return a row a treatment and seed of what `load` returns.

    Columns: `treatment`, `seed`, the last `return` and `return_policy`, `lead` (the one minus the
    other), and means of `MEASURED`, columns of metrics.csv, over the last fifth of training. KLs
    are sums over action dimensions, also of a method that takes their mean. NaN is what a run did
    not measure.
    """
    parts = [_of_treatment(name, returns, metrics) for name in TREATMENTS]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(lead=table["return"] - table["return_policy"])


def _of_treatment(name: str, returns: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    own, measured = (_only(table, name) for table in (returns, metrics))
    ends = own.loc[own["env_step"] == _TASK["steps"], ["seed", "return", "return_policy"]]
    late = measured.loc[measured["env_step"] > 0.8 * _TASK["steps"]]
    means = late.reindex(columns=["seed", *MEASURED]).groupby("seed").mean()
    if _config(name).kl_reduction == "mean":
        means[_KL] *= envs.dimensions(_TASK["task"])[1]
    return ends.drop_duplicates("seed").merge(means, on="seed").assign(treatment=name)


def _config(name: str) -> Config:
    return Config(**_TASK, **TREATMENTS[name])


def _only(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of agents that have exactly the settings of a treatment."""
    wanted = _config(name)
    return table.loc[np.logical_and.reduce([table[n] == getattr(wanted, n) for n in _SETTINGS])]


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Return each prediction with its seeds, the number in what `gather` returns, its verdict."""
    generator = np.random.default_rng(0)
    rows = [(one.treatment, one.words, *_verdict(one, table, generator)) for one in PREDICTIONS]
    return pd.DataFrame(rows, columns=["change", "predicted", "seeds", "measured", "verdict"])


def _verdict(
    one: Prediction, table: pd.DataFrame, generator: np.random.Generator
) -> tuple[str, str, str]:
    """Return seeds, number and verdict of a prediction."""
    own, *others = (
        table.loc[table["treatment"] == name, one.measure].dropna().to_numpy(float)
        for name in (one.treatment, *one.others)
    )
    seeds = [len(scores) for scores in (own, *others)]
    if not min(seeds):
        return "", "", NOT_RUN
    if others:
        theirs = [scores / _HIGHEST for scores in others]
        difference = bootstrap_difference([own / _HIGHEST], theirs, iqm, generator)
        center, low, high = (_HIGHEST * float(end) for end in difference)
        measured = f"{center:+.0f}" + f" [{low:+.0f}, {high:+.0f}]" * (low == low)  # one seed: NaN
        verdict = judge(difference, one.matching)
    else:
        measured = f"{own.mean():.2g}" + f" [{own.min():.2g}, {own.max():.2g}]" * (len(own) > 1)
        verdict = SUPPORTS if one.low <= own.mean() <= one.high else CONTRADICTS
    if min(seeds) < SEEDS:
        verdict = f"{CANNOT_TELL}: few seeds"
    return " and ".join(map(str, seeds)), measured.replace("-", "−"), verdict


def by_treatment(table: pd.DataFrame, columns: Mapping[str, str], log: bool = False) -> Figure:
    """Draw columns of `gather`, named in words, a panel each: a row a treatment, a point a seed."""
    ran = table.dropna(subset=list(columns), how="all")
    names = [name for name in TREATMENTS if name in set(ran["treatment"])]
    with style.settings():
        size = style.WIDTH / len(columns), 0.21 * len(names) + 0.4
        figure, axes = style.panels(1, len(columns), *size, sharey=True)
        for panel, (column, title) in zip(axes.flat, columns.items(), strict=True):
            for place, name in enumerate(names):
                own = ran.loc[ran["treatment"] == name, column]
                style.row_of_seeds(panel, place, own, own.mean(), _color(name))
            panel.set_title(title, loc="left")
            if log:
                _log_axis(panel)
        style.name_rows(axes[0, 0], names)
        return figure


def _log_axis(panel: Axes) -> None:
    """Make x logarithmic, with ticks at 1, 2, 5, 10, ... and at least two in view."""
    panel.set_xscale("log")
    low, high = panel.get_xlim()
    wider = max(1.0, math.sqrt(5.1 * low / high))  # a tick's second next is 4 or 5 times it
    panel.set_xlim(low / wider, high * wider)
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())


def _color(name: str) -> str:
    config = _config(name)
    return style.look(config.method, config.lam, "reverse_kl").color


def over_steps(metrics: pd.DataFrame, column: str, label: str) -> Figure:
    """Draw a column of the metrics of `load` over steps, a line a treatment and seed with it."""
    with style.settings():
        figure, axes = style.panels(1, 1, style.WIDTH, 2.0)
        for name in TREATMENTS:
            rows = _only(metrics, name).dropna(subset=[column])
            for _, own in rows.groupby("seed"):
                smooth = own[column].rolling(5, min_periods=1).mean()
                axes[0, 0].plot(own["env_step"], smooth, color=_color(name), label=name, alpha=0.8)
        axes[0, 0].xaxis.set_major_formatter(short_steps)
        axes[0, 0].set(xlabel="environment steps", ylabel=label)
        style.legend(figure)
        return figure
