"""Gaussians, the two-hot code, and percentile scales."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.runtime import has_gpu


class Bins(NamedTuple):
    """Support of the two-hot code: `number` bins from `low` to `high` in symlog space."""

    low: float
    high: float
    number: int

    def centers(self) -> Array:
        """Return the bin centres, `[number]`, in symlog space."""
        return jnp.linspace(self.low, self.high, self.number)


class Gaussian(NamedTuple):
    """Diagonal Gaussian over actions, in action space (before clipping to [-1, 1])."""

    mean: Array  # [..., A]
    std: Array  # [..., A]


class Mixture(NamedTuple):
    """Mixture of `K` diagonal Gaussians over actions, in action space."""

    log_weight: Array  # [..., K]: log ω, of weights whose sum is 1
    mean: Array  # [..., K, A]
    std: Array  # [..., K, A]

    def modes(self) -> Array:
        r"""Return $e^{H(\omega)}$ `[...]`: the number of components that it uses, 1 to K."""
        return jnp.exp(-jnp.sum(jnp.exp(self.log_weight) * self.log_weight, axis=-1))


def bounded_exp(x: Array) -> Array:
    """Return e^x with x clipped to [-80, 80], so that a softmax needs no maximum.

    Logits stay within a fraction of that (book/differences.md); a search for the maximum would
    take as long as the exponential.
    """
    return jnp.exp(jnp.clip(x, -80.0, 80.0))


def row_sums(x: Array) -> Array:
    """Return sums over the last axis of `[B, D]`, which broadcast to it: `[B, 1]` or `[B, D]`.

    A CPU takes half the time for a product with a matrix of ones where rows are as short as 8.
    """
    if has_gpu():
        return jnp.sum(x, axis=-1, keepdims=True)
    return jnp.matmul(x, jnp.ones((x.shape[-1],) * 2, x.dtype), precision="highest")


def symlog(x: Array) -> Array:
    """Return sign(x) log(1 + |x|)."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: Array) -> Array:
    """Return sign(x) (e^|x| - 1), the inverse of `symlog`."""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


def two_hot(x: Array, bins: Bins) -> Array:
    """Encode scalars `[...]` as `[..., number]`: symlog, clip, share between two nearest bins."""
    scale = (bins.number - 1) / (bins.high - bins.low)
    position = (jnp.clip(symlog(x), bins.low, bins.high) - bins.low) * scale
    index = jax.lax.broadcasted_iota(jnp.float32, (*x.shape, bins.number), x.ndim)
    return jnp.maximum(1.0 - jnp.abs(position[..., None] - index), 0.0)


def two_hot_decode(logits: Array, bins: Bins) -> Array:
    """Decode logits `[..., number]` to scalars `[...]`: symexp of the expected bin centre.

    In full float32 whatever the type and the products of the networks: centres rounded to TF32
    would shift a target by up to 0.3 %, and bootstrapping multiplies that by 1 / (1 - γ).
    """
    weights = bounded_exp(logits.astype(jnp.float32))
    expected = jnp.matmul(weights, bins.centers(), precision="highest")
    return symexp(expected / jnp.sum(weights, axis=-1))


def two_hot_cross_entropy(logits: Array, target: Array, bins: Bins) -> Array:
    """Return the cross-entropy, in nats, of logits `[..., number]` with two-hot targets `[...]`."""
    normalizer = jnp.log(jnp.sum(bounded_exp(logits), axis=-1))
    return normalizer - jnp.sum(two_hot(target, bins) * logits, axis=-1)


def outside_bins(target: Array, bins: Bins) -> Array:
    """Tell which targets `[...]` lie outside the support, where the two-hot code saturates."""
    scaled = symlog(target)
    return (scaled < bins.low) | (scaled > bins.high)


def kl_divergence(p: Gaussian, q: Gaussian) -> Array:
    r"""Return $\mathrm{KL}[p \,\|\, q]$ in nats, summed over action dimensions, `[...]`."""
    variance_ratio = jnp.square(p.std / q.std)
    distance = jnp.square((p.mean - q.mean) / q.std)
    return 0.5 * jnp.sum(variance_ratio + distance - 1.0 - jnp.log(variance_ratio), axis=-1)


def mixture_divergence(p: Gaussian, q: Mixture) -> Array:
    r"""Return a bound of $\mathrm{KL}[p \,\|\, q]$ from above, in nats, `[...]`.

    $$-\log \sum_j \omega_j\, e^{-\mathrm{KL}[p \,\|\, \mathcal N_j]}$$

    Hershey and Olsen (2007). It is the KL itself for one component, and for components so far from
    each other that p sees one. In p it is a soft minimum over the components: it seeks one mode.
    """
    one = Gaussian(p.mean[..., None, :], p.std[..., None, :])
    each = kl_divergence(one, Gaussian(q.mean, q.std))
    return -jax.nn.logsumexp(q.log_weight - each, axis=-1)


def entropy(p: Gaussian) -> Array:
    """Return the differential entropy in nats, summed over action dimensions, `[...]`."""
    return jnp.sum(jnp.log(p.std) + 0.5 * jnp.log(2.0 * jnp.pi * jnp.e), axis=-1)


def squash_log_slope(action: Array) -> Array:
    """Return Σ log(1 - a² + 10⁻⁶) `[...]` of squashed actions `[..., A]` in (-1, 1).

    It is the log density that tanh takes off a sample's, so that it adds to the entropy.
    """
    return jnp.sum(jnp.log(1.0 - jnp.square(action) + 1e-6), axis=-1)


def log_likelihood(p: Gaussian, action: Array) -> Array:
    """Return log p(action) in nats, summed over action dimensions, `[...]`."""
    distance = jnp.square((action - p.mean) / p.std)
    return -jnp.sum(0.5 * distance + jnp.log(p.std) + 0.5 * jnp.log(2.0 * jnp.pi), axis=-1)


def clip_action(action: Array, straight_through: bool = True) -> Array:
    """Clip an action to [-1, 1]; with `straight_through` the gradient passes as if unclipped."""
    clipped = jnp.clip(action, -1.0, 1.0)
    return action + jax.lax.stop_gradient(clipped - action) if straight_through else clipped


def percentile_range(values: Array) -> Array:
    """Return the difference between the 95th and the 5th percentile of `values [B]`."""
    low, high = jnp.percentile(values, jnp.array([5.0, 95.0]))
    return high - low


def update_scale(scale: Array, values: Array, rate: float) -> Array:
    """Move a running percentile range (S_p, S_KL, S_Q of Eq. 12, 17, 18) towards that of `values`.

    A scale of exactly 0 has seen no batch yet and takes the range of the first one. The clamp
    max(1, S) belongs to the equations that divide by it.
    """
    return running(scale, percentile_range(jax.lax.stop_gradient(values)), rate)


def running(average: Array, value: Array, rate: float) -> Array:
    """Move a running average towards a value by a share `rate`; from exactly 0 all the way."""
    return jnp.where(average == 0.0, value, average + rate * (value - average))
