"""What the benchmark puts side by side: our programs and a peer's, each ready to be timed."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import jax
import numpy as np

from pompc.bench.peers import BmpcJax, Peer, step
from pompc.envs import Vector, make_vector
from pompc.envs.vector import Feedback
from pompc.population import cost
from pompc.population.groups import (
    Learners,
    Population,
    actors,
    initial_arguments,
    make_population,
)
from pompc.population.programs import make_programs
from pompc.settings.config import Config
from pompc.training import decision
from pompc.training.trainer import environment_workers

BUFFER = 20_000  # decisions: speed does not depend on it, and many programs share the memory
FILL = 400  # decisions of random actions before anything is measured
Measures = dict[str, Callable[[], Any]]
WITH_REANALYSE = "update and reanalyse"


class Ours:
    """A population of this project."""

    def __init__(self, config: Config) -> None:
        """Compile its programs and fill its buffers."""
        self.config, self.population = config.agents[0], len(config.agents)
        workers = environment_workers(self.population)
        self.vector = make_vector(config.task, range(self.population), workers)
        sizes = self.vector.observation_dim, self.vector.action_dim
        population = make_population(config.agents, *sizes)
        (self.group,) = population.groups
        self.feedback, self.running = decision.first_feedback(self.vector), None
        self._compile(population)
        for _ in range(FILL):
            self._decide(seeding=True, reanalyse_now=None)

    def _compile(self, population: Population) -> None:
        """Compile acting and learning; note the seconds that it takes, and the memory in MB."""
        programs = make_programs(population)
        self.learners = Learners(*programs.init(*initial_arguments(population)))
        started = time.perf_counter()
        lowered = [
            cast("Any", programs.act).lower(
                actors(self.learners.states), self.learners.buffers, *self.feedback
            ),
            cast("Any", programs.update).lower(*self.learners, np.bool_(False)),
        ]
        with ThreadPoolExecutor(len(lowered)) as pool:
            act, update = pool.map(lambda program: program.compile(), lowered)
        self.compile_s = time.perf_counter() - started
        self.programs = programs._replace(act=act, update=update)
        memory = update.memory_analysis()
        self.memory_mb = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6

    def measures(self) -> Measures:
        """Return what is timed, by name: each a call whose result can be waited for.

        Reanalyse is timed with an update, which is subtracted.
        """
        measures: Measures = {"plan": self._plan, "update": lambda: self._update(now=False)}
        if self.group.parts.reanalyse:
            measures[WITH_REANALYSE] = lambda: self._update(now=True)
        return measures

    def _plan(self) -> Any:
        self.learners, actions = decision.act(self.programs, self.learners, self.feedback)
        return actions

    def _update(self, now: bool) -> Any:
        *learners, metrics = self.programs.update(*self.learners, np.bool_(now))
        self.learners = Learners(*learners)
        return metrics

    def _decide(self, seeding: bool, reanalyse_now: bool | None) -> np.ndarray:
        made = decision.decide(
            self.programs, self.vector, self.learners, self.feedback, seeding, reanalyse_now,
            self.running,
        )  # fmt: skip
        self.learners = decision.close_episodes(self.programs, made.learners, made.result, seeding)
        result, self.running = made.result, made.metrics
        self.feedback = Feedback(result.reward, result.terminated, result.observation)
        return made.seconds

    def run(self, decisions: int) -> np.ndarray:
        """Run the whole loop; return the seconds in plan, environment and update."""
        interval, seconds = self.config.reanalyse_interval, np.zeros(3)
        for number in range(1, decisions + 1):
            seconds += self._decide(seeding=False, reanalyse_now=number % interval == 0)
        started = time.perf_counter()
        jax.block_until_ready(self.running)
        return seconds + np.array([0.0, 0.0, time.perf_counter() - started])

    def row(self, medians: dict[str, float], peak: float) -> dict[str, Any]:
        """Return a row of the table from medians in seconds and operations a second at most.

        Products a second are a share of the peak.
        """
        seconds = {name: medians[name] for name in ("plan", "update")}
        if WITH_REANALYSE in medians:
            seconds["reanalyse"] = medians[WITH_REANALYSE] - medians["update"]
        counted = cost.count(self.group.world, self.group.parts)._asdict()
        config, agents = self.config, self.population
        row = {"program": "pompc", "agents": agents, "heads": config.planner_heads}
        row |= {"planner": config.planner_dtype, "lam": config.lam}
        for name, value in seconds.items():
            row[f"{name}_ms"] = 1e3 * value
            row[f"{name}_of_peak"] = agents * counted[name] / value / peak
        return row | {"memory_mb": self.memory_mb, "compile_s": self.compile_s}


class Theirs:
    """A peer."""

    population = 1

    def __init__(self, peer: Peer, config: Config, vector: Vector) -> None:
        """Fill its buffer."""
        self.peer, self.config, self.vector = peer, config, vector
        self.observation, rng = vector.reset(), np.random.default_rng(0)
        for _ in range(FILL):
            action = rng.uniform(-1, 1, (1, vector.action_dim)).astype(np.float32)
            self.observation = step(peer, vector, self.observation, action)

    def measures(self) -> Measures:
        """Return what is timed."""
        measures: Measures = {
            "plan": lambda: self.peer.act(self.observation, train=True),
            "update": self.peer.update,
        }
        if isinstance(self.peer, BmpcJax):
            measures["reanalyse"] = self.peer.reanalyse
        return measures

    def run(self, decisions: int) -> np.ndarray:
        """Run the whole loop as the peer's does; return seconds in plan, environment, update."""
        seconds = np.zeros(3)
        for number in range(1, decisions + 1):
            clock = [time.perf_counter()]
            action = self.peer.act(self.observation, train=True)
            clock.append(time.perf_counter())
            self.observation = step(self.peer, self.vector, self.observation, action)
            clock.append(time.perf_counter())
            reanalyse_now = number % self.config.reanalyse_interval == 0
            jax.block_until_ready(self.peer.update(reanalyse_now))
            clock.append(time.perf_counter())
            seconds += np.diff(clock)
        return seconds

    def row(self, medians: dict[str, float], _: float) -> dict[str, Any]:
        """Return a row of the table; its arithmetic is not counted."""
        name, lam = self.peer.name, 0.0 if self.peer.name == "tdmpc2_jax" else np.inf
        row = {"program": name, "agents": self.population, "heads": "all", "lam": lam}
        return row | {f"{part}_ms": 1e3 * seconds for part, seconds in medians.items()}


Contestant = Ours | Theirs


def rates(seconds: np.ndarray, decisions: int) -> dict[str, float]:
    """Return decisions a second, and shares of seconds in plan, environment and update."""
    names = "plan_share", "environment_share", "update_share"
    shares = dict(zip(names, seconds / seconds.sum(), strict=True))
    return {"decisions_per_s": decisions / float(seconds.sum())} | shares
