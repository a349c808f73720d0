r"""One Gaussian for many planners: three divergences that a prior could minimise, on the line.

Of planners $\pi^k$ with mixture $m = \frac1K \sum_k \pi^k$ and a Gaussian $\pi$ with one action:

- `to_each`: $\mathbb{E}_k\, \mathrm{KL}[\pi \,\|\, \pi^k]$, the reverse KL of Eq. (8) and (12);
- `from_each`: $\mathbb{E}_k\, \mathrm{KL}[\pi^k \,\|\, \pi]$, the forward KL of Eq. (9) and (13);
- `to_mixture`: $\mathrm{KL}[\pi \,\|\, m]$, which "mode seeking" is said of.

The forward KL from the mixture differs from `from_each` by a constant. All in nats and float64; `K`
planners, `G` actions of a grid; means and stds broadcast.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import minimum_filter
from scipy.special import logsumexp
from scipy.stats import norm

from pompc.errors import ConfigError
from pompc.theory.gradient_variance import Normal

OBJECTIVES = ("to_each", "from_each", "to_mixture")
# The trapezoidal rule: for smooth integrands that vanish at both ends it is as good as exact, and,
# unlike Gauss-Hermite quadrature, it does not stumble over the valleys between the modes.
_NODES = np.linspace(-7.0, 7.0, 281)
_WEIGHTS = np.exp(-0.5 * _NODES**2)


class Landscape(NamedTuple):
    """An objective over a grid of Gaussians."""

    means: np.ndarray  # [M]
    stds: np.ndarray  # [S]
    values: np.ndarray  # [M, S], nats

    def least(self) -> Normal:
        """Return the Gaussian of the grid with the least value, `[1]`."""
        mean, std = np.unravel_index(np.argmin(self.values), self.values.shape)
        return Normal(self.means[mean : mean + 1], self.stds[std : std + 1])

    def minima(self) -> list[Normal]:
        """Return the Gaussians `[1]` with lower values than their neighbours, by their means."""
        others = np.arange(9).reshape(3, 3) != 4
        least = minimum_filter(self.values, footprint=others, mode="constant", cval=-np.inf)
        places = np.argwhere(self.values < least)
        return [Normal(self.means[m : m + 1], self.stds[s : s + 1]) for m, s in places]


def density(planners: Normal, actions: np.ndarray) -> np.ndarray:
    """Return the density of the planners' mixture `[K, 1]` at actions `[G]`: `[G]`."""
    return np.exp(_log_density(planners, actions))


def objective(name: str, mean: np.ndarray, std: np.ndarray, planners: Normal) -> np.ndarray:
    """Return one of `OBJECTIVES` of Gaussians for planners `[K, 1]`, in nats.

    `to_mixture` is a sum over 281 actions within 7 std, the others are closed forms. Means and
    positive standard deviations `[...]` are broadcast. Raise ConfigError if there is no such
    objective, or actions have several dimensions.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"unknown objective {name!r}: choose one of {', '.join(OBJECTIVES)}")
    if np.ndim(planners.mean) != 2 or np.shape(planners.mean)[1:] != (1,):
        raise ConfigError(f"planners have shape {np.shape(planners.mean)}, not (K, 1)")
    mean, std = np.broadcast_arrays(np.asarray(mean, float), np.asarray(std, float))
    if name == "to_mixture":
        actions = mean[..., None] + std[..., None] * _NODES
        ratio = norm.logpdf(actions, mean[..., None], std[..., None])
        ratio -= _log_density(planners, actions)
        return ratio @ (_WEIGHTS / _WEIGHTS.sum())
    one = mean[..., None], std[..., None]
    each = planners.mean[:, 0], planners.std[:, 0]
    pair = (*one, *each) if name == "to_each" else (*each, *one)
    return np.mean(_kl(*pair), axis=-1)


def landscape(name: str, means: np.ndarray, stds: np.ndarray, planners: Normal) -> Landscape:
    """Return an objective for all pairs of means `[M]` and standard deviations `[S]`."""
    return Landscape(means, stds, objective(name, means[:, None], stds[None], planners))


def _kl(mean: np.ndarray, std: np.ndarray, mean_2: np.ndarray, std_2: np.ndarray) -> np.ndarray:
    ratio = (std / std_2) ** 2
    return 0.5 * (ratio + ((mean - mean_2) / std_2) ** 2 - 1.0 - np.log(ratio))


def _log_density(planners: Normal, actions: np.ndarray) -> np.ndarray:
    logs = norm.logpdf(actions[..., None], planners.mean[:, 0], planners.std[:, 0])
    return logsumexp(logs, axis=-1) - np.log(len(planners.mean))
