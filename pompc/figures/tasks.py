"""The tasks of the paper's figures: their names, titles, and the range of their returns."""

import functools
from collections.abc import Iterable

import numpy as np

from pompc.envs import humanoid
from pompc.results import scores
from pompc.results.intervals import normalise

ROBOT = "h1hand-"  # of HumanoidBench's tasks in the paper
HUMANOIDBENCH = tuple(humanoid.task_names())
AVERAGED = tuple(task for task in HUMANOIDBENCH if task != f"{ROBOT}{scores.APART}")
DMCONTROL = ("dog-stand", "dog-trot", "dog-walk", "dog-run",
             "humanoid-stand", "humanoid-walk", "humanoid-run")  # fmt: skip
PAPER = (*HUMANOIDBENCH, *DMCONTROL)
# Of one H200, for all agents of a task in sweeps/paper.yaml; a test compares with its estimate.
_H200_HOURS = {"h1hand": 36.2, "dog": 15.0, "humanoid": 14.7}
_random_returns = functools.cache(scores.random_returns)


def title(task: str) -> str:
    """Return a task's name as a panel shows it: `Balance Simple`, `Dog Run`, `Pendulum-v1`."""
    if task.startswith("gym:"):
        return task.rpartition(":")[2]
    words = task.removeprefix(ROBOT).replace("_", "-").split("-")
    return " ".join(word if word.isupper() else word.capitalize() for word in words)


def score_range(task: str) -> tuple[float, float] | None:
    """Return the returns that count as 0 and 1 in a normalised score; None where unknown.

    dm_control's returns lie in [0, 1000]; of HumanoidBench 0 is a random agent, 1 the return that
    counts as solved. A Gymnasium task and HumanoidBench's other tasks have no range of their own.
    """
    if task in HUMANOIDBENCH:
        return scores.score_range(task, _random_returns())
    return None if ":" in task or task.startswith((ROBOT, "h1-")) else (0.0, 1000.0)


def normalised(task: str, returns: np.ndarray) -> np.ndarray:
    """Return scores: 0 and 1 at the ends of the task's range, returns themselves without one."""
    return normalise(returns, *(score_range(task) or (0.0, 1.0)))


def others(tasks: Iterable[str]) -> list[str]:
    """Return, sorted, those of some tasks that no figure of the paper shows."""
    return sorted(set(tasks) - set(PAPER))


def ordered(tasks: Iterable[str]) -> list[str]:
    """Return tasks in the order of their panels: the paper's, then others by name."""
    found = set(tasks)
    return [task for task in PAPER if task in found] + others(found)


def averaged(tasks: Iterable[str]) -> list[str]:
    """Return those of some tasks whose returns have one range, so that a mean says something."""
    return [task for task in tasks if task in AVERAGED or score_range(task) == (0.0, 1000.0)]


def hours(tasks: Iterable[str]) -> float:
    """Return the estimated hours of one H200 for all agents of some of the paper's tasks."""
    return sum(_H200_HOURS[task.split("-")[0]] for task in tasks)
