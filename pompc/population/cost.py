"""Arithmetic of the programs: floating-point operations in matrix products, counted by hand."""

from __future__ import annotations

import math
import timeit
from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from pompc import envs, runtime
from pompc.algorithm.loss_weights import Parts
from pompc.algorithm.world_model import WorldModel
from pompc.population.groups import Group, Population, make_population
from pompc.settings.config import Config

# Rough: a decision's time also goes to elementwise work, the larger part on a GPU (book/speed.md).
_SHARE_OF_PRODUCTS = {"cpu": 0.6, "gpu": 0.25}
_EPISODE_STEPS = 1000
_GPU_ROWS = 8192
_COMPARED: dict[str, dict[str, Any]] = {
    "TD-MPC2": {"method": "tdmpc2"},
    "BMPC, Variant 3": {"method": "bmpc_v3"},
    "PO-MPC, λ = 1, replayed planner": {"prior": "replay"},
    "PO-MPC, λ = 1": {},
}


class Cost(NamedTuple):
    """Floating-point operations (two for a multiply-add) of one agent."""

    plan: float
    update: float
    reanalyse: float  # one call, every `reanalyse_interval` updates


def count(world: WorldModel, parts: Parts) -> Cost:
    """Count the matrix products of one plan, one update and one reanalyse."""
    config = world.config
    hidden, latent, action = config.hidden_dim, config.latent_dim, world.action_dim

    def mlp(inputs: int, outputs: int) -> float:
        return 2.0 * hidden * (inputs + hidden + outputs)

    dynamics, head = mlp(latent + action, latent), mlp(latent + action, config.bins)
    policy = mlp(latent, 2 * action)
    heads = 2 if config.planner_heads == "pair" else config.value_nets
    trajectory = config.horizon * (dynamics + head) + policy + heads * head
    shared = 2.0 * 2.0 * hidden * latent  # the first latent's product, once for all samples
    sampled = (config.plan_samples - config.policy_samples) * config.mppi_iterations
    prepared = config.policy_samples * (trajectory + config.horizon * (policy + dynamics))
    plan = sampled * (trajectory - shared) + prepared

    pairs = config.batch_size * config.horizon
    ensembles = 1 + parts.kl_value
    model = dynamics + head + ensembles * config.value_nets * head
    prior = parts.prior * mlp(latent, parts.components * (1 + 2 * action) or 2 * action)
    targets = policy + prior + ensembles * 2 * head
    actor = 3 * policy + (1 + 2) * 2 * head + 4 * prior
    encoder = 2.0 * config.encoder_dim * (world.observation_dim + latent)
    encoded = config.batch_size * (config.horizon + 3) * encoder
    update = pairs * (3 * model + targets + actor) + encoded
    plans = config.horizon * config.reanalyse_batch if parts.reanalyse else 0
    # Q on a plan's elites: their rollout, the policy and two target heads, and Q with its gradient.
    step = dynamics + head + policy + 2 * head + 3 * config.value_nets * head
    imagined = config.horizon * config.elites * step
    update += imagined * (parts.imagined == "acting")
    anew = plan + imagined * (parts.imagined == "reanalysed")
    return Cost(plan, update, plans * anew)


def table(agents: Mapping[str, Config]) -> pd.DataFrame:
    """Return the matrix products of a decision, in GFLOP: its plan, update, share of reanalyse.

    A row an agent, of the name that `agents` gives it; the last column is the sum.
    """
    rows = {}
    for name, config in agents.items():
        (group,) = make_population([config], *envs.dimensions(config.task)).groups
        found = count(group.world, group.parts)
        rows[name] = found.plan, found.update, found.reanalyse / config.reanalyse_interval
    columns = ["plan", "update", "reanalyse"]
    gigas = pd.DataFrame.from_dict(rows, orient="index", columns=columns) / 1e9
    return gigas.assign(decision=gigas.sum(axis=1))


def of_methods(task: str = "dog-run", preset: str = "paper") -> pd.DataFrame:
    """Return `table` of TD-MPC2, BMPC and PO-MPC, and ratios of a decision to the former two."""
    agents = {name: Config(task, preset=preset, **own) for name, own in _COMPARED.items()}
    products = table(agents)
    decision = products["decision"]
    ratios = {f"of {name}'s": decision / decision[name] for name in list(_COMPARED)[:2]}
    return products.assign(**ratios).round(2)


def estimated_seconds(population: Population, devices: int) -> float:
    """Estimate the wall time of a run from its arithmetic and the speed of one matrix product."""
    share = _SHARE_OF_PRODUCTS["gpu" if runtime.has_gpu() else "cpu"]
    rate = share * matmul_rate(population.world.config.hidden_dim)
    groups = population.groups
    return sum(math.ceil(len(own.agents) / devices) * _operations(own) for own in groups) / rate


def operations(population: Population) -> float:
    """Return the floating-point operations of a whole run, in the matrix products of all agents."""
    return sum(len(group.agents) * _operations(group) for group in population.groups)


def _operations(group: Group) -> float:
    config, cost = group.world.config, count(group.world, group.parts)
    update = cost.update + cost.reanalyse / config.reanalyse_interval
    decision = cost.plan + update / config.update_every
    learning = config.decisions - config.seeding_decisions
    evaluations = 1 + config.steps // config.evaluate_every
    plans = evaluations * config.evaluation_episodes * _EPISODE_STEPS // config.action_repeat
    return learning * decision + plans * cost.plan + config.seeding_decisions * cost.update


def matmul_rate(width: int) -> float:
    """Measure float operations a second in a product of matrices `[rows, width]`, `[width, width]`.

    512 rows, and on a GPU, which these would leave idle, 8192 rows and columns. The precision is
    the one that `runtime.configure` set.
    """
    rows, columns = (_GPU_ROWS, _GPU_ROWS) if runtime.has_gpu() else (512, width)
    product = jax.jit(lambda a, b: a @ b)
    rng = np.random.default_rng(0)  # numpy's, which needs no program to be compiled
    a, b = (jax.device_put(rng.standard_normal(shape, np.float32)) for shape in
            ((rows, columns), (columns, columns)))  # fmt: skip
    product(a, b).block_until_ready()
    times = timeit.repeat(lambda: product(a, b).block_until_ready(), number=1, repeat=20)
    return 2.0 * rows * columns * columns / median(times)
