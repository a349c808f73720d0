"""The variances of Appendix G against sums over all draws, numerical integrals and closed forms.

The oracles here are written from the paper, in float64, and use nothing of `pompc.theory`.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, optimize

from pompc.errors import ConfigError
from pompc.theory import gradient_variance as gv
from pompc.theory.gradient_variance import Normal, Setting


def normal(mean, std) -> Normal:
    """Return a Gaussian of float64 arrays."""
    return Normal(np.asarray(mean, np.float64), np.asarray(std, np.float64))


def random_gaussians(seed: int, planners: int, actions: int) -> tuple[Normal, Normal]:
    """Return a policy `[A]` and planners `[K, A]`."""
    rng = np.random.default_rng(seed)
    policy = normal(rng.normal(size=actions), rng.uniform(0.3, 1.5, actions))
    shape = (planners, actions)
    return policy, normal(rng.normal(size=shape), rng.uniform(0.5, 2.0, shape))


def log_pdf(a: np.ndarray, mean: np.ndarray, std: np.ndarray) -> float:
    """Log density of a diagonal Gaussian at one action `[A]`."""
    return float(np.sum(-0.5 * ((a - mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2 * math.pi)))


def one_gradient(policy: Normal, a: np.ndarray, drawn: list, setting: Setting, shift: float):
    """The estimate of Eq. 47 from one action and the planners drawn `[(mean, std)]`, `[A]`."""
    s, x = policy.std, (a - policy.mean) / policy.std
    if setting.estimator == "score":
        value = sum(log_pdf(a, *one) for one in drawn) / len(drawn) + shift
        value -= log_pdf(a, *policy) if setting.whole else 0.0
        score = x / s if setting.parameter == "mean" else x**2 - 1.0
        return score * value
    slopes = np.mean([-(a - mean) / std**2 for mean, std in drawn], axis=0)
    centre = np.mean([-(policy.mean - mean) / std**2 for mean, std in drawn], axis=0)
    precision = np.mean([std**-2.0 for _, std in drawn], axis=0)
    if setting.estimator == "reparameterised":
        return slopes if setting.parameter == "mean" else slopes * s * x
    return centre if setting.parameter == "mean" else -(s**2) * precision


def naive_moments(policy: Normal, planners: Normal, setting: Setting, reference: str):
    """Mean and variance over all actions (Gauss-Hermite) and all draws of N planners, as loops."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / weights.sum()
    pairs = list(zip(planners.mean, planners.std, strict=True))
    shift, draws = 0.0, [pairs]
    if reference == "replayed":
        draws = [list(draw) for draw in itertools.product(pairs, repeat=setting.samples)]
    if reference == "normalised":
        shift = -naive_log_normaliser(planners)
    first, second = np.zeros(len(policy.mean)), np.zeros(len(policy.mean))
    for index in itertools.product(range(len(nodes)), repeat=len(policy.mean)):
        a = policy.mean + policy.std * nodes[list(index)]
        for drawn in draws:
            gradient = one_gradient(policy, a, drawn, setting, shift)
            weight = np.prod(weights[list(index)]) / len(draws)
            first, second = first + weight * gradient, second + weight * gradient**2
    return first, second - first**2


def naive_log_normaliser(planners: Normal) -> float:
    """Log of the integral of exp E_k log π^k, dimension by dimension, numerically."""
    total = 0.0
    for means, stds in zip(planners.mean.T, planners.std.T, strict=True):

        def density(a: float, means=means, stds=stds) -> float:
            logs = [log_pdf(np.array([a]), m, s) for m, s in zip(means, stds, strict=True)]
            return math.exp(np.mean(logs))

        total += math.log(integrate.quad(density, -30.0, 30.0, epsabs=1e-12)[0])
    return total


# Eq. 48, 50 and 52: fails for any wrong moment, a 1 / N that is missing, draws without
# replacement, or a normaliser of the wrong sign.
@pytest.mark.parametrize("parameter", gv.PARAMETERS)
@pytest.mark.parametrize("estimator", gv.ESTIMATORS)
@pytest.mark.parametrize("actions", [1, 2])
def test_exact_moments_equal_a_sum_over_all_actions_and_all_draws(parameter, estimator, actions):
    policy, planners = random_gaussians(seed=1, planners=3, actions=actions)
    setting = Setting(2, parameter, estimator)
    exact = gv.exact_moments(policy, planners, setting)
    for reference, found in exact._asdict().items():
        mean, variance = naive_moments(policy, planners, setting, reference)
        np.testing.assert_allclose(found.mean, mean, atol=1e-10, err_msg=reference)
        np.testing.assert_allclose(found.variance, variance, atol=1e-9, err_msg=reference)


@pytest.mark.parametrize("parameter", gv.PARAMETERS)
@pytest.mark.parametrize("actions", [1, 2])
def test_the_whole_kl_has_the_exact_moments_of_the_same_sum(parameter, actions):
    policy, planners = random_gaussians(seed=11, planners=3, actions=actions)
    setting = Setting(2, parameter, whole=True)
    for reference, found in gv.exact_moments(policy, planners, setting)._asdict().items():
        mean, variance = naive_moments(policy, planners, setting, reference)
        np.testing.assert_allclose(found.mean, mean, atol=1e-10, err_msg=reference)
        np.testing.assert_allclose(found.variance, variance, atol=1e-9, err_msg=reference)


@pytest.mark.parametrize("parameter", gv.PARAMETERS)
def test_at_the_prior_itself_the_whole_kl_has_no_variance_left(parameter):
    _, planners = random_gaussians(seed=12, planners=5, actions=2)
    policy = gv.geometric_mean(planners)
    alone, whole = (
        gv.exact_moments(policy, planners, Setting(3, parameter, whole=one))
        for one in (False, True)
    )
    np.testing.assert_allclose(whole.normalised.variance, 0.0, atol=1e-12)
    assert np.all(alone.normalised.variance > 0.01)
    # What the draw of the planners adds, Eq. (52), is the same with and without the entropy.
    gaps = [one.replayed.variance - one.unnormalised.variance for one in (alone, whole)]
    np.testing.assert_allclose(*gaps, rtol=1e-9)


# Fails if an estimator draws planners or actions wrongly: five standard errors, a fixed seed.
@pytest.mark.parametrize("parameter", gv.PARAMETERS)
@pytest.mark.parametrize("estimator", gv.ESTIMATORS)
def test_monte_carlo_agrees_with_the_exact_moments(parameter, estimator):
    policy, planners = random_gaussians(seed=2, planners=6, actions=2)
    setting, draws = Setting(3, parameter, estimator), 40_000
    exact = gv.exact_moments(policy, planners, setting)
    estimated = gv.monte_carlo_moments(policy, planners, setting, draws, np.random.default_rng(3))
    for found, expected in zip(estimated, exact, strict=True):
        error = 5.0 * np.sqrt(expected.variance / draws) + 1e-12
        assert np.all(np.abs(found.mean - expected.mean) <= error)
        np.testing.assert_allclose(found.variance, expected.variance, rtol=0.08, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("parameter", gv.PARAMETERS)
def test_means_agree_and_the_unnormalised_prior_always_has_less_variance(seed, parameter):
    policy, planners = random_gaussians(seed, planners=40, actions=3)
    replayed, unnormalised, normalised = gv.exact_moments(policy, planners, Setting(4, parameter))
    np.testing.assert_allclose(replayed.mean, unnormalised.mean, rtol=1e-12)  # Eq. 48, 50
    np.testing.assert_allclose(normalised.mean, unnormalised.mean, rtol=1e-12)
    assert np.all(replayed.variance > unnormalised.variance)  # Eq. 52
    more = gv.exact_moments(policy, planners, Setting(8, parameter)).replayed
    excess, half = replayed.variance - unnormalised.variance, more.variance - unnormalised.variance
    np.testing.assert_allclose(excess, 2.0 * half, rtol=1e-9)


def test_identical_planners_leave_no_difference():
    policy, planners = random_gaussians(seed=6, planners=1, actions=2)
    same = normal(*(np.repeat(part, 7, axis=0) for part in planners))
    replayed, unnormalised, normalised = gv.exact_moments(policy, same, Setting(2))
    np.testing.assert_allclose(replayed.variance, unnormalised.variance, rtol=1e-12)
    np.testing.assert_allclose(normalised.variance, unnormalised.variance, rtol=1e-9)


def paper_example() -> tuple[Normal, Normal]:
    """Policy std 0.01, planner std 0.05, variance of planner means 0.001, moments of a normal."""
    nodes = math.sqrt(3.0) * np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 1.0])  # 2nd and 4th moment: 1, 3
    means = math.sqrt(0.001) * nodes[:, None]
    return normal([0.0], [0.01]), normal(means, np.full_like(means, 0.05))


# By hand: with c = -log(0.05 sqrt(2 pi)), b = 0.001 / (2 * 0.05²) and d = 0.01² / (2 * 0.05²),
# Var g2 = (C² - 6 C d + 15 d²) / 0.01², where C = c - b unnormalised and C = c normalised;
# Var g1 adds E[x² (x² s² v + v² / 2)] / (N s² σ⁴) = (3 s² v + v² / 2) / (N s² σ⁴).
def test_the_normalised_prior_can_have_more_variance_than_the_replay():
    c, b, d = -math.log(0.05 * math.sqrt(2.0 * math.pi)), 0.2, 0.02
    by_hand = [(level**2 - 6.0 * level * d + 15.0 * d**2) / 1e-4 for level in (c - b, c)]
    added = (3.0 * 1e-4 * 1e-3 + 0.5 * 1e-6) / (16 * 1e-4 * 0.05**4)
    found = gv.exact_moments(*paper_example(), Setting(16))
    assert found.unnormalised.variance[0] == pytest.approx(by_hand[0], rel=1e-12)
    assert found.normalised.variance[0] == pytest.approx(by_hand[1], rel=1e-12)
    assert found.replayed.variance[0] == pytest.approx(by_hand[0] + added, rel=1e-12)
    rounded = [round(float(moments.variance[0])) for moments in found]
    assert rounded == [33111, 33031, 40699]


# The same from one seed: 2000 planner means, 200 000 actions, 16 planners each.
def test_the_same_example_by_monte_carlo():
    rng = np.random.default_rng(0)
    means = rng.normal(0.0, math.sqrt(0.001), (2000, 1))
    planners = normal(means, np.full_like(means, 0.05))
    policy = normal([0.0], [0.01])
    found = gv.monte_carlo_moments(policy, planners, Setting(16), 200_000, rng)
    assert round(float(found.normalised.variance[0])) == 40_789
    assert round(float(found.unnormalised.variance[0])) == 33_101
    assert found.replayed.variance[0] == pytest.approx(33_180, abs=60)


# Neither differentiates the log density of the policy, so that no constant can enter.
@pytest.mark.parametrize("estimator", ["reparameterised", "closed_form"])
def test_other_estimators_do_not_see_the_normaliser(estimator):
    policy, planners = random_gaussians(seed=7, planners=9, actions=2)
    for parameter in gv.PARAMETERS:
        found = gv.exact_moments(policy, planners, Setting(3, parameter, estimator))
        assert np.array_equal(found.normalised.variance, found.unnormalised.variance)
        assert np.all(found.replayed.variance > found.normalised.variance)
    if estimator == "closed_form":
        assert np.all(found.normalised.variance == 0.0)


def test_the_normaliser_is_the_integral_and_at_most_one():
    _, planners = random_gaussians(seed=8, planners=4, actions=2)
    assert gv.log_normaliser(planners) == pytest.approx(naive_log_normaliser(planners), abs=1e-9)
    assert gv.log_normaliser(planners) < 0.0
    _, example = paper_example()
    assert gv.log_normaliser(example) == pytest.approx(-0.2)  # -v / (2 σ²)


def naive_kl(p: tuple[float, float], q: tuple[float, float]) -> float:
    """KL between two Gaussians (mean, std) on the line."""
    return math.log(q[1] / p[1]) + (p[1] ** 2 + (p[0] - q[0]) ** 2) / (2.0 * q[1] ** 2) - 0.5


# Fails if a fit minimises the other direction, or weights the planners wrongly.
def test_geometric_mean_and_moment_match_minimise_eq_8_and_9():
    _, planners = random_gaussians(seed=9, planners=5, actions=1)
    pairs = list(zip(planners.mean[:, 0], planners.std[:, 0], strict=True))

    def best(divergence) -> tuple[float, float]:
        def objective(theta: np.ndarray) -> float:
            return float(np.mean([divergence((theta[0], math.exp(theta[1])), k) for k in pairs]))

        found = optimize.minimize(objective, np.zeros(2), tol=1e-12).x
        return found[0], math.exp(found[1])

    for fit, divergence in (
        (gv.geometric_mean, naive_kl),
        (gv.moment_match, lambda p, q: naive_kl(q, p)),
    ):
        found = fit(planners)
        expected = best(divergence)
        assert (found.mean[0], found.std[0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("parameter", gv.PARAMETERS)
def test_a_constant_is_a_baseline(parameter):
    policy, planners = random_gaussians(seed=10, planners=5, actions=3)
    found = gv.exact_moments(policy, planners, Setting(1, parameter))
    log_z, best = gv.log_normaliser(planners), gv.best_constant(policy, planners, parameter)
    constants = np.array([0.0, -log_z, best - 1e-3, best, best + 1e-3])
    variance = gv.with_constant(policy, planners, constants, parameter)
    assert variance[0] == pytest.approx(found.unnormalised.variance.sum())
    assert variance[1] == pytest.approx(found.normalised.variance.sum())
    assert variance[3] < min(variance[2], variance[4])
    assert variance[2] == pytest.approx(variance[4])  # a parabola, symmetric about its least


def test_bad_gaussians_and_settings_are_named():
    policy, planners = random_gaussians(seed=11, planners=3, actions=2)
    bad = [
        (policy, planners._replace(std=-planners.std), Setting(2), "greater than 0"),
        (policy, planners._replace(mean=planners.mean * np.nan), Setting(2), "finite"),
        (policy, planners._replace(mean=planners.mean[0]), Setting(2), "shapes"),
        (normal([0.0], [1.0]), planners, Setting(2), "shapes"),
        (policy, normal(np.zeros((0, 2)), np.ones((0, 2))), Setting(2), "shapes"),
        (policy, planners, Setting(0), "at least 1"),
        (policy, planners, Setting(2, "std"), "unknown parameter"),
        (policy, planners, Setting(2, "mean", "closed_form", True), "has no variance"),
        (policy, planners, Setting(2, "mean", "scores"), "did you mean 'score'"),
    ]
    for *arguments, sentence in bad:
        with pytest.raises(ConfigError, match=sentence):
            gv.exact_moments(*arguments)
