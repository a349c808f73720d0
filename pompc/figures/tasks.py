"""The tasks of the paper's figures: their names, titles, and the range of their returns."""

from __future__ import annotations

from collections.abc import Iterable

ROBOT = "h1hand-"  # of HumanoidBench's tasks in the paper
# HumanoidBench's 14 locomotion tasks, and the return at which each counts as solved.
HUMANOIDBENCH = {
    "h1hand-balance_hard": 800.0,
    "h1hand-balance_simple": 800.0,
    "h1hand-crawl": 700.0,
    "h1hand-hurdle": 700.0,
    "h1hand-maze": 1200.0,
    "h1hand-pole": 700.0,
    "h1hand-reach": 12000.0,
    "h1hand-run": 700.0,
    "h1hand-sit_hard": 750.0,
    "h1hand-sit_simple": 750.0,
    "h1hand-slide": 700.0,
    "h1hand-stair": 700.0,
    "h1hand-stand": 800.0,
    "h1hand-walk": 700.0,
}
REACH = "h1hand-reach"  # in no average: its returns are in thousands
AVERAGED = tuple(task for task in HUMANOIDBENCH if task != REACH)
DMCONTROL = (
    "dog-stand", "dog-trot", "dog-walk", "dog-run", "humanoid-stand", "humanoid-walk",
    "humanoid-run",
)  # fmt: skip
PAPER = (*HUMANOIDBENCH, *DMCONTROL)
_HIGHEST_DMCONTROL = 1000.0


def title(task: str) -> str:
    """Return a task's name as a panel shows it: `Balance Simple`, `Dog Run`, `Pendulum-v1`."""
    if task.startswith("gym:"):
        return task.rpartition(":")[2]
    words = task.removeprefix(ROBOT).replace("_", "-").split("-")
    return " ".join(word if word.isupper() else word.capitalize() for word in words)


def score_range(task: str) -> tuple[float, float] | None:
    """Return the returns that count as 0 and 1 in a normalised score; None where unknown.

    dm_control's returns lie in [0, 1000]; of HumanoidBench 1 is the return that counts as solved.
    A Gymnasium task and HumanoidBench's other tasks have no range of their own.
    """
    if task in HUMANOIDBENCH:
        return 0.0, HUMANOIDBENCH[task]
    if ":" in task or task.startswith((ROBOT, "h1-")):
        return None
    return 0.0, _HIGHEST_DMCONTROL


def others(tasks: Iterable[str]) -> list[str]:
    """Return, sorted, those of some tasks that no figure of the paper shows."""
    return sorted(set(tasks) - set(PAPER))
