"""Statistics of returns over seeds: means, interquartile means, bootstraps, performance profiles.

Axis 0 of every array of scores is runs (seeds); further axes, such as evaluations, are kept. A
*stratum* is the scores of one task, `[N, ...]`, which is resampled apart from the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pompc.errors import ConfigError

LEVEL = 0.95  # of every interval, unless said otherwise
RESAMPLES = 2000  # of a bootstrap


class Interval(NamedTuple):
    """An estimate and the ends of its interval, `[...]`; NaN ends where there is none."""

    center: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_interval(scores: np.ndarray, seed: int = 0) -> Interval:
    """Return the mean over axis 0 with a bootstrap's interval, which no score lies beyond.

    A few scores say little about their own spread: of up to three, the interval reaches from the
    lowest to the highest.

    Args:
        scores: `[N, ...]`; the interval's ends are NaN for N = 1.
        seed: of the bootstrap.

    Raises:
        ConfigError: for no scores.
    """
    return stratified_bootstrap([scores], np.mean, np.random.default_rng(seed))


def iqm(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the interquartile mean: of what is left without the lowest and the highest quarter.

    A quarter that is no whole number of scores is rounded down, so that up to three scores all
    count. Agarwal et al. (2021).
    """
    scores = np.sort(np.asarray(scores, float), axis=axis)
    cut = scores.shape[axis] // 4
    kept = np.arange(cut, scores.shape[axis] - cut)
    return np.take(scores, kept, axis=axis).mean(axis=axis)


def stratified_bootstrap(
    strata: Sequence[np.ndarray],
    statistic: Callable[..., np.ndarray],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return a statistic of all runs with its percentile interval, runs redrawn within each task.

    Tasks weigh the same, whatever their number of runs.

    Args:
        strata: the scores of each task, `[N_task, ...]`, equal in all axes but the first.
        statistic: called as `statistic(scores, axis=...)`, such as `iqm` or `numpy.mean`; reduces
            the runs of all tasks together.
        generator: the only source of randomness.
        resamples: how often the runs are redrawn, with replacement.
        level: share of the resampled statistics between the interval's ends.

    Returns:
        Arrays `[...]`; the ends are NaN where a task has one run, which has no other to be redrawn
        for it.

    Raises:
        ConfigError: for no scores, or a level outside (0, 1).
    """
    center, statistics = _resampled(strata, statistic, generator, resamples)
    return _percentiles(center, statistics, level)


def bootstrap_difference(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    statistic: Callable[..., np.ndarray],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return how much a statistic of some runs exceeds that of others, both redrawn by task.

    Args:
        first: the scores of each task, as in `stratified_bootstrap`.
        second: those to compare with, of the same tasks.
        statistic: called as `statistic(scores, axis=...)`.
        generator: the only source of randomness.
        resamples: how often the runs are redrawn, with replacement.
        level: share of the resampled differences between the interval's ends.

    Returns:
        Arrays `[...]`; the ends are NaN where a task has one run.

    Raises:
        ConfigError: for no scores, or a level outside (0, 1).
    """
    ours, theirs = (_resampled(s, statistic, generator, resamples) for s in (first, second))
    return _percentiles(ours[0] - theirs[0], ours[1] - theirs[1], level)


def _resampled(
    strata: Sequence[np.ndarray],
    statistic: Callable[..., np.ndarray],
    generator: np.random.Generator,
    resamples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a statistic `[...]` of all runs, and `[resamples, ...]` of runs redrawn by task.

    The latter are NaN where a task has one run.
    """
    arrays = [np.asarray(scores, float) for scores in strata]
    for scores in arrays or [np.empty(0)]:
        _check_scores(scores)
    drawn = [
        scores[generator.integers(len(scores), size=(resamples, len(scores)))] for scores in arrays
    ]
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


def _percentiles(center: np.ndarray, statistics: np.ndarray, level: float) -> Interval:
    _check_level(level)
    low, high = np.quantile(statistics, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return Interval(center, low, high)


def performance_profile(
    strata: Sequence[np.ndarray],
    thresholds: np.ndarray,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the share of runs with a score above each threshold, with its bootstrap interval.

    Args:
        strata: the scores of each task, `[N_task]`.
        thresholds: `[T]`, in the unit of the scores.
        generator: the only source of randomness.
        resamples: how often the runs are redrawn, with replacement.

    Returns:
        Arrays `[T]` in [0, 1]; the ends are NaN where a task has one run.

    Raises:
        ConfigError: for no scores.
    """
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


def _check_scores(scores: np.ndarray) -> None:
    if not len(scores):
        raise ConfigError("there are no scores to summarise")


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level:g}, but must lie between 0 and 1")
