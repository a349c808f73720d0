"""The instruments, each against a naive computation."""

import agents
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from jax.flatten_util import ravel_pytree

from pompc.algorithm import instruments, planner, update, update_model, update_policy
from pompc.algorithm.rollout import make_rollout

KEY = jax.random.PRNGKey(5)


@pytest.fixture(scope="module")
def scene(small):
    config = small(lam=0.7, hidden_dim=8, entropy_coef=0.1)
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


def test_gradients_of_eq_18_are_those_of_finite_differences(scene):
    world, needed, state, batch, _, inputs, _, _ = scene
    found = instruments.policy_gradients(world, state, batch, inputs, needed)
    flat, unflatten = ravel_pytree(state.policy)
    flat, config = np.asarray(flat, np.float64), world.config
    params = agents.oracle_params(state)
    latents, noise = np.asarray(inputs.latents), np.asarray(inputs.noise)
    params["q_kl"] = agents.heads(inputs.heads)
    settings = agents.oracle_settings(config)

    def loss(policy, lam, entropy_coef):
        reference = np.asarray(inputs.reference.mean), np.asarray(inputs.reference.std)
        return oracle.policy_loss(
            params | {"policy": policy}, latents, *reference, noise, (0, 1), lam, 2.0, 3.0,
            entropy_coef, batch.mask, settings,
        )  # fmt: skip

    # Rows: the gradients of the KL, the value and the entropy, each with its weight.
    gradient = np.zeros((3, flat.size))
    for index in range(flat.size):
        ends = []
        for move in (1e-4, -1e-4):
            moved = flat.copy()
            moved[index] += move
            # float64 parameters: unflatten keeps the layout, the oracle reads any precision.
            tree = jax.tree.map(np.asarray, _unflatten(unflatten, flat, moved))
            policy = agents.layers(tree)
            value = loss(policy, 0.0, 0.0)
            entropy = loss(policy, 0.0, config.entropy_coef) - value
            ends.append([0.7 * loss(policy, np.inf, 0.0), value, entropy])
        gradient[:, index] = (np.array(ends[0]) - ends[1]) / 2e-4
    expected = np.linalg.norm(gradient, axis=1)
    for name, norm in zip(("kl", "value", "entropy"), expected, strict=True):
        np.testing.assert_allclose(found[f"policy_grad_{name}"], norm, rtol=1e-3)


def _unflatten(unflatten, flat, moved):
    """Return the tree of `moved` in float64, which `unflatten` would round."""
    leaves, structure = jax.tree.flatten(unflatten(jnp.asarray(flat, jnp.float32)))
    ends = np.cumsum([leaf.size for leaf in leaves])
    parts = np.split(moved, ends[:-1])
    shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


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
    found = instruments.measure(world, state, batch, needed)
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
        ({"lam": 1.0, "prior_rate": 0.1, "kl_budget": 0.5}, set()),
    ],
)
def test_every_agent_is_measured_by_what_it_has(small, settings, absent):
    config = small(**settings)
    world, needed, state = agents.make(config)
    found = instruments.measure(world, state, agents.make_batch(config), needed)
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
