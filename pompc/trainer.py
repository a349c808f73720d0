"""The training loop (Algorithm 2) for a population of agents, and what it logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from pompc import checkpoint, cost, runs, runtime
from pompc.agent import AgentState
from pompc.config import Config
from pompc.envs.vector import Observations, Vector, make_vector
from pompc.evaluation import Returns, training_seed
from pompc.methods import parts
from pompc.population import Programs, initial_arguments, make_programs
from pompc.progress import Progress, first_line
from pompc.replay import Replay
from pompc.world_model import WorldModel

LOG_INTERVAL = 500  # decisions between rows of metrics.csv


class NonFiniteError(RuntimeError):
    """A loss or metric became NaN or infinite; the last good checkpoint is kept."""


class Learners(NamedTuple):
    """What training carries on the device: states and buffers, leading axis P."""

    states: AgentState
    buffers: Replay


class Feedback(NamedTuple):
    """What the environments last said, `[P, ...]`."""

    observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


def train(config: Config, run_dir: str | Path) -> None:
    """Train one agent; leave configuration, provenance, tables and checkpoints in `run_dir`.

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
    agents = (config,)
    with make_vector(config.task, [training_seed(agent) for agent in agents]) as vector:
        world = WorldModel(config, vector.observation_dim, vector.action_dim)
        _Training(agents, world, vector, folder).run()


class _Training:
    """One run: the programs, the environments, and the clocks and tables around them."""

    def __init__(
        self, agents: tuple[Config, ...], world: WorldModel, vector: Vector, folder: Path
    ) -> None:
        self.agents, self.config, self.vector, self.folder = agents, agents[0], vector, folder
        self.programs = make_programs(world, agents)
        self.returns = Returns(self.programs, agents, self.config.evaluation_episodes)
        self.started = time.perf_counter()
        self.learners = Learners(
            self.programs.init(*initial_arguments(agents)), self.programs.create_replay()
        )
        needed = parts(self.config.lam, self.config.prior)
        seconds = cost.estimated_seconds(world, needed, len(agents))
        self.facts = {"finished": False, "parameters": _size(self.learners.states)}
        self.facts |= runtime.describe(self.config.matmul_precision)
        print(first_line(self.config, self.facts, seconds), flush=True)
        self.progress = Progress(self.config)
        self.log = _Log(self.programs, self.folder, len(agents))

    def run(self) -> None:
        """Seed, learn, evaluate; write the tables as it goes."""
        runs.write_provenance(self.folder, self.facts)
        self.evaluate(0)
        feedback = Feedback(
            self.vector.reset(),
            np.zeros(len(self.agents), np.float32),
            np.zeros(len(self.agents), bool),
        )
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
        """Take one decision of every agent; update while the simulators step."""
        seeding = decision <= self.config.seeding_decisions
        clock = [time.perf_counter()]
        program = self.programs.act_seeding if seeding else self.programs.act
        states, buffers, actions = program(*self.learners, *feedback)
        self.vector.send(np.asarray(actions))
        clock.append(time.perf_counter())
        metrics = None
        if not seeding and decision % self.config.update_every == 0:
            number = (decision - self.config.seeding_decisions) // self.config.update_every
            now = np.bool_(number % self.config.reanalyse_interval == 0)
            states, buffers, metrics = self.programs.update(states, buffers, now)
        result = self.vector.receive()
        clock.append(time.perf_counter())
        self.learners = Learners(states, buffers)
        if metrics is not None:
            self.log.add(decision, np.asarray(metrics), self.programs.metric_names)
        clock.append(time.perf_counter())
        self.log.tick(np.diff(clock))
        if decision % LOG_INTERVAL == 0:
            self.log.write(decision, self.config.action_repeat)
            self.progress.move(decision, self.log.rate)
        return self.close_episodes(result, seeding)

    def close_episodes(self, result: Observations, seeding: bool) -> Feedback:
        """Store the last observation of the episodes that ended; return the next feedback."""
        done = result.terminated | result.truncated
        if done.any():
            program = self.programs.close_seeding if seeding else self.programs.close_episode
            outcome = result.final_observation, result.reward, result.terminated
            self.learners = Learners(*program(*self.learners, *outcome, done))
        return Feedback(result.observation, result.reward, result.terminated)

    def pretrain(self, decision: int) -> None:
        """Update the model and Q as often as there were seeding decisions (B.4)."""
        self.progress.note(f"seeded; {self.config.seeding_decisions} updates of model and Q")
        states, buffers = self.learners
        for _ in range(self.config.seeding_decisions):
            states, metrics = self.programs.pretrain(states, buffers)
            self.log.check(decision, np.asarray(metrics), self.programs.pretrain_metric_names)
        self.learners = Learners(states, buffers)

    def evaluate(self, decision: int) -> None:
        """Run evaluation episodes; append to returns.csv; write a checkpoint."""
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
                "return": round(float(planner[index].mean()), 3),
                "return_policy": round(float(policy[index].mean()), 3),
                "wall_s": wall,
            }
            for index, agent in enumerate(self.agents)
        ]
        runs.append_rows(self.folder / "returns.csv", rows)
        checkpoint.save(self.folder, env_step, states)
        self.progress.evaluated(rows, self.log.rate)


class _Log:
    """Means of the metrics between rows of metrics.csv, and where the time went."""

    def __init__(self, programs: Programs, folder: Path, agents: int) -> None:
        self.names, self.path = programs.metric_names, folder / "metrics.csv"
        self.rate = 0.0  # decisions a second, over the last interval
        self.agents = agents
        self._clear()

    def _clear(self) -> None:
        self.sums = np.zeros((self.agents, len(self.names)))
        self.seconds = np.zeros(3)
        self.updates = self.decisions = 0

    def add(self, decision: int, metrics: np.ndarray, names: tuple[str, ...]) -> None:
        """Add the metrics `[P, M]` of one update."""
        self.check(decision, metrics, names)
        self.sums += metrics
        self.updates += 1

    def check(self, decision: int, metrics: np.ndarray, names: tuple[str, ...]) -> None:
        """Raise NonFiniteError that names the first term that is NaN or infinite."""
        if np.isfinite(metrics).all():
            return
        agent, term = np.argwhere(~np.isfinite(metrics))[0]
        raise NonFiniteError(
            f"{names[term]} of agent {agent} is {metrics[agent, term]} at decision {decision}: "
            "training stopped, the last good checkpoint is kept"
        )

    def tick(self, seconds: np.ndarray) -> None:
        """Add the seconds of one decision: plan, environment, waiting for the update."""
        self.seconds += seconds
        self.decisions += 1

    def write(self, decision: int, action_repeat: int) -> None:
        """Append one row an agent, then start the next interval."""
        total = self.seconds.sum()
        self.rate = self.decisions / total
        shares = (self.seconds / total).round(4)
        head = {"env_step": decision * action_repeat, "decision": decision}
        speed = {"decisions_per_s": round(self.rate, 2), "plan_share": shares[0],
                 "environment_share": shares[1], "update_share": shares[2]}  # fmt: skip
        means = self.sums / self.updates if self.updates else np.full_like(self.sums, np.nan)
        runs.append_rows(self.path, [
            head | {"agent": index} | speed
            | {name: f"{value:.6g}" for name, value in zip(self.names, row, strict=True)}
            for index, row in enumerate(means)
        ])  # fmt: skip
        self._clear()


def _size(states: AgentState) -> int:
    """Return the number of trained parameters of one agent."""
    trained: Any = (states.model, states.policy, states.prior)
    return sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(trained))
