"""λ from a budget of KL, and the prior's running average."""

import agents
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pompc.algorithm import losses, update, update_policy
from pompc.algorithm.loss_weights import hypers, parts
from pompc.algorithm.losses import PolicyTerms
from pompc.algorithm.maths import Gaussian, entropy, kl_divergence
from pompc.algorithm.rollout import make_rollout
from pompc.errors import ConfigError


@pytest.mark.parametrize("budget", [0.1, 0.5])
@pytest.mark.parametrize("steepness", [0.3, 30.0])
def test_a_policy_spends_its_budget_on_a_linear_q(small, budget, steepness):
    """Adam on Eq. (18) with Q = g · a and a Gaussian prior ends at a KL near ε A, whatever g."""
    weights = hypers(small(lam=1.0, kl_budget=budget, entropy_coef=0.0))
    gradient = steepness * jnp.array([1.0, -2.0, 0.5])
    prior = Gaussian(jnp.array([0.1, 0.0, -0.3]), jnp.array([0.2, 0.1, 0.4]))
    slope = losses.value_slope(gradient, prior.std)
    np.testing.assert_allclose(slope, np.sum((gradient * prior.std) ** 2), rtol=1e-6)
    scales = jnp.float32(0.7), jnp.float32(5.0 * steepness)  # S_KL below 1, S_Q as it comes
    found = losses.budgeted(weights, slope, *scales, actions=3)

    def loss(policy):
        gaussian = Gaussian(policy[0], jnp.exp(policy[1]))
        zero = jnp.zeros(())
        terms = PolicyTerms(
            update_policy.scaled(kl_divergence(gaussian, prior), scales[0]),
            update_policy.scaled(gradient @ gaussian.mean, scales[1]),
            entropy(gaussian), zero, zero, zero,
        )  # fmt: skip
        return losses.policy_loss(terms, found)

    policy = (prior.mean + 0.05, jnp.log(prior.std) + 0.3)
    adam = optax.adam(1e-2)

    def step(carry, _):
        policy, moments = carry
        updates, moments = adam.update(jax.grad(loss)(policy), moments)
        return (optax.apply_updates(policy, updates), moments), None

    (mean, log_std), _ = jax.lax.scan(step, (policy, adam.init(policy)), length=3000)[0]
    spent = kl_divergence(Gaussian(mean, jnp.exp(log_std)), prior)
    assert budget * 3 / 2 < spent < budget * 3 * 2
    np.testing.assert_allclose(spent, budget * 3, rtol=0.02)  # where λ is within its limits


def test_the_price_of_eq_17_is_that_of_eq_18(small):
    """λ KL / S_KL in Eq. (18), times S_Q, is what Eq. (17) subtracts, within λ's limits."""
    weights = hypers(small(lam=1.0, kl_budget=0.2))
    for slope, value in ((4.0, 50.0), (1e-12, 50.0), (1e9, 0.5)):
        found = losses.budgeted(weights, jnp.float32(slope), jnp.float32(3), jnp.float32(value), 2)
        price = float(found.kl_weight) * max(1, value) / 3
        np.testing.assert_allclose(found.kl_target_weight / 3, price, rtol=1e-6)
        assert losses.BUDGET_LIMITS[0] <= found.kl_weight <= losses.BUDGET_LIMITS[1]
    free = hypers(small(lam=1.0, kl_budget=0.2, kl_in_target=False))
    assert (
        losses.budgeted(free, jnp.float32(4), *map(jnp.float32, (3, 50)), 2).kl_target_weight == 0
    )


def test_the_slope_is_the_gradient_of_the_policy_s_value(small):
    """g against finite differences of the values at the policy's mean action."""
    config = small(lam=1.0, kl_budget=0.5)
    world, needed, state = agents.make(config, seed=2)
    batch = agents.make_batch(config)
    rollout = make_rollout(world, state.model, batch)
    planner, _ = update.planners(world, batch)
    inputs = update_policy.policy_inputs(
        world, state, batch, rollout, planner, state.model, needed, jax.random.PRNGKey(0)
    )
    found = update_policy.value_slope(world, state.policy, inputs)
    mean = np.asarray(world.policy(state.policy, inputs.latents).mean)

    def value(action):
        values = world.q_values(inputs.heads, inputs.latents, jnp.asarray(action))
        return np.asarray(values, np.float64).mean(0)

    expected = np.zeros(found.shape)
    for index in range(agents.ACTIONS):
        move = 0.02 * np.eye(agents.ACTIONS, dtype=np.float32)[index]
        slope = (value(mean + move) - value(mean - move)) / 0.04
        expected += (np.asarray(inputs.reference.std)[..., index] * slope) ** 2
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=1e-4)
    after, _, metrics = update.update(world, state, batch, needed, jnp.bool_(False))
    assert after.scales.value_slope > 0
    low, high = losses.BUDGET_LIMITS
    assert low <= metrics["kl_weight"] <= high


def test_the_reference_is_the_average_of_the_priors(small):
    """Three updates: the average is the naive one, Eq. (17) and (18) read it, Eq. (12) does not."""
    config = small(lam=1.0, prior_rate=0.1)
    world, needed, state = agents.make(config, seed=3)
    batch = agents.make_batch(config)
    expected = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.prior_average)
    for _ in range(3):
        state, _, _ = update.update(world, state, batch, needed, jnp.bool_(False))
        expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, expected, state.prior)
    jax.tree.map(
        lambda ours, naive: np.testing.assert_allclose(ours, naive, atol=1e-6),
        state.prior_average, expected,
    )  # fmt: skip
    latents = make_rollout(world, state.model, batch).latents[:-1]
    planner, _ = update.planners(world, batch)
    reference = update_policy.reference_policy(world, state, latents, planner)
    averaged = world.policy(state.prior_average, latents)
    jax.tree.map(np.testing.assert_array_equal, reference, averaged)


def test_a_rate_of_one_and_no_budget_keep_no_more_than_before(small):
    needed = parts(small(lam=1.0))
    _, _, state = agents.make(small(lam=1.0))
    assert not needed.prior_average
    assert not needed.budget
    assert state.prior_average is None
    assert state.scales.value_slope is None


@pytest.mark.parametrize(
    "settings",
    [{"kl_budget": 0.5, "lam": 0.0}, {"kl_budget": 0.5, "lam": "inf"}, {"prior_rate": 0.0}],
)
def test_what_has_no_meaning_is_refused(small, settings):
    with pytest.raises(ConfigError, match=r"lam is|prior_rate is"):
        small(**settings)
