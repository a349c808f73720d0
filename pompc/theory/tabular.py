r"""KL-regularised policy iteration on a finite MDP (Appendix E), exactly and in float64.

All policies and priors are arrays `[S, A]` of probabilities. Where the prior is zero the policy
must be, too: the ratio of the two has to be determined (Lemma E.1). Axes: `S` states, `A` actions.
Values are in units of return, divergences in nats.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pompc.errors import ConfigError


class MDP(NamedTuple):
    """A finite Markov decision process."""

    transitions: np.ndarray  # [S, A, S]: p(s' | s, a)
    rewards: np.ndarray  # [S, A]: r(s, a)
    discount: float  # γ, in [0, 1)


class Iterates(NamedTuple):
    """The policies of `I` rounds of policy iteration, the first one included, and their values."""

    policies: np.ndarray  # [I + 1, S, A]
    values: np.ndarray  # [I + 1, S, A]: Q^{π, λ}


def check_mdp(mdp: MDP) -> None:
    """Raise ConfigError unless shapes agree, rows are distributions and γ lies in [0, 1)."""
    states, actions = np.shape(mdp.rewards) if np.ndim(mdp.rewards) == 2 else (0, 0)
    if np.shape(mdp.transitions) != (states, actions, states):
        found = np.shape(mdp.transitions), np.shape(mdp.rewards)
        raise ConfigError(f"transitions and rewards have shapes {found}, not (S, A, S) and (S, A)")
    _check_distributions("transitions", mdp.transitions)
    if not 0.0 <= mdp.discount < 1.0:
        raise ConfigError(f"discount is {mdp.discount!r} but must be in [0, 1)")


def random_mdp(rng: np.random.Generator, states: int, actions: int, discount: float = 0.9) -> MDP:
    """Draw an MDP: transitions from a flat Dirichlet distribution, standard normal rewards."""
    transitions = rng.dirichlet(np.ones(states), (states, actions))
    return MDP(transitions, rng.normal(size=(states, actions)), discount)


def state_value(q: np.ndarray, policy: np.ndarray, prior: np.ndarray, lam: float) -> np.ndarray:
    r"""Return $V(s) = \mathbb{E}_{a \sim \pi}[Q(s, a) - \lambda \log (\pi / \pi_p)]$, Eq. (20).

    Args:
        q: `[S, A]`.
        policy: π `[S, A]`.
        prior: π_p `[S, A]`, positive wherever the policy is.
        lam: λ, finite and at least 0, in units of return a nat.

    Returns:
        `[S]`.

    Raises:
        ConfigError: if λ is negative or infinite, or the prior excludes an action of the policy.
    """
    _check_weight(lam)
    return np.sum(policy * q, axis=-1) - lam * divergence(policy, prior)


def divergence(policy: np.ndarray, prior: np.ndarray) -> np.ndarray:
    r"""Return $\mathrm{KL}[\pi(\cdot | s) \,\|\, \pi_p(\cdot | s)]$, in nats, `[S]`.

    An action that the policy does not take counts 0.

    Raises:
        ConfigError: if the prior is zero where the policy is not: the KL would be infinite.
    """
    taken = policy > 0.0
    if np.any(taken & (prior <= 0.0)):
        raise ConfigError("the prior gives probability 0 to an action that the policy takes")
    ratio = np.where(taken, policy, 1.0) / np.where(taken, prior, 1.0)
    return np.sum(policy * np.log(ratio), axis=-1)


def bellman_backup(
    mdp: MDP, q: np.ndarray, policy: np.ndarray, prior: np.ndarray, lam: float
) -> np.ndarray:
    r"""Apply the operator of Lemma E.1 once, Eq. (19), to `q [S, A]`.

    $$\mathcal{T}^\pi Q(s, a) = r(s, a) + \gamma\, \mathbb{E}_{s'}[V(s')]$$

    Raises:
        ConfigError: as `state_value` does.
    """
    return mdp.rewards + mdp.discount * mdp.transitions @ state_value(q, policy, prior, lam)


def evaluate(mdp: MDP, policy: np.ndarray, prior: np.ndarray, lam: float) -> np.ndarray:
    r"""Return Q^{π, λ} `[S, A]`, the fixed point of `bellman_backup`, by solving for it.

    With Eq. (20) this is an ordinary policy evaluation whose reward pays the KL:
    $V = (I - \gamma P_\pi)^{-1} (\mathbb{E}_\pi[r] - \lambda\, \mathrm{KL}[\pi \,\|\, \pi_p])$.

    Raises:
        ConfigError: if MDP or policies are not what they should be; as `state_value` does.
    """
    check_mdp(mdp)
    for name, table in (("policy", policy), ("prior", prior)):
        _check_policy(name, table, mdp)
    reward = state_value(mdp.rewards, policy, prior, lam)
    moves = np.einsum("sa,sax->sx", policy, mdp.transitions)
    value = np.linalg.solve(np.eye(len(moves)) - mdp.discount * moves, reward)
    return mdp.rewards + mdp.discount * mdp.transitions @ value


def improve(q: np.ndarray, prior: np.ndarray, lam: float) -> np.ndarray:
    r"""Return the policy of Lemma E.2, the minimiser of Eq. (23), `[S, A]`.

    $$\pi_{new}(a | s) = \pi_p(a | s) \exp(Q(s, a) / \lambda) / Z(s)$$

    λ = 0 is its limit, greedy among the actions that the prior takes, ties shared in the prior's
    proportions; λ = inf is the prior itself.

    Raises:
        ConfigError: if λ is negative, or the prior no distribution.
    """
    _check_distributions("prior", prior)
    if math.isinf(lam):
        return np.array(prior)
    _check_weight(lam)
    best = np.max(np.where(prior > 0.0, q, -np.inf), axis=-1, keepdims=True)
    gap = np.minimum(
        q - best, 0.0
    )  # an action that the prior excludes could be better than the best
    weights = prior * (np.exp(gap / lam) if lam > 0.0 else gap == 0.0)
    return weights / np.sum(weights, axis=-1, keepdims=True)


def policy_iteration(
    mdp: MDP, start: np.ndarray, prior: np.ndarray, lam: float, rounds: int
) -> Iterates:
    """Alternate evaluation (Lemma E.1) and improvement (Lemma E.2) from a policy `[S, A]`.

    Raises:
        ConfigError: as `evaluate` and `improve` do.
    """
    policies, values = [start], [evaluate(mdp, start, prior, lam)]
    for _ in range(rounds):
        policies.append(improve(values[-1], prior, lam))
        values.append(evaluate(mdp, policies[-1], prior, lam))
    return Iterates(np.stack(policies), np.stack(values))


def adaptive_policy_iteration(mdp: MDP, start: np.ndarray, lam: float, rounds: int) -> Iterates:
    """Do the same with a prior that follows: in each round it is the policy of the round before.

    At its own prior a policy has no KL, so that the values are unregularised ones. The theorem
    holds one prior fixed; here each round is Lemma E.2 with a prior of its own.

    Raises:
        ConfigError: as `evaluate` and `improve` do.
    """
    policies, values = [start], [evaluate(mdp, start, start, lam)]
    for _ in range(rounds):
        policies.append(improve(values[-1], policies[-1], lam))
        values.append(evaluate(mdp, policies[-1], policies[-1], lam))
    return Iterates(np.stack(policies), np.stack(values))


def soft_maximum(q: np.ndarray, prior: np.ndarray, lam: float) -> np.ndarray:
    r"""Return $\max_\pi \{\mathbb{E}_\pi[Q] - \lambda\, \mathrm{KL}[\pi \,\|\, \pi_p]\}$, `[S]`.

    It is $\lambda \log \sum_a \pi_p \exp(Q / \lambda)$: the maximum of Q at λ = 0, the prior's mean
    of Q at λ = inf.

    Raises:
        ConfigError: if λ is negative, or the prior no distribution.
    """
    _check_distributions("prior", prior)
    if math.isinf(lam):
        return np.sum(prior * q, axis=-1)
    _check_weight(lam)
    best = np.max(np.where(prior > 0.0, q, -np.inf), axis=-1)
    if lam == 0.0:
        return best
    shifted = np.minimum(q - best[..., None], 0.0) / lam
    return best + lam * np.log(np.sum(prior * np.exp(shifted), axis=-1))


def optimal_values(mdp: MDP, prior: np.ndarray, lam: float, tolerance: float = 1e-12) -> np.ndarray:
    """Return Q of the best policy `[S, A]` by value iteration: no policy is evaluated on the way.

    The second road to the limit of Theorem E.3. Stops when no value is further than `tolerance`
    from the limit.

    Raises:
        ConfigError: as `check_mdp` and `soft_maximum` do.
    """
    check_mdp(mdp)
    _check_policy("prior", prior, mdp)
    q, error = np.zeros_like(mdp.rewards), math.inf
    while error > tolerance * (1.0 - mdp.discount):
        updated = mdp.rewards + mdp.discount * mdp.transitions @ soft_maximum(q, prior, lam)
        error, q = float(np.max(np.abs(updated - q))), updated
    return q


def _check_policy(name: str, table: np.ndarray, mdp: MDP) -> None:
    if np.shape(table) != np.shape(mdp.rewards):
        raise ConfigError(f"the {name} has shape {np.shape(table)}, not {np.shape(mdp.rewards)}")
    _check_distributions(name, table)


def _check_distributions(name: str, table: np.ndarray) -> None:
    if np.any(table < 0.0) or not np.allclose(np.sum(table, axis=-1), 1.0, rtol=0.0, atol=1e-9):
        raise ConfigError(f"{name}: rows must hold probabilities >= 0 whose sum is 1")


def _check_weight(lam: float) -> None:
    if not 0.0 <= lam < math.inf:
        raise ConfigError(f"lam is {lam!r} but must be a finite number >= 0 here")
