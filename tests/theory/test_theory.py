"""KL-regularised policy iteration (Appendix E) against closed forms and naive loops.

The oracles here are written from the paper, in float64, and use nothing of `pompc.theory`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from pompc.errors import ConfigError
from pompc.theory import tabular
from pompc.theory.tabular import MDP, gridworld

STATES, ACTIONS = 5, 3


def scene(seed: int = 0) -> tuple[MDP, np.ndarray, np.ndarray]:
    """Return an MDP, a policy and a prior, all random."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(STATES), (STATES, ACTIONS))
    mdp = MDP(transitions, rng.normal(size=(STATES, ACTIONS)), 0.8)
    policy, prior = rng.dirichlet(np.ones(ACTIONS), (2, STATES))
    return mdp, policy, prior


def naive_backup(mdp: MDP, q: np.ndarray, policy: np.ndarray, prior: np.ndarray, lam: float):
    """Eq. 19 and 20 as loops."""
    result = np.zeros_like(q)
    for s, a in np.ndindex(q.shape):
        result[s, a] = mdp.rewards[s, a]
        for following, b in np.ndindex(q.shape):
            log_ratio = math.log(policy[following, b]) - math.log(prior[following, b])
            value = policy[following, b] * (q[following, b] - lam * log_ratio)
            result[s, a] += mdp.discount * mdp.transitions[s, a, following] * value
    return result


def best_return(mdp: MDP) -> np.ndarray:
    """Optimal Q without regularisation, by loops over the Bellman optimality equation."""
    q = np.zeros_like(mdp.rewards)
    for _ in range(300):
        q = mdp.rewards + mdp.discount * mdp.transitions @ q.max(axis=1)
    return q


# Fails if the KL term or γ is left out, has the other sign, or compares the wrong pair.
@pytest.mark.parametrize("lam", [0.0, 0.3, 7.0])
def test_backup_is_eq_19_and_its_fixed_point_what_evaluate_returns(lam: float):
    mdp, policy, prior = scene()
    start = np.random.default_rng(1).normal(size=(STATES, ACTIONS))
    once = tabular.bellman_backup(mdp, start, policy, prior, lam)
    np.testing.assert_allclose(once, naive_backup(mdp, start, policy, prior, lam), atol=1e-12)
    q = tabular.evaluate(mdp, policy, prior, lam)
    np.testing.assert_allclose(naive_backup(mdp, q, policy, prior, lam), q, atol=1e-12)


# Lemma E.1: fails if an iteration gains less than the factor γ, from whatever start.
def test_backups_converge_from_any_start_by_the_factor_gamma():
    mdp, policy, prior = scene()
    limit = tabular.evaluate(mdp, policy, prior, 0.7)
    q = 100.0 * np.random.default_rng(2).normal(size=limit.shape)
    first = np.abs(q - limit).max()
    for count in range(1, 80):
        q = tabular.bellman_backup(mdp, q, policy, prior, 0.7)
        assert np.abs(q - limit).max() <= mdp.discount**count * first + 1e-12


def test_one_state_has_a_closed_form():
    rewards, policy, prior = (
        np.array([[1.0, 3.0]]),
        np.array([[0.25, 0.75]]),
        np.array([[0.5, 0.5]]),
    )
    mdp = MDP(np.ones((1, 2, 1)), rewards, 0.9)
    kl = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    value = (2.5 - 2.0 * kl) / (1.0 - 0.9)
    q = tabular.evaluate(mdp, policy, prior, 2.0)
    np.testing.assert_allclose(q, rewards + 0.9 * value)


# Appendix E: a uniform prior is maximum entropy RL. KL = log A - H, so that the values differ by
# what log A, received from the next step on, is worth. Fails if the KL is not a KL.
def test_a_uniform_prior_recovers_maximum_entropy_values():
    mdp, policy, _ = scene()
    uniform = np.full((STATES, ACTIONS), 1.0 / ACTIONS)
    q = tabular.evaluate(mdp, policy, uniform, 0.5)
    entropy = -np.sum(policy * np.log(policy), axis=1)
    soft = np.zeros_like(q)
    for _ in range(400):
        soft = mdp.rewards + mdp.discount * mdp.transitions @ (
            np.sum(policy * soft, axis=1) + 0.5 * entropy
        )
    worth = 0.5 * math.log(ACTIONS) * mdp.discount / (1.0 - mdp.discount)
    np.testing.assert_allclose(q, soft - worth, atol=1e-10)


# Lemma E.2: fails if the improved policy is not the minimiser of Eq. 23, for instance with
# exp(λ Q) for exp(Q / λ), or without the prior.
@pytest.mark.parametrize("lam", [0.05, 1.0, 20.0])
def test_improve_minimises_eq_23_and_no_value_falls(lam: float):
    mdp, policy, prior = scene()
    old = tabular.evaluate(mdp, policy, prior, lam)
    new = tabular.improve(old, prior, lam)

    def objective(candidate: np.ndarray) -> np.ndarray:
        log_target = old / lam + np.log(prior)
        log_target -= np.log(np.sum(np.exp(log_target), axis=1, keepdims=True))
        return np.sum(candidate * (np.log(candidate) - log_target), axis=1)

    for candidate in np.random.default_rng(3).dirichlet(np.ones(ACTIONS), (200, STATES)):
        assert np.all(objective(candidate) > objective(new))
    gain = tabular.evaluate(mdp, new, prior, lam) - old
    assert np.all(gain > 0.0)


# Theorem E.3: two roads to one limit, which no other policy exceeds anywhere.
@pytest.mark.parametrize("lam", [0.0, 0.2, 3.0])
def test_policy_iteration_reaches_the_best_policy_monotonically(lam: float):
    mdp, policy, prior = scene(4)
    found = tabular.policy_iteration(mdp, policy, prior, lam, rounds=60)
    assert np.all(np.diff(found.values, axis=0) >= -1e-10)
    np.testing.assert_allclose(found.values[-1], tabular.optimal_values(mdp, prior, lam), atol=1e-9)
    for other in np.random.default_rng(5).dirichlet(np.ones(ACTIONS), (100, STATES)):
        assert np.all(tabular.evaluate(mdp, other, prior, lam) < found.values[-1])


def test_small_lambda_is_the_unregularised_optimum():
    mdp, policy, prior = scene(6)
    best = best_return(mdp)
    np.testing.assert_allclose(tabular.optimal_values(mdp, prior, 0.0), best, atol=1e-9)
    gaps = [np.abs(tabular.optimal_values(mdp, prior, lam) - best).max() for lam in (0.1, 0.01)]
    assert gaps[1] < 0.2 * gaps[0]
    last = tabular.policy_iteration(mdp, policy, prior, 1e-4, rounds=20).policies[-1]
    assert np.array_equal(last.argmax(axis=1), best.argmax(axis=1))
    assert np.all(last.max(axis=1) > 0.999)


# π - π_p shrinks like 1 / λ: fails if λ = inf is anything but the limit of large λ.
def test_large_lambda_is_the_prior():
    mdp, policy, prior = scene(7)

    def distance(lam: float) -> float:
        last = tabular.policy_iteration(mdp, policy, prior, lam, rounds=20).policies[-1]
        return float(np.abs(last - prior).max())

    assert distance(1e3) / distance(1e4) == pytest.approx(10.0, rel=0.02)
    q = tabular.evaluate(mdp, prior, prior, 1.0)
    assert np.array_equal(tabular.improve(q, prior, math.inf), prior)
    np.testing.assert_allclose(tabular.soft_maximum(q, prior, math.inf), np.sum(prior * q, axis=1))
    assert tabular.soft_maximum(q, prior, 1e8) == pytest.approx(np.sum(prior * q, axis=1))


# The soft maximum is what the improved policy reaches: Eq. 20 at the minimiser of Eq. 23.
@pytest.mark.parametrize("lam", [0.0, 0.1, 2.0])
def test_soft_maximum_is_the_value_of_the_improved_policy(lam: float):
    q, (_, _, prior) = np.random.default_rng(8).normal(size=(STATES, ACTIONS)), scene(8)
    value = tabular.state_value(q, tabular.improve(q, prior, lam), prior, lam)
    np.testing.assert_allclose(tabular.soft_maximum(q, prior, lam), value, atol=1e-12)


# With a prior that follows the policy the return itself rises, to that of the best policy; with
# the first policy as a fixed prior it stays below. Fails if the prior does not follow.
def test_a_prior_that_follows_loses_its_bias():
    mdp, policy, _ = scene(9)
    found = tabular.policy_iteration(mdp, policy, None, 1.0, rounds=400)
    assert np.all(np.diff(found.values, axis=0) >= -1e-10)
    np.testing.assert_allclose(found.values[-1], best_return(mdp), atol=1e-3)
    fixed = tabular.policy_iteration(mdp, policy, policy, 1.0, rounds=400).policies[-1]
    returns = tabular.evaluate(mdp, fixed, fixed, 0.0)
    assert np.all(returns < best_return(mdp) - 0.01)


@pytest.mark.parametrize("lam", [0.0, 0.5, math.inf])
def test_what_the_prior_excludes_is_never_taken(lam: float):
    q = np.array([[0.0, 1.0, 9.0]])
    improved = tabular.improve(q, np.array([[0.5, 0.5, 0.0]]), lam)
    assert improved[0, 2] == 0.0
    assert improved.sum() == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="gives probability 0"):
        tabular.divergence(np.array([[0.0, 0.5, 0.5]]), np.array([[0.5, 0.5, 0.0]]))


def test_bad_mdps_and_weights_are_named():
    mdp, policy, prior = scene()
    with pytest.raises(ConfigError, match="shapes"):
        tabular.check_mdp(mdp._replace(rewards=mdp.rewards[:, :2]))
    with pytest.raises(ConfigError, match="transitions"):
        tabular.check_mdp(mdp._replace(transitions=1.1 * mdp.transitions))
    with pytest.raises(ConfigError, match="discount"):
        tabular.check_mdp(mdp._replace(discount=1.0))
    with pytest.raises(ConfigError, match="policy has shape"):
        tabular.evaluate(mdp, policy[:2], prior, 1.0)
    with pytest.raises(ConfigError, match="prior: rows"):
        tabular.evaluate(mdp, policy, 2.0 * prior, 1.0)
    for lam in (-1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="lam is"):
            tabular.evaluate(mdp, policy, prior, lam)
    with pytest.raises(ConfigError, match="slip"):
        gridworld(slip=2.0)


def test_the_grid_pays_one_at_the_goal_and_the_best_path_avoids_the_pit():
    mdp = gridworld(rows=4, columns=4, slip=0.0, discount=0.5)
    tabular.check_mdp(mdp)
    value = best_return(mdp).max(axis=1).reshape(4, 4)
    assert value[0, 0] == pytest.approx(0.5**5)  # six moves, the last of which pays 1
    assert value[1, 3] == pytest.approx(0.5**3)  # around the pit: left, down, down, right
    assert value[3, 2] == 1.0
    assert value[2, 3] == value[3, 3] == 0.0
    assert mdp.rewards[7, 2] == -1.0  # down, into the pit
    slippery = gridworld(slip=0.4)
    tabular.check_mdp(slippery)
    assert slippery.transitions[5, 1, 6] == pytest.approx(0.6 + 0.1)
    assert slippery.transitions[5, 1, 4] == pytest.approx(0.1)
    assert slippery.transitions[0, 0, 0] == pytest.approx(0.6 + 0.2)
