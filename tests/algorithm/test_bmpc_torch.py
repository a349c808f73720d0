"""BMPC's own torch code beside `bmpc`, from the same weights, batches and noise.

Where it can be imported: `PYTHONPATH` with the folder `bmpc` of its checkout (d5dabc6), torch,
torchrl and tensordict. `tests/test_peers.py` has what needs none of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from torch_networks import network

from pompc.algorithm import agent, planner, update
from pompc.algorithm.loss_weights import hypers, parts
from pompc.algorithm.maths import Gaussian
from pompc.algorithm.replay import Batch
from pompc.algorithm.world_model import WorldModel
from pompc.bench import bmpc_torch

pytest.importorskip("torchrl")
pytest.importorskip("bmpc")
import bmpc
import torch
from common import world_model as their_world
from torch.nn import Buffer

pytestmark = pytest.mark.filterwarnings("default")  # torch's own
OBSERVATIONS, ACTIONS = 5, 2
THEIR_METRICS = {
    **{name: name for name in ("consistency_loss", "reward_loss", "value_loss")},
    "model_grad_norm": "grad_norm",
    "policy_loss": "pi_loss",
    "policy_grad_norm": "pi_grad_norm",
    "scale_kl": "pi_scale",
}


def arrays(parameters, index, *names):
    """Return entries of a torch ensemble's layer."""
    return [parameters[str(index)][name].detach().numpy().copy() for name in names]


def ensemble(parameters) -> dict:
    """Return an ensemble of torch as our tree."""
    tree = {}
    for index, name in enumerate(("input_0", "hidden_1", "output")):
        kernel, bias = arrays(parameters, index, "weight", "bias")
        tree[name] = {"kernel": np.swapaxes(kernel, 1, 2), "bias": bias}
        if index < 2:
            scale, shift = arrays(parameters, index, ("ln", "weight"), ("ln", "bias"))
            tree[f"norm_{index}"] = {"scale": scale, "bias": shift}
    return jax.tree.map(jnp.asarray, tree)


class Noise:
    """The module torch, whose normal noise is what was queued."""

    def __init__(self, module):
        self._module, self.queue = module, []

    def _next(self, shape):
        noise = self.queue.pop(0)
        assert noise.shape == tuple(shape)
        return torch.as_tensor(noise)

    def randn_like(self, x):
        return self._next(x.shape) if self.queue else torch.randn_like(x)

    def randn(self, *shape, **_):
        return self._next(shape) if self.queue else torch.randn(*shape)

    def __getattr__(self, name):
        return getattr(self._module, name)


@pytest.fixture
def both(small, monkeypatch):
    """Return our world and agent, theirs with the same weights, and their noise."""
    config = small(method="bmpc", value_nets=2, scale_start=1.0)  # theirs start at 1
    theirs = bmpc_torch.BmpcTorch(config, OBSERVATIONS, ACTIONS)._agent
    with torch.no_grad():  # zero at the start, so that all plans would be worth the same
        theirs.model._reward[-1].weight.normal_(std=0.1)
        theirs.model._Qs.params["2", "weight"].normal_(std=0.1)
    noise = Noise(bmpc.torch), Noise(torch)
    monkeypatch.setattr(bmpc, "torch", noise[0])
    monkeypatch.setattr(their_world, "torch", noise[1])
    world, model = WorldModel(config, OBSERVATIONS, ACTIONS), theirs.model
    state = agent.init(world, jax.random.PRNGKey(0), hypers(config), parts(config))
    latent = config.latent_dim
    state = state._replace(
        policy=network(model._pi),
        targets=state.targets._replace(q=ensemble(model._target_Qs_params)),
        model=state.model._replace(
            encoder=network(model._encoder["state"]), dynamics=network(model._dynamics, latent),
            reward=network(model._reward, latent), q=ensemble(model._Qs.params),
        ),
    )  # fmt: skip
    return world, state, theirs, noise


def random_batch(config, rng) -> Batch:
    """Return a batch of noise in which no episode ends."""
    horizon, size = config.horizon, config.batch_size
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    stds = jnp.asarray(rng.uniform(0.05, 1.0, (horizon + 1, size, ACTIONS)), jnp.float32)
    return Batch(
        observation=normal(horizon + 1, size, OBSERVATIONS),
        action=jnp.clip(normal(horizon, size, ACTIONS), -1, 1),
        reward=3 * normal(horizon, size),
        terminated=jnp.zeros((horizon, size)),
        mask=jnp.ones((horizon, size)),
        plan=Gaussian(jnp.tanh(normal(horizon + 1, size, ACTIONS)), stds),
        slot=jnp.zeros((horizon + 1, size), jnp.int32),
    )


def test_fifty_updates_are_those_of_bmpcs_torch_code(both):
    world, state, theirs, (_, noise) = both
    config, rng = world.config, np.random.default_rng(1)
    step = jax.jit(lambda s, b: update.update(world, s, b, parts(config), np.bool_(False)))
    for _ in range(50):
        batch = random_batch(config, rng)
        # The keys by which `update` and, in it, `step_model` draw the noise of the targets.
        learn_key = jax.random.split(state.key, 4)[3]
        noise_key = jax.random.split(jax.random.split(learn_key)[0], 5)[0]
        noise.queue[:] = [np.array(jax.random.normal(noise_key, batch.action.shape))]
        state, _, ours = step(state, batch)
        planned = [part[: config.horizon] for part in batch.plan]
        given = (
            batch.observation,
            batch.action,
            batch.reward[..., None],
            jnp.concatenate(planned, -1),
        )
        found = theirs._update(*(torch.as_tensor(np.array(value)) for value in given))
        assert not noise.queue
        for name, there in THEIR_METRICS.items():
            expected = pytest.approx(float(found[there]), rel=2e-3, abs=2e-4)
            assert float(ours[name]) == expected, name


@pytest.mark.parametrize("reanalyses", [False, True])
def test_a_plan_is_that_of_bmpcs_torch_code(both, reanalyses):
    world, state, theirs, (sampled, policy) = both
    config, rng = world.config, np.random.default_rng(2)
    previous = np.zeros((config.horizon, ACTIONS), np.float32)
    if not reanalyses:
        previous += 0.3 * rng.normal(size=previous.shape).astype(np.float32)
    for index in range(8):
        key = jax.random.PRNGKey(index)
        noise = planner.draw_noise(jax.random.split(key, 3)[1], ACTIONS, config)
        observation = rng.normal(size=OBSERVATIONS).astype(np.float32)
        latent = world.encode(state.model.encoder, jnp.asarray(observation))
        low = update.EXPLORATION_LOG_STD if reanalyses else None
        ours = agent.make_plan(world, state, key, latent, jnp.asarray(previous), low)
        policy.queue[:] = [np.array(one)[None] for one in noise.policy]
        sampled.queue[:] = [np.array(one)[None] for one in noise.samples]
        theirs._prev_mean = Buffer(torch.tensor(previous)[None])
        elite, found = theirs._plan(
            torch.as_tensor(observation)[None], batch_size=1, t0=reanalyses, eval_mode=True,
            horizon=config.horizon, reanalyze=reanalyses,
        )  # fmt: skip
        assert not policy.queue
        assert not sampled.queue
        np.testing.assert_allclose(ours.mean, theirs._prev_mean[0], atol=1e-5)
        np.testing.assert_allclose(ours.std[0], found["action_dist"][0, ACTIONS:], atol=1e-5)
        distance = np.abs(np.asarray(ours.elites[0]) - elite.numpy()).max(axis=-1)
        assert distance.min() < 1e-5  # it drew one of our elites
