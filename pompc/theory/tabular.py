r"""KL-regularised policy iteration on a finite MDP (Appendix E), exactly and in float64.

All policies and priors are arrays `[S, A]` of probabilities. Where the prior is zero the policy
must be, too: the ratio of the two has to be determined (Lemma E.1). Axes: `S` states, `A` actions.
Values are in units of return, divergences in nats. All raise a ConfigError that names what is no
MDP, no grid, no distribution or no weight λ.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, rel_entr

from pompc.errors import ConfigError

MOVES = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])  # up, right, down, left: row, column


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


def gridworld(rows: int = 4, columns: int = 4, slip: float = 0.1, discount: float = 0.9) -> MDP:
    """Return a slippery grid: the last cell is the goal, reward 1, the cell above it the pit, -1.

    State `row * columns + column`; actions as in `MOVES`. With probability `slip` the move is a
    random one of the four; a move into a wall stays. The reward is the expected one of the
    transition, and an episode ends at goal and pit: both absorb and pay no more.
    """
    if min(rows, columns) < 2 or not 0.0 <= slip <= 1.0:
        raise ConfigError(
            f"a grid of {rows} by {columns} with slip {slip!r}: both sides must be at least 2, "
            "slip between 0 and 1"
        )
    staying = np.eye(rows * columns)
    cells = np.stack(np.divmod(np.arange(rows * columns), columns), axis=-1)
    targets = np.clip(cells[:, None] + MOVES, 0, np.array([rows - 1, columns - 1]))  # [S, A, 2]
    moves = staying[targets @ np.array([columns, 1])]  # [S, A, S], without slip
    transitions = (1.0 - slip) * moves + slip * moves.mean(axis=1, keepdims=True)
    goal, pit = terminal_cells(rows, columns)
    rewards = transitions @ (staying[goal] - staying[pit])
    for end in (goal, pit):
        transitions[end], rewards[end] = staying[end], 0.0
    return MDP(transitions, rewards, discount)


def terminal_cells(rows: int = 4, columns: int = 4) -> tuple[int, int]:
    """Return the states of goal and pit."""
    return rows * columns - 1, (rows - 1) * columns - 1


def state_value(q: np.ndarray, policy: np.ndarray, prior: np.ndarray, lam: float) -> np.ndarray:
    r"""Return $V(s) = \mathbb{E}_{a \sim \pi}[Q(s, a) - \lambda \log (\pi / \pi_p)]$, Eq. (20).

    λ is finite and at least 0, in units of return a nat. Returns `[S]`.
    """
    _check_weight(lam)
    return np.sum(policy * q, axis=-1) - lam * divergence(policy, prior)


def divergence(policy: np.ndarray, prior: np.ndarray) -> np.ndarray:
    r"""Return $\mathrm{KL}[\pi(\cdot | s) \,\|\, \pi_p(\cdot | s)]$, in nats, `[S]`.

    An action that the policy does not take counts 0. A prior that is zero where the policy is not
    is a ConfigError: the KL would be infinite.
    """
    found = np.sum(rel_entr(policy, prior), axis=-1)
    if np.any(np.isinf(found)):
        raise ConfigError("the prior gives probability 0 to an action that the policy takes")
    return found


def bellman_backup(
    mdp: MDP, q: np.ndarray, policy: np.ndarray, prior: np.ndarray, lam: float
) -> np.ndarray:
    r"""Apply the operator of Lemma E.1 once, Eq. (19), to `q [S, A]`.

    $$\mathcal{T}^\pi Q(s, a) = r(s, a) + \gamma\, \mathbb{E}_{s'}[V(s')]$$
    """
    return mdp.rewards + mdp.discount * mdp.transitions @ state_value(q, policy, prior, lam)


def evaluate(mdp: MDP, policy: np.ndarray, prior: np.ndarray, lam: float) -> np.ndarray:
    r"""Return Q^{π, λ} `[S, A]`, the fixed point of `bellman_backup`, by solving for it.

    With Eq. (20) this is an ordinary policy evaluation whose reward pays the KL:
    $V = (I - \gamma P_\pi)^{-1} (\mathbb{E}_\pi[r] - \lambda\, \mathrm{KL}[\pi \,\|\, \pi_p])$.
    """
    check_mdp(mdp)
    _check_policy("policy", policy, mdp)
    _check_policy("prior", prior, mdp)
    reward = state_value(mdp.rewards, policy, prior, lam)
    moves = np.einsum("sa,sax->sx", policy, mdp.transitions)
    value = np.linalg.solve(np.eye(len(moves)) - mdp.discount * moves, reward)
    return mdp.rewards + mdp.discount * mdp.transitions @ value


def improve(q: np.ndarray, prior: np.ndarray, lam: float) -> np.ndarray:
    r"""Return the policy of Lemma E.2, the minimiser of Eq. (23), `[S, A]`.

    $$\pi_{new}(a | s) = \pi_p(a | s) \exp(Q(s, a) / \lambda) / Z(s)$$

    λ = 0 is its limit, greedy among the actions that the prior takes, ties shared in the prior's
    proportions; λ = inf is the prior itself.
    """
    _check_distributions("prior", prior)
    if math.isinf(lam):
        return np.array(prior)
    _check_weight(lam)
    best = np.max(np.where(prior > 0.0, q, -np.inf), axis=-1, keepdims=True)
    gap = np.minimum(q - best, 0.0)  # an action that the prior excludes could be above the best
    weights = prior * (np.exp(gap / lam) if lam > 0.0 else gap == 0.0)
    return weights / np.sum(weights, axis=-1, keepdims=True)


def policy_iteration(
    mdp: MDP, start: np.ndarray, prior: np.ndarray | None, lam: float, rounds: int
) -> Iterates:
    """Alternate evaluation (Lemma E.1) and improvement (Lemma E.2) from a policy `[S, A]`.

    Without a prior it follows: in each round it is the policy of the round before, at which that
    policy has no KL, so that the values are unregularised ones. The theorem holds one prior fixed;
    without one each round is Lemma E.2 with a prior of its own.
    """

    def value(policy: np.ndarray) -> np.ndarray:
        return evaluate(mdp, policy, policy if prior is None else prior, lam)

    policies, values = [start], [value(start)]
    for _ in range(rounds):
        policies.append(improve(values[-1], policies[-1] if prior is None else prior, lam))
        values.append(value(policies[-1]))
    return Iterates(np.stack(policies), np.stack(values))


def soft_maximum(q: np.ndarray, prior: np.ndarray, lam: float) -> np.ndarray:
    r"""Return $\max_\pi \{\mathbb{E}_\pi[Q] - \lambda\, \mathrm{KL}[\pi \,\|\, \pi_p]\}$, `[S]`.

    $\lambda \log \sum_a \pi_p \exp(Q / \lambda)$: the maximum at λ = 0, the prior's mean at inf.
    """
    _check_distributions("prior", prior)
    if math.isinf(lam):
        return np.sum(prior * q, axis=-1)
    _check_weight(lam)
    if lam == 0.0:
        return np.max(np.where(prior > 0.0, q, -np.inf), axis=-1)
    return lam * np.asarray(logsumexp(q / lam, axis=-1, b=prior))


def optimal_values(mdp: MDP, prior: np.ndarray, lam: float, tolerance: float = 1e-12) -> np.ndarray:
    """Return Q of the best policy `[S, A]` by value iteration: no policy is evaluated on the way.

    The second road to the limit of Theorem E.3. Every value is within `tolerance` of the limit.
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
