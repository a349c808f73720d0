"""MPPI against the float64 oracle, a problem with a known optimum, and its own invariants."""

import agents
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from pompc.algorithm import planner
from pompc.algorithm.planner import PlanningModel


@pytest.fixture
def scene(small):
    config = small()
    world, _, state = agents.make(config, seed=3)
    noise = planner.draw_noise(jax.random.PRNGKey(5), agents.ACTIONS, config)
    latent = world.encode(state.model.encoder, jnp.linspace(-1.0, 1.0, agents.OBSERVATIONS))
    model = world.planning_model(
        state.model, state.policy, jax.tree.map(lambda leaf: leaf[:2], state.model.q)
    )
    return config, state, noise, latent, model


def test_value_estimates_agree_with_the_oracle(scene):
    config, state, noise, latent, model = scene
    actions = jnp.clip(noise.samples[0], -1, 1)
    terminal = noise.terminal[config.policy_samples :]
    values = planner.trajectory_values(model, latent, actions, terminal, config.discount)
    params, settings = agents.oracle_params(state), agents.oracle_settings(config)
    expected = [
        oracle.trajectory_value(
            params, latent, actions[:, i], terminal[i], (0, 1), config.discount, settings
        )
        for i in range(actions.shape[1])
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_a_whole_plan_agrees_with_the_oracle(scene):
    config, state, noise, latent, model = scene
    previous = 0.3 * jnp.ones((config.horizon, agents.ACTIONS))
    plan = planner.plan(model, latent, previous, noise, config)
    mean, std, elites, weights, _ = oracle.plan(
        agents.oracle_params(state), latent, previous, np.swapaxes(noise.policy, 0, 1),
        np.swapaxes(noise.samples, 1, 2), noise.terminal, (0, 1), agents.oracle_settings(config),
    )  # fmt: skip
    np.testing.assert_allclose(plan.mean, mean, atol=1e-4)
    np.testing.assert_allclose(plan.std, std, atol=1e-4)
    np.testing.assert_allclose(plan.weights, weights, atol=1e-4)
    np.testing.assert_allclose(np.swapaxes(plan.elites, 0, 1), elites, atol=1e-4)


def _quadratic(target):
    """One step of reward -|a - target|^2, nothing after it, a policy that proposes noise."""
    return PlanningModel(
        step=lambda latent, action: (-jnp.sum(jnp.square(action - target), -1), latent),
        act=lambda latent, noise: jnp.clip(noise, -1, 1) + 0 * latent[:, :1],
        value=lambda latent, action: jnp.zeros(action.shape[0]),
    )


@pytest.mark.parametrize("target", [(0.0, 0.0), (0.7, -0.4), (2.0, -3.0)])
def test_plan_finds_the_optimum_of_a_quadratic(small, target):
    config = small(
        plan_samples=512, elites=64, mppi_iterations=12, temperature=0.1, min_plan_std=0.02
    )
    noise = planner.draw_noise(jax.random.PRNGKey(0), 2, config)
    model = _quadratic(jnp.array([target]))
    plan = planner.plan(model, jnp.zeros(3), jnp.zeros((config.horizon, 2)), noise, config)
    optimum = np.clip(target, -1, 1)
    np.testing.assert_allclose(plan.mean, np.tile(optimum, (config.horizon, 1)), atol=0.05)
    assert (plan.std >= 0.02).all()
    assert (plan.std < 0.3).all()


def test_refine_is_eq_11_on_a_case_done_by_hand(small):
    config = small(elites=2, min_plan_std=0.01)
    actions = jnp.array([[[-0.5], [0.1], [0.9]]])  # H = 1, N = 3
    plan = planner.refine(actions, jnp.array([1.0, 3.0, 2.0]), config)
    first = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(plan.weights, [first, 1 - first], rtol=1e-6)
    mean = first * 0.1 + (1 - first) * 0.9
    np.testing.assert_allclose(plan.mean, [[mean]], rtol=1e-6)
    variance = first * (0.1 - mean) ** 2 + (1 - first) * (0.9 - mean) ** 2
    np.testing.assert_allclose(plan.std, [[np.sqrt(variance)]], rtol=1e-5)


def test_warm_start_shifts_the_previous_mean(small):
    config = small(policy_samples=1, plan_samples=8, elites=8, mppi_iterations=1, temperature=1e6)
    noise = planner.draw_noise(jax.random.PRNGKey(0), 1, config)
    still = jax.tree.map(jnp.zeros_like, noise)
    model = _quadratic(jnp.zeros((1, 1)))
    plan = planner.plan(model, jnp.zeros(2), jnp.array([[0.1], [0.5], [0.9]]), still, config)
    # 7 of the 8 elites are the shifted mean, one is the policy's zero action.
    np.testing.assert_allclose(plan.mean, np.array([[0.5], [0.9], [0.0]]) * 7 / 8, atol=1e-4)


def test_a_golden_plan(small):
    """Numbers that a change of the planner, the networks or the random streams would move."""
    config = small(temperature=0.5)
    noise = planner.draw_noise(jax.random.PRNGKey(11), 2, config)
    model = _quadratic(jnp.array([[0.25, -0.75]]))
    plan = planner.plan(model, jnp.zeros(3), jnp.zeros((config.horizon, 2)), noise, config)
    np.testing.assert_allclose(plan.mean[0], GOLDEN_MEAN, atol=1e-4)
    np.testing.assert_allclose(plan.std[0], GOLDEN_STD, atol=1e-4)


GOLDEN_MEAN, GOLDEN_STD = (0.228624, -0.779386), (0.211584, 0.096432)


def test_actions_are_clipped_and_only_exploration_adds_noise():
    plan = planner.Plan(
        mean=jnp.array([[0.2]]), std=jnp.array([[3.0]]), elites=jnp.array([[[0.5], [-0.5]]]),
        weights=jnp.array([1.0, 0.0]), from_policy=jnp.array(0.0),
    )  # fmt: skip
    keys = jax.random.split(jax.random.PRNGKey(0), 200)

    def drawn(how, explore):
        return np.asarray(
            jax.vmap(lambda key: planner.choose_action(plan, key, how, explore))(keys)
        )

    assert np.all(drawn("elite", False) == 0.5)
    assert np.all(np.isclose(drawn("mean", False), 0.2))
    for how in ("elite", "gaussian"):
        noisy = drawn(how, True)
        assert np.abs(noisy).max() == 1
        assert noisy.std() > 0.5
