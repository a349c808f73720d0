"""The instruments, each against a naive computation."""

import agents
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from pompc.algorithm import instruments, losses, planner, update, update_model, update_policy
from pompc.algorithm.rollout import make_rollout

KEY = jax.random.PRNGKey(5)


@pytest.fixture(scope="module")
def scene(small):
    # Without the straight-through clip, whose gradient is no slope.
    config = small(lam=0.7, entropy_coef=0.1, straight_through=False)
    world, needed, state = agents.make(config, seed=1)
    scales = state.scales._replace(kl=jnp.float32(2.0), value=jnp.float32(3.0))
    state = state._replace(scales=scales)
    batch = agents.make_batch(config)
    rollout = make_rollout(world, state.model, batch)
    plans, next_plans = update.planners(world, batch)
    inputs = update_policy.policy_inputs(
        world, state, batch, rollout, plans, state.model, needed, KEY
    )
    return world, needed, state, batch, rollout, inputs, plans, next_plans


def test_gradients_of_eq_18_are_those_of_the_oracle_s_differences(scene):
    """A norm is the slope of the oracle's loss along the gradient; along any other it is less."""
    world, needed, state, batch, _, inputs, _, _ = scene
    found = instruments.policy_gradients(world, state, batch, inputs, needed)
    config, settings = world.config, agents.oracle_settings(world.config)
    params = agents.oracle_params(state) | {"q_kl": agents.heads(inputs.heads)}
    latents, noise = np.asarray(inputs.latents), np.asarray(inputs.noise)
    reference = np.asarray(inputs.reference.mean), np.asarray(inputs.reference.std)

    def loss(policy, lam, entropy_coef):
        return oracle.policy_loss(
            params | {"policy": agents.layers(policy)}, latents, *reference, noise, (0, 1), lam,
            2.0, 3.0, entropy_coef, batch.mask, settings,
        )  # fmt: skip

    terms = {
        "kl": lambda policy: 0.7 * loss(policy, np.inf, 0.0),
        "value": lambda policy: loss(policy, 0.0, 0.0),
        "entropy": lambda policy: loss(policy, 0.0, config.entropy_coef) - loss(policy, 0.0, 0.0),
    }
    for name, naive in terms.items():

        def ours(policy, name=name):
            values = update_policy.policy_loss_terms(world, policy, inputs, state, batch, needed)
            return losses.over_time(config, getattr(values, name), inputs.mask)

        gradient = jax.tree.map(lambda g: np.asarray(g, float), jax.grad(ours)(state.policy))
        norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(gradient)))
        ends = []
        for step in (1e-4 / norm, -1e-4 / norm):
            moved = jax.tree.map(
                lambda leaf, g, h=step: np.asarray(leaf, float) + h * g, state.policy, gradient
            )
            ends.append(naive(moved))
        slope = abs(ends[0] - ends[1]) / 2e-4
        np.testing.assert_allclose(found[f"policy_grad_{name}"], slope, rtol=1e-3)


def test_gradients_on_the_model_are_those_of_each_loss_alone(scene):
    world, _, state, batch, rollout, _, _, next_plans = scene
    tax = update_policy.weighted_target_kl(world, state, rollout, next_plans)
    found = instruments.model_gradients(world, state, batch, rollout, tax, KEY)
    keys = jax.random.split(KEY, 3)
    targets = update_model.draw_targets(world, state, batch, rollout, tax, keys)
    for name in ("consistency", "reward", "value", "kl_value"):

        def loss(model, name=name):
            terms = update_model.model_losses(world, model, batch, rollout, targets, None)
            return terms[name]

        gradient = jax.grad(loss)(state.model)
        leaves = jax.tree.leaves((gradient.encoder, gradient.dynamics))
        squares = sum(np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in leaves)
        norm = getattr(world.config, f"{name}_coef") * np.sqrt(squares)
        np.testing.assert_allclose(found[f"model_grad_{name}"], norm, rtol=1e-4)


def test_kls_taxes_and_spreads_are_those_of_the_oracle(scene):
    world, needed, state, batch, rollout, inputs, plans, _ = scene
    found = instruments.measure(world, state, instruments.Drawn(batch, batch), needed)
    params, settings = agents.oracle_params(state), agents.oracle_settings(world.config)
    mask = np.asarray(batch.mask, np.float64)

    def divergence(latents, reference):
        low, high = settings.log_std_low, settings.log_std_high
        result = np.zeros(mask.shape)
        for t, b in np.ndindex(mask.shape):
            mean, log_std = oracle.gaussian(params["policy"], latents[t, b], low, high)
            result[t, b] = oracle.kl(mean, np.exp(log_std), *reference(t, b))
        return result

    def prior(t, b):
        latent = np.asarray(rollout.encoded)[t, b]
        mean, log_std = oracle.gaussian(
            params["prior"], latent, settings.log_std_low, settings.log_std_high
        )
        return mean, np.exp(log_std)

    to_plans = divergence(
        np.asarray(rollout.latents), lambda t, b: (plans.mean[t, b], plans.std[t, b])
    )
    np.testing.assert_allclose(found["kl_to_plans"], np.average(to_plans, weights=mask), rtol=1e-4)
    tax = 0.7 * divergence(np.asarray(rollout.encoded), prior) / 2.0
    mean = np.average(tax, weights=mask)
    np.testing.assert_allclose(found["tax_mean"], mean, rtol=1e-4)
    spread = np.sqrt(np.average((tax - mean) ** 2, weights=mask))
    np.testing.assert_allclose(found["tax_std"], spread, rtol=1e-4)
    spreads = instruments.value_spreads(world, state, inputs)
    for name, ensemble in (("spread_q", "q"), ("spread_kl_q", "q_kl")):
        values = []
        for b in range(mask.shape[1]):
            latent = np.asarray(inputs.latents)[0, b]
            policy = oracle.gaussian(
                params["policy"], latent, settings.log_std_low, settings.log_std_high
            )
            action = oracle.sample(*policy, np.asarray(inputs.noise)[0, b])
            heads = range(len(params[ensemble]))
            values.append(
                np.mean(oracle.pair_values(params[ensemble], heads, latent, action, settings))
            )
        expected = np.percentile(values, 95) - np.percentile(values, 5)
        np.testing.assert_allclose(spreads[name], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "absent"),
    [
        ({"lam": 0.0}, {"policy_grad_kl", "tax_mean", "spread_kl_q", "kl_to_plans"}),
        ({"lam": "inf"}, {"policy_grad_value", "tax_mean", "spread_q"}),
        ({"method": "bmpc"}, {"policy_grad_value", "model_grad_kl_value"}),
        ({"method": "tdmpc2"}, {"policy_grad_kl", "kl_to_plans"}),
        ({"method": "boom"}, {"policy_grad_kl", "kl_to_plans"}),
        ({"lam": 1.0, "prior_rate": 0.1, "kl_budget": 0.5}, set()),
        ({"lam": 0.0, "imagined_value_coef": 0.1}, {"kl_to_plans"}),
    ],
)
def test_every_agent_is_measured_by_what_it_has(small, settings, absent):
    config = small(**settings)
    world, needed, state = agents.make(config)
    batch = agents.make_batch(config)
    found = instruments.measure(world, state, instruments.Drawn(batch, batch), needed)
    assert all(np.isfinite(value) for value in found.values())
    assert not absent & found.keys()
    assert found["policy_grad_entropy"] >= 0
    assert tuple(found) == instruments.names(needed)


def test_elites_from_the_policy_are_counted(small):
    """The first `policy_samples` trajectories are the policy's."""
    config = small(plan_samples=8, policy_samples=3, elites=4)
    values = jnp.array([5.0, 0.0, 4.0, 9.0, 1.0, 8.0, 0.5, 2.0])  # best four: 3, 5, 0, 2
    made = planner.refine(jnp.zeros((config.horizon, 8, 1)), values, config)
    assert made.from_policy == pytest.approx(0.5)
