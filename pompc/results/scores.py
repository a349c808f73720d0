"""Normalised scores of HumanoidBench: 0 is a random agent, 1 the return that counts as solved.

`python -m pompc.results.scores random` measures the random agents, whose returns are stored in
runs/random/humanoid.csv; `python -m pompc.results.scores published FILE` sets published curves
beside them.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pompc import runs
from pompc.envs import check_task, describe, humanoid, make_vector
from pompc.errors import ConfigError, nearest, said_by_command
from pompc.results import intervals, published

RANDOM = runs.SHIPPED / "runs" / "random" / "humanoid.csv"
APART = "reach"  # whose returns are in thousands, so that no aggregate of the paper holds it


class Aggregate(NamedTuple):
    """Means over the tasks but *Reach*, which is given apart; NaN where there is none."""

    tasks: int  # that the means are over
    raw: float  # mean return, as in the paper's Figure 2
    normalised: float  # mean normalised score
    reach: float
    reach_normalised: float


def read_random(path: Path = RANDOM) -> pd.DataFrame:
    """Read the table of random agents, a row a task and seed; a ConfigError if there is none."""
    if not path.exists():
        raise ConfigError(
            f"{str(path)!r} with the random agents is missing: `python -m "
            "pompc.results.scores random` measures it anew"
        )
    return pd.read_csv(path)


def random_returns(path: Path = RANDOM) -> dict[str, float]:
    """Return task -> mean return of a random agent."""
    return _of_tasks(read_random(path))


def _of_tasks(table: pd.DataFrame) -> dict[str, float]:
    returns: Any = table.groupby("task")["return"].mean()
    return returns.to_dict()


def normalise(task: str, value: float, random: Mapping[str, float]) -> float:
    """Return (value - random) / (target - random) of a return, `random` as in `random_returns`."""
    return float(intervals.normalise(np.asarray(value), *score_range(task, random)))


def score_range(task: str, random: Mapping[str, float]) -> tuple[float, float]:
    """Return the returns that count as 0 and 1: a random agent's, and the target.

    A task without target score, or whose random agent was not measured, is a ConfigError.
    """
    if not humanoid.in_paper_table(task):
        hint = nearest(task, humanoid.task_names())
        raise ConfigError(f"task {task!r} has no target score: only the paper's 14 HumanoidBench "
                          f"tasks have one{hint}")  # fmt: skip
    robot, name = humanoid.split(task)
    if task not in random:
        raise ConfigError(
            f"no random agent of {task!r} was measured: run `python -m pompc.results.scores random "
            f"--robot {robot}`"
        )
    return random[task], humanoid.TASKS[name].target


def aggregate(returns: Mapping[str, float], random: Mapping[str, float]) -> Aggregate:
    """Aggregate returns, task -> return of one robot, given those of `random_returns`.

    No task and tasks of several robots are a ConfigError, as is what `score_range` refuses.
    """
    robots = sorted({humanoid.split(task)[0] for task in returns})
    if len(robots) != 1:
        found = ", ".join(robots) or "none"
        raise ConfigError(f"the robots are {found}, but only tasks of one robot are aggregated")
    scores = {task: normalise(task, value, random) for task, value in returns.items()}
    reach = f"{robots[0]}-{APART}"
    others = [task for task in returns if task != reach]
    raw, normalised = (np.mean([of[task] for task in others] or np.nan) for of in (returns, scores))
    apart = (float(of.get(reach, np.nan)) for of in (returns, scores))
    return Aggregate(len(others), float(raw), float(normalised), *apart)


def aggregate_groups(
    table: pd.DataFrame, by: Sequence[str], random: Mapping[str, float]
) -> pd.DataFrame:
    """Aggregate a tidy table, a row a group of columns `by`; a task counts once, by its mean."""
    groups: list[tuple[Any, pd.DataFrame]] = list(table.groupby(list(by)))
    rows = [
        dict(zip(by, key, strict=True)) | aggregate(_of_tasks(group), random)._asdict()
        for key, group in groups
    ]
    return pd.DataFrame(rows)


def measure(
    task: str, seeds: Sequence[int], episodes: int, workers: int = 0
) -> list[dict[str, Any]]:
    """Return a row a seed: mean return and length of the first episodes of a uniform random agent.

    Environment and actions of a row depend on its seed alone. Less than one episode, and what
    `make_vector` refuses, are a ConfigError.
    """
    if episodes < 1:
        raise ConfigError(f"episodes is {episodes}, but must be at least 1")
    noises = [np.random.default_rng(seed) for seed in seeds]
    found: list[list[tuple[float, int]]] = [[] for _ in seeds]
    with make_vector(task, seeds, workers) as vector:
        vector.reset()
        totals, lengths = np.zeros(vector.count), np.zeros(vector.count, int)
        while min(len(own) for own in found) < episodes:
            actions = [noise.uniform(-1.0, 1.0, vector.action_dim) for noise in noises]
            result = vector.step(np.array(actions, np.float32))
            totals, lengths = totals + result.reward, lengths + result.env_steps
            over = result.terminated | result.truncated
            for index in np.flatnonzero(over):
                found[index].append((float(totals[index]), int(lengths[index])))
            ended = over | (result.failure != "")
            totals[ended], lengths[ended] = 0.0, 0
    means = [np.mean(own[:episodes], axis=0) for own in found]
    return [
        {"task": task, "seed": seed, "episodes": episodes, "return": round(float(total), 3),
         "length": round(float(length), 1)}
        for seed, (total, length) in zip(seeds, means, strict=True)
    ]  # fmt: skip


def beside_published(curves: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return a row a task: target, random agent (mean, std over seeds), curves at step 0."""
    untrained = curves[curves["env_step"] == 0]
    columns = untrained.pivot_table(index="task", columns="method", values="return")
    random = measured.groupby("task")["return"].agg(["mean", "std"])
    random.columns = ["random", "std over seeds"]
    targets = {task: humanoid.TASKS[humanoid.split(task)[1]].target for task in columns.index}
    parts = [pd.Series(targets, name="target"), random.loc[columns.index], columns]
    return pd.concat(parts, axis=1)


def _measure_all(arguments: argparse.Namespace) -> None:
    """Measure task after task; each replaces its rows of the table at once."""
    path: Path = arguments.csv
    for task in [check_task(f"{arguments.robot}-{name}") for name in arguments.tasks]:
        rows = measure(task, range(arguments.seeds), arguments.episodes, arguments.workers)
        origin = {"commit": runs.commit(), "humanoid_bench": describe(task)["humanoid-bench"]}
        found: Any = pd.DataFrame(rows).assign(**origin)
        mean, std = found["return"].mean(), found["return"].std()
        length = found["length"].mean()
        print(f"{task:22} {mean:10.2f} (std over seeds {std:.2f}), {length:.0f} steps", flush=True)
        if path.exists():
            found = pd.concat([pd.read_csv(path).query("task != @task"), found])
        path.parent.mkdir(parents=True, exist_ok=True)
        found.sort_values(["task", "seed"]).to_csv(path, index=False)


def _print_published(arguments: argparse.Namespace) -> None:
    curves = published.read(arguments.file)
    curves = curves.loc[[humanoid.in_paper_table(task) for task in curves["task"]]]
    if curves.empty:
        raise ConfigError(
            f"{str(arguments.file)!r} holds no curve of the paper's 14 HumanoidBench tasks"
        )
    print("Random agents beside the published curves at step 0")
    print(beside_published(curves, read_random()).round(2).to_string())
    table = aggregate_groups(curves, ["method", "env_step"], random_returns())
    whole: Any = table[table["reach"].notna() & (table["tasks"] == table["tasks"].max())]
    kept = [0, 1_000_000, *whole.groupby("method")["env_step"].max()]
    print("\nMeans without Reach (raw: Figure 2's own), and Reach apart")
    print(whole[whole["env_step"].isin(kept)].round(3).to_string(index=False))


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m pompc.results.scores", description=__doc__)
    commands = parser.add_subparsers(required=True)
    random = commands.add_parser("random", help="measure random agents")
    random.add_argument("--robot", default="h1hand", choices=list(humanoid.ROBOTS))
    random.add_argument("--tasks", nargs="+", default=list(humanoid.TASKS), metavar="TASK")
    random.add_argument("--seeds", type=int, default=10, help="0, 1, ...")
    random.add_argument("--episodes", type=int, default=10, help="of each seed")
    random.add_argument("--workers", type=int, default=0, help="processes; 0: this one")
    random.add_argument("--csv", type=Path, default=RANDOM, metavar="FILE")
    random.set_defaults(run=_measure_all)
    beside = commands.add_parser("published", help="set published curves beside them")
    beside.add_argument("file", type=Path, help="bmpc_humanoidbench_2M.json")
    beside.set_defaults(run=_print_published)
    return parser.parse_args(values)


def main(values: Sequence[str]) -> None:
    """Measure, or print the comparison."""
    arguments = _arguments(values)
    with said_by_command():
        arguments.run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
