"""Agents, batches and their oracle form, shared by the tests of the mathematics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle

from pompc.algorithm import agent, replay
from pompc.algorithm.loss_weights import hypers, parts
from pompc.algorithm.maths import Gaussian
from pompc.algorithm.world_model import WorldModel

OBSERVATIONS, ACTIONS = 5, 2


def make(config, seed=0, spread=1.0):
    """Return world, parts and an agent whose networks differ from their initial values."""
    world = WorldModel(config, OBSERVATIONS, ACTIONS)
    needed, points = parts(config), hypers(config)
    state = jax.jit(lambda key: agent.init(world, key, points, needed))(jax.random.PRNGKey(seed))
    return world, needed, shake(state, np.random.default_rng(seed), spread)


def shake(state, rng, spread=1.0):
    """Return an agent, or agents, whose networks differ from their initial values."""

    def shaken(tree):
        return jax.tree.map(
            lambda leaf: leaf + spread * 0.2 * rng.normal(size=leaf.shape).astype(np.float32), tree
        )

    changed = {
        name: shaken(getattr(state, name))
        for name in ("model", "targets", "policy", "prior")
        if getattr(state, name) is not None
    }
    return state._replace(**changed)


def start_elsewhere(state, rng, spread=1.0):
    """Return an agent, or agents, in which rounding chooses no elite and no step's direction.

    In a new agent all values are 0, and Adam's first step is a whole one even where a gradient is
    nothing but rounding.
    """

    def is_adam(node):
        return isinstance(node, optax.ScaleByAdamState)

    def settled(node):
        return node._replace(nu=jax.tree.map(lambda moment: moment + 1e-6, node.nu))

    optimizers = jax.tree.map(
        lambda node: settled(node) if is_adam(node) else node, state.optimizers, is_leaf=is_adam
    )
    return shake(state, rng, spread)._replace(optimizers=optimizers)


def make_batch(config, seed=0):
    """Return a batch of noise with a termination and sequences that end early."""
    rng = np.random.default_rng(seed)
    horizon, size = config.horizon, config.batch_size

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    mask = np.ones((horizon, size), np.float32)
    mask[-1, 0] = mask[-2:, 1] = 0
    terminated = np.zeros((horizon, size), np.float32)
    terminated[-2, 0] = terminated[0, 2] = 1
    mask[1:, 2] = 0
    return replay.Batch(
        observation=normal(horizon + 1, size, OBSERVATIONS),
        action=jnp.clip(normal(horizon, size, ACTIONS), -1, 1),
        reward=3 * normal(horizon, size),
        terminated=jnp.asarray(terminated),
        mask=jnp.asarray(mask),
        plan=Gaussian(
            jnp.tanh(normal(horizon + 1, size, ACTIONS)),
            jnp.exp(0.3 * normal(horizon + 1, size, ACTIONS)),
        ),
        slot=jnp.arange((horizon + 1) * size).reshape(horizon + 1, size),
    )


def layers(params):
    """Turn the parameters of one MLP into the oracle's list of layers."""
    inputs = [params[name]["kernel"] for name in sorted(params) if name.startswith("input_")]
    names = ["input_0", *sorted(name for name in params if name.startswith("hidden_")), "output"]
    result = []
    for index, name in enumerate(names):
        kernel = np.concatenate(inputs) if index == 0 else params[name]["kernel"]
        layer = {"kernel": np.asarray(kernel, float), "bias": np.asarray(params[name]["bias"])}
        norm = params.get("norm_output" if name == "output" else f"norm_{index}")
        if norm is not None:
            layer |= {"scale": np.asarray(norm["scale"]), "offset": np.asarray(norm["bias"])}
        result.append(layer)
    return result


def heads(params):
    """Turn the stacked parameters of an ensemble into a list of the oracle's MLPs."""
    if params is None:
        return []
    count = jax.tree.leaves(params)[0].shape[0]
    return [layers(jax.tree.map(lambda leaf, i=i: leaf[i], params)) for i in range(count)]


def oracle_params(state):
    """Return all networks of an agent as the oracle reads them."""
    return {
        "encoder": layers(state.model.encoder),
        "dynamics": layers(state.model.dynamics),
        "reward": layers(state.model.reward),
        "q": heads(state.model.q),
        "kl_q": heads(state.model.kl_q),
        "q_kl": heads(state.model.kl_q),
        "q_target": heads(state.targets.q),
        "q_kl_target": heads(state.targets.kl_q),
        "policy": layers(state.policy),
        "prior": layers(state.prior) if state.prior is not None else None,
    }


def oracle_settings(config):
    """Return a configuration as the oracle's settings."""
    return oracle.Settings(
        low=config.symlog_min, high=config.symlog_max, bins=config.bins,
        simnorm_dim=config.simnorm_dim, log_std_low=config.log_std_min,
        log_std_high=config.log_std_max, discount=config.discount, rho=config.time_discount,
        elites=config.elites, beta=config.temperature, std_min=config.min_plan_std,
        std_max=config.max_plan_std, iterations=config.mppi_iterations,
    )  # fmt: skip
