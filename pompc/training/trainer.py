"""The training loop (Algorithm 2) for a population of agents."""

from __future__ import annotations

import time
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pompc import envs, runs, runtime
from pompc.envs import Vector, make_vector
from pompc.envs.vector import Feedback
from pompc.population import cost, groups
from pompc.population.compile import compile_ahead, compiler
from pompc.population.groups import Learners, Population, initial_arguments, make_population
from pompc.population.programs import make_programs
from pompc.runs import lock, resources
from pompc.runs.checkpoint import Checkpoints, Snapshot
from pompc.runs.files import reporting_full_disk
from pompc.runs.folder import IDENTITY
from pompc.runs.signals import Interrupted, Interruption
from pompc.settings.config import Config
from pompc.training.decision import close_episodes, decide, discard_episodes, first_feedback
from pompc.training.evaluation import Evaluator, save_episodes, training_seed
from pompc.training.hooks import Hook, Rows, Stop, ignore
from pompc.training.log import Log
from pompc.training.progress import Progress, first_line

LOG_INTERVAL = 500  # decisions between rows of metrics.csv


def train(
    config: Config, run_dir: str | Path, on_log: Hook = ignore, on_evaluate: Hook = ignore
) -> None:
    """Train one agent or a population; leave tables and checkpoints in `run_dir`.

    A finished run of the same configuration is left alone; an unfinished one goes on from its
    newest checkpoint.

    `on_log` is called with the rows that were appended to metrics.csv, a dictionary an agent, with
    `method, lam, prior, seed` besides; `on_evaluate` with those of returns.csv, with `agent`
    besides. Both may raise `pompc.Stop`, which ends the run as finished. Any other exception ends
    it as an error does. Either way there is a checkpoint.

    Raises:
        ConfigError: if `run_dir` holds another configuration or is held by a live process, or if
            disk or memory are too small.
        DiskFullError: if the disk fills; the last checkpoint is kept.
        Interrupted: after SIGTERM, SIGUSR1 or Ctrl-C, with a checkpoint to go on from.
        NonFiniteError: if a loss becomes NaN or infinite.
        RuntimeError: if an environment fails again and again.
    """
    folder = Path(run_dir)
    if not runs.open_run(config, folder):
        print(f"{folder} holds this run, finished: nothing to do")
        return
    # The order of the environments is that of the groups, which needs no environment to be known.
    agents = make_population(config.agents, 0, 0).agents
    seeds = [training_seed(agent) for agent in agents]
    with (
        lock.held(folder),
        Interruption() as interruption,
        reporting_full_disk(folder),
        make_vector(config.task, seeds, workers=environment_workers(len(seeds))) as vector,
        compiler() as pool,
    ):
        # Only now: JAX starts here, and the workers of the environments were to start before it.
        runtime.configure(config.matmul_precision)
        population = make_population(agents, vector.observation_dim, vector.action_dim)
        training = _Training(config, population, vector, folder, pool, on_log, on_evaluate)
        training.run(interruption)


def environment_workers(count: int) -> int:
    """Return the worker processes for `count` environments: none for one, else one a core."""
    return min(count, runtime.cores()) if count > 1 else 0


def update_due(config: Config, decision: int) -> bool | None:
    """Tell whether a decision's update reanalyses; None: no update. Lines 10 to 15."""
    if decision <= config.seeding_decisions or decision % config.update_every:
        return None
    before = config.seeding_decisions // config.update_every
    return (decision // config.update_every - before) % config.reanalyse_interval == 0


class _Training:
    """One run: the programs, the environments, and the clocks and tables around them."""

    decision: int  # the newest one that was taken
    feedback: Feedback  # what it led to

    def __init__(
        self,
        config: Config,
        population: Population,
        vector: Vector,
        folder: Path,
        pool: Executor,
        *hooks: Hook,
    ) -> None:
        self.config, self.vector, self.folder = config, vector, folder
        self.on_log, self.on_evaluate = hooks
        self.agents = population.agents
        self.began = time.perf_counter()
        self.programs = make_programs(population)
        self._describe()
        self.progress = Progress(config)
        episodes = config.evaluation_episodes
        later = () if config.decisions >= config.seeding_decisions + LOG_INTERVAL else ("measure",)
        self.programs = compile_ahead(self.programs, pool, episodes, self.progress.note, later)
        self.evaluator = Evaluator(self.programs, episodes)
        self.learners = Learners(*self.programs.init(*initial_arguments(population)))
        self.log = Log(self.programs, folder, self.progress.note)
        self.checkpoints = Checkpoints(folder, population)

    def _describe(self) -> None:
        """Gather the facts of provenance.json, print what is about to run, and check its needs.

        Before anything of that size is made: where memory is short, the system would kill us.
        """
        population, on_host = self.programs.population, self.programs.replay_on_host
        shapes = jax.eval_shape(self.programs.init, *initial_arguments(population))
        agents, replay = map(groups.tree_bytes, shapes)
        gpu, kinds = runtime.has_gpu(), len(population.groups)
        needed = resources.needs(agents, replay, on_host or not gpu, 0 if gpu else kinds)
        self.facts = {
            "finished": False,
            "agents": len(self.agents),
            "parameters": groups.agent_size(shapes[0], self.programs.sizes),
            "agent_devices": self.programs.devices,
            "local_devices": jax.local_device_count(),
            "replay_bytes": replay,
            "replay_memory": "host" if on_host else "device",
            "disk_bytes": needed.disk,
            "terminations": self.config.terminations,
            **envs.describe(self.config.task),
            **runtime.describe(),
        }
        seconds = cost.estimated_seconds(population, self.programs.devices)
        print(first_line(self.config, self.facts, seconds), flush=True)
        resources.check(self.folder, needed)

    def run(self, interruption: Interruption) -> None:
        """Seed, learn, evaluate; write tables and checkpoints as it goes."""
        runs.write_config(self.folder, self.config)
        runs.write_provenance(self.folder, self.facts)
        try:
            self.learn(interruption)
        except Stop as stop:
            self.progress.note(f"stopped: {stop}")
            self.facts["stopped"] = str(stop)
        self.progress.close()
        self.facts |= {"finished": True, "wall_s": self.wall_s()}
        runs.write_provenance(self.folder, self.facts)

    def learn(self, interruption: Interruption) -> None:
        """Take all decisions that are not done yet, with what is due after each."""
        config = self.config
        self.begin()
        while self.decision < config.decisions:
            self.decision += 1
            self.decide()
            if self.decision == config.seeding_decisions:
                self.pretrain()
            if self.decision % LOG_INTERVAL == 0:
                self.write_log()
            if self.env_step % config.evaluate_every == 0 or self.decision == config.decisions:
                self.evaluate()
            if interruption.received and self.decision < config.decisions:
                self.interrupt(interruption.received)

    @property
    def env_step(self) -> int:
        """The environment steps that were taken."""
        return self.decision * self.config.action_repeat

    @property
    def seeding(self) -> bool:
        """Whether the newest decision is one before learning starts."""
        return self.decision <= self.config.seeding_decisions

    def begin(self) -> None:
        """Start, or go on from a checkpoint."""
        found = self.checkpoints.restore(self.learners)
        if found is None:
            runs.cut_tables(self.folder, -1)
            self.decision, self.feedback = 0, first_feedback(self.vector)
            self.evaluate()
            return
        self.decision, self.feedback = found.decision, found.feedback
        runs.cut_tables(self.folder, self.env_step)
        self.began -= found.wall_s
        self.log.load(found.log)
        seen, restarted = self.vector.load(found.environments)
        self.learners = discard_episodes(self.programs, found.learners, restarted)
        anew = ""
        if restarted.any():
            anew = "; the environments start new episodes"
            self.feedback = self.feedback._replace(observation=seen)
        self.progress.note(f"going on from step {self.env_step:,}{anew}")

    def decide(self) -> None:
        """Take one decision of every agent, and log it."""
        due, running = update_due(self.config, self.decision), self.log.running
        made = decide(
            self.programs, self.vector, self.learners, self.feedback, self.seeding, due, running
        )
        if made.metrics is not None:
            self.log.add(self.decision, made.metrics)
        self.log.tick(made.seconds)
        self.learners = close_episodes(self.programs, made.learners, made.result, self.seeding)
        self._discard(made.result.failure)
        self.feedback = Feedback(
            made.result.reward, made.result.terminated, made.result.observation
        )

    def _discard(self, failure: np.ndarray) -> None:
        """Forget the episodes of environments that failed, count them and say why."""
        failed = failure != ""
        self.learners = discard_episodes(self.programs, self.learners, failed)
        self.log.discarded = self.log.discarded + failed
        for index in np.flatnonzero(failed):
            self.progress.note(
                f"decision {self.decision}: the episode of agent {index} is discarded and its "
                f"environment made anew: {failure[index]}"
            )

    def write_log(self) -> None:
        """Append to metrics.csv, and give signs of life."""
        measured = None if self.seeding else self.programs.measure(*self.learners)
        rows = self.log.write(self.decision, self.config.action_repeat, measured)
        self.progress.move(self.decision, self.log.rate / len(self.agents))
        self._call(self.on_log, [_identity(self.agents[row["agent"]]) | row for row in rows])

    def _call(self, hook: Hook, rows: Rows) -> None:
        """Call a hook; if it raises, leave a checkpoint."""
        try:
            hook(rows)
        except BaseException:
            self.save()
            raise

    def pretrain(self) -> None:
        """Update the model and Q as often as there were seeding decisions (B.4)."""
        self.progress.note(f"seeded; {self.config.seeding_decisions} updates of model and Q")
        states, buffers = self.learners
        for number in range(1, self.config.seeding_decisions + 1):
            now = np.bool_(number % self.config.reanalyse_interval == 0)
            states, buffers, metrics = self.programs.pretrain(states, buffers, now)
            names = self.programs.pretrain_metric_names()
            self.log.check(self.decision, jax.device_get(metrics), names)
        self.learners = Learners(states, buffers)

    def wall_s(self) -> float:
        """Return the seconds that this run has taken so far, earlier parts of it included."""
        return round(time.perf_counter() - self.began, 1)

    def evaluate(self) -> None:
        """Run evaluation episodes; append to returns.csv; write a checkpoint and an episode."""
        self.log.settle()
        states = self.learners.states
        planner, policy = self.evaluator.planner(states), self.evaluator.policy(states)
        now = {"env_step": self.env_step, "decision": self.decision}
        wall = {"wall_s": self.wall_s()}
        returns = [
            {"return": round(float(own.mean()), 3), "return_policy": round(float(alone.mean()), 3)}
            for own, alone in zip(planner.returns, policy.returns, strict=True)
        ]
        found = zip(self.agents, returns, strict=True)
        rows = [_identity(agent) | now | earned | wall for agent, earned in found]
        runs.append_rows(self.folder / "returns.csv", rows)
        save_episodes(self.folder / runs.EPISODES, self.env_step, planner)
        self.save()
        runtime.trim_memory()
        self.progress.evaluated(rows, self.log.rate / len(self.agents))
        self._call(self.on_evaluate, [{"agent": index} | row for index, row in enumerate(rows)])

    def save(self) -> None:
        """Write a checkpoint, once a decision."""
        if self.decision == self.checkpoints.newest:
            return
        environments, log, wall_s = self.vector.save(), self.log.save(), self.wall_s()
        snapshot = Snapshot(self.decision, self.learners, self.feedback, environments, log, wall_s)
        self.learners = self.checkpoints.save(snapshot)

    def interrupt(self, signal_name: str) -> None:
        """Write a checkpoint, and raise Interrupted."""
        self.save()
        ended = f"{signal_name}: ended at step {self.env_step:,} with a checkpoint"
        message = f"{ended}; start it again to go on"
        self.progress.note(message)
        raise Interrupted(signal_name, message)


def _identity(agent: Config) -> dict[str, Any]:
    return {name: getattr(agent, name) for name in IDENTITY}
