"""Closed forms and the float64 oracle for the elementary operations."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from scipy import integrate, stats

from pompc.algorithm import maths, networks, planner
from pompc.algorithm.maths import Bins, Gaussian
from pompc.settings.config import Config

BINS = Bins(-10.0, 10.0, 101)


def test_mish_equals_its_definition_over_the_float_range():
    x = np.concatenate([np.linspace(-60, 60, 2001), [-1e4, 1e4]]).astype(np.float32)
    np.testing.assert_allclose(networks.mish(x), oracle.mish(x), rtol=2e-6, atol=1e-12)


def test_mish_has_a_finite_gradient_everywhere():
    gradient = jax.vmap(jax.grad(networks.mish))(jnp.array([-1e4, -50.0, 0.0, 19.9, 20.1, 1e4]))
    np.testing.assert_allclose(gradient, [0, 0, 0.6, 1, 1, 1], atol=1e-5)


def test_the_gradient_of_mish_is_its_derivative():
    x = np.linspace(-45, 30, 1501)
    derivative = (oracle.mish(x + 1e-5) - oracle.mish(x - 1e-5)) / 2e-5
    gradient = jax.vmap(jax.grad(networks.mish))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(gradient, derivative, rtol=2e-5, atol=2e-6)


def test_layer_norm_and_its_gradient_equal_those_of_flax():
    generator = np.random.default_rng(0)
    x, gradient = (jnp.asarray(generator.normal(3, 2, (2, 5, 16)), jnp.float32) for _ in range(2))
    scale, bias = (jnp.asarray(generator.normal(size=16), jnp.float32) for _ in range(2))
    module = nn.LayerNorm(networks.LAYER_NORM_EPSILON)

    def of_flax(x, scale, bias):
        return module.apply({"params": {"scale": scale, "bias": bias}}, x)

    ours, pull_ours = jax.vjp(networks.layer_norm, x, scale, bias)
    theirs, pull_theirs = jax.vjp(of_flax, x, scale, bias)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    for mine, other in zip(pull_ours(gradient), pull_theirs(gradient), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_layer_norm_of_equal_entries_is_its_bias():
    ones = jnp.ones(16)
    normal, pull = jax.vjp(networks.layer_norm, jnp.full((3, 16), 1e4), ones, 2 * ones)
    np.testing.assert_allclose(normal, 2.0, atol=1e-3)
    assert all(np.isfinite(part).all() for part in pull(jnp.ones((3, 16))))


def test_simnorm_sums_to_one_in_groups_and_equals_the_oracle():
    x = np.random.default_rng(0).normal(size=24).astype(np.float32) * 5
    result = np.asarray(networks.simnorm(jnp.asarray(x), 8))
    np.testing.assert_allclose(result.reshape(3, 8).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(result, oracle.simnorm(x, 8), rtol=1e-5)


def test_symexp_inverts_symlog():
    x = jnp.array([-2e4, -3.0, -1e-3, 0.0, 1e-3, 1.0, 2e4])
    np.testing.assert_allclose(maths.symexp(maths.symlog(x)), x, rtol=1e-5)


@pytest.mark.parametrize("x", [-3e4, -22025.4, -17.3, -0.01, 0.0, 0.5, 999.0, 22025.0, 1e9])
def test_two_hot_round_trip_and_oracle(x):
    code = maths.two_hot(jnp.float32(x), BINS)
    np.testing.assert_allclose(code, oracle.two_hot(x, *BINS), atol=2e-5)
    np.testing.assert_allclose(code.sum(), 1, rtol=1e-5)
    assert (code > 0).sum() <= 2
    decoded = maths.two_hot_decode(jnp.log(code + 1e-30), BINS)
    limit = np.expm1(10.0)
    np.testing.assert_allclose(decoded, np.clip(x, -limit, limit), rtol=2e-3, atol=1e-4)
    assert bool(maths.outside_bins(jnp.float32(x), BINS)) == (abs(np.log1p(abs(x))) > 10)


def test_cross_entropy_equals_oracle_and_is_least_at_the_target():
    logits = np.random.default_rng(1).normal(size=101).astype(np.float32)
    ours = maths.two_hot_cross_entropy(jnp.asarray(logits), jnp.float32(7.5), BINS)
    np.testing.assert_allclose(ours, oracle.cross_entropy(logits, 7.5, *BINS), rtol=1e-5)
    code = maths.two_hot(jnp.float32(7.5), BINS)
    best = maths.two_hot_cross_entropy(jnp.log(code + 1e-30), jnp.float32(7.5), BINS)
    assert best < ours
    np.testing.assert_allclose(best, -np.sum(code * np.log(code + 1e-30)), rtol=1e-5)


def test_kl_against_closed_form_oracle_and_numerical_integration():
    p = Gaussian(jnp.array([0.3, -0.5]), jnp.array([0.4, 1.2]))
    q = Gaussian(jnp.array([-0.1, 0.2]), jnp.array([0.9, 0.5]))
    expected = oracle.kl(*p, *q)
    np.testing.assert_allclose(maths.kl_divergence(p, q), expected, rtol=1e-6)
    assert maths.kl_divergence(p, p) == 0

    def integrand(x, i):
        first, second = (stats.norm(float(g.mean[i]), float(g.std[i])) for g in (p, q))
        return first.pdf(x) * (first.logpdf(x) - second.logpdf(x))

    numeric = sum(integrate.quad(integrand, -12, 12, args=(i,))[0] for i in range(2))
    np.testing.assert_allclose(expected, numeric, rtol=1e-5)


def test_entropy_is_that_of_the_normal_distribution():
    std = jnp.array([0.05, 0.7, 2.0])
    expected = sum(stats.norm(0, float(s)).entropy() for s in std)
    np.testing.assert_allclose(maths.entropy(Gaussian(std * 0, std)), expected, rtol=1e-6)


def test_clip_action_passes_the_gradient_only_when_straight_through():
    for straight, outside in ((True, 1.0), (False, 0.0)):
        gradient = jax.vmap(jax.grad(lambda a, s=straight: maths.clip_action(a, s)))
        np.testing.assert_allclose(gradient(jnp.array([-1.5, 0.2, 3.0])), [outside, 1, outside])
    np.testing.assert_allclose(maths.clip_action(jnp.array([-1.5, 0.2, 3.0])), [-1, 0.2, 1])


def test_percentile_scale_starts_from_the_first_batch_and_then_moves():
    values = np.random.default_rng(2).normal(size=57).astype(np.float32)
    spread = oracle.percentile_range(values)
    np.testing.assert_allclose(maths.percentile_range(jnp.asarray(values)), spread, rtol=1e-5)
    first = maths.update_scale(jnp.float32(0), jnp.asarray(values), 0.01)
    np.testing.assert_allclose(first, spread, rtol=1e-5)
    later = maths.update_scale(jnp.float32(1), jnp.asarray(values), 0.01)
    np.testing.assert_allclose(later, oracle.update_scale(1.0, values, 0.01), rtol=1e-5)


def _tf32(x):
    """Round float32 to 10 bits of mantissa, to nearest and ties to even, on the bits themselves."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    dropped = 13
    bits += (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
    return ((bits >> dropped) << dropped).astype(np.uint32).view(np.float32).astype(float)


@pytest.mark.parametrize("lead", [(), (7,), (2, 7)])
def test_a_rounded_product_and_its_gradients_are_those_of_rounded_factors(lead):
    rng = np.random.default_rng(0)
    a, b, g = (
        rng.normal(size=shape).astype(np.float32) for shape in ((*lead, 5), (5, 3), (*lead, 3))
    )
    dimensions = ((len(lead),), (0,)), ((), ())
    value, back = jax.vjp(lambda a, b: networks.rounded_dot_general(a, b, dimensions), a, b)
    of_a, of_b = back(g)
    np.testing.assert_allclose(value, _tf32(a) @ _tf32(b), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_a, _tf32(g) @ _tf32(b).T, rtol=1e-5, atol=1e-6)
    rows = _tf32(a).reshape(-1, 5), _tf32(g).reshape(-1, 3)
    np.testing.assert_allclose(of_b, rows[0].T @ rows[1], rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(value) - a @ b).max() > 1e-5


def test_logits_of_the_planner_in_bfloat16_are_decoded_in_float32():
    logits = jax.random.normal(jax.random.PRNGKey(0), (64, BINS.number)).astype(jnp.bfloat16)
    decoded = maths.two_hot_decode(logits, BINS)
    assert decoded.dtype == jnp.float32
    expected = [oracle.two_hot_decode(row, -10.0, 10.0, 101) for row in np.asarray(logits, float)]
    np.testing.assert_allclose(decoded, expected, rtol=1e-5, atol=1e-5)


def test_targets_and_plans_are_full_float32_where_networks_are_tf32():
    with jax.default_matmul_precision("tensorfloat32"):
        decode = jax.make_jaxpr(lambda x: maths.two_hot_decode(x, BINS))(jnp.ones((5, BINS.number)))
        refined = jax.make_jaxpr(lambda a, v: planner.refine(a, v, Config(preset="laptop")))(
            jnp.ones((3, 512, 2)), jnp.ones(512)
        )
    for program, products in ((decode, 1), (refined, 2)):
        text = str(program)
        assert text.count("dot_general") == text.count("Precision.HIGHEST, Precision.HIGHEST")
        assert text.count("dot_general") == products
