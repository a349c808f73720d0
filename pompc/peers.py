"""The public JAX implementations of TD-MPC2 and BMPC, at our hyper-parameters, for the benchmark.

They are measured where they can be imported (`PYTHONPATH` with the two checkouts, and their
packages `einops` and `jaxtyping`); nothing of them is part of this project.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState

from pompc.config import Config
from pompc.ops import Gaussian, kl_divergence

NAMES = ("tdmpc2_jax", "bmpc_jax")


class Peer(NamedTuple):
    """A peer's agent and buffer, behind functions that the benchmark times."""

    name: str
    plan: Callable[[np.ndarray], np.ndarray]  # observation [1, O] -> action [1, A]
    insert: Callable[[dict[str, np.ndarray]], None]  # a transition, leading axis 1
    update: Callable[[], Any]  # one update of everything but reanalyse; returns what to wait for
    reanalyse: Callable[[], Any] | None


def load(name: str, config: Config, observation_dim: int, action_dim: int) -> Peer | None:
    """Return a peer at the hyper-parameters of `config`, or None where it cannot be imported."""
    make = {"tdmpc2_jax": _tdmpc2_jax, "bmpc_jax": _bmpc_jax}[name]
    try:
        return make(config, observation_dim, action_dim)
    except ImportError as error:
        print(f"{name} is not measured: {error}")
        return None


def _tdmpc2_jax(config: Config, observation_dim: int, action_dim: int) -> Peer:
    package = importlib.import_module("tdmpc2_jax")
    agent_key, plan_key = jax.random.split(jax.random.PRNGKey(0))
    model = _world_model("tdmpc2_jax", config, observation_dim, action_dim, symlog_obs=False)
    agent = package.TDMPC2.create(
        world_model=model, mpc=True, **_planning(config), consistency_coef=config.consistency_coef,
        reward_coef=config.reward_coef, value_coef=config.value_coef, continue_coef=1.0,
        entropy_coef=config.entropy_coef,
    )  # fmt: skip
    buffer = _buffer("tdmpc2_jax", observation_dim, action_dim, vectorized=True)
    memory: dict[str, Any] = {"agent": agent, "plan": None, "key": agent_key}

    def plan(observation: np.ndarray) -> np.ndarray:
        action, memory["plan"] = memory["agent"].act(
            observation, prev_plan=memory["plan"], train=True, key=plan_key
        )
        return np.asarray(action)

    def update() -> Any:
        memory["key"], key = jax.random.split(memory["key"])
        batch = buffer.sample(config.batch_size, config.horizon)
        memory["agent"], found = memory["agent"].update(**_sequences(batch), key=key)
        return memory["agent"].model.policy_model.params, found

    return Peer("tdmpc2_jax", plan, buffer.insert, update, None)


def _bmpc_jax(config: Config, observation_dim: int, action_dim: int) -> Peer:
    _stand_in_for_distributions()
    package = importlib.import_module("bmpc_jax")
    agent_key, plan_key = jax.random.split(jax.random.PRNGKey(0))
    model = _world_model("bmpc_jax", config, observation_dim, action_dim)
    agent = package.BMPC.create(
        world_model=model, **_planning(config), consistency_loss_scale=config.consistency_coef,
        reward_loss_scale=config.reward_coef, value_loss_scale=config.value_coef,
        continue_loss_scale=1.0,
    )  # fmt: skip
    expert = {"expert_mean": np.zeros((1, action_dim), np.float32),
              "expert_std": np.ones((1, action_dim), np.float32)}  # fmt: skip
    buffer = _buffer("bmpc_jax", observation_dim, action_dim, **expert)
    memory: dict[str, Any] = {"agent": agent, "plan": None, "key": agent_key}

    def plan(observation: np.ndarray) -> np.ndarray:
        action, memory["plan"] = memory["agent"].act(
            obs=observation, prev_plan=memory["plan"], mpc=True, deterministic=False, train=True,
            key=plan_key,
        )  # fmt: skip
        return np.asarray(action)

    def update() -> Any:
        memory["key"], model_key, policy_key = jax.random.split(memory["key"], 3)
        sampled = buffer.sample(config.batch_size, config.horizon)
        # With one environment its buffer keeps that axis, which the update does not expect.
        batch = {name: values.squeeze(2) for name, values in sampled.items()}
        agent, found = memory["agent"].update_world_model(**_sequences(batch), key=model_key)
        memory["encoded"] = found["encoder_zs"]
        memory["agent"], policy = agent.update_policy(
            zs=found["latent_zs"], expert_mean=batch["expert_mean"],
            expert_std=(batch["expert_std"] * 1.5).clip(0.1, None), finished=found["finished"],
            key=policy_key,
        )  # fmt: skip
        return memory["agent"].model.policy_model.params, policy

    def reanalyse() -> Any:
        latents = memory["encoded"][:, : config.reanalyse_batch]
        return memory["agent"].plan(z=latents, horizon=config.horizon, key=plan_key)

    def insert(transition: dict[str, np.ndarray]) -> None:
        buffer.insert(transition | expert)

    return Peer("bmpc_jax", plan, insert, update, reanalyse)


def _world_model(
    package: str, config: Config, observation_dim: int, action_dim: int, **options: Any
) -> Any:
    """Return a peer's world model; both spell it almost alike."""
    networks = importlib.import_module(f"{package}.networks")
    activations = importlib.import_module(f"{package}.common.activations")
    simnorm = partial(activations.simnorm, simplex_dim=config.simnorm_dim)
    last = simnorm if package == "tdmpc2_jax" else None  # the other applies it by itself
    encoder = nn.Sequential([
        *[networks.NormedLinear(config.encoder_dim, activation=activations.mish)
          for _ in range(config.encoder_layers - 1)],
        networks.NormedLinear(config.latent_dim, activation=last),
    ])  # fmt: skip
    encoder_key, key = jax.random.split(jax.random.PRNGKey(1))
    params = encoder.init(encoder_key, jnp.zeros((1, observation_dim)))["params"]
    optimizer = optax.chain(
        optax.zero_nans(), optax.clip_by_global_norm(config.max_grad_norm),
        optax.adam(config.learning_rate),
    )  # fmt: skip
    state = TrainState.create(apply_fn=encoder.apply, params=params, tx=optimizer)
    return importlib.import_module(package).WorldModel.create(
        action_dim=action_dim, encoder=state, latent_dim=config.latent_dim,
        value_dropout=config.dropout, num_value_nets=config.value_nets, num_bins=config.bins,
        symlog_min=config.symlog_min, symlog_max=config.symlog_max, simnorm_dim=config.simnorm_dim,
        predict_continues=False, learning_rate=config.learning_rate,
        max_grad_norm=config.max_grad_norm, key=key, **options,
    )  # fmt: skip


def _planning(config: Config) -> dict[str, Any]:
    """Return the settings that both agents name alike."""
    return {
        "horizon": config.horizon, "mppi_iterations": config.mppi_iterations,
        "population_size": config.plan_samples, "policy_prior_samples": config.policy_samples,
        "num_elites": config.elites, "min_plan_std": config.min_plan_std,
        "max_plan_std": config.max_plan_std, "temperature": 1 / config.temperature,
        "batch_size": config.batch_size, "discount": config.discount, "rho": config.time_discount,
        "tau": config.target_rate,
    }  # fmt: skip


def _buffer(package: str, observation_dim: int, action_dim: int, **more: Any) -> Any:
    observation, flag = np.zeros((1, observation_dim), np.float32), np.zeros(1, bool)
    vectorized = {"vectorized": more.pop("vectorized")} if "vectorized" in more else {}
    example = {
        "observation": observation, "action": np.zeros((1, action_dim), np.float32),
        "reward": np.zeros(1, np.float32), "next_observation": observation, "terminated": flag,
        "truncated": flag,
    }  # fmt: skip
    data = importlib.import_module(f"{package}.data")
    return data.SequentialReplayBuffer(
        capacity=20_000, num_envs=1, seed=0, dummy_input=example | more, **vectorized
    )


def _sequences(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename a sampled batch to the arguments of the updates."""
    names = {"observations": "observation", "actions": "action", "rewards": "reward",
             "next_observations": "next_observation", "terminated": "terminated",
             "truncated": "truncated"}  # fmt: skip
    return {argument: batch[name] for argument, name in names.items()}


def _stand_in_for_distributions() -> None:
    """Provide the two names that bmpc_jax takes from TensorFlow-Probability, which JAX outgrew."""

    class MultivariateNormalDiag(NamedTuple):
        loc: jax.Array
        scale_diag: jax.Array

        def sample(self, seed: jax.Array) -> jax.Array:
            return self.loc + self.scale_diag * jax.random.normal(seed, self.loc.shape)

        def log_prob(self, value: jax.Array) -> jax.Array:
            scaled = (value - self.loc) / self.scale_diag
            terms = -0.5 * jnp.square(scaled) - jnp.log(self.scale_diag) - 0.9189385
            return jnp.sum(terms, axis=-1)

    distributions = types.ModuleType("tensorflow_probability.substrates.jax.distributions")
    distributions.__dict__.update(
        MultivariateNormalDiag=MultivariateNormalDiag,
        kl_divergence=lambda p, q: kl_divergence(Gaussian(*p), Gaussian(*q)),
    )
    name = "tensorflow_probability"
    for part in ("", ".substrates", ".substrates.jax"):
        sys.modules.setdefault(name + part, types.ModuleType(name + part))
    sys.modules["tensorflow_probability.substrates.jax"].__dict__["distributions"] = distributions
    sys.modules[distributions.__name__] = distributions
