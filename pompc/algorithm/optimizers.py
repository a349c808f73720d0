"""Optimisers of one agent: Adam with clipped norms, and slowly moving targets."""

from __future__ import annotations

from typing import Any, NamedTuple

import optax

from pompc.algorithm.networks import Params
from pompc.algorithm.world_model import ModelParams
from pompc.settings.config import Config


class Optimizers(NamedTuple):
    """Optimiser states."""

    model: optax.OptState  # encoder, dynamics, reward, Q
    kl_q: optax.OptState | None  # apart, since pretraining leaves Q^λ alone
    policy: optax.OptState
    prior: optax.OptState | None


def init_optimizers(config: Config, model: Any, policy: Params, prior: Params | None) -> Optimizers:
    """Return the states of all optimisers at their start."""
    return Optimizers(
        model=model_optimizer(config).init(model._replace(kl_q=None)),
        kl_q=adam(config).init(model.kl_q) if model.kl_q is not None else None,
        policy=policy_optimizer(config).init(policy),
        prior=policy_optimizer(config).init(prior) if prior is not None else None,
    )


def adam(config: Config, eps: float = 1e-8) -> optax.GradientTransformation:
    """Return Adam at the learning rate of Table 3, or AdamW where weights decay."""
    if config.weight_decay:
        return optax.adamw(config.learning_rate, eps=eps, weight_decay=config.weight_decay)
    return optax.adam(config.learning_rate, eps=eps)


def model_optimizer(config: Config) -> optax.GradientTransformation:
    """Return Adam for encoder, dynamics, reward and Q; the caller clips, over Q^λ too."""
    ratio = config.encoder_learning_rate / config.learning_rate
    if ratio == 1.0:
        return adam(config)
    is_encoder = ModelParams(True, False, False, False, None)
    return optax.chain(adam(config), optax.masked(optax.scale(ratio), is_encoder))


def policy_optimizer(config: Config) -> optax.GradientTransformation:
    """Return Adam for the sampling policy or the prior, each with its own norm clipped."""
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), adam(config, config.policy_adam_eps)
    )


def optimizer_step(
    optimizer: optax.GradientTransformation, gradient: Any, state: Any, params: Any
) -> tuple[Any, Any]:
    """Apply one step of an optimiser; return parameters and its state."""
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state


def clip_gradient(gradient: Any, max_norm: float) -> Any:
    """Clip the global norm of a tree of gradients."""
    return optax.clip_by_global_norm(max_norm).update(gradient, optax.EmptyState())[0]


def follow(target: Any, params: Any, rate: Any) -> Any:
    """Move target parameters towards `params` by a share `rate` (τ) of the way."""
    return optax.incremental_update(params, target, rate)
