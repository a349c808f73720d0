r"""A replay buffer whose plans grow old, what reanalysing does, and what a prior makes of it.

A sketch of training on the line. States are uniform in [-1, 1]; the planner's mean moves from 0 to
$0.8 \sin(\pi s)$ and its standard deviation shrinks while the agent learns, and each plan has
noise of its own, as MPPI's plans do. Each decision appends one row; lazy reanalyse replaces plans
of rows drawn from the whole buffer. A "learned" prior is fitted exactly: a mean that is linear in
`features`, and one standard deviation. Axes: `C` rows, `F` features.
"""

from typing import NamedTuple

import numpy as np

from pompc.errors import ConfigError
from pompc.theory.gradient_variance import Normal

NOISE = 0.1  # standard deviation of a plan's mean about the planner's


class Buffer(NamedTuple):
    """Rows of a replay buffer, oldest first."""

    state: np.ndarray  # [C]
    made: np.ndarray  # [C]: when the plan was made, as a share of the training so far
    plan: Normal  # [C, 1]


class Prior(NamedTuple):
    """A Gaussian for each state."""

    weights: np.ndarray  # [F]
    std: float

    def at(self, state: np.ndarray) -> Normal:
        """Return the Gaussians at states `[C]`: `[C, 1]`."""
        mean = features(state) @ self.weights
        return Normal(mean[:, None], np.full((len(state), 1), self.std))


def planner(state: np.ndarray, moment: np.ndarray) -> Normal:
    """Return the planner, without noise, at states `[C]` and moments `[C]` in [0, 1]: `[C, 1]`.

    It learns quickly at first: after half of the training 88 % of the way to today is done.
    """
    learned = 1.0 - np.exp(-4.0 * moment)
    mean, std = 0.8 * learned * np.sin(np.pi * state), 0.6 - 0.5 * learned
    return Normal(mean[:, None], std[:, None])


def plan_moments(rows: int, refreshed: int, rng: np.random.Generator) -> np.ndarray:
    """Return when each plan of a growing buffer was made, `[C]`, as shares of `rows` decisions.

    Each decision appends a row and makes the plans of `refreshed` rows anew, drawn uniformly from
    the buffer (Algorithm 2, lines 15 to 18: the reanalysed rows of an update, by the interval k).
    No rows and a negative `refreshed` are a ConfigError.
    """
    if rows < 1 or refreshed < 0:
        raise ConfigError(f"rows is {rows!r} and refreshed {refreshed!r}: at least 1 and 0")
    made = np.arange(1, rows + 1)
    for decision in range(1, rows + 1):
        made[rng.integers(decision, size=refreshed)] = decision
    return made / rows


def older_share(moment: np.ndarray, refreshed: int) -> np.ndarray:
    r"""Return the share of plans made before a moment u in [0, 1]: $u^{1 + r}$.

    A share u of the rows is older than u, and each of these escaped all draws since with
    probability $\exp(-\int_u^1 r\, dt / t) = u^r$.
    """
    return np.asarray(moment) ** (1 + refreshed)


def fill(rows: int, refreshed: int, rng: np.random.Generator) -> Buffer:
    """Return the buffer after `rows` decisions; arguments as in `plan_moments`."""
    made = plan_moments(rows, refreshed, rng)
    state = rng.uniform(-1.0, 1.0, rows)
    exact = planner(state, made)
    return Buffer(state, made, exact._replace(mean=exact.mean + NOISE * rng.normal(size=(rows, 1))))


def features(state: np.ndarray) -> np.ndarray:
    """Return what a prior's mean is linear in, `[C, F]`: a constant, two sines, two cosines."""
    angle = np.pi * state[:, None] * np.array([1.0, 2.0])
    return np.concatenate([np.ones_like(state)[:, None], np.sin(angle), np.cos(angle)], axis=1)


def fit_prior(buffer: Buffer, forward: bool = False) -> Prior:
    """Return the prior that minimises Eq. (12), or Eq. (13) where `forward`, over a buffer.

    Reverse: means by least squares weighted with the planners' precisions, and the mean precision.
    Forward: plain least squares, and the mean variance plus the variance of the residuals.
    """
    mean, std = buffer.plan.mean[:, 0], buffer.plan.std[:, 0]
    root = np.ones_like(std) if forward else 1.0 / std
    design = features(buffer.state)
    weights = np.linalg.lstsq(root[:, None] * design, root * mean, rcond=None)[0]
    if forward:
        variance = np.mean(std**2 + (mean - design @ weights) ** 2)
        return Prior(weights, float(np.sqrt(variance)))
    return Prior(weights, float(np.mean(std**-2.0) ** -0.5))
