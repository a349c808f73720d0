"""TD-MPC2's world model and policies as pure functions of their parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from pompc.algorithm.maths import (
    Bins,
    Gaussian,
    Mixture,
    clip_action,
    kl_divergence,
    mixture_divergence,
    two_hot_decode,
)
from pompc.algorithm.networks import MLP, Params, apply, over_heads
from pompc.algorithm.planner import PlanningModel
from pompc.settings.config import Config


class ModelParams(NamedTuple):
    """Parameters trained together by one optimiser; `kl_q` is None where no Q^λ is needed."""

    encoder: Params  # h
    dynamics: Params  # d
    reward: Params  # r
    q: Params  # Q^π_s, [E, ...]
    kl_q: Params | None  # Q^{π_s, λ}, [E, ...]


@dataclasses.dataclass(frozen=True)
class WorldModel:
    """The networks for one task; each method is a pure function of the parameters it takes.

    Axes: `O` observation, `A` action, `Z` latent, `E` ensemble; leading axes broadcast.
    """

    config: Config
    observation_dim: int
    action_dim: int
    dtype: str = "float32"  # of the activations

    @property
    def bins(self) -> Bins:
        """Support of the two-hot code of rewards and values."""
        return Bins(self.config.symlog_min, self.config.symlog_max, self.config.bins)

    @cached_property
    def _encoder(self) -> MLP:
        config = self.config
        hidden = (config.encoder_dim,) * max(config.encoder_layers - 1, 1)
        return MLP(hidden, config.latent_dim, "simnorm", config.simnorm_dim, dtype=self.dtype)

    @cached_property
    def _dynamics(self) -> MLP:
        latent, groups = self.config.latent_dim, self.config.simnorm_dim
        return MLP(self._hidden, latent, "simnorm", groups, dtype=self.dtype)

    @cached_property
    def _reward(self) -> MLP:
        return MLP(self._hidden, self.config.bins, zero_last=True, dtype=self.dtype)

    @cached_property
    def _q(self) -> MLP:
        bins, dropout = self.config.bins, self.config.dropout
        return MLP(self._hidden, bins, zero_last=True, dropout=dropout, dtype=self.dtype)

    @cached_property
    def _policy(self) -> MLP:
        return self._prior(0)

    def _prior(self, components: int) -> MLP:
        """Return the network of a mixture, of a weight and a Gaussian each; 0: of one Gaussian."""
        outputs = components * (1 + 2 * self.action_dim) or 2 * self.action_dim
        return MLP(self._hidden, outputs, dtype=self.dtype)

    @property
    def _hidden(self) -> tuple[int, int]:
        return self.config.hidden_dim, self.config.hidden_dim

    def init_model(self, key: Array, with_kl_q: bool) -> ModelParams:
        """Draw initial parameters; the last layers of reward and Q start at zero."""
        encoder, dynamics, reward, q, kl_q = jax.random.split(key, 5)
        observation = jnp.zeros(self.observation_dim)
        pair = jnp.zeros(self.config.latent_dim), jnp.zeros(self.action_dim)

        def ensemble(key: Array) -> Params:
            keys = jax.random.split(key, self.config.value_nets)
            inputs = pair[:1] if self.config.critic == "v" else pair
            return jax.vmap(lambda k: self._q.init(k, *inputs)["params"])(keys)

        return ModelParams(
            encoder=self._encoder.init(encoder, observation)["params"],
            dynamics=self._dynamics.init(dynamics, *pair)["params"],
            reward=self._reward.init(reward, *pair)["params"],
            q=ensemble(q),
            kl_q=ensemble(kl_q) if with_kl_q else None,
        )

    def init_policy(self, key: Array, components: int = 0) -> Params:
        """Draw initial parameters of a policy (π_s or the prior π_p, which may be a mixture)."""
        return self._prior(components).init(key, jnp.zeros(self.config.latent_dim))["params"]

    def encode(self, encoder: Params, observation: Array) -> Array:
        """Map observations `[..., O]` to latents `[..., Z]`: z = h(s)."""
        return apply(self._encoder, encoder, observation)

    def next_latent(self, dynamics: Params, latent: Array, action: Array) -> Array:
        """Predict the next latent `[..., Z]`: z' = d(z, a)."""
        return apply(self._dynamics, dynamics, latent, action)

    def reward_logits(self, reward: Params, latent: Array, action: Array) -> Array:
        """Predict the reward as two-hot logits `[..., bins]`."""
        return apply(self._reward, reward, latent, action)

    def reward(self, reward: Params, latent: Array, action: Array) -> Array:
        """Predict the reward `[...]`, in the task's units."""
        return self._decode(self.reward_logits(reward, latent, action))

    def q_function(
        self, read: Callable[[Array], Array], q: Params, dropout_key: Array | None = None
    ) -> Callable[[Array, Array], Array]:
        """Return latent, action -> what is read from each head's two-hot logits, `[E, ...]`.

        `read` maps logits `[..., bins]` of one head; a key turns dropout on. Heads are read before
        they are stacked: XLA computes exponentials of stacked logits on a CPU one by one, eight
        times as long. State values (`critic` v) see the latent alone: the one place where they
        differ.
        """
        seen = 1 if self.config.critic == "v" else 2
        count = jax.tree.leaves(q)[0].shape[0]
        keys = None if dropout_key is None else jax.random.split(dropout_key, count)

        def head(params: Params, key: Array | None, *inputs: Array) -> Array:
            return read(apply(self._q, params, *inputs[:seen], dropout_key=key))

        return over_heads(head, q, keys)

    def q_values(self, q: Params, latent: Array, action: Array) -> Array:
        """Return the values `[E, ...]` of all heads in `q`."""
        return self.q_function(self._decode, q)(latent, action)

    def _decode(self, logits: Array) -> Array:
        return two_hot_decode(logits, self.bins)

    def draw_heads(self, key: Array, q: Params, how: str = "pair") -> Params:
        """Take two random heads of an ensemble ("pair") or keep all of them ("all")."""
        if how == "all" or self.config.value_nets <= 2:
            return q
        chosen = jax.random.permutation(key, self.config.value_nets)[:2]
        return jax.tree.map(lambda leaf: leaf[chosen], q)

    def policy(self, policy: Params, latent: Array, log_std_min: float | None = None) -> Gaussian:
        """Return the Gaussian of a policy or prior at latents `[..., Z]`.

        `clipped`: in action space, the mean squashed by tanh; samples are clipped to [-1, 1] by
        whoever draws them. `squashed`: before the tanh that squashes samples.
        """
        return self._gaussian(apply(self._policy, policy, latent), log_std_min)

    def learned_prior(self, prior: Params, latent: Array) -> Gaussian | Mixture:
        """Return the learned prior at latents `[..., Z]`, of the kind that its network is for."""
        components = prior["output"]["bias"].shape[-1] // (1 + 2 * self.action_dim)
        if components == 0:
            return self.policy(prior, latent)
        outputs = apply(self._prior(components), prior, latent)
        logits, each = jnp.split(outputs, [components], axis=-1)
        each = each.reshape(*each.shape[:-1], components, 2 * self.action_dim)
        return Mixture(jax.nn.log_softmax(logits), *self._gaussian(each))

    def _gaussian(self, outputs: Array, log_std_min: float | None = None) -> Gaussian:
        mean, raw = jnp.split(outputs, 2, axis=-1)
        low = self.config.log_std_min if log_std_min is None else log_std_min
        log_std = low + 0.5 * (self.config.log_std_max - low) * (jnp.tanh(raw) + 1.0)
        return Gaussian(mean if self._squashed else jnp.tanh(mean), jnp.exp(log_std))

    @property
    def _squashed(self) -> bool:
        return self.config.policy_form == "squashed"

    def sample_action(self, gaussian: Gaussian, noise: Array) -> Array:
        """Return an action in [-1, 1]: mean + std · noise, clipped or squashed.

        The clip is straight-through by default.
        """
        action = gaussian.mean + gaussian.std * noise
        return (
            jnp.tanh(action)
            if self._squashed
            else (clip_action(action, self.config.straight_through))
        )

    def mean_action(self, gaussian: Gaussian) -> Array:
        """Return the action in [-1, 1] without noise."""
        return jnp.tanh(gaussian.mean) if self._squashed else gaussian.mean

    def divergence(self, p: Gaussian, q: Gaussian | Mixture) -> Array:
        """Return KL[p ‖ q] `[...]`: its sum over action dimensions, or the mean by option.

        Of a mixture it is the bound of `mixture_divergence`.
        """
        share = self.action_dim if self.config.kl_reduction == "mean" else 1
        kl = mixture_divergence(p, q) if isinstance(q, Mixture) else kl_divergence(p, q)
        return kl / share

    def planning_model(
        self, model: ModelParams, policy: Params, heads: Params, log_std_min: float | None = None
    ) -> PlanningModel:
        """Return the functions that the planner sees: one step, the policy, the terminal value."""
        own = dataclasses.replace(self, dtype=self.config.planner_dtype)
        values = own.q_function(own._decode, heads)

        def step(latent: Array, action: Array) -> tuple[Array, Array]:
            reward = own.reward(model.reward, latent, action)
            return reward, own.next_latent(model.dynamics, latent, action)

        def act(latent: Array, noise: Array) -> Array:
            return own.sample_action(own.policy(policy, latent, log_std_min), noise)

        def value(latent: Array, action: Array) -> Array:
            return jnp.mean(values(latent, action), axis=0)

        return PlanningModel(step, act, value)
