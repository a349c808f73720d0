"""The public JAX implementations of TD-MPC2 and BMPC, at our hyper-parameters.

They are measured where they can be imported (`PYTHONPATH` with the two checkouts, and their
packages `einops` and `jaxtyping`); nothing of them is part of this project.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState
from jax.scipy.stats import norm

from pompc.algorithm.maths import Gaussian, kl_divergence
from pompc.bench.bmpc_torch import BmpcTorch
from pompc.envs import Vector
from pompc.settings.config import Config

NAMES = ("tdmpc2_jax", "bmpc_jax")  # that the benchmark measures; `load` knows BmpcTorch, too


def load(name: str, config: Config, observation_dim: int, action_dim: int) -> "Peer | None":
    """Return a peer at the hyper-parameters of `config`, or None where it cannot be imported."""
    make = {"tdmpc2_jax": Tdmpc2Jax, "bmpc_jax": BmpcJax, BmpcTorch.name: BmpcTorch}[name]
    try:
        return make(config, observation_dim, action_dim)
    except ImportError as error:
        print(f"{name} is not measured: {error}")
        return None


def step(peer: "Peer", vector: Vector, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Step the environment, store what came of it, and return the next observation."""
    result = vector.step(action)
    peer.insert({
        "observation": observation, "action": action, "reward": result.reward,
        "next_observation": result.final_observation, "terminated": result.terminated,
        "truncated": result.truncated,
    })  # fmt: skip
    if result.terminated[0] or result.truncated[0]:
        peer.begin_episode()
    return result.observation


def _keys(seed: int) -> Iterator[jax.Array]:
    """Yield random keys."""
    stream = jax.random.PRNGKey(seed)
    while True:
        stream, key = jax.random.split(stream)
        yield key


class _JaxPeer:
    """How both JAX implementations act."""

    packages = "einops", "jaxtyping"
    _agent: Any

    def __init__(self, config: Config) -> None:
        self._config, self._key = config, _keys(config.seed)
        self._plan: Any = None

    def act(self, observation: np.ndarray, train: bool) -> np.ndarray:
        """Plan from observations `[N, O]`; return actions `[N, A]`, with noise if `train`."""
        action, self._plan = self._agent.act(
            observation, prev_plan=self._plan, train=train, key=next(self._key)
        )
        return np.asarray(action)

    def begin_episode(self) -> None:
        """Forget the previous plan, which the next one would start from."""
        self._plan = None


class Tdmpc2Jax(_JaxPeer):
    """The agent and buffer of tdmpc2-jax."""

    name = "tdmpc2_jax"

    def __init__(self, config: Config, observation_dim: int, action_dim: int) -> None:
        super().__init__(config)
        package = importlib.import_module(self.name)
        model = _world_model(self.name, config, observation_dim, action_dim, symlog_obs=False)
        self._agent = package.TDMPC2.create(
            world_model=model, mpc=True, **_planning(config), continue_coef=1.0,
            consistency_coef=config.consistency_coef, reward_coef=config.reward_coef,
            value_coef=config.value_coef, entropy_coef=config.entropy_coef,
        )  # fmt: skip
        self._buffer = _buffer(self.name, config, observation_dim, action_dim, vectorized=True)

    def insert(self, transition: dict[str, np.ndarray]) -> None:
        """Store a transition, leading axis 1, with what was planned for it."""
        self._buffer.insert(transition)

    def update(self, reanalyse_now: bool = False, pretrain: bool = False) -> Any:
        """Update everything once as its training script does; return what to wait for."""
        del reanalyse_now, pretrain  # it has no reanalyse, and trains everything from the start
        batch = self._buffer.sample(self._config.batch_size, self._config.horizon)
        self._agent, found = self._agent.update(**_sequences(batch), key=next(self._key))
        return self._agent.model.policy_model.params, found


class BmpcJax(_JaxPeer):
    """The agent and buffer of bmpc-jax."""

    name = "bmpc_jax"

    def __init__(self, config: Config, observation_dim: int, action_dim: int) -> None:
        super().__init__(config)
        _stand_in_for_distributions()
        package = importlib.import_module(self.name)
        model = _world_model(self.name, config, observation_dim, action_dim)
        self._agent = package.BMPC.create(
            world_model=model, **_planning(config), consistency_loss_scale=config.consistency_coef,
            reward_loss_scale=config.reward_coef, value_loss_scale=config.value_coef,
            continue_loss_scale=1.0,
        )  # fmt: skip
        self._unplanned = {"expert_mean": np.zeros((1, action_dim), np.float32),
                           "expert_std": np.ones((1, action_dim), np.float32)}  # fmt: skip
        self._buffer = _buffer(self.name, config, observation_dim, action_dim, self._unplanned)
        self._encoded: Any = None

    def insert(self, transition: dict[str, np.ndarray]) -> None:
        """Store a transition, leading axis 1, with what was planned for it."""
        plan = self._unplanned if self._plan is None else _expert(self._plan)
        self._buffer.insert(transition | plan)

    def update(self, reanalyse_now: bool = False, pretrain: bool = False) -> Any:
        """Update everything once as its training script does; return what to wait for."""
        sampled, rows = self._buffer.sample(
            self._config.batch_size, self._config.horizon, return_inds=True
        )
        # With one environment its buffer keeps that axis, which the update does not expect.
        batch = {name: values.squeeze(2) for name, values in sampled.items()}
        self._agent, found = self._agent.update_world_model(
            **_sequences(batch), key=next(self._key)
        )
        self._encoded = found["encoder_zs"]
        if reanalyse_now:
            _, plan = self.reanalyse()
            for name, values in _expert(plan).items():
                batch[name][:, : self._config.reanalyse_batch] = values
                replanned = rows[: self._config.reanalyse_batch]
                self._buffer.data[name][replanned, 0] = np.swapaxes(values, 0, 1)
        if pretrain:
            return found["encoder_zs"]
        self._agent, policy = self._agent.update_policy(
            zs=found["latent_zs"], expert_mean=batch["expert_mean"],
            expert_std=(batch["expert_std"] * 1.5).clip(0.1, None), finished=found["finished"],
            key=next(self._key),
        )  # fmt: skip
        return self._agent.model.policy_model.params, policy

    def reanalyse(self) -> Any:
        """Plan anew for the last batch; return what to wait for."""
        latents = self._encoded[:, : self._config.reanalyse_batch]
        return self._agent.plan(z=latents, horizon=self._config.horizon, key=next(self._key))


Peer = Tdmpc2Jax | BmpcJax | BmpcTorch


def _expert(plan: Any) -> dict[str, np.ndarray]:
    """Return what bmpc_jax stores of a plan: the mean and std of its first action."""
    return {"expert_mean": np.asarray(plan[2][..., 0, :]),
            "expert_std": np.asarray(plan[3][..., 0, :])}  # fmt: skip


def _world_model(
    package: str, config: Config, observation_dim: int, action_dim: int, **options: Any
) -> Any:
    """Return a peer's world model; both spell it almost alike."""
    networks = importlib.import_module(f"{package}.networks")
    activations = importlib.import_module(f"{package}.common.activations")
    simnorm = partial(activations.simnorm, simplex_dim=config.simnorm_dim)
    tdmpc2 = package == "tdmpc2_jax"
    last = simnorm if tdmpc2 else None  # the other applies it by itself
    encoder = nn.Sequential([
        *[networks.NormedLinear(config.encoder_dim, activation=activations.mish)
          for _ in range(config.encoder_layers - 1)],
        networks.NormedLinear(config.latent_dim, activation=last),
    ])  # fmt: skip
    encoder_key, key = jax.random.split(jax.random.PRNGKey(config.seed + 1))
    params = encoder.init(encoder_key, jnp.zeros((1, observation_dim)))["params"]
    optimizer = optax.chain(
        optax.zero_nans(), optax.clip_by_global_norm(config.max_grad_norm),
        (optax.adam if tdmpc2 else optax.adamw)(config.learning_rate),
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


def _buffer(
    package: str, config: Config, observation_dim: int, action_dim: int,
    plan: dict[str, np.ndarray] | None = None, **options: Any,
) -> Any:  # fmt: skip
    observation, flag = np.zeros((1, observation_dim), np.float32), np.zeros(1, bool)
    example = {
        "observation": observation, "action": np.zeros((1, action_dim), np.float32),
        "reward": np.zeros(1, np.float32), "next_observation": observation, "terminated": flag,
        "truncated": flag,
    }  # fmt: skip
    return importlib.import_module(f"{package}.data").SequentialReplayBuffer(
        capacity=config.buffer_size, num_envs=1, seed=config.seed,
        dummy_input=example | (plan or {}), **options,
    )  # fmt: skip


def _sequences(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename a sampled batch to the arguments of the updates."""
    plural = ("observation", "action", "reward", "next_observation")
    return {f"{name}s": batch[name] for name in plural} | {
        name: batch[name] for name in ("terminated", "truncated")
    }


def _stand_in_for_distributions() -> None:
    """Provide the two names that bmpc_jax takes from TensorFlow-Probability, which JAX outgrew."""

    class MultivariateNormalDiag(NamedTuple):
        loc: jax.Array
        scale_diag: jax.Array

        def sample(self, seed: jax.Array) -> jax.Array:
            return self.loc + self.scale_diag * jax.random.normal(seed, self.loc.shape)

        def log_prob(self, value: jax.Array) -> jax.Array:
            return jnp.sum(norm.logpdf(value, self.loc, self.scale_diag), axis=-1)

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
