"""Checks of a configuration, and their messages. Ranges of single settings are in `field_types`."""

import math
from decimal import Decimal
from typing import Any

from pompc.errors import ConfigError, nearest
from pompc.settings.field_types import allowed
from pompc.settings.methods import METHODS, PRIORS


def check(config: Any) -> None:
    """Raise ConfigError unless every value of one agent's `Config` is allowed."""
    check_choice("prior", config.prior, tuple(PRIORS))
    for name, value in METHODS[config.method].settings.items():
        if name in ("lam", "prior"):
            fixed = f"{value!r}, which is what makes method {config.method}"
            _require(getattr(config, name) == value, config, name, fixed)
    for name, (_, choices, numbers) in allowed(type(config)).items():
        if choices:
            check_choice(name, getattr(config, name), choices)
        if numbers:
            _require(numbers.holds(getattr(config, name)), config, name, numbers.words)
    _check_sizes(config)
    _check_combinations(config)


def _check_sizes(config: Any) -> None:
    """Raise ConfigError for sizes that do not fit each other."""
    repeat = config.action_repeat
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
    for low, high in (("symlog_min", "symlog_max"), ("log_std_min", "log_std_max")):
        bound = getattr(config, high)
        _require(getattr(config, low) < bound, config, low, f"less than {high} = {bound}")
    for name in ("steps", "evaluate_every"):
        whole = getattr(config, name) % repeat == 0
        _require(whole, config, name, f"a multiple of the action repeat, {repeat}")
    _require(config.dropout < 1, config, "dropout", "less than 1")
    ordered = config.min_plan_std <= config.max_plan_std
    _require(ordered, config, "min_plan_std", f"at most max_plan_std = {config.max_plan_std}")


def _check_combinations(config: Any) -> None:
    """Raise ConfigError for options that have no meaning together."""
    spread = config.min_plan_std > 0 or config.clone_std_min > 0
    _require(spread, config, "min_plan_std", "greater than 0 where clone_std_min is 0")
    _require(config.prior_rate > 0, config, "prior_rate", "greater than 0")
    finite = config.kl_budget == 0 or 0 < config.lam < math.inf
    _require(finite, config, "lam", "greater than 0 and finite with kl_budget, which replaces it")
    if config.prior == "mixture":
        near = config.kl_budget + config.cross_entropy_coef + config.alignment_coef == 0
        needs = "kl_budget, cross_entropy_coef and alignment_coef, which need one Gaussian"
        _require(near, config, "prior", f"another one with {needs}")
    if config.imagined_value_coef > 0:
        whose = "with imagined_value_coef, whose plans Q learns on before the model's step"
        _require(config.critic == "q", config, "critic", f"'q' {whose}")
        _require(config.reanalyse_order == "before", config, "reanalyse_order", f"'before' {whose}")
    if config.critic == "v":
        _require(math.isinf(config.lam), config, "lam", "inf with critic 'v', which has no action")
    squashed = config.policy_form == "squashed"
    corrected = squashed or not config.squash_correction
    _require(corrected, config, "squash_correction", "False unless policy_form is 'squashed'")
    if squashed or config.terminal_policy_latent:
        name = "policy_form 'squashed'" if squashed else "terminal_policy_latent"
        likely = config.cross_entropy_coef + config.alignment_coef > 0  # near a prior
        learned = likely and config.prior != "replay"
        alone = config.lam == config.cloning_coef == 0 and not learned
        _require(alone, config, "lam", f"0, and no cloning, with {name}, which has no prior")


def convert(name: str, value: Any, kind: str) -> Any:
    """Return a value from a notebook, a file or NumPy as its `kind`: str, int, float or bool.

    Numbers may be written as text: YAML reads 1e6 as such. Raise ConfigError for another type.
    """
    found = plain(value)
    try:
        if kind == "float" and not isinstance(found, bool):
            return float(found)
        if kind == "int" and not isinstance(found, bool):
            number = Decimal(found)  # exact, whatever is written: 3, 3.0, "3" or "1e6"
            if number == int(number):
                return int(number)
    except (TypeError, ValueError, ArithmeticError):
        pass
    if kind == type(found).__name__:
        return found
    raise ConfigError(f"{name} must be of type {kind}, not {value!r}")


def plain(value: Any) -> Any:
    """Return a value of NumPy, JAX or pandas as Python's own: a number, or a list of numbers."""
    return value.tolist() if hasattr(value, "tolist") else value


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError with the nearest match unless `value` is one of `allowed`."""
    if value not in allowed:
        hint = nearest(str(value), allowed)
        raise ConfigError(f"unknown {name} {value!r}: choose one of {', '.join(allowed)}{hint}")


def _require(holds: bool, config: Any, name: str, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {getattr(config, name)!r} but must be {allowed}")
