"""What a configuration accepts, and the sentences on what it does not."""

from __future__ import annotations

import math
from typing import Any

from pompc import envs
from pompc.errors import ConfigError, nearest
from pompc.settings.methods import METHODS, PRIORS

_CHOICES = {
    "seeding": ("policy", "uniform"),
    "training_action": ("elite", "gaussian"),
    "evaluation_action": ("elite", "mean"),
    "planner_heads": ("pair", "all"),
    "planner_dtype": ("float32", "bfloat16"),
    "policy_heads": ("pair", "all"),
    "target_heads": ("min_pair", "mean_pair", "mean_all"),
    "critic": ("q", "v"),
    "policy_form": ("clipped", "squashed"),
    "clone_mean": ("plan", "elite"),
    "kl_reduction": ("sum", "mean"),
    "time_weights": ("horizon", "sum"),
    "reanalyse_order": ("before", "after"),
    "terminations": ("use", "ignore"),
    "matmul_precision": ("auto", "float32", "tf32"),
    "replay_memory": ("auto", "device", "host"),
}
_AT_LEAST_ONE = (
    "steps", "seeds", "update_every", "evaluate_every", "evaluation_episodes",
    "buffer_size", "encoder_dim", "encoder_layers", "latent_dim", "hidden_dim", "value_nets",
    "simnorm_dim", "horizon", "mppi_iterations", "plan_samples", "elites", "batch_size",
    "reanalyse_batch", "reanalyse_interval",
)  # fmt: skip
_NOT_NEGATIVE = (
    "seed", "policy_samples", "encoder_learning_rate", "scale_start", "clone_std_min",
    "max_grad_norm", "min_plan_std", "max_plan_std", "temperature", "consistency_coef",
    "reward_coef", "value_coef", "kl_value_coef", "entropy_coef", "target_rate", "scale_rate",
    "weight_decay", "cross_entropy_coef", "cloning_coef",
)  # fmt: skip


def check(config: Any) -> None:
    """Raise ConfigError unless every value of one agent's `Config` is allowed."""
    check_choice("prior", config.prior, tuple(PRIORS))
    for name, value in METHODS[config.method].settings.items():
        if name in ("lam", "prior"):
            fixed = f"{value!r}, which is what makes method {config.method}"
            _require(getattr(config, name) == value, config, name, fixed)
    for name, allowed in _CHOICES.items():
        check_choice(name, getattr(config, name), allowed)
    for name in _AT_LEAST_ONE:
        _require(getattr(config, name) >= 1, config, name, "at least 1")
    for name in _NOT_NEGATIVE:
        value = getattr(config, name)
        _require(value >= 0 and math.isfinite(value), config, name, "a finite number >= 0")
    for name in ("discount", "time_discount", "target_rate", "scale_rate", "dropout"):
        _require(0 <= getattr(config, name) <= 1, config, name, "between 0 and 1")
    _require(config.lam >= 0, config, "lam", "a number >= 0, or inf")
    _check_sizes(config)


def _check_sizes(config: Any) -> None:
    repeat = envs.action_repeat(config.task)
    fits = config.action_repeat == repeat
    _require(fits, config, "action_repeat", f"{repeat} for {config.task}")
    # A transition is complete, and can be learned from, with the decision after it.
    _require(config.seeding_decisions >= 2, config, "seeding_decisions", "at least 2")
    least = (config.seeding_decisions + 1) * repeat
    reason = f"at least {least} environment steps, since seeding alone takes {least - repeat}"
    _require(config.steps >= least, config, "steps", reason)
    groups = config.latent_dim % config.simnorm_dim == 0
    _require(groups, config, "latent_dim", f"a multiple of simnorm_dim = {config.simnorm_dim}")
    fits = config.policy_samples < config.plan_samples
    _require(fits, config, "policy_samples", f"less than plan_samples = {config.plan_samples}")
    fits = config.elites <= config.plan_samples
    _require(fits, config, "elites", f"at most plan_samples = {config.plan_samples}")
    fits = config.reanalyse_batch <= config.batch_size
    _require(fits, config, "reanalyse_batch", f"at most batch_size = {config.batch_size}")
    for name in (
        "temperature",
        "learning_rate",
        "policy_adam_eps",
        "clone_std_factor",
        "seeding_plan_std",
    ):
        positive = 0 < getattr(config, name) < math.inf
        _require(positive, config, name, "a finite number greater than 0")
    for low, high in (("symlog_min", "symlog_max"), ("log_std_min", "log_std_max")):
        for name in (low, high):
            _require(math.isfinite(getattr(config, name)), config, name, "a finite number")
        bound = getattr(config, high)
        _require(getattr(config, low) < bound, config, low, f"less than {high} = {bound}")
    for name in ("steps", "evaluate_every"):
        whole = getattr(config, name) % repeat == 0
        _require(whole, config, name, f"a multiple of the action repeat, {repeat}")
    _require(config.dropout < 1, config, "dropout", "less than 1")
    _require(config.bins >= 2, config, "bins", "at least 2")
    ordered = config.min_plan_std <= config.max_plan_std
    _require(ordered, config, "min_plan_std", f"at most max_plan_std = {config.max_plan_std}")
    _check_combinations(config)


def _check_combinations(config: Any) -> None:
    """Raise ConfigError for options that have no meaning together."""
    spread = config.min_plan_std > 0 or config.clone_std_min > 0
    _require(spread, config, "min_plan_std", "greater than 0 where clone_std_min is 0")
    summed = config.kl_reduction == "sum" or config.cross_entropy_coef == 0
    _require(summed, config, "kl_reduction", "sum with cross_entropy_coef, Eq. (34)")
    if config.critic == "v":
        _require(math.isinf(config.lam), config, "lam", "inf with critic 'v', which has no action")
    squashed = config.policy_form == "squashed"
    corrected = squashed or not config.squash_correction
    _require(corrected, config, "squash_correction", "False unless policy_form is 'squashed'")
    if squashed or config.terminal_policy_latent:
        name = "policy_form 'squashed'" if squashed else "terminal_policy_latent"
        alone = config.lam == 0 and config.cross_entropy_coef == config.cloning_coef == 0
        _require(alone, config, "lam", f"0, and no cloning, with {name}, which has no prior")


def convert(name: str, value: Any, kind: str) -> Any:
    """Return what a notebook or a JSON file holds as `str`, `int`, `float` or `bool`, its `kind`.

    Raises:
        ConfigError: if it is none.
    """
    try:
        if kind == "float" and not isinstance(value, bool):
            return float(value)
        if kind == "int" and not isinstance(value, bool) and int(value) == float(value):
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    if kind == type(value).__name__:
        return value
    raise ConfigError(f"{name} must be of type {kind}, not {value!r}")


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError with the nearest match unless `value` is one of `allowed`."""
    if value not in allowed:
        hint = nearest(str(value), allowed)
        raise ConfigError(f"unknown {name} {value!r}: choose one of {', '.join(allowed)}{hint}")


def _require(holds: bool, config: Any, name: str, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {getattr(config, name)!r} but must be {allowed}")
