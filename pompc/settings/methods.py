"""The methods: each is a row of settings, never a fork of the code."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

PRIORS = {
    "reverse_kl": "learned prior, Eq. (12): KL[prior || planner], narrow",
    "forward_kl": "learned prior, Eq. (13): KL[planner || prior], covering",
    "mixture": "learned mixture of `prior_components` Gaussians, by a bound of Eq. (13)",
    "replay": "the planner statistics stored in the replay buffer, no learned prior",
}


class Method(NamedTuple):
    """One method. Settings that it does not name come from the preset."""

    summary: str
    policy_loss: str  # in the notation of Eq. (18), before the sum over time
    source: str
    settings: Mapping[str, Any]


_V_CRITIC = {
    "lam": math.inf, "prior": "replay", "critic": "v", "temperature": 2.0,
    "seeding": "uniform", "seeding_plan_std": 1.0,
}  # fmt: skip
_TDMPC2 = {
    "lam": 0.0, "policy_form": "squashed", "squash_correction": True, "log_std_min": -10.0,
    "log_std_max": 2.0, "seeding": "uniform", "pretrain_policy": True,
}  # fmt: skip
# fmt: off
METHODS = {
    "pompc": Method(
        summary="PO-MPC: Q^λ and an adaptive prior; λ = 0 has TD-MPC2's objective",
        policy_loss=r"λ KL[π_s ‖ π_p] / S_KL − Q^λ / S_Q − α A ℋ",
        source="Eq. (12) to (18)",
        settings={},
    ),
    "pompc_budget": Method(
        summary="PO-MPC with λ from a budget: a KL of 0.5 nats an action dimension",
        policy_loss=r"as `pompc`, λ = c S_KL / S_Q; Eq. (17) subtracts c KL",
        source="the paper's future work; `algorithm.losses.budgeted`",
        settings={"lam": 1.0, "kl_budget": 0.5},
    ),
    "pompc_imagined": Method(
        summary="PO-MPC whose Q learns on its planner's best trajectories, too",
        policy_loss=r"as `pompc`",
        source="the paper's future work; `algorithm.update_model.imagine`",
        settings={"imagined_value_coef": 0.1},
    ),
    "tdmpc2": Method(
        summary="TD-MPC2 as published: a squashed policy that climbs Q, trained while pretraining",
        policy_loss=r"− Q / S_Q − α (A ℋ + Σ log(1 − a²)), over H + 1 latents",
        source="Hansen et al. (2024)",
        settings=_TDMPC2 | {"terminal_policy_latent": True},
    ),
    "bmpc_v3": Method(
        summary="BMPC, Variant 3: the policy clones the planner, Q with the mean of two as target",
        policy_loss=r"KL[π_s ‖ planner] / S_KL",
        source="Wang et al. (2025), Variant 3",
        settings={"lam": math.inf, "prior": "replay", "target_heads": "mean_pair"},
    ),
    "bmpc": Method(
        summary="BMPC as published: two V networks, the drawn elite as the clone's mean",
        policy_loss=r"KL[π_s ‖ planner] / (A S_KL) − α A ℋ",
        source="Wang et al. (2025), torch code",
        settings=_V_CRITIC | {
            "value_nets": 2, "target_heads": "mean_pair", "clone_mean": "elite",
            "kl_reduction": "mean", "entropy_at_infinity": True, "log_std_min": -3.0,
            "policy_adam_eps": 1e-5, "reanalyse_exploration": True,
        },
    ),
    "bmpc_jax": Method(
        summary="BMPC's JAX port, which the paper ran: V of five, wider clones, AdamW",
        policy_loss=r"KL[π_s ‖ planner] / S_KL, weights ρ^t / Σ ρ^t",
        source="bmpc-jax, 6f8bc79",
        settings=_V_CRITIC | {
            "target_heads": "mean_all", "planner_heads": "all", "clone_std_factor": 1.5,
            "clone_std_min": 0.1, "min_plan_std": 0.0, "time_weights": "sum",
            "consistency_coef": 10.0, "weight_decay": 1e-4, "reanalyse_order": "after",
        },
    ),
    "tdmpc_square": Method(
        summary="TD-M(PC)² as published: TD-MPC2 whose policy's sample is likely under the planner",
        policy_loss=r"− Q / S_Q − α (A ℋ + Σ log(1 − a²)) − β A² log planner(a) / (61 S_Q)",
        source="Eq. (34), Lin et al. (2025), torch code",
        settings=_TDMPC2 | {
            "prior": "replay", "cross_entropy_coef": 1.0, "clone_mean": "elite",
            "seeding_plan_std": 7.389,  # e²
        },
    ),
    "boom": Method(
        summary="BOOM as published: TD-MPC2 whose policy's sample is likely around the planner's",
        policy_loss=r"− min Q / S_Q − α (A ℋ + Σ log(1 − a²)) "
        r"− κ A² B softmax_b(Q / S_Q) log N(a; planner's mean, σ_s²) / S_Q",
        source="Zhan et al. (2025), torch code, b3b2f09",
        settings=_TDMPC2 | {
            "prior": "replay", "alignment_coef": 1.0, "policy_heads": "min_pair",
            "clone_mean": "elite", "policy_adam_eps": 1e-5, "temperature": 2.0,
        },
    ),
    "tdmpbc": Method(
        summary="TD-MPBC: λ = 0, and cloning of stored actions weighted by their episode's return",
        policy_loss=r"− Q / S_Q − α A ℋ − exp((R − G) / |G|) log π_s(a)",
        source="Eq. (43), Zhuang et al. (2025)",
        settings={"lam": 0.0, "cloning_coef": 1.0},
    ),
}
# fmt: on


def methods_table() -> list[dict[str, str]]:
    """Return the table of book/methods.md, a row a method."""
    return [
        {
            "method": f"`{name}`",
            "what it is": method.summary,
            "policy loss": method.policy_loss,
            "source": method.source,
            "settings": ", ".join(f"`{key}={value!r}`" for key, value in method.settings.items()),
        }
        for name, method in METHODS.items()
    ]
