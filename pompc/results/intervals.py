"""Statistics of returns over seeds: means, interquartile means, bootstraps, performance profiles.

Axis 0 of every array of scores is runs (seeds); further axes, such as evaluations, are kept. A
*stratum* is the scores of one task, `[N, ...]`, which is resampled apart from the others, with
replacement and `RESAMPLES` times; `generator` is the only source of randomness. Tasks weigh the
same, whatever their number of runs. Intervals are of 95 %; their ends are NaN where a task has one
run, which has no other to be redrawn for it. No scores at all are a ConfigError.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.stats import trim_mean

from pompc.errors import ConfigError

RESAMPLES = 2000  # of a bootstrap
Strata = Sequence[np.ndarray]  # a stratum for each task
Statistic = Callable[..., np.ndarray]  # called as `statistic(scores, axis=...)`, such as `iqm`


class Interval(NamedTuple):
    """An estimate and the ends of its interval, `[...]`; NaN ends where there is none."""

    center: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_interval(scores: np.ndarray) -> Interval:
    """Return the mean of `scores [N, ...]` over axis 0, and an interval within the scores.

    Few scores say little about their spread: of up to three it is from the lowest to the highest.
    """
    return stratified_bootstrap([scores], np.mean, np.random.default_rng(0))


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
    strata: Strata, statistic: Statistic, generator: Generator, resamples: int = RESAMPLES
) -> Interval:
    """Return a statistic of all runs with its percentile interval, `[...]`.

    Runs of `strata`, `[N_task, ...]` each, are redrawn within each task; the statistic reduces the
    runs of all tasks together.
    """
    return _interval(*_resampled(strata, statistic, generator, resamples))


def bootstrap_difference(
    first: Strata, second: Strata, statistic: Statistic, generator: Generator
) -> Interval:
    """Return how much a statistic of some runs exceeds that of others on the same tasks."""
    ours, theirs = (_resampled(s, statistic, generator) for s in (first, second))
    return _interval(ours[0] - theirs[0], ours[1] - theirs[1])


def probability_of_improvement(first: Strata, second: Strata, generator: Generator) -> Interval:
    """Return how often a run of one agent scores more than a run of another on the same task.

    The scores are `[N_task]`, a stratum a task for each agent; both are redrawn by task. A tie
    counts half, tasks weigh the same. Agarwal et al. (2021).
    """
    pairs = list(zip(first, second, strict=True))
    shares = [_share_above(np.asarray(a)[None], np.asarray(b)[None])[0] for a, b in pairs]
    redrawn = [_share_above(*(_redrawn(s, generator) for s in pair)) for pair in pairs]
    alone = min(len(scores) for pair in pairs for scores in pair) == 1
    statistics = np.full(RESAMPLES, np.nan) if alone else np.mean(redrawn, axis=0)
    return _interval(np.asarray(np.mean(shares)), statistics)


def _share_above(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the share of pairs `[R]` of `first [R, N]` and `second [R, M]` won by the first."""
    ours, theirs = first[:, :, None], second[:, None]
    return np.mean((ours > theirs) + 0.5 * (ours == theirs), axis=(1, 2))


def _redrawn(scores: np.ndarray, generator: Generator, resamples: int = RESAMPLES) -> np.ndarray:
    scores = np.asarray(scores, float)
    return scores[generator.integers(len(scores), size=(resamples, len(scores)))]


def _resampled(
    strata: Strata, statistic: Statistic, generator: Generator, resamples: int = RESAMPLES
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


def _pooled(strata: Strata, axis: int) -> np.ndarray:
    """Join the runs of all tasks, each repeated until every task has the same number."""
    whole = math.lcm(*(scores.shape[axis] for scores in strata))
    return np.concatenate([np.repeat(s, whole // s.shape[axis], axis) for s in strata], axis)


def _interval(center: np.ndarray, statistics: np.ndarray) -> Interval:
    return Interval(center, *np.quantile(statistics, [0.025, 0.975], axis=0))


def performance_profile(strata: Strata, thresholds: np.ndarray, generator: Generator) -> Interval:
    """Return the share of runs, in [0, 1], with a score above each of `thresholds [T]`: `[T]`."""
    above = [np.asarray(scores)[:, None] > np.asarray(thresholds) for scores in strata]
    return stratified_bootstrap(above, np.mean, generator)


def normalise(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return (scores - low) / (high - low); a ConfigError unless `low` is less than `high`."""
    if not low < high:
        raise ConfigError(f"the range of scores is {low:g} to {high:g}, but must have a width")
    return (np.asarray(scores, float) - low) / (high - low)
