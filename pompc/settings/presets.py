"""The two presets: `paper` is Table 3, `laptop` what two CPU cores learn in minutes."""

from __future__ import annotations

from typing import Any

# Table 3 of the paper, and the sizes that it leaves to TD-MPC2 (book/differences.md says why).
PAPER: dict[str, Any] = {
    "steps": 1_000_000,  # decisions here; times the action repeat in `Config`
    "evaluate_every": 50_000,  # decisions here, as above
    "seeding_decisions": None,  # 5000 environment steps: five episodes of 1000
    "seeding": "policy",
    "seeding_plan_std": 2.0,
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
