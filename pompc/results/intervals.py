"""Statistics of returns over seeds: means, interquartile means, bootstraps, performance profiles.

Axis 0 of every array of scores is runs (seeds); further axes, such as evaluations, are kept. A
*stratum* is the scores of one task, `[N, ...]`, which is resampled apart from the others, with
replacement and `resamples` times; `generator` is the only source of randomness. Tasks weigh the
same, whatever their number of runs. Intervals are of 95 %; their ends are NaN where a task has one
run, which has no other to be redrawn for it. No scores at all are a ConfigError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import trim_mean

from pompc.errors import ConfigError

RESAMPLES = 2000  # of a bootstrap
Statistic = Callable[..., np.ndarray]  # called as `statistic(scores, axis=...)`, such as `iqm`


class Interval(NamedTuple):
    """An estimate and the ends of its interval, `[...]`; NaN ends where there is none."""

    center: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_interval(scores: np.ndarray, seed: int = 0) -> Interval:
    """Return the mean of `scores [N, ...]` over axis 0, and an interval within the scores.

    A few scores say little about their own spread: of up to three, the interval reaches from the
    lowest to the highest.
    """
    return stratified_bootstrap([scores], np.mean, np.random.default_rng(seed))


def iqm(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the interquartile mean: of what is left without the lowest and the highest quarter.

    A quarter that is no whole number of scores is rounded down, so that up to three scores all
    count. Agarwal et al. (2021).
    """
    return np.asarray(trim_mean(np.asarray(scores, float), 0.25, axis=axis))


def optimality_gap(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return how far runs stay below a normalised score of 1 on average. Agarwal et al. (2021)."""
    return np.mean(np.maximum(0.0, 1.0 - np.asarray(scores, float)), axis=axis)


def stratified_bootstrap(
    strata: Sequence[np.ndarray],
    statistic: Statistic,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return a statistic of all runs with its percentile interval, `[...]`.

    Runs of `strata`, `[N_task, ...]` each, are redrawn within each task; the statistic reduces the
    runs of all tasks together.
    """
    return _interval(*_resampled(strata, statistic, generator, resamples))


def bootstrap_difference(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    statistic: Statistic,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return how much a statistic of some runs exceeds that of others of the same tasks, `[...]`.

    Both are redrawn by task, as in `stratified_bootstrap`.
    """
    ours, theirs = (_resampled(s, statistic, generator, resamples) for s in (first, second))
    return _interval(ours[0] - theirs[0], ours[1] - theirs[1])


def probability_of_improvement(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return how often a run of one agent scores more than a run of another on the same task.

    A tie counts half, tasks weigh the same. Agarwal et al. (2021).

    Args:
        first: the scores `[N_task]` of one agent, a stratum a task.
        second: those of the other, of the same tasks.
        generator: of the bootstrap, which redraws both by task.
        resamples: how often.
    """
    pairs = list(zip(first, second, strict=True))
    shares = [_share_above(np.asarray(a)[None], np.asarray(b)[None])[0] for a, b in pairs]
    redrawn = [_share_above(*(_redrawn(s, generator, resamples) for s in pair)) for pair in pairs]
    alone = min(len(scores) for pair in pairs for scores in pair) == 1
    statistics = np.full(resamples, np.nan) if alone else np.mean(redrawn, axis=0)
    return _interval(np.asarray(np.mean(shares)), statistics)


def _share_above(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the share of pairs `[R]` of `first [R, N]` and `second [R, M]` won by the first."""
    ours, theirs = first[:, :, None], second[:, None]
    return np.mean((ours > theirs) + 0.5 * (ours == theirs), axis=(1, 2))


def _redrawn(scores: Any, generator: np.random.Generator, resamples: int) -> np.ndarray:
    scores = np.asarray(scores, float)
    return scores[generator.integers(len(scores), size=(resamples, len(scores)))]


def _resampled(
    strata: Sequence[np.ndarray],
    statistic: Statistic,
    generator: np.random.Generator,
    resamples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a statistic `[...]` of all runs, and `[resamples, ...]` of runs redrawn by task."""
    arrays = [np.asarray(scores, float) for scores in strata]
    if not arrays or not all(map(len, arrays)):
        raise ConfigError("there are no scores to summarise")
    drawn = [_redrawn(scores, generator, resamples) for scores in arrays]
    statistics = statistic(_pooled(drawn, axis=1), axis=1)
    if min(map(len, arrays)) == 1:
        statistics = np.full_like(statistics, np.nan)
    return statistic(_pooled(arrays, axis=0), axis=0), statistics


def _pooled(strata: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Join the runs of all tasks, each repeated until every task has the same number."""
    counts = [scores.shape[axis] for scores in strata]
    whole = math.lcm(*counts)
    repeated = [np.repeat(s, whole // n, axis) for s, n in zip(strata, counts, strict=True)]
    return np.concatenate(repeated, axis)


def _interval(center: np.ndarray, statistics: np.ndarray) -> Interval:
    return Interval(center, *np.quantile(statistics, [0.025, 0.975], axis=0))


def performance_profile(
    strata: Sequence[np.ndarray],
    thresholds: np.ndarray,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the share of runs, in [0, 1], with a score above each of `thresholds [T]`: `[T]`."""
    above = [np.asarray(scores)[:, None] > np.asarray(thresholds) for scores in strata]
    return stratified_bootstrap(above, np.mean, generator, resamples)


def normalise(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return (scores - low) / (high - low): 0 at `low`, 1 at `high`.

    Raises:
        ConfigError: unless `low` is less than `high`.
    """
    if not low < high:
        raise ConfigError(f"the range of scores is {low:g} to {high:g}, but must have a width")
    return (np.asarray(scores, float) - low) / (high - low)
