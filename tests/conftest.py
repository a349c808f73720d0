"""Settings of every test: rank promotion raises, small networks, programs compiled once."""

import os
from importlib.metadata import version

# Programs of the tests are many and run briefly: compile fast rather than for speed. The second
# flag halves time and memory maps once more. XLA ends a process that names a flag which it lacks:
# JAX 0.11, of Python 3.12 and 3.13, lacks this one.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10.")
)

import jax
import pytest

from pompc import Config

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Share compiled programs between all tests, and with the processes that they start."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = str(shared / "jax")
    os.environ["POMPC_CACHE"] = folder
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Free a module's compiled programs: those of all together would fill the memory."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def within_memory_maps():
    """Name the test that comes near what Linux allows, 65,530: past it XLA ends the process."""
    yield
    with open("/proc/self/maps") as maps:
        assert sum(1 for _ in maps) < 60_000, "compiled programs are kept: let go of some"


@pytest.fixture(scope="session")
def small():
    """Return a function that makes a configuration of very small networks."""

    def make(**settings):
        sizes = {
            "task": "cartpole-swingup",
            "preset": "laptop",
            "encoder_dim": 16,
            "latent_dim": 16,
            "hidden_dim": 16,
            "value_nets": 3,
            "bins": 21,
            "plan_samples": 24,
            "policy_samples": 4,
            "elites": 6,
            "mppi_iterations": 3,
            "batch_size": 8,
            "reanalyse_batch": 3,
            "seeding_decisions": 40,
            "steps": 400,
            "evaluate_every": 200,
            "evaluation_episodes": 2,
        }
        return Config(**(sizes | settings))

    return make
