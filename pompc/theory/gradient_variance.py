r"""The variance of policy gradients under replayed planners and an adaptive prior (Appendix G).

At one state the sampling policy is a Gaussian $\pi_\theta = \mathcal{N}(\mu, s^2)$, and the buffer
holds `K` planners $\pi^k = \mathcal{N}(m_k, \sigma_k^2)$, all in action space and before clipping.
The part of the gradient that depends on the reference (Eq. 46), the cross-entropy without the
policy's own entropy, is estimated with one action:

- `replayed`, g1 of Eq. (47): $\frac1N \sum_i \log \pi^{k_i}$, the $k_i$ uniform with replacement;
- `unnormalised`, g2 of Eq. (50): $\mathbb{E}_k[\log \pi^k]$, which is what Eq. (49) prints;
- `normalised`: the density $\exp(\mathbb{E}_k[\log \pi^k]) / Z$, which is what minimises Eq. (49).

`Setting.whole` takes the entropy in: $\log \pi^k - \log \pi_\theta$ in place of $\log \pi^k$.
With $x = (a - \mu) / s$ every log density is quadratic in x, so that all means and variances have
closed forms. Axes: `A` action, `K` planners, `N` planners of an update, `D` draws. All that take a
policy and planners raise the ConfigError of `exact_moments`.
"""

from typing import NamedTuple

import numpy as np

from pompc.errors import ConfigError, nearest

PARAMETERS = ("mean", "log_std")  # what the gradient is taken by: μ, or log s
ESTIMATORS = ("score", "reparameterised", "closed_form")
# E[u²], E[u² x²] and E[u² x⁴] of the scores u = x (for μ, times s) and u = x² - 1 (for log s).
_SCORE_MOMENTS = {"mean": (1.0, 3.0, 15.0), "log_std": (2.0, 10.0, 78.0)}


class Normal(NamedTuple):
    """Diagonal Gaussian over actions in float64, in action space, before clipping to [-1, 1]."""

    mean: np.ndarray  # [..., A]
    std: np.ndarray  # [..., A]


class Quadratic(NamedTuple):
    """A function of the standard normal x `[A]`: constant + slope · x + curvature · x²."""

    constant: np.ndarray  # [...]
    slope: np.ndarray  # [..., A]
    curvature: np.ndarray  # [..., A]

    def mean(self, axis: int = 0) -> "Quadratic":
        """Return the average of several."""
        return Quadratic(*(part.mean(axis) for part in self))

    def plus(self, constant: float) -> "Quadratic":
        """Return the function with a constant added."""
        return self._replace(constant=self.constant + constant)


class Moments(NamedTuple):
    """Mean and variance of an estimated gradient, in nats (for μ: nats a unit of action)."""

    mean: np.ndarray  # [A]
    variance: np.ndarray  # [A]: the diagonal of Eq. (52)


class Comparison(NamedTuple):
    """Moments of a gradient under each of `REFERENCES`."""

    replayed: Moments
    unnormalised: Moments
    normalised: Moments


REFERENCES = Comparison._fields


class Setting(NamedTuple):
    """What is estimated, and how."""

    samples: int  # N
    parameter: str = "mean"  # of PARAMETERS
    estimator: str = "score"  # of ESTIMATORS
    whole: bool = False  # the KL, Eq. (44), and not its cross-entropy alone; with `score` only


def log_density(policy: Normal, planners: Normal) -> Quadratic:
    """Return log π^k of planners `[K, A]`, or of one `[A]`, as quadratics in a policy's x `[A]`."""
    offset = (policy.mean - planners.mean) / planners.std
    ratio = policy.std / planners.std
    log_norm = np.log(planners.std) + 0.5 * np.log(2.0 * np.pi)
    constant = -np.sum(0.5 * np.square(offset) + log_norm, axis=-1)
    return Quadratic(constant, -offset * ratio, -0.5 * np.square(ratio))


def geometric_mean(planners: Normal) -> Normal:
    r"""Return the normalised $\exp(\mathbb{E}_k[\log \pi^k])$ of planners `[K, A]`: `[A]`.

    It minimises $\mathbb{E}_k\, \mathrm{KL}[\pi \,\|\, \pi^k]$, Eq. (8) and (49), over all
    distributions: precisions are averaged, means weighted by them.
    """
    precision = np.mean(planners.std**-2.0, axis=0)
    mean = np.mean(planners.mean * planners.std**-2.0, axis=0) / precision
    return Normal(mean, precision**-0.5)


def moment_match(planners: Normal) -> Normal:
    r"""Return the Gaussian with mean and variance of the mixture of planners `[K, A]`: `[A]`.

    It minimises $\mathbb{E}_k\, \mathrm{KL}[\pi^k \,\|\, \pi]$, Eq. (9), over Gaussians.
    """
    variance = np.mean(planners.std**2, axis=0) + np.var(planners.mean, axis=0)
    return Normal(np.mean(planners.mean, axis=0), np.sqrt(variance))


def log_normaliser(planners: Normal) -> float:
    r"""Return log Z, $Z = \int \exp(\mathbb{E}_k[\log \pi^k])\, da \le 1$, left out of Eq. (49)."""
    best = geometric_mean(planners)
    average = log_density(best, planners).mean().constant
    return float(average - log_density(best, best).constant)


def exact_moments(policy: Normal, planners: Normal, setting: Setting) -> Comparison:
    r"""Return means (Eq. 48, 50) and variances (Eq. 52) of the three estimators, exactly.

    With $L_k = \log \pi^k$ and $\bar L$ its average over k, Eq. (52) is
    $\mathrm{Var}\, g_1 = \mathrm{Var}\, g_2 + \frac1N (\mathbb{E}_k \mathbb{E}_a[(u L_k)^2]
    - \mathbb{E}_a[(u \bar L)^2])$ for the score u. The policy is π_θ, `[A]`, the planners are all
    that may be drawn, `[K, A]`. The estimator `reparameterised` differentiates through
    a = μ + s x, `closed_form` averages over actions, as `pompc.algorithm.maths.kl_divergence` does.
    Raise ConfigError if shapes disagree, a std is not positive or the setting is unknown.
    """
    each, average, normalised = _references(policy, planners, setting)
    spread = np.mean(_second(each, setting), axis=0) - _second(average, setting)
    adaptive = _moments(average, policy, setting)
    from_planners = spread * _unit(policy, setting) ** 2 / setting.samples
    replayed = adaptive._replace(variance=adaptive.variance + from_planners)
    return Comparison(replayed, adaptive, _moments(normalised, policy, setting))


def monte_carlo_moments(
    policy: Normal, planners: Normal, setting: Setting, draws: int, rng: np.random.Generator
) -> Comparison:
    """Estimate the same from `draws` independent gradients; arguments as in `exact_moments`."""
    each, average, normalised = _references(policy, planners, setting)
    noise = rng.normal(size=(draws, len(policy.mean)))
    chosen = rng.integers(len(planners.mean), size=(draws, setting.samples))
    drawn = Quadratic(*(part[chosen] for part in each)).mean(axis=1)
    unit = _unit(policy, setting)
    gradients = (unit * _gradient(q, noise, setting) for q in (drawn, average, normalised))
    return Comparison(*(Moments(g.mean(axis=0), g.var(axis=0)) for g in gradients))


def with_constant(
    policy: Normal, planners: Normal, constants: np.ndarray, parameter: str = "mean"
) -> np.ndarray:
    r"""Return the score estimator's variance under $\mathbb{E}_k[\log \pi^k] + c$.

    Any constant leaves the mean alone, since $\mathbb{E}[\nabla \log \pi_\theta] = 0$: it is a
    baseline. c = 0 is the unnormalised prior and c = -log Z the normalised one. Constants `[C]` are
    in nats; the result `[C]` is the sum of the variances over actions.
    """
    setting = Setting(1, parameter)
    _, average, _ = _references(policy, planners, setting)
    variances = (_moments(average.plus(c), policy, setting).variance for c in constants)
    return np.array([variance.sum() for variance in variances])


def best_constant(policy: Normal, planners: Normal, parameter: str = "mean") -> float:
    """Return the c at which `with_constant` is least: the optimal baseline, in nats."""
    setting = Setting(1, parameter)
    _, average, _ = _references(policy, planners, setting)
    zeroth, second, _ = _SCORE_MOMENTS[parameter]
    weight = _unit(policy, setting) ** 2
    at_zero = zeroth * _others_mean(average) + second * average.curvature
    return float(-np.sum(weight * at_zero) / np.sum(weight * zeroth))


def _references(
    policy: Normal, planners: Normal, setting: Setting
) -> tuple[Quadratic, Quadratic, Quadratic]:
    """Return log π^k of each planner (less log π_θ for `whole`), their average, and normalised."""
    _check(policy, planners, setting)
    each = log_density(policy, planners)
    if setting.whole:
        own = log_density(policy, policy)
        each = Quadratic(*(one - other for one, other in zip(each, own, strict=True)))
    average = each.mean()
    return each, average, average.plus(-log_normaliser(planners))


def _unit(policy: Normal, setting: Setting) -> np.ndarray:
    """Return what a gradient by x is multiplied with, to be one by μ or log s: `[A]`."""
    return 1.0 / policy.std if setting.parameter == "mean" else np.ones_like(policy.std)


def _moments(q: Quadratic, policy: Normal, setting: Setting) -> Moments:
    unit, first = _unit(policy, setting), _first(q, setting)
    return Moments(unit * first, unit**2 * (_second(q, setting) - first**2))


def _first(q: Quadratic, setting: Setting) -> np.ndarray:
    """Return the mean gradient by x, of whichever estimator: all three are unbiased."""
    return q.slope if setting.parameter == "mean" else 2.0 * q.curvature


def _second(q: Quadratic, setting: Setting) -> np.ndarray:
    """Return the mean square of the gradient by x, `[..., A]`."""
    if setting.estimator == "closed_form":
        return _first(q, setting) ** 2
    if setting.estimator == "reparameterised":
        factor = 4.0 if setting.parameter == "mean" else 12.0
        return q.slope**2 + factor * q.curvature**2
    zeroth, second, fourth = _SCORE_MOMENTS[setting.parameter]
    own = second * q.slope**2 + fourth * q.curvature**2
    rest = _others_mean(q)
    variances = q.slope**2 + 2.0 * q.curvature**2  # of each dimension's part of q
    rest_square = rest**2 + np.sum(variances, axis=-1, keepdims=True) - variances
    return own + 2.0 * second * q.curvature * rest + zeroth * rest_square


def _others_mean(q: Quadratic) -> np.ndarray:
    """Return, for each dimension, the mean of q without that dimension's part: `[..., A]`."""
    total = q.constant + np.sum(q.curvature, axis=-1)
    return total[..., None] - q.curvature


def _gradient(q: Quadratic, x: np.ndarray, setting: Setting) -> np.ndarray:
    """Return one gradient by x for each row of `x [D, A]`."""
    if setting.estimator == "closed_form":
        return np.broadcast_to(_first(q, setting), x.shape)
    if setting.estimator == "reparameterised":
        slope = q.slope + 2.0 * q.curvature * x
        return slope if setting.parameter == "mean" else slope * x
    score = x if setting.parameter == "mean" else x**2 - 1.0
    value = q.constant + np.sum(q.slope * x + q.curvature * x**2, axis=-1)
    return score * value[..., None]


def _check(policy: Normal, planners: Normal, setting: Setting) -> None:
    shapes = [np.shape(part) for part in (*policy, *planners)]
    dim = shapes[0][-1:]
    if shapes != [dim, dim, shapes[2], shapes[2]] or shapes[2][1:] != dim or shapes[2][:1] < (1,):
        raise ConfigError(f"policy and planners have shapes {shapes}, not [A], [A], [K, A], [K, A]")
    if not all(np.all(np.isfinite(part)) for part in (*policy, *planners)):
        raise ConfigError("policy and planners must hold finite numbers")
    if np.any(policy.std <= 0.0) or np.any(planners.std <= 0.0):
        raise ConfigError("every standard deviation must be greater than 0")
    if setting.samples < 1:
        raise ConfigError(f"samples is {setting.samples!r} but must be at least 1")
    choices = {"parameter": PARAMETERS, "estimator": ESTIMATORS}
    for name, allowed in choices.items():
        value = getattr(setting, name)
        if value not in allowed:
            hint = nearest(str(value), allowed)
            raise ConfigError(f"unknown {name} {value!r}: choose one of {', '.join(allowed)}{hint}")
    if setting.whole and setting.estimator != "score":
        raise ConfigError(
            f"whole is True with estimator {setting.estimator!r}, where the entropy has no variance"
        )
