"""Speed, beside the public implementations: `python -m pompc.bench --help`.

Every program is called in turn, ours and the peers', round after round on the same machine; the
table holds medians. Ratios between rows of one table mean something, milliseconds alone do not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import pandas as pd

from pompc import cost, loop, peers, runtime
from pompc.config import Config
from pompc.envs import Vector, make_vector
from pompc.errors import ConfigError
from pompc.population import Learners, Programs, initial_arguments, make_groups, make_programs
from pompc.trainer import environment_workers

SLOW_S, SLOW_ROUNDS = 2.0, 5  # what takes longer than this is called every fifth round only
BUFFER = 20_000  # decisions: speed does not depend on it, and many programs share the memory
FILL = 600  # decisions of random actions before anything is measured
COLUMNS = {
    "program": "program", "agents": "P", "heads": "heads", "lam": "λ", "plan_ms": "plan ms",
    "update_ms": "update ms", "reanalyse_ms": "reanalyse ms", "decisions_per_s": "decisions/s",
    "environment_share": "env", "plan_share": "plan", "update_share": "update",
    "gflops": "GFLOP/s", "peak_share": "of peak", "memory_mb": "memory MB",
    "compile_s": "compile s",
}  # fmt: skip
Measures = dict[str, Callable[[], Any]]


class Ours:
    """A population of this project, ready to be timed."""

    def __init__(self, config: Config) -> None:
        """Compile its programs and fill its buffers."""
        self.config, self.population = config.agents[0], len(config.agents)
        workers = environment_workers(self.population)
        self.vector = make_vector(config.task, range(self.population), workers)
        sizes = self.vector.observation_dim, self.vector.action_dim
        self.groups = make_groups(config.agents, *sizes)
        self.learners, self.programs, self.compile_s, self.memory_mb = _compile(self.groups)
        self.feedback = loop.first_feedback(self.vector)
        for _ in range(FILL):
            self._decide(seeding=True, reanalyse_now=None)

    def measures(self) -> Measures:
        """Return what is timed; reanalyse is timed with an update, which is subtracted."""
        measures: Measures = {"plan": self._plan, "update": lambda: self._update(now=False)}
        if self.groups[0].parts.reanalyse:
            measures["update and reanalyse"] = lambda: self._update(now=True)
        return measures

    def _plan(self) -> Any:
        *learners, actions = self.programs.act(*self.learners, *self.feedback)
        self.learners = Learners(*learners)
        return actions

    def _update(self, now: bool) -> Any:
        *learners, metrics = self.programs.update(*self.learners, np.bool_(now))
        self.learners = Learners(*learners)
        return metrics

    def _decide(self, seeding: bool, reanalyse_now: bool | None) -> np.ndarray:
        started = time.perf_counter()
        made = loop.decide(
            self.programs, self.vector, self.learners, self.feedback, seeding, reanalyse_now
        )
        jax.block_until_ready(made.metrics)
        waited = time.perf_counter() - started - sum(made.seconds)
        self.learners = loop.close_episodes(self.programs, made.learners, made.result, seeding)
        result = made.result
        self.feedback = loop.Feedback(result.observation, result.reward, result.terminated)
        return np.array([*made.seconds, waited])

    def run(self, decisions: int) -> np.ndarray:
        """Run the whole loop; return the seconds in plan, environment and update."""
        interval = self.config.reanalyse_interval
        return sum(
            (self._decide(False, number % interval == 0) for number in range(1, decisions + 1)),
            start=np.zeros(3),
        )

    def row(self, medians: dict[str, float], decisions: int, peak: float) -> dict[str, Any]:
        """Return a row of the table from medians in seconds."""
        group = self.groups[0]
        counted = cost.count(group.world, group.parts)
        both = medians.get("update and reanalyse")
        operations = self.population * (counted.plan + counted.update)
        rate = operations / (medians["plan"] + medians["update"])
        return {
            "program": "pompc",
            "agents": self.population,
            "heads": self.config.planner_heads,
            "lam": self.config.lam,
            "plan_ms": 1e3 * medians["plan"],
            "update_ms": 1e3 * medians["update"],
            "reanalyse_ms": None if both is None else 1e3 * (both - medians["update"]),
            **_rates(self.run(decisions), decisions * self.population),
            "gflops": rate / 1e9,
            "peak_share": rate / peak,
            "memory_mb": self.memory_mb,
            "compile_s": self.compile_s,
        }


class Theirs:
    """A peer, ready to be timed."""

    def __init__(self, peer: peers.Peer, config: Config, vector: Vector) -> None:
        """Fill its buffer."""
        self.peer, self.config, self.vector = peer, config, vector
        self.observation, rng = vector.reset(), np.random.default_rng(0)
        for _ in range(FILL):
            self._step(rng.uniform(-1, 1, (1, vector.action_dim)).astype(np.float32))

    def measures(self) -> Measures:
        """Return what is timed."""
        measures: Measures = {
            "plan": lambda: self.peer.plan(self.observation),
            "update": self.peer.update,
        }
        if self.peer.reanalyse:
            measures["reanalyse"] = self.peer.reanalyse
        return measures

    def _step(self, action: np.ndarray) -> None:
        result = self.vector.step(action)
        self.peer.insert({
            "observation": self.observation, "action": action, "reward": result.reward,
            "next_observation": result.final_observation, "terminated": result.terminated,
            "truncated": result.truncated,
        })  # fmt: skip
        self.observation = result.observation

    def run(self, decisions: int) -> np.ndarray:
        """Run the whole loop as the peer's does; return seconds in plan, environment, update."""
        seconds = np.zeros(3)
        for number in range(1, decisions + 1):
            clock = [time.perf_counter()]
            action = self.peer.plan(self.observation)
            clock.append(time.perf_counter())
            self._step(action)
            clock.append(time.perf_counter())
            found = [self.peer.update()]
            if self.peer.reanalyse and number % self.config.reanalyse_interval == 0:
                found.append(self.peer.reanalyse())
            jax.block_until_ready(found)
            clock.append(time.perf_counter())
            seconds += np.diff(clock)
        return seconds

    def row(self, medians: dict[str, float], decisions: int, peak: float) -> dict[str, Any]:
        """Return a row of the table from medians in seconds."""
        del peak  # its arithmetic is not counted here
        return {
            "program": self.peer.name,
            "agents": 1,
            "heads": "all",
            "lam": 0.0 if self.peer.name == "tdmpc2_jax" else np.inf,
            "plan_ms": 1e3 * medians["plan"],
            "update_ms": 1e3 * medians["update"],
            "reanalyse_ms": 1e3 * medians["reanalyse"] if "reanalyse" in medians else None,
            **_rates(self.run(decisions), decisions),
        }


def _compile(groups: Any) -> tuple[Learners, Programs, float, float]:
    """Return initial learners, programs, the seconds to compile acting and learning, and MB."""
    programs = make_programs(groups)
    learners = Learners(*programs.init(*initial_arguments(groups)))
    world, count = groups[0].world, groups[-1].rows.stop
    shapes = ((count, world.observation_dim), (count,))
    seen = np.zeros(shapes[0], np.float32), np.zeros(count, np.float32), np.zeros(count, bool)
    started = time.perf_counter()
    act = cast("Any", programs.act).lower(*learners, *seen).compile()
    update = cast("Any", programs.update).lower(*learners, np.bool_(False)).compile()
    seconds = time.perf_counter() - started
    memory = update.memory_analysis()
    megabytes = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6
    return learners, programs._replace(act=act, update=update), seconds, megabytes


def _rates(seconds: np.ndarray, decisions: int) -> dict[str, float]:
    plan, environment, update = seconds / seconds.sum()
    return {
        "decisions_per_s": decisions / float(seconds.sum()),
        "environment_share": environment,
        "plan_share": plan,
        "update_share": update,
    }


def medians(contestants: Sequence[Ours | Theirs], rounds: int) -> list[dict[str, float]]:
    """Call every program of every contestant in turn, `rounds` times; return medians in seconds."""
    measures = [contestant.measures() for contestant in contestants]
    times: list[dict[str, list[float]]] = [{name: [] for name in found} for found in measures]
    for number in range(rounds + 1):  # the first one warms up
        for found, kept in zip(measures, times, strict=True):
            for name, call in found.items():
                if number % SLOW_ROUNDS and kept[name] and kept[name][0] > SLOW_S:
                    continue
                started = time.perf_counter()
                jax.block_until_ready(call())
                if number:
                    kept[name].append(time.perf_counter() - started)
    return [{name: float(np.median(kept)) for name, kept in one.items()} for one in times]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what the command line asks for; return the rows and what they were measured on."""
    settings: dict[str, Any] = {"preset": arguments.preset, "lam": 1.0, "buffer_size": BUFFER}
    base = Config(task=arguments.task, **settings)
    runtime.configure(base.matmul_precision)
    peak = cost.matmul_rate(1024)
    contestants: list[Ours | Theirs] = []
    for population in arguments.populations:
        for lam in arguments.lam:
            for heads in arguments.heads:
                varied = {"lam": lam, "planner_heads": heads, "seeds": population}
                print(f"compiling pompc, P = {population}, λ = {lam}, {heads} heads", flush=True)
                contestants.append(Ours(Config(base.task, **(settings | varied))))
    for name in [] if arguments.no_peers else peers.NAMES:
        vector = make_vector(base.task, [0])
        peer = peers.load(name, base, vector.observation_dim, vector.action_dim)
        if peer:
            contestants.append(Theirs(peer, base, vector))
    found = medians(contestants, arguments.rounds)
    rows = [
        contestant.row(values, arguments.decisions, peak)
        for contestant, values in zip(contestants, found, strict=True)
    ]
    for contestant in contestants:
        contestant.vector.close()
    facts = runtime.describe(base.matmul_precision)
    return {"task": base.task, "preset": base.preset, "peak_gflops": peak / 1e9, "rounds":
            arguments.rounds, "decisions": arguments.decisions, **facts, "rows": rows}  # fmt: skip


def table(result: dict[str, Any]) -> pd.DataFrame:
    """Return the rows of a measurement as text, the most telling digits alone."""
    rows = pd.DataFrame(result["rows"]).reindex(columns=list(COLUMNS)).rename(columns=COLUMNS)
    return rows.map(lambda value: "" if pd.isna(value) else _short(value))


def _short(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else (f"{value:.0f}" if isinstance(value, float) else str(value))
    )


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m pompc.bench", description=__doc__)
    parser.add_argument("--preset", default="auto", help="paper, laptop or auto")
    parser.add_argument("--task", default="dog-run", help="any task of pompc.make_env")
    parser.add_argument("--populations", type=int, nargs="+", default=[1], metavar="P",
                        help="numbers of agents")  # fmt: skip
    parser.add_argument("--lam", type=float, nargs="+", default=[1.0, 0.0],
                        help="λ of all agents; 0 is TD-MPC2's amount of work")  # fmt: skip
    parser.add_argument("--heads", nargs="+", default=["pair", "all"], choices=["pair", "all"],
                        help="Q heads that the planner evaluates")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=15, help="calls that a median is over")
    parser.add_argument("--decisions", type=int, default=50, help="of the whole loop")
    parser.add_argument("--no-peers", action="store_true", help="measure pompc alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    return parser.parse_args(values)


def main(values: Sequence[str]) -> None:
    """Print the table, and write it where asked."""
    arguments = _arguments(values)
    try:
        result = measure(arguments)
    except ConfigError as error:
        sys.exit(str(error))
    print(f"{result['task']}, {result['preset']}, {result['device']}; matrix products "
          f"{result['peak_gflops']:.0f} GFLOP/s at most")  # fmt: skip
    print(table(result).to_string(index=False))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
