"""The training loop (Algorithm 2) for a population of agents."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pompc import envs, runs, runtime
from pompc.envs import Vector, make_vector
from pompc.envs.vector import Feedback
from pompc.population import cost, groups
from pompc.population.compile import compile_ahead
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
from pompc.training.hooks import Hook, Hooks, Rows, Stop, ignore
from pompc.training.log import Log
from pompc.training.progress import Progress, first_line

LOG_INTERVAL = 500  # decisions between rows of metrics.csv


def train(
    config: Config, run_dir: str | Path, on_log: Hook = ignore, on_evaluate: Hook = ignore
) -> None:
    """Train the agents of a configuration; leave tables and checkpoints in `run_dir`.

    A finished run of the same configuration is left alone; an unfinished one goes on from its
    newest checkpoint.

    Args:
        config: of one agent, or of a population.
        run_dir: folder of the run, made if it is not there.
        on_log: called with the rows that were appended to metrics.csv, a dictionary an agent, with
            `method, lam, prior, seed` besides.
        on_evaluate: called with the rows that were appended to returns.csv, with `agent` besides.
            Both may raise `pompc.Stop`, which ends the run as finished. Any other exception ends
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
    ):
        # Only now: JAX starts here, and the workers of the environments were to start before it.
        runtime.configure(config.matmul_precision)
        population = make_population(agents, vector.observation_dim, vector.action_dim)
        _Training(config, population, vector, folder, Hooks(on_log, on_evaluate)).run(interruption)


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

    def __init__(
        self, config: Config, population: Population, vector: Vector, folder: Path, hooks: Hooks
    ) -> None:
        self.config, self.vector, self.folder = config, vector, folder
        self.hooks = hooks
        self.agents = population.agents
        self.began = time.perf_counter()
        self.programs = make_programs(population)
        self._describe()
        self.progress = Progress(config)
        episodes = config.evaluation_episodes
        later = () if config.decisions >= config.seeding_decisions + LOG_INTERVAL else ("measure",)
        self.programs = compile_ahead(self.programs, episodes, self.progress.note, later)
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
        agents, replay = (
            sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(part))
            for part in shapes
        )
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
        done, feedback = self.begin()
        for decision in range(done + 1, self.config.decisions + 1):
            feedback = self.decide(decision, feedback)
            if decision == self.config.seeding_decisions:
                self.pretrain(decision)
            if decision % LOG_INTERVAL == 0:
                self.write_log(decision, feedback)
            if self._evaluates(decision):
                self.evaluate(decision, feedback)
            if interruption.received and decision < self.config.decisions:
                self.interrupt(interruption.received, decision, feedback)

    def _evaluates(self, decision: int) -> bool:
        steps = decision * self.config.action_repeat
        return steps % self.config.evaluate_every == 0 or decision == self.config.decisions

    def begin(self) -> tuple[int, Feedback]:
        """Start or go on from a checkpoint; return the decisions done and what was last seen."""
        found = self.checkpoints.restore(self.learners)
        if found is None:
            runs.cut_tables(self.folder, -1)
            feedback = first_feedback(self.vector)
            self.evaluate(0, feedback)
            return 0, feedback
        step = found.decision * self.config.action_repeat
        runs.cut_tables(self.folder, step)
        self.began -= found.wall_s
        self.log.load(found.log)
        seen, restarted = self.vector.load(found.environments)
        self.learners = discard_episodes(self.programs, found.learners, restarted)
        anew = "; the environments start new episodes" if restarted.any() else ""
        self.progress.note(f"going on from step {step:,}{anew}")
        feedback = found.feedback
        if restarted.any():
            feedback = feedback._replace(observation=seen)
        return found.decision, feedback

    def decide(self, decision: int, feedback: Feedback) -> Feedback:
        """Take one decision of every agent, and log it."""
        seeding, due = decision <= self.config.seeding_decisions, update_due(self.config, decision)
        made = decide(
            self.programs, self.vector, self.learners, feedback, seeding, due, self.log.running
        )
        if made.metrics is not None:
            self.log.add(decision, made.metrics)
        self.log.tick(made.seconds)
        self.learners = close_episodes(self.programs, made.learners, made.result, seeding)
        self._discard(decision, made.result.failure)
        return Feedback(made.result.reward, made.result.terminated, made.result.observation)

    def write_log(self, decision: int, feedback: Feedback) -> None:
        """Append to metrics.csv, and give signs of life."""
        seeding = decision <= self.config.seeding_decisions
        measured = None if seeding else self.programs.measure(*self.learners)
        rows = self.log.write(decision, self.config.action_repeat, measured)
        self.progress.move(decision, self.log.rate / len(self.agents))
        rows = [_identity(self.agents[row["agent"]]) | row for row in rows]
        self._call(self.hooks.on_log, rows, decision, feedback)

    def _call(self, hook: Hook, rows: Rows, decision: int, feedback: Feedback) -> None:
        """Call a hook; if it raises, leave a checkpoint."""
        try:
            hook(rows)
        except BaseException:
            self.save(decision, feedback)
            raise

    def _discard(self, decision: int, failure: np.ndarray) -> None:
        """Forget the episodes of environments that failed, count them and say why."""
        failed = failure != ""
        self.learners = discard_episodes(self.programs, self.learners, failed)
        self.log.discarded = self.log.discarded + failed
        for index in np.flatnonzero(failed):
            self.progress.note(
                f"decision {decision}: the episode of agent {index} is discarded and its "
                f"environment made anew: {failure[index]}"
            )

    def pretrain(self, decision: int) -> None:
        """Update the model and Q as often as there were seeding decisions (B.4)."""
        self.progress.note(f"seeded; {self.config.seeding_decisions} updates of model and Q")
        states, buffers = self.learners
        for number in range(1, self.config.seeding_decisions + 1):
            now = np.bool_(number % self.config.reanalyse_interval == 0)
            states, buffers, metrics = self.programs.pretrain(states, buffers, now)
            names = self.programs.pretrain_metric_names()
            self.log.check(decision, jax.device_get(metrics), names)
        self.learners = Learners(states, buffers)

    def wall_s(self) -> float:
        """Return the seconds that this run has taken so far, earlier parts of it included."""
        return round(time.perf_counter() - self.began, 1)

    def evaluate(self, decision: int, feedback: Feedback) -> None:
        """Run evaluation episodes; append to returns.csv; write a checkpoint and an episode."""
        self.log.settle()
        states = self.learners.states
        planner, policy = self.evaluator.planner(states), self.evaluator.policy(states)
        step, wall = decision * self.config.action_repeat, self.wall_s()
        rows = [
            _identity(agent)
            | {
                "env_step": step,
                "decision": decision,
                "return": round(float(planner.returns[index].mean()), 3),
                "return_policy": round(float(policy.returns[index].mean()), 3),
                "wall_s": wall,
            }
            for index, agent in enumerate(self.agents)
        ]
        runs.append_rows(self.folder / "returns.csv", rows)
        save_episodes(self.folder / runs.EPISODES, step, planner)
        self.save(decision, feedback)
        runtime.trim_memory()
        self.progress.evaluated(rows, self.log.rate / len(self.agents))
        rows = [{"agent": index} | row for index, row in enumerate(rows)]
        self._call(self.hooks.on_evaluate, rows, decision, feedback)

    def save(self, decision: int, feedback: Feedback) -> None:
        """Write a checkpoint, once a decision."""
        if decision == self.checkpoints.newest:
            return
        snapshot = Snapshot(
            decision, self.learners, feedback, self.vector.save(), self.log.save(), self.wall_s()
        )
        self.learners = self.checkpoints.save(snapshot)

    def interrupt(self, signal_name: str, decision: int, feedback: Feedback) -> None:
        """Write a checkpoint and end.

        Raises:
            Interrupted: always.
        """
        self.save(decision, feedback)
        step = decision * self.config.action_repeat
        message = (
            f"{signal_name}: ended at step {step:,} with a checkpoint; start it again to go on"
        )
        self.progress.note(message)
        raise Interrupted(signal_name, message)


def _identity(agent: Config) -> dict[str, Any]:
    return {name: getattr(agent, name) for name in IDENTITY}
