"""Two good actions: the mixture holds both, its policy takes one; single Gaussians do not."""

import jax.numpy as jnp
import numpy as np
import pytest

from pompc.algorithm.maths import Gaussian, Mixture
from pompc.figures import tutorials
from pompc.theory import two_actions

WEIGHTS = (0.1, 1.0)


@pytest.fixture(scope="module")
def found():
    planners = two_actions.plans(64)
    fits = {kind: two_actions.fit(kind, planners, WEIGHTS) for kind in two_actions.PRIORS}
    return planners, fits


def test_plans_settle_on_either_action(found):
    means = np.asarray(found[0].mean[:, 0])
    for peak in (-0.6, 0.6):
        assert (np.abs(means - peak) < 0.1).sum() > 16


def test_single_gaussians_are_the_closed_forms_of_eq_12_and_13(found):
    """The precision-weighted mean between the actions, and the moments of all plans."""
    (mean, std), fits = (np.asarray(part, float)[:, 0] for part in found[0]), found[1]
    precision = (1 / std**2).mean()
    between = (mean / std**2).mean() / precision
    reverse, forward = fits["reverse_kl"].prior, fits["forward_kl"].prior
    np.testing.assert_allclose(reverse.mean[0, 0], between, atol=0.02)
    np.testing.assert_allclose(reverse.std[0, 0], precision**-0.5, rtol=0.05)
    np.testing.assert_allclose(forward.mean[0, 0], mean.mean(), atol=0.02)
    spread = np.sqrt((std**2 + mean**2).mean() - mean.mean() ** 2)
    np.testing.assert_allclose(forward.std[0, 0], spread, rtol=0.05)


def test_a_mixture_holds_both_and_its_policy_takes_one(found):
    prior = found[1]["mixture"].prior
    assert isinstance(prior, Mixture)
    weight, mean = np.exp(prior.log_weight[0]), np.asarray(prior.mean[0, :, 0])
    for peak in (-0.6, 0.6):
        assert weight[np.abs(mean - peak) < 0.1].sum() > 0.25
    rewards = {kind: fit.rewards for kind, fit in found[1].items()}
    assert rewards["mixture"].min() > 0.8
    assert rewards["reverse_kl"].max() < 0.1
    assert rewards["forward_kl"][1] < 0.5
    assert list(two_actions.rewards(found[1], WEIGHTS).columns) == ["λ = 0.1", "λ = 1"]


def test_densities_have_a_sum_of_1_and_are_drawn(found):
    actions = np.linspace(-4, 4, 4001)
    curves = two_actions.curves(*found, WEIGHTS, actions)
    for lines in curves.values():
        for line in lines.values():
            assert np.trapezoid(line, actions) == pytest.approx(1, abs=1e-3)
    reward = np.asarray(two_actions.reward(jnp.asarray(actions)[:, None]))
    figure = tutorials.two_actions(actions, reward, curves)
    assert [axes.get_title() for axes in figure.axes] == ["reverse KL", "forward KL", "mixture"]
    assert len(figure.axes[0].lines) == 4


def test_the_expected_reward_is_the_integral_over_clipped_actions():
    policy = Gaussian(jnp.full((1, 1), 0.5), jnp.full((1, 1), 0.3))
    noise = np.random.default_rng(0).normal(size=(200_000, 1))
    sampled = np.clip(0.5 + 0.3 * noise, -1, 1)
    expected = np.exp(-0.5 * ((np.abs(sampled) - 0.6) / 0.15) ** 2).mean()
    np.testing.assert_allclose(two_actions.expected_reward(policy), expected, atol=0.005)
