"""The prior that is a mixture: its bound against integrals, its agents against the equations."""

import agents
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from pompc.algorithm import losses, update, update_policy
from pompc.algorithm.loss_weights import parts
from pompc.algorithm.maths import Gaussian, Mixture, kl_divergence, mixture_divergence
from pompc.algorithm.rollout import make_rollout
from pompc.errors import ConfigError


def random(rng, components=3, actions=2, spread=1.0):
    """Return a Gaussian, and a mixture whose components lie so far apart."""
    one = Gaussian(rng.normal(size=actions), rng.uniform(0.2, 0.8, actions))
    weight = np.log(rng.dirichlet(np.ones(components)))
    means = spread * rng.normal(size=(components, actions))
    mixture = Mixture(weight, means, rng.uniform(0.2, 0.8, (components, actions)))
    return (jax.tree.map(jnp.float32, part) for part in (one, mixture))


def sampled_divergence(p, q, count=100_000):
    """Return KL[p ‖ q] by Monte Carlo in float64, and its standard error."""
    (mean, std), (weight, means, stds) = (jax.tree.map(lambda x: np.asarray(x, float), d)
                                          for d in (p, q))  # fmt: skip
    actions = mean + std * np.random.default_rng(7).normal(size=(count, len(mean)))
    each = norm.logpdf(actions[:, None], means, stds).sum(-1)
    ratio = norm.logpdf(actions, mean, std).sum(-1) - logsumexp(weight + each, axis=-1)
    return ratio.mean(), ratio.std() / np.sqrt(count)


def test_the_bound_is_the_formula_and_lies_above_the_kl():
    for seed in range(6):
        p, q = random(np.random.default_rng(seed))
        kls = [oracle.kl(*p, q.mean[j], q.std[j]) for j in range(3)]
        naive = -np.log(
            sum(np.exp(w - kl) for w, kl in zip(np.asarray(q.log_weight), kls, strict=True))
        )
        bound = float(mixture_divergence(p, q))
        assert bound == pytest.approx(naive, rel=1e-5)
        exact, error = sampled_divergence(p, q)
        assert bound > exact - 4 * error


def test_the_bound_is_tight_where_p_sees_one_component():
    p, q = random(np.random.default_rng(1), spread=20.0)
    near = Gaussian(q.mean[1] + 0.1, q.std[1] * 0.8)
    exact, error = sampled_divergence(near, q)
    assert float(mixture_divergence(near, q)) == pytest.approx(exact, abs=max(4 * error, 1e-3))
    assert exact > -float(q.log_weight[1])  # its weight costs, besides the KL to it
    # Two equal components are no two modes: the bound is that of one, and tight again.
    both = Mixture(jnp.log(jnp.array([0.3, 0.7])), *(jnp.stack([part] * 2) for part in p))
    assert float(mixture_divergence(near, both)) == pytest.approx(
        float(kl_divergence(near, p)), rel=1e-5
    )


def test_one_component_is_the_forward_kl():
    p, q = random(np.random.default_rng(2), components=1)
    alone = Gaussian(q.mean[0], q.std[0])
    for forward, prior in ((0.0, q), (1.0, alone)):
        found = losses.prior_loss(prior, p, jnp.float32(forward))
        assert float(found) == pytest.approx(oracle.kl(*p, *alone), rel=1e-5)


def test_in_p_it_is_a_soft_minimum_that_seeks_one_mode():
    """Its gradient at a component's own Gaussian is nearly that of the KL to it alone."""
    q = Mixture(jnp.log(jnp.array([0.5, 0.5])), jnp.array([[-0.6], [0.6]]), jnp.full((2, 1), 0.1))
    std = jnp.array([0.1])
    slope = jax.grad(lambda mean: mixture_divergence(Gaussian(mean, std), q))
    np.testing.assert_allclose(slope(jnp.array([0.5])), [-0.1 / 0.01], rtol=1e-3)
    np.testing.assert_allclose(slope(jnp.array([0.0])), [0.0], atol=1e-4)


@pytest.fixture(scope="module")
def scene(small):
    config = small(lam=0.7, prior="mixture", prior_components=3)
    world, needed, state = agents.make(config, seed=1)
    return world, needed, state, agents.make_batch(config)


def naive_mixture(state, latent, config):
    """Return log weights `[K]`, means and stds `[K, A]` of the prior in float64."""
    out = oracle.apply_mlp(agents.layers(state.prior), latent)
    logits, each = out[:3], out[3:].reshape(3, 2 * agents.ACTIONS)
    mean, raw = each[:, : agents.ACTIONS], each[:, agents.ACTIONS :]
    low, high = config.log_std_min, config.log_std_max
    std = np.exp(low + 0.5 * (high - low) * (np.tanh(raw) + 1))
    return logits - logsumexp(logits), np.tanh(mean), std


def test_an_agent_s_prior_and_its_losses_are_those_of_loops(scene):
    """The loss of the prior, and the KL that Eq. (17) and (18) read."""
    world, needed, state, batch = scene
    assert needed.components == 3
    latents = make_rollout(world, state.model, batch).latents[:-1]
    planner, _ = update.planners(world, batch)
    found = world.learned_prior(state.prior, latents)
    fitted = losses.prior_loss(found, planner, jnp.float32(0))
    policy = update_policy.policy_kl(world, state, latents, planner)
    params, s = agents.oracle_params(state), agents.oracle_settings(world.config)
    for t, b in ((0, 0), (2, 5)):
        weight, means, stds = naive_mixture(state, np.asarray(latents[t, b]), world.config)
        np.testing.assert_allclose(found.mean[t, b], means, atol=1e-5)
        mean, log_std = oracle.gaussian(
            params["policy"], latents[t, b], s.log_std_low, s.log_std_high
        )
        plan = np.asarray(planner.mean[t, b]), np.asarray(planner.std[t, b])
        for gaussian, ours in ((plan, fitted), ((mean, np.exp(log_std)), policy)):
            kls = [oracle.kl(*gaussian, *pair) for pair in zip(means, stds, strict=True)]
            np.testing.assert_allclose(ours[t, b], -logsumexp(weight - kls), rtol=1e-4)
    modes = found.modes()
    assert 1 <= modes.min() <= modes.max() <= 3


def test_its_step_lowers_the_bound_and_moves_the_prior_alone(scene):
    world, _, state, batch = scene
    rollout = make_rollout(world, state.model, batch)
    planner, _ = update.planners(world, batch)
    step = jax.jit(lambda s: update_policy.step_prior(world, s, batch, rollout, planner))
    start, bounds = state, []
    for _ in range(30):
        state, metrics = step(state)
        bounds.append(float(metrics["prior_kl"]))
    assert bounds[-1] < 0.9 * bounds[0]
    assert 1 <= metrics["prior_modes"] <= 3
    jax.tree.map(np.testing.assert_array_equal, start.policy, state.policy)


def test_a_mixture_s_network_is_in_a_group_of_its_own(small):
    assert parts(small(prior="mixture")).components == 4
    for settings in ({"lam": 0.0, "prior": "mixture"}, {"prior": "forward_kl"}):
        assert parts(small(**settings)).components == 0


@pytest.mark.parametrize(
    "settings",
    [{"kl_budget": 0.5}, {"cross_entropy_coef": 1.0}, {"lam": 0.0, "alignment_coef": 1.0}],
)
def test_what_needs_one_gaussian_is_refused(small, settings):
    with pytest.raises(ConfigError, match="prior is 'mixture' but must be"):
        small(prior="mixture", **settings)
