"""Configuration: everything that defines a run, the two presets, and the sentences on bad input."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from pompc import envs
from pompc.errors import ConfigError, nearest
from pompc.methods import METHODS, PRIORS

# Table 3 of the paper, and the sizes that it leaves to TD-MPC2 (book/differences.md says why).
PAPER: dict[str, Any] = {
    "steps": 1_000_000,  # decisions here; times the action repeat in `Config`
    "evaluate_every": 50_000,  # decisions here, as above
    "seeding_decisions": None,  # 5000 environment steps: five episodes of 1000
    "seeding": "policy",
    "buffer_size": 1_000_000,
    "learning_rate": 3e-4,
    "encoder_learning_rate": 3e-4,
    "max_grad_norm": 20.0,
    "encoder_dim": 256,
    "encoder_layers": 2,
    "latent_dim": 512,
    "hidden_dim": 512,
    "dropout": 0.01,
    "value_nets": 5,
    "bins": 101,
    "symlog_min": -10.0,
    "symlog_max": 10.0,
    "simnorm_dim": 8,
    "horizon": 3,
    "mppi_iterations": 8,
    "plan_samples": 512,
    "policy_samples": 24,
    "elites": 64,
    "min_plan_std": 0.05,
    "max_plan_std": 2.0,
    "temperature": 1.0,
    "batch_size": 256,
    "discount": 0.99,
    "time_discount": 0.5,
    "consistency_coef": 20.0,
    "reward_coef": 0.1,
    "value_coef": 0.1,
    "kl_value_coef": 0.1,
    "entropy_coef": 1e-4,
    "target_rate": 0.01,
    "reanalyse_batch": 20,
    "reanalyse_interval": 10,
}
# Smaller networks and plans: two CPU cores learn the smaller tasks in minutes.
LAPTOP: dict[str, Any] = PAPER | {
    "steps": 15_000,
    "evaluate_every": 5_000,
    "seeding_decisions": 1_000,
    "seeding": "uniform",
    "learning_rate": 1e-3,
    "encoder_learning_rate": 1e-3,
    "encoder_dim": 64,
    "latent_dim": 64,
    "hidden_dim": 64,
    "dropout": 0.0,
    "value_nets": 2,
    "mppi_iterations": 4,
    "plan_samples": 128,
    "policy_samples": 12,
    "elites": 16,
    "batch_size": 128,
    "reanalyse_batch": 4,
}
PRESETS: dict[str, dict[str, Any]] = {"paper": PAPER, "laptop": LAPTOP}

_CHOICES = {
    "seeding": ("policy", "uniform"),
    "training_action": ("elite", "gaussian"),
    "evaluation_action": ("elite", "mean"),
    "planner_heads": ("pair", "all"),
    "policy_heads": ("pair", "all"),
    "terminations": ("use", "ignore"),
    "matmul_precision": ("float32", "tf32"),
}
_AT_LEAST_ONE = (
    "steps", "seeding_decisions", "update_every", "evaluate_every", "evaluation_episodes",
    "buffer_size", "encoder_dim", "encoder_layers", "latent_dim", "hidden_dim", "value_nets",
    "simnorm_dim", "horizon", "mppi_iterations", "plan_samples", "elites", "batch_size",
    "reanalyse_batch", "reanalyse_interval",
)  # fmt: skip
_NOT_NEGATIVE = (
    "seed", "policy_samples", "encoder_learning_rate", "scale_start", "clone_std_min",
    "max_grad_norm", "min_plan_std", "max_plan_std", "temperature", "consistency_coef",
    "reward_coef", "value_coef", "kl_value_coef", "entropy_coef", "target_rate", "scale_rate",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, init=False)
class Config:
    """All settings of one run; hashable, so that compiled programs can be keyed by it.

    `Config(task="dog-run", lam=1.0)` takes the rest from the preset: `paper` is Table 3,
    `laptop` learns small tasks in minutes on two CPU cores, `auto` (the default) chooses `paper`
    where JAX sees a GPU. Any field can be given by name.

    Raises:
        ConfigError: with one sentence that names the bad value, what is allowed, and the nearest
            match.
    """

    task: str
    method: str
    lam: float  # λ in Eq. (17) and (18): any number >= 0, or inf
    prior: str  # π_p: reverse_kl (Eq. 12), forward_kl (Eq. 13), or replay (stored planners)
    preset: str
    seed: int
    steps: int  # environment steps, action repeat included
    seeding_decisions: int  # N_s in B.4
    seeding: str  # who acts meanwhile: the untrained policy (B.4) or uniform noise
    update_every: int  # n_d2u in Algorithm 2, in decisions
    evaluate_every: int  # environment steps
    evaluation_episodes: int
    buffer_size: int  # decisions
    action_repeat: int  # set by the task

    encoder_dim: int
    encoder_layers: int
    latent_dim: int
    hidden_dim: int
    value_nets: int
    dropout: float
    bins: int
    symlog_min: float
    symlog_max: float
    simnorm_dim: int
    log_std_min: float = -5.0
    log_std_max: float = 1.0

    horizon: int  # H
    mppi_iterations: int
    plan_samples: int  # trajectories an iteration, the policy's included
    policy_samples: int
    elites: int  # K
    min_plan_std: float
    max_plan_std: float
    temperature: float  # β in Eq. (11)
    planner_heads: str = "pair"  # Q heads averaged in Eq. (10): 2 random ones a plan, or all
    training_action: str = "elite"  # drawn elite + σ noise, or N(mean, σ²) as in Algorithm 1
    evaluation_action: str = "elite"  # drawn elite without noise, or the plan's mean

    batch_size: int
    learning_rate: float
    encoder_learning_rate: float
    max_grad_norm: float
    discount: float  # γ
    time_discount: float  # ρ
    consistency_coef: float
    reward_coef: float
    value_coef: float
    kl_value_coef: float  # "biased value function coef." in Table 3
    kl_value_trains_model: bool = True  # J(θ̃_Q) reaches encoder and dynamics, as J(θ_Q) does
    entropy_coef: float  # α
    entropy_times_actions: bool = True  # entropy multiplied by the number of action dimensions
    straight_through: bool = True  # gradient of Q through the clip of the policy's action
    policy_heads: str = "pair"  # Q heads averaged in Eq. (18): 2 random ones, or all
    sequential_update: bool = True  # Algorithm 2: the policy sees the Q^λ just updated
    target_rate: float  # τ
    scale_rate: float = 0.01
    scale_start: float = 0.0  # of S_p, S_KL, S_Q; 0: the first batch's own range
    clone_std_factor: float = 1.0  # planner std widened before it becomes a prior
    clone_std_min: float = 0.0
    terminations: str = "use"  # (1 - terminated) in the TD targets, or ignore
    reanalyse_batch: int  # sequences
    reanalyse_interval: int  # k in Algorithm 2, in updates
    matmul_precision: str = "float32"

    def __init__(self, task: str = "cartpole-swingup", **settings: Any) -> None:
        _check_names(settings)
        preset = _resolve_preset(settings.pop("preset", "auto"))
        task = envs.check_task(task)
        values = _defaults(task, preset) | settings
        for field in dataclasses.fields(self):
            value = _convert(field.name, values[field.name], str(field.type))
            object.__setattr__(self, field.name, value)
        _check(self)

    @property
    def decisions(self) -> int:
        """Number of decisions (policy steps) in `steps` environment steps."""
        return self.steps // self.action_repeat

    def to_json(self) -> str:
        """Return the configuration as JSON; infinity becomes the string "inf"."""
        values = dataclasses.asdict(self)
        values["lam"] = "inf" if math.isinf(self.lam) else self.lam
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def _check_names(settings: Mapping[str, Any]) -> None:
    allowed = [field.name for field in dataclasses.fields(Config)]
    for name in settings:
        if name not in allowed:
            raise ConfigError(f"unknown parameter {name!r}{nearest(name, allowed)}")


def _resolve_preset(preset: str) -> str:
    if preset == "auto":
        from pompc.runtime import has_gpu  # the only place where a configuration asks JAX

        return "paper" if has_gpu() else "laptop"
    _check_choice("preset", preset, ("auto", *PRESETS))
    return preset


def _defaults(task: str, preset: str) -> dict[str, Any]:
    repeat = envs.action_repeat(task)
    fields = dataclasses.fields(Config)
    options = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    run = {"task": task, "method": "pompc", "lam": 1.0, "prior": "reverse_kl", "seed": 0}
    sizes = PRESETS[preset] | {"preset": preset, "evaluation_episodes": 10, "update_every": 1}
    for name in ("steps", "evaluate_every"):
        sizes[name] *= repeat
    if sizes["seeding_decisions"] is None:
        sizes["seeding_decisions"] = 5_000 // repeat
    return options | run | sizes | {"action_repeat": repeat}


def _convert(name: str, value: Any, kind: str) -> Any:
    """Turn what a notebook or a JSON file holds into the field's type."""
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


def _check(config: Config) -> None:
    _check_choice("method", config.method, tuple(METHODS))
    _check_choice("prior", config.prior, tuple(PRIORS))
    for name, allowed in _CHOICES.items():
        _check_choice(name, getattr(config, name), allowed)
    for name in _AT_LEAST_ONE:
        _require(getattr(config, name) >= 1, config, name, "at least 1")
    for name in _NOT_NEGATIVE:
        value = getattr(config, name)
        _require(value >= 0 and math.isfinite(value), config, name, "a finite number >= 0")
    for name in ("discount", "time_discount", "target_rate", "scale_rate", "dropout"):
        _require(0 <= getattr(config, name) <= 1, config, name, "between 0 and 1")
    _require(config.lam >= 0, config, "lam", "a number >= 0, or inf")
    _check_sizes(config)


def _check_sizes(config: Config) -> None:
    repeat = envs.action_repeat(config.task)
    fits = config.action_repeat == repeat
    _require(fits, config, "action_repeat", f"{repeat} for {config.task}")
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
    for name in ("temperature", "learning_rate", "clone_std_factor"):
        positive = 0 < getattr(config, name) < math.inf
        _require(positive, config, name, "a finite number greater than 0")
    for low, high in (("symlog_min", "symlog_max"), ("log_std_min", "log_std_max")):
        bound = getattr(config, high)
        _require(getattr(config, low) < bound, config, low, f"less than {high} = {bound}")
    for name in ("steps", "evaluate_every"):
        whole = getattr(config, name) % repeat == 0
        _require(whole, config, name, f"a multiple of the action repeat, {repeat}")
    _require(config.dropout < 1, config, "dropout", "less than 1")
    _require(config.bins >= 2, config, "bins", "at least 2")
    ordered = 0 < config.min_plan_std <= config.max_plan_std
    _require(ordered, config, "min_plan_std", f"in (0, max_plan_std = {config.max_plan_std}]")


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        hint = nearest(str(value), allowed)
        raise ConfigError(f"unknown {name} {value!r}: choose one of {', '.join(allowed)}{hint}")


def _require(holds: bool, config: Config, name: str, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {getattr(config, name)!r} but must be {allowed}")
