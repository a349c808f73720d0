"""BOOM's own torch code beside `boom`: one step of the policy from the same weights and noise.

Where it can be imported: `PYTHONPATH` with torch and a checkout of BOOM_MBRL (b3b2f09).
`tests/settings/test_methods.py` has the same loss in naive float64, which needs neither.
"""

import math
from types import SimpleNamespace

import agents
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from torch_networks import network

from pompc.algorithm import losses, update_policy
from pompc.algorithm.maths import Gaussian
from pompc.algorithm.update_policy import PolicyInputs

torch = pytest.importorskip("torch")
boom_alg = pytest.importorskip("boom.boom_alg")
pytestmark = pytest.mark.filterwarnings("default")  # torch's own


def settings_of(config) -> SimpleNamespace:
    """Return its configuration."""
    return SimpleNamespace(
        multitask=False, task_dim=0, obs="state", obs_shape={"state": (agents.OBSERVATIONS,)},
        action_dim=agents.ACTIONS, episode_length=500, discount_denom=5, discount_min=0.95,
        discount_max=0.995, num_enc_layers=2, enc_dim=config.encoder_dim, num_q=2, dropout=0.0,
        mlp_dim=config.hidden_dim, latent_dim=config.latent_dim, simnorm_dim=config.simnorm_dim,
        num_bins=config.bins, vmin=config.symlog_min, vmax=config.symlog_max, tau=0.01,
        log_std_min=config.log_std_min, log_std_max=config.log_std_max, iterations=6,
        min_std=config.min_plan_std, rho=config.time_discount, grad_clip_norm=20,
        lr=config.learning_rate, enc_lr_scale=1.0, entropy_coef=config.entropy_coef,
    )  # fmt: skip


def ensemble(parameters) -> dict:
    """Return an ensemble of theirs as our tree."""
    arrays = [jnp.asarray(value.detach().numpy().copy()) for value in parameters]
    tree = {}
    for index, name in enumerate(("input_0", "hidden_1", "output")):
        kernel, bias, *norm = arrays[4 * index : 4 * index + 4]
        tree[name] = {"kernel": jnp.swapaxes(kernel, 1, 2), "bias": bias}
        if norm:
            tree[f"norm_{index}"] = {"scale": norm[0], "bias": norm[1]}
    return tree


def split_input(tree: dict, latent: int) -> dict:
    """Return an ensemble whose first layer takes latent and action apart."""
    kernel = tree["input_0"]["kernel"]
    first = tree["input_0"] | {"kernel": kernel[:, :latent]}
    return tree | {"input_0": first, "input_1": {"kernel": kernel[:, latent:]}}


@pytest.fixture
def both(small, monkeypatch):
    """Return our world, parts and agent, and theirs with the same weights of policy and Q."""
    monkeypatch.setattr(torch, "compile", lambda module: module)
    torch.manual_seed(0)
    # Narrow: where tanh saturates, the last bit of an action decides on log(1 - a²).
    config = small(method="boom", value_nets=2, entropy_coef=0.01, log_std_max=0.0)
    theirs = boom_alg.BOOM(settings_of(config), torch.device("cpu"))
    with torch.no_grad():
        for part, spread in ((theirs.model._Qs, 0.3), (theirs.model._pi, 0.1)):
            for parameter in part.parameters():
                parameter.add_(spread * torch.randn_like(parameter))
    world, needed, state = agents.make(config)
    q = split_input(ensemble(theirs.model._Qs.params), config.latent_dim)
    state = state._replace(policy=network(theirs.model._pi), model=state.model._replace(q=q))
    return world, needed, state, theirs


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_the_loss_of_the_policy_is_that_of_booms_torch_code(both, monkeypatch, scale):
    """Loss and gradient, below and above S_Q = 2, where the alignment begins."""
    world, needed, state, theirs = both
    config, rng = world.config, np.random.default_rng(1)
    batch = agents.make_batch(config)._replace(mask=jnp.ones((config.horizon, config.batch_size)))
    latents = jax.nn.softmax(jnp.float32(rng.normal(size=(*batch.mask.shape, 2, 8))))
    latents = latents.reshape(*batch.mask.shape, config.latent_dim)
    noise = rng.normal(size=batch.action.shape).astype(np.float32)
    reference = Gaussian(batch.plan.mean[:-1], batch.plan.std[:-1])
    inputs = PolicyInputs(latents, batch.mask, jnp.asarray(noise), state.model.q, reference)
    state = state._replace(scales=state.scales._replace(value=jnp.float32(scale)))
    before = update_policy.sample_policy(world, state.policy, inputs.heads, latents, inputs.noise)
    state = update_policy.update_value_scales(world, state, inputs, before, needed)

    def loss(policy):
        terms = update_policy.policy_loss_terms(world, policy, inputs, state, batch, needed)
        weights = update_policy.loss_weights(world, state)
        return losses.over_time(config, losses.policy_loss(terms, weights), batch.mask)

    ours, gradient = jax.value_and_grad(loss)(state.policy)

    monkeypatch.setattr(torch, "randn_like", lambda _: torch.as_tensor(noise))
    theirs.scale._value.fill_(scale)
    given = (np.array(part) for part in (latents, batch.action, *reference))
    found, *_ = theirs.update_pi(*map(torch.as_tensor, given), None, 0)
    assert theirs.scale.value == pytest.approx(float(state.scales.value), rel=1e-5)

    # Without a gradient: its entropy is a sample's, and log 2π stands once for all dimensions.
    count, log_two_pi = agents.ACTIONS, math.log(2 * math.pi)
    weights = config.time_discount ** np.arange(config.horizon) / config.horizon
    sampled = (-0.5 * noise**2).sum(-1).mean(-1) - 0.5 * log_two_pi
    exact = -0.5 * count * (log_two_pi + 1)
    constant = config.entropy_coef * count * (weights * (sampled - exact)).sum()
    if scale > 2:
        missing = count**2 / 50 * (count - 1) * 0.5 * log_two_pi
        constant -= weights.sum() * missing / float(state.scales.value)
    assert float(ours) + constant == pytest.approx(found, rel=1e-5, abs=1e-5)
    expected = network(theirs.model._pi, read=lambda parameter: parameter.grad)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradient, expected
    )
