"""Statistics against SciPy, naive loops, and cases that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pompc.errors import ConfigError
from pompc.results import intervals


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_mean_interval_of_three_reaches_from_the_lowest_to_the_highest():
    # Of 27 draws one has the lowest score alone, which is more than 2.5 % of them.
    center, low, high = intervals.mean_interval(np.array([[0.0, 7.0], [830.0, 7.0], [750.0, 7.0]]))
    np.testing.assert_allclose(center, [1580.0 / 3, 7.0])
    np.testing.assert_allclose(low, [0.0, 7.0])
    np.testing.assert_allclose(high, [830.0, 7.0])


def test_mean_interval_covers_nearly_as_often_as_it_says(generator: np.random.Generator):
    # 4000 experiments of twenty seeds; a percentile bootstrap of twenty is a little too narrow.
    _, low, high = intervals.mean_interval(generator.normal(2.0, 5.0, size=(20, 4000)))
    assert 0.91 < np.mean((low < 2.0) & (high > 2.0)) < 0.96


def test_one_seed_has_a_mean_and_no_interval():
    center, low, high = intervals.mean_interval(np.array([[3.0, 4.0]]))
    assert np.array_equal(center, [3.0, 4.0])
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_iqm_ignores_one_failed_and_one_lucky_run_of_four():
    assert intervals.iqm(np.array([-1e9, 2.0, 4.0, 1e9])) == 3.0


def naive_bootstrap(strata: list[list[float]], resamples: int, seed: int) -> tuple[float, float]:
    """Redraw the runs of each task one by one; return the 95 % interval of the tasks' mean."""
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        of_tasks = []
        for scores in strata:
            drawn = [scores[generator.integers(len(scores))] for _ in scores]
            of_tasks.append(sum(drawn) / len(drawn))
        means.append(sum(of_tasks) / len(of_tasks))
    means.sort()
    return means[int(0.025 * resamples)], means[int(0.975 * resamples)]


def test_bootstrap_is_the_naive_one(generator: np.random.Generator):
    strata = [[0.0, 1.0, 5.0], [100.0, 104.0], [50.0, 50.0, 50.0, 58.0]]
    arrays = [np.array(scores) for scores in strata]
    center, low, high = intervals.stratified_bootstrap(arrays, np.mean, generator, 20_000)
    naive_low, naive_high = naive_bootstrap(strata, 20_000, seed=1)
    assert center == pytest.approx(np.mean([2.0, 102.0, 52.0]))
    # Scores that differ by 1, a third of a task of three: the mean moves in steps of a ninth.
    assert float(low) == pytest.approx(naive_low, abs=0.12)
    assert float(high) == pytest.approx(naive_high, abs=0.12)


def test_bootstrap_of_one_task_is_scipys(generator: np.random.Generator):
    scores = generator.normal(size=40)
    own = intervals.stratified_bootstrap([scores], intervals.iqm, generator, 20_000)
    theirs = stats.bootstrap(
        (scores,), lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), n_resamples=20_000,
        method="percentile", rng=np.random.default_rng(3),
    ).confidence_interval  # fmt: skip
    assert float(own.low) == pytest.approx(theirs.low, abs=0.02)
    assert float(own.high) == pytest.approx(theirs.high, abs=0.02)


def test_tasks_are_resampled_apart(generator: np.random.Generator):
    # Each task's runs agree, however far the tasks lie apart: nothing is uncertain.
    strata = [np.full(3, 0.0), np.full(3, 900.0)]
    center, low, high = intervals.stratified_bootstrap(strata, np.mean, generator)
    assert float(center) == float(low) == float(high) == 450.0


def test_a_task_with_more_runs_weighs_no_more(generator: np.random.Generator):
    """Two agents that score the same on each task do not differ, whichever has more seeds."""
    easy, hard = np.array([880.0, 900.0, 920.0]), np.array([0.0, 10.0, 20.0])
    first, second = [easy, np.tile(hard, 2)], [np.tile(easy, 3), hard]
    for statistic in (np.mean, intervals.iqm):
        found = intervals.bootstrap_difference(first, second, statistic, generator)
        # A quarter of twelve is whole, one of eighteen is rounded down.
        assert float(found.center) == pytest.approx(0.0, abs=1.0)
        assert float(found.low) < 0.0 < float(found.high)


def test_a_run_is_redrawn_with_all_its_evaluations(generator: np.random.Generator):
    # The two evaluations of a run differ by 10, so those of any resampled mean do.
    first = generator.normal(size=(4, 1))
    scores = np.concatenate([first, first + 10.0], axis=1)
    _, low, high = intervals.stratified_bootstrap([scores], np.mean, generator)
    np.testing.assert_allclose([low[1] - low[0], high[1] - high[0]], 10.0)


def test_a_task_with_one_run_has_no_bootstrap_interval(generator: np.random.Generator):
    several, one = np.arange(6.0).reshape(3, 2), np.ones((1, 2))
    center, low, high = intervals.stratified_bootstrap([several, one], np.mean, generator)
    np.testing.assert_allclose(center, [1.5, 2.0])
    assert np.isnan([low, high]).all()
    _, low, high = intervals.bootstrap_difference([several], [one], np.mean, generator)
    assert np.isnan([low, high]).all()
    _, low, high = intervals.performance_profile([np.ones(1)], np.zeros(4), generator)
    assert np.isnan([low, high]).all()


def test_bootstrap_depends_on_the_generator_alone():
    scores = [np.arange(6.0)]
    same = [
        intervals.stratified_bootstrap(scores, np.mean, np.random.default_rng(seed), 100)
        for seed in (0, 0, 1)
    ]
    assert same[0] == same[1]
    assert same[0] != same[2]


def test_profile_counts_runs_above_each_threshold(generator: np.random.Generator):
    strata = [np.array([0.1, 0.5, 0.9]), np.array([0.5, 0.7])]
    thresholds = np.array([0.0, 0.5, 0.8, 1.0])
    center, low, high = intervals.performance_profile(strata, thresholds, generator)
    shares = [[np.mean(scores > tau) for scores in strata] for tau in thresholds]
    expected = np.mean(shares, axis=1)
    np.testing.assert_allclose(center, expected)
    assert ((low <= center) & (center <= high)).all()
    assert low[0] == high[0] == 1.0
    assert low[1] < high[1]


def test_normalised_scores_are_0_and_1_at_the_ends():
    found = intervals.normalise(np.array([10.0, 60.0, 110.0]), low=10.0, high=110.0)
    np.testing.assert_allclose(found, [0.0, 0.5, 1.0])


def test_nothing_to_summarise_is_said():
    with pytest.raises(ConfigError, match="no scores"):
        intervals.mean_interval(np.empty((0, 2)))
    with pytest.raises(ConfigError, match="no scores"):
        intervals.stratified_bootstrap([], np.mean, np.random.default_rng())
    with pytest.raises(ConfigError, match="must have a width"):
        intervals.normalise(np.ones(3), low=1.0, high=1.0)


def test_probability_of_improvement_is_mann_whitneys(generator: np.random.Generator):
    """By task U / (N M), of which tasks weigh the same; its interval is that of naive redraws."""
    first = [np.round(generator.normal(size=n), 1) for n in (4, 5)]
    second = [np.round(generator.normal(size=n), 1) for n in (3, 6)]
    found = intervals.probability_of_improvement(first, second, np.random.default_rng(3))
    shares = [
        stats.mannwhitneyu(a, b).statistic / (len(a) * len(b))
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(found.center, np.mean(shares))
    redrawn = []
    for _ in range(2000):
        wins = [
            stats.mannwhitneyu(generator.choice(a, len(a)), generator.choice(b, len(b))).statistic
            / (len(a) * len(b))
            for a, b in zip(first, second, strict=True)
        ]
        redrawn.append(np.mean(wins))
    np.testing.assert_allclose(
        [found.low, found.high], np.quantile(redrawn, [0.025, 0.975]), atol=0.05
    )
    alone = intervals.probability_of_improvement(
        [np.ones(1)], [np.zeros(3)], np.random.default_rng(0)
    )
    assert alone.center == 1.0
    assert np.isnan(alone.low)


def test_optimality_gap_counts_what_is_missing_to_1():
    assert intervals.optimality_gap(np.array([0.5, 1.5, 0.9])) == pytest.approx((0.5 + 0 + 0.1) / 3)
