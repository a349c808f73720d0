"""The training loop (Algorithm 2) for a population of agents."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pompc import checkpoint, cost, runs, runtime
from pompc.ahead import compile_ahead
from pompc.config import Config
from pompc.envs import Vector, make_vector
from pompc.evaluation import Evaluation, Returns, training_seed
from pompc.log import Log
from pompc.loop import Feedback, close_episodes, decide, first_feedback
from pompc.population import (
    Group,
    Learners,
    initial_arguments,
    make_groups,
    replay_bytes,
)
from pompc.programs import make_programs
from pompc.progress import Progress, first_line

LOG_INTERVAL = 500  # decisions between rows of metrics.csv


def train(config: Config, run_dir: str | Path) -> None:
    """Train the agents of a configuration; leave tables and checkpoints in `run_dir`.

    A finished run of the same configuration is left alone.

    Raises:
        ConfigError: if `run_dir` holds another configuration.
        NonFiniteError: if a loss becomes NaN or infinite.
        RuntimeError: if an environment fails.
    """
    folder = Path(run_dir)
    if not runs.open_run(config, folder):
        print(f"{folder} holds this run, finished: nothing to do")
        return
    runtime.configure(config.matmul_precision)
    count = len(config.agents)
    # The order of the environments is that of the groups, which needs no environment to be known.
    agents = [agent for group in make_groups(config.agents, 0, 0) for agent in group.agents]
    seeds = [training_seed(agent) for agent in agents]
    with make_vector(config.task, seeds, workers=environment_workers(count)) as vector:
        groups = make_groups(agents, vector.observation_dim, vector.action_dim)
        _Training(config, groups, vector, folder).run()


def environment_workers(count: int) -> int:
    """Return the worker processes for `count` environments: none for one, else one a core."""
    return min(count, runtime.cores()) if count > 1 else 0


class _Training:
    """One run: the programs, the environments, and the clocks and tables around them."""

    def __init__(
        self, config: Config, groups: tuple[Group, ...], vector: Vector, folder: Path
    ) -> None:
        self.config, self.vector, self.folder = config, vector, folder
        self.agents = [agent for group in groups for agent in group.agents]
        self.started = time.perf_counter()
        self.programs = compile_ahead(make_programs(groups), config.evaluation_episodes)
        self.returns = Returns(self.programs, config.evaluation_episodes)
        self.learners = Learners(*self.programs.init(*initial_arguments(groups)))
        self.facts = {"finished": False, "agents": len(self.agents)}
        self.facts |= {
            "parameters": _size(self.learners, groups),
            "agent_devices": self.programs.devices,
        }
        memory = "host" if self.programs.replay_on_host else "device"
        self.facts |= {"replay_bytes": replay_bytes(groups), "replay_memory": memory}
        self.facts |= runtime.describe(config.matmul_precision)
        seconds = cost.estimated_seconds(groups) / self.programs.devices
        print(first_line(config, self.facts, seconds), flush=True)
        self.progress = Progress(config)
        self.log = Log(self.programs, folder)

    def run(self) -> None:
        """Seed, learn, evaluate; write the tables as it goes."""
        runs.write_provenance(self.folder, self.facts)
        self.evaluate(0)
        feedback = first_feedback(self.vector)
        for decision in range(1, self.config.decisions + 1):
            feedback = self.decide(decision, feedback)
            if decision == self.config.seeding_decisions:
                self.pretrain(decision)
            if decision * self.config.action_repeat % self.config.evaluate_every == 0:
                self.evaluate(decision)
        if self.config.steps % self.config.evaluate_every:
            self.evaluate(self.config.decisions)
        self.progress.close()
        self.facts |= {"finished": True, "wall_s": round(time.perf_counter() - self.started, 1)}
        runs.write_provenance(self.folder, self.facts)

    def decide(self, decision: int, feedback: Feedback) -> Feedback:
        """Take one decision of every agent, and log it."""
        seeding, started = decision <= self.config.seeding_decisions, time.perf_counter()
        reanalyse_now = None
        if not seeding and decision % self.config.update_every == 0:
            number = (decision - self.config.seeding_decisions) // self.config.update_every
            reanalyse_now = number % self.config.reanalyse_interval == 0
        made = decide(self.programs, self.vector, self.learners, feedback, seeding, reanalyse_now)
        if made.metrics is not None:
            self.log.add(decision, jax.device_get(made.metrics))
        waited = time.perf_counter() - started - sum(made.seconds)
        self.log.tick(np.array([*made.seconds, waited]))
        if decision % LOG_INTERVAL == 0:
            self.log.write(decision, self.config.action_repeat)
            self.progress.move(decision, self.log.rate / len(self.agents))
        self.learners = close_episodes(self.programs, made.learners, made.result, seeding)
        return Feedback(made.result.reward, made.result.terminated, made.result.observation)

    def pretrain(self, decision: int) -> None:
        """Update the model and Q as often as there were seeding decisions (B.4)."""
        self.progress.note(f"seeded; {self.config.seeding_decisions} updates of model and Q")
        states, buffers = self.learners
        for number in range(1, self.config.seeding_decisions + 1):
            now = np.bool_(number % self.config.reanalyse_interval == 0)
            states, buffers, metrics = self.programs.pretrain(states, buffers, now)
            names = self.programs.pretrain_metric_names
            self.log.check(decision, jax.device_get(metrics), names)
        self.learners = Learners(states, buffers)

    def evaluate(self, decision: int) -> None:
        """Run evaluation episodes; append to returns.csv; write a checkpoint and an episode."""
        states = self.learners.states
        planner, policy = self.returns.planner(states), self.returns.policy(states)
        env_step = decision * self.config.action_repeat
        wall = round(time.perf_counter() - self.started, 1)
        rows: list[dict[str, Any]] = [
            {
                "task": agent.task,
                "method": agent.method,
                "lam": agent.lam,
                "prior": agent.prior,
                "seed": agent.seed,
                "env_step": env_step,
                "decision": decision,
                "return": round(float(planner.returns[index].mean()), 3),
                "return_policy": round(float(policy.returns[index].mean()), 3),
                "wall_s": wall,
            }
            for index, agent in enumerate(self.agents)
        ]
        runs.append_rows(self.folder / "returns.csv", rows)
        checkpoint.save(self.folder, env_step, states)
        _save_episodes(self.folder, env_step, planner)
        self.progress.evaluated(rows, self.log.rate / len(self.agents))


def _save_episodes(folder: Path, env_step: int, evaluation: Evaluation) -> None:
    """Keep each agent's first evaluation episode, for its video."""
    seeds, actions, returns = evaluation.seeds[:, 0], evaluation.actions, evaluation.returns[:, 0]
    np.savez(
        folder / runs.EPISODES, env_step=env_step, seed=seeds, actions=actions, returns=returns
    )


def _size(learners: Learners, groups: tuple[Group, ...]) -> int:
    """Return the number of trained parameters of the largest agent."""
    sizes = []
    for states, group in zip(learners.states, groups, strict=True):
        trained: Any = (states.model, states.policy, states.prior)
        leaves = jax.tree.leaves(trained)
        sizes.append(sum(leaf.size for leaf in leaves) // len(group.agents))
    return max(sizes)
