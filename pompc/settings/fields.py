"""Every setting: its type, the paper's value, its meaning, and its name in the paper.

The changes of each preset follow. A method's own values are in `methods.METHODS`.
"""

# ruff: noqa: RUF009  (`setting` and `option` return fields of a dataclass, not values)

import dataclasses
from typing import Any, Literal

from pompc.settings.field_types import (
    AtLeastTwo,
    Count,
    Finite,
    Fraction,
    Names,
    NotNegative,
    NotNegativeInt,
    Positive,
    Strengths,
    option,
    setting,
)


@dataclasses.dataclass(frozen=True, init=False)
class Fields:
    """Every setting of a run: `setting(value of the paper, meaning, name in the paper)`.

    An `option` is a choice that the paper leaves open, or that only another method makes.
    """

    # fmt: off
    # The run
    task: str = setting("cartpole-swingup", "Task, such as `dog-run` or `gym:Pendulum-v1`.")
    method: Names = setting("pompc", "Method, or a list of methods.", per_agent=True)
    lam: Strengths = setting(1.0, "Weight of the KL: a number, `inf`, or a list.",
        "$λ$, Eq. (17), (18); Table 3: KL reg. strength λ", per_agent=True)
    prior: Names = setting("reverse_kl", "Prior: learned with `reverse_kl` or `forward_kl`, a "
        "learned `mixture`, or `replay`, the stored plans; or a list.", "$π_p$, Eq. (12), (13); "
        "Table 3: Prior policy learning loss", per_agent=True)
    preset: str = setting("auto", "Where the other defaults come from: `paper`, `laptop`, or "
        "`auto`, which is `paper` where JAX sees a GPU.")
    seed: NotNegativeInt = setting(0, "Seed of the first agent.", per_agent=True)
    seeds: Count = setting(1, "Number of agents that differ only in their seed.")
    steps: Count = setting(1_000_000, "Environment steps, action repeat included. The defaults "
        "count decisions.", "$T$, Alg. 2; Table 3")
    # A transition is complete, and can be learned from, with the decision after it: at least two.
    seeding_decisions: AtLeastTwo = setting(None, "Decisions before learning starts. By default "
        "those of 5000 environment steps.", "$N_s$, B.4")
    seeding: Literal["policy", "uniform"] = setting("policy",
        "Who acts while seeding: the untrained `policy`, or `uniform` noise.", "B.4")
    seeding_plan_std: Positive = setting(2.0,
        "Standard deviation that is stored while seeding, in place of a plan's.", "$σ_{max}$, B.4")
    pretrain_policy: bool = option(False, "The updates at the end of seeding train the policy too.")
    update_every: Count = setting(1, "Decisions between two updates.", "$n_{d2u}$, Alg. 2")
    evaluate_every: Count = setting(50_000,
        "Environment steps between two evaluations. The defaults count decisions.")
    evaluation_episodes: Count = setting(10, "Episodes of an evaluation.")
    buffer_size: Count = setting(1_000_000, "Decisions that the replay buffer holds.",
        r"$\mathcal D$; Table 3: Replay buffer")

    # Networks
    encoder_dim: Count = setting(256, "Width of the encoder's hidden layers.", "Table 3")
    encoder_layers: Count = setting(2, "Layers of the encoder.", "Table 3")
    latent_dim: Count = setting(512, "Size of a latent.", "$z$; Table 3")
    hidden_dim: Count = setting(512, "Width of the hidden layers of all other networks.")
    value_nets: Count = setting(5, "Networks in each ensemble of values.", "Table 3")
    dropout: Fraction = setting(0.01, "Dropout in the first layer of a value network.", "Table 3")
    bins: AtLeastTwo = setting(101, "Bins of the two-hot code of rewards and values.", "Table 3")
    symlog_min: Finite = setting(-10.0, "Lowest bin, after symlog.", "Table 3")
    symlog_max: Finite = setting(10.0, "Highest bin, after symlog.", "Table 3")
    simnorm_dim: Count = setting(8, "Size of the groups that SimNorm makes of a latent.", "Table 3")
    critic: Literal["q", "v"] = option("q",
        "Values that are learned: `q`, of actions, or `v`, of states, which needs $λ$ = `inf`.")
    policy_form: Literal["clipped", "squashed"] = option("clipped",
        "The policy's Gaussian is in action space and `clipped`, or `squashed` by tanh.")
    log_std_min: Finite = option(-5.0, "Least log standard deviation of policy and prior.")
    log_std_max: Finite = option(1.0, "Greatest log standard deviation of policy and prior.")

    # The planner
    horizon: Count = setting(3, "Decisions that a plan looks ahead.", "$H$, Eq. (10); Table 3")
    mppi_iterations: Count = setting(8, "Iterations of a plan.", "Table 3")
    plan_samples: Count = setting(512, "Trajectories of an iteration, the policy's included.",
        "$M$, B.1; Table 3: Population size")
    policy_samples: NotNegativeInt = setting(24, "Trajectories among them that the policy draws.",
        "$n_{π_s}$, B.1; Table 3")
    elites: Count = setting(64, "Best trajectories, which a plan averages.",
        "$K$, Eq. (11); Table 3")
    min_plan_std: NotNegative = setting(0.05, "Least standard deviation of a plan.",
        "$σ$, Eq. (11); Table 3")
    max_plan_std: NotNegative = setting(2.0,
        "Greatest standard deviation of a plan, with which it starts.", "$σ_{max}$, B.4; Table 3")
    temperature: Positive = setting(1.0, "Temperature of the elites' weights.",
        "$β$, Eq. (11); Table 3")
    planner_heads: Literal["pair", "all"] = option("pair",
        "Values averaged at the end of a plan: a random `pair`, or `all`.", "Eq. (10)")
    planner_dtype: Literal["float32", "bfloat16"] = option("float32",
        "Precision of the networks while planning: `float32`, or on a GPU `bfloat16`.")
    training_action: Literal["elite", "gaussian"] = option("elite",
        "Action in training: a drawn `elite` and noise, or `gaussian`, N(mean, σ²).", "B.1, Alg. 1")
    evaluation_action: Literal["elite", "mean"] = option("elite",
        "Action in evaluation: a drawn `elite`, or the `mean` of the plan.")

    # Optimisers
    batch_size: Count = setting(256, "Sequences of an update.", "$n_b$, Alg. 2; Table 3")
    learning_rate: Positive = setting(3e-4, "Learning rate of all but the encoder.", "Table 3")
    encoder_learning_rate: NotNegative = setting(3e-4, "Learning rate of the encoder.", "Table 3")
    weight_decay: NotNegative = option(0.0, "Weight decay. Greater than 0, it makes Adam AdamW.")
    policy_adam_eps: Positive = option(1e-8, "ε of the Adam of policy and prior.")
    max_grad_norm: NotNegative = setting(20.0, "Norm at which a gradient is clipped.", "Table 3")

    # Losses of model and values
    discount: Fraction = setting(0.99, "Discount of a decision.", "$γ$, Eq. (15); Table 3")
    time_discount: Fraction = setting(0.5,
        "Weight of a decision in a loss, relative to the one before it.", "$ρ$, Eq. (14); Table 3")
    time_weights: Literal["horizon", "sum"] = option("horizon",
        "The weights $ρ^t$ are divided by the `horizon`, or by their `sum`.", "Eq. (14)")
    target_heads: Literal["min_pair", "mean_pair", "mean_all"] = option("min_pair", "Value in a TD "
        "target: the lower of a random pair (`min_pair`), their mean (`mean_pair`), or the mean of "
        "all (`mean_all`).", "Eq. (15), (17)")
    consistency_coef: NotNegative = setting(20.0, "Weight of the loss of the dynamics.", "Table 3")
    reward_coef: NotNegative = setting(0.1, "Weight of the loss of the reward model.", "Table 3")
    value_coef: NotNegative = setting(0.1, "Weight of the loss of Q.",
        "$J(θ_Q)$, Eq. (14); Table 3")
    imagined_value_coef: NotNegative = option(0.0, "Weight of the loss of Q on the planner's best "
        "trajectories, rolled once more in the model.", "future work")
    kl_value_coef: NotNegative = setting(0.1, "Weight of the loss of $Q^λ$.",
        r"$J(\tilde θ_Q)$, Eq. (16); Table 3: Biased value function coef.")
    kl_value_trains_model: bool = option(True, "The loss of $Q^λ$ trains encoder and dynamics too.",
        r"$J(\tilde θ_Q)$, Eq. (16)")
    kl_in_target: bool = option(True,
        "The KL is subtracted in the target of $Q^λ$. If not, it is in Eq. (18) alone.", "Eq. (17)")

    # Loss of the policy
    entropy_coef: NotNegative = setting(1e-4, "Weight of the entropy.", "$α$, Eq. (18); Table 3",
        per_agent=True)
    entropy_times_actions: bool = option(True,
        "The entropy is multiplied by the number of action dimensions.", r"$\mathcal H$, Eq. (18)")
    squash_correction: bool = option(False, "The entropy is that of the squashed action, not of "
        "its Gaussian.", r"$\mathcal H$, Eq. (18)")
    entropy_at_infinity: bool = option(False, "With $λ$ = `inf` the entropy bonus stays.",
        r"$\mathcal H$, Eq. (18)", per_agent=True)
    cross_entropy_coef: NotNegative = option(0.0, "Weight of the cross-entropy with the planner.",
        "$β$, Eq. (34)", per_agent=True)
    cloning_coef: NotNegative = option(0.0, "Weight of cloning stored actions, by the return of "
        "their episode.", "Eq. (43)", per_agent=True)
    alignment_coef: NotNegative = option(0.0, "Weight of the likelihood of the policy's sample "
        "around the prior's mean, by the softmax of Q over a batch.", per_agent=True)
    prior_components: Count = option(4, "Gaussians of the prior `mixture`.", "future work")
    prior_rate: Fraction = option(1.0, "Step of a running average of the prior's weights, which "
        "the policy then reads in its place. At 1 the average is the prior.", "$θ_p$, Eq. (18)",
        per_agent=True)
    kl_budget: NotNegative = option(0.0, "KL to the prior that the policy may use, in nats an "
        "action dimension, from which $λ$ follows. At 0 it is `lam`.", "$λ$, Eq. (17), (18)",
        per_agent=True)
    kl_reduction: Literal["sum", "mean"] = option("sum",
        "The KL is a `sum` or a `mean` over action dimensions.", "Eq. (12) to (18)")
    terminal_policy_latent: bool = option(False, "The policy trains on H + 1 latents, not on H.")
    straight_through: bool = option(True,
        "The gradient of Q passes the clip of the policy's action.", "Eq. (18)")
    policy_heads: Literal["pair", "all", "min_pair"] = option("pair", "Value that the policy "
        "climbs: the mean of a random `pair` or of `all`, or the lower of a pair (`min_pair`).",
        "Eq. (18)")
    sequential_update: bool = option(True,
        "The policy sees the values after their update, not before.", "Alg. 2")

    # Targets and scales
    target_rate: Fraction = setting(0.01, "Step of the target networks towards the trained ones.",
        "$τ$, Alg. 2; Table 3: Target update coef.")
    scale_rate: Fraction = option(0.01, "Weight of the newest batch in the running scales.",
        "$S_p$, $S_{KL}$, $S_Q$, Eq. (12), (17), (18)")
    scale_start: NotNegative = option(0.0, "First value of the scales. `0` takes the range of the "
        "first batch.", "$S_p$, $S_{KL}$, $S_Q$")

    # Replay and reanalysis
    clone_std_factor: Positive = option(1.0,
        "Factor on a stored plan's standard deviation before it is a prior.", "$π_P$")
    clone_std_min: NotNegative = option(0.0,
        "Least standard deviation of a stored plan as a prior.", "$π_P$")
    clone_mean: Literal["plan", "elite"] = option("plan",
        "Mean that is stored: the `plan`'s, or the drawn `elite`.", "$π_P$")
    terminations: Literal["use", "ignore"] = setting(None, "Whether TD targets `use` or `ignore` "
        "terminations. By default as in the suite's published curves.", "Eq. (15), (17)")
    reanalyse_batch: Count = setting(20, "Sequences of a batch that are planned anew.",
        "$n_b^r$, Alg. 2; Table 3")
    reanalyse_interval: Count = setting(10, "Updates between two reanalyses.",
        "$k$, Alg. 2; Table 3")
    reanalyse_order: Literal["before", "after"] = option("before", "Reanalyse `before` the update "
        "of the model, or `after` it and in pretraining too.", "Alg. 2")
    reanalyse_exploration: bool = option(False,
        "In reanalysis, the log standard deviation of the policy is at least -2.")

    # The machine
    matmul_precision: Literal["auto", "float32", "tf32"] = option("auto",
        "Precision of matrix products: `float32`, `tf32`, or `auto`, which is `tf32` on a GPU.")
    replay_memory: Literal["auto", "device", "host"] = option("auto", "Where the replay buffer "
        "lies: `device`, `host`, or `auto`, which is the host if the device is too small.")
    # fmt: on


# The changes of each preset.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},  # Table 3, and the sizes that it leaves to TD-MPC2 (book/differences.md says why)
    "laptop": {  # two CPU cores learn small tasks in minutes
        "steps": 15_000, "evaluate_every": 5_000, "seeding_decisions": 1_000, "seeding": "uniform",
        "encoder_dim": 64, "latent_dim": 64, "hidden_dim": 64, "value_nets": 2, "dropout": 0.0,
        "mppi_iterations": 4, "plan_samples": 128, "policy_samples": 12, "elites": 16,
        "batch_size": 128, "learning_rate": 1e-3, "encoder_learning_rate": 1e-3,
        "reanalyse_batch": 4,
    },
}  # fmt: skip
