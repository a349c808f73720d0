"""Settings of every test: rank promotion raises, small networks, one compilation cache."""

import jax
import pytest

from pompc import Config

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def small():
    """Return a function that makes a configuration of very small networks."""

    def make(**settings):
        sizes = {
            "task": "cartpole-swingup", "preset": "laptop", "encoder_dim": 16, "latent_dim": 16,
            "hidden_dim": 16, "value_nets": 3, "bins": 21, "dropout": 0.0, "plan_samples": 24,
            "policy_samples": 4, "elites": 6, "mppi_iterations": 3, "batch_size": 8,
            "reanalyse_batch": 3, "seeding_decisions": 40, "steps": 400, "evaluate_every": 200,
            "evaluation_episodes": 2,
        }  # fmt: skip
        return Config(**(sizes | settings))

    return make
