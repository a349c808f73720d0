"""Configuration: everything that defines a run of one agent, or of a population of agents."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pompc import envs
from pompc.errors import ConfigError, nearest
from pompc.settings import grid
from pompc.settings.checks import check, check_choice, convert
from pompc.settings.methods import METHODS
from pompc.settings.presets import PRESETS


@dataclasses.dataclass(frozen=True, init=False)
class Config:
    """All settings of one run; hashable, so that compiled programs can be keyed by it.

    `Config(task="dog-run", lam=1.0)` takes the rest from the method and the preset: `paper` is
    Table 3, `laptop` learns small tasks in minutes on two CPU cores, `auto` (the default) chooses
    `paper` where JAX sees a GPU. Any field can be given by name.

    Lists of `method`, `lam` or `prior`, or `seeds` greater than 1, make a population: `agents`
    then holds the configuration of each agent, and those fields hold tuples.

    Raises:
        ConfigError: with one sentence that names the bad value, what is allowed, and the nearest
            match.
    """

    task: str
    method: Any  # one of `methods.METHODS`; a tuple in a population, like the next two
    lam: Any  # λ in Eq. (17) and (18): any number >= 0, or inf
    prior: Any  # π_p: reverse_kl (Eq. 12), forward_kl (Eq. 13), or replay (stored planners)
    preset: str
    seed: int  # of the first agent
    seeds: int  # agents that differ in nothing but their seed: seed, seed + 1, ...
    steps: int  # environment steps, action repeat included
    seeding_decisions: int  # N_s in B.4
    seeding: str  # who acts meanwhile: the untrained policy (B.4) or uniform noise
    seeding_plan_std: float  # std stored meanwhile in place of the planner's
    pretrain_policy: bool = False  # the updates at the end of seeding train the policy too
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
    critic: str = "q"  # q: action values Q(z, a); v: state values V(z), where λ = inf
    policy_form: str = "clipped"  # Gaussian in action space, clipped; or squashed by tanh
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
    planner_dtype: str = "float32"  # of the networks while planning; or bfloat16, for a GPU
    training_action: str = "elite"  # drawn elite + σ noise, or N(mean, σ²) as in Algorithm 1
    evaluation_action: str = "elite"  # drawn elite without noise, or the plan's mean

    batch_size: int
    learning_rate: float
    encoder_learning_rate: float
    weight_decay: float = 0.0  # greater than 0: AdamW
    policy_adam_eps: float = 1e-8  # ε in the Adam of policy and prior
    max_grad_norm: float
    discount: float  # γ
    time_discount: float  # ρ
    time_weights: str = "horizon"  # ρ^t over the horizon H, or over its sum
    target_heads: str = "min_pair"  # of the TD target: 2 random ones, lower or mean, or mean of all
    consistency_coef: float
    reward_coef: float
    value_coef: float
    kl_value_coef: float  # "biased value function coef." in Table 3
    kl_value_trains_model: bool = True  # J(θ̃_Q) reaches encoder and dynamics, as J(θ_Q) does
    kl_in_target: bool = True  # Eq. (17) takes λ KL off; else it stands in Eq. (18) alone
    entropy_coef: float  # α
    entropy_times_actions: bool = True  # entropy multiplied by the number of action dimensions
    squash_correction: bool = False  # the squashed action's entropy, not that of its Gaussian
    entropy_at_infinity: bool = False  # λ = inf keeps the entropy bonus
    cross_entropy_coef: float = 0.0  # β in Eq. (34)
    cloning_coef: float = 0.0  # weight of Eq. (43)
    kl_reduction: str = "sum"  # over action dimensions, or mean
    terminal_policy_latent: bool = False  # the policy trains on H + 1 latents
    straight_through: bool = True  # gradient of Q through the clip of the policy's action
    policy_heads: str = "pair"  # Q heads averaged in Eq. (18): 2 random ones, or all
    sequential_update: bool = True  # Algorithm 2: the policy sees the Q^λ just updated
    target_rate: float  # τ
    scale_rate: float = 0.01
    scale_start: float = 0.0  # of S_p, S_KL, S_Q; 0: the first batch's own range
    clone_std_factor: float = 1.0  # planner std widened before it becomes a prior
    clone_std_min: float = 0.0
    clone_mean: str = "plan"  # mean that is stored as the planner's: the plan's, or the drawn elite
    terminations: str  # use: (1 - terminated) in the TD targets; or ignore. By default the suite's
    reanalyse_batch: int  # sequences
    reanalyse_interval: int  # k in Algorithm 2, in updates
    reanalyse_order: str = "before"  # or after the model's update, while pretraining too
    reanalyse_exploration: bool = False  # log std of the policy's trajectories at least -2 there
    matmul_precision: str = "auto"  # float32, tf32, or tf32 on a GPU and float32 elsewhere
    replay_memory: str = "auto"  # device, host, or host where the device is too small

    def __init__(self, task: str = "cartpole-swingup", **settings: Any) -> None:
        _check_names(settings)
        settings = settings | {"preset": _resolve_preset(settings.get("preset", "auto"))}
        task = envs.check_task(task)
        points = grid.points(settings)
        if len(points) > 1:
            one = settings | {"seeds": 1}
            self._adopt(
                [Config(task, **(one | point)) for point in points],
                seeds=len({point["seed"] for point in points}),
            )
        else:
            self._resolve(task, settings | points[0])

    def _resolve(self, task: str, settings: Mapping[str, Any]) -> None:
        """Set every field of one agent's configuration."""
        values = {**_defaults(task, settings["method"], settings["preset"]), **settings}
        kinds = {"method": "str", "lam": "float", "prior": "str"}
        for field in dataclasses.fields(self):
            kind = kinds.get(field.name, str(field.type))
            object.__setattr__(self, field.name, convert(field.name, values[field.name], kind))
        check(self)
        object.__setattr__(self, "_agents", ())

    def _adopt(self, agents: Sequence[Config], seeds: int) -> None:
        """Set the fields of a population: its first agent's, and tuples for the grid."""
        for field in dataclasses.fields(self):
            value = getattr(agents[0], field.name)
            if field.name in grid.AXES:
                value = tuple(dict.fromkeys(getattr(agent, field.name) for agent in agents))
            object.__setattr__(self, field.name, value)
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "_agents", tuple(agents))

    @property
    def agents(self) -> tuple[Config, ...]:
        """The configuration of each agent; of one agent, itself."""
        agents: tuple[Config, ...] = self.__dict__["_agents"]
        return agents or (self,)

    @property
    def decisions(self) -> int:
        """Number of decisions (policy steps) in `steps` environment steps."""
        return self.steps // self.action_repeat

    def to_json(self) -> str:
        """Return the configuration as JSON, of a population as a list of its agents' ones."""
        values = [_plain(agent) for agent in self.agents]
        return json.dumps(values if len(values) > 1 else values[0], indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        if isinstance(values, dict):
            return cls(**values)
        agents = [cls(**agent) for agent in values]
        population = cls.__new__(cls)
        population._adopt(agents, len({agent.seed for agent in agents}))
        return population


def _plain(config: Config) -> dict[str, Any]:
    """Return one agent's fields as JSON holds them; infinity becomes the string "inf"."""
    values = dataclasses.asdict(config)
    return values | {"lam": "inf" if math.isinf(config.lam) else config.lam}


def _check_names(settings: Mapping[str, Any]) -> None:
    allowed = [field.name for field in dataclasses.fields(Config)]
    for name in settings:
        if name not in allowed:
            raise ConfigError(f"unknown parameter {name!r}{nearest(name, allowed)}")


def _resolve_preset(preset: str) -> str:
    if preset == "auto":
        from pompc.runtime import has_gpu  # the only place where a configuration asks JAX

        return "paper" if has_gpu() else "laptop"
    check_choice("preset", preset, ("auto", *PRESETS))
    return preset


def _defaults(task: str, method: str, preset: str) -> dict[str, Any]:
    repeat = envs.action_repeat(task)
    fields = dataclasses.fields(Config)
    options = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    run = {"task": task, "seeds": 1, "terminations": envs.terminations(task)}
    sizes = PRESETS[preset] | {"preset": preset, "evaluation_episodes": 10, "update_every": 1}
    for name in ("steps", "evaluate_every"):
        sizes[name] *= repeat
    if sizes["seeding_decisions"] is None:
        sizes["seeding_decisions"] = 5_000 // repeat
    sizes["action_repeat"] = repeat
    return {**options, **run, **sizes, **METHODS[method].settings}
