"""What reviewers ask of few seeds: IQM with stratified bootstrap, performance profiles, time.

Agarwal et al. (2021). Scores are normalised, so that tasks can be pooled; of each agent only the
tasks that all agents have run are pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.curves import agents, curve, shared_tasks
from pompc.figures.panels import band, finished
from pompc.figures.paper import methods
from pompc.figures.tasks import AVERAGED, DMCONTROL, others, score_range, title
from pompc.results.intervals import iqm, normalise, performance_profile, stratified_bootstrap

_THRESHOLDS = np.linspace(0.0, 1.0, 101)
_HOUR = 3600.0  # seconds


def suites(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return what is pooled: the paper's two suites, and the other tasks of the table."""
    mine = [task for task in others(table["task"]) if score_range(task) is not None]
    found = {"HumanoidBench without Reach": list(AVERAGED), "DMControl, 7 tasks": list(DMCONTROL)}
    return found | ({"other tasks": mine} if mine else {})


def strata(table: pd.DataFrame, tasks: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the normalised scores of one agent, `[N_task, S]` of each task, and their moments.

    Args:
        table: returns of one agent.
        tasks: with runs of the agent and a range of returns each.

    Returns:
        Environment steps `[S]` that every seed of every task reached, and the scores.
    """
    own = {task: curve(table.loc[table["task"] == task]) for task in tasks}
    x = np.array(sorted(set.intersection(*(set(one.x) for one in own.values()))))
    scores = []
    for task, one in own.items():
        low, high = score_range(task) or (0.0, 1.0)
        scores.append(normalise(one.scores[:, np.isin(one.x, x)], low, high))
    return x, scores


def iqm_curves(table: pd.DataFrame, seed: int = 0) -> Figure:
    """Draw the interquartile mean of normalised scores over steps, a panel for each suite.

    Args:
        table: returns, as in `pompc.results.Results`.
        seed: of the bootstrap.
    """

    def draw(panel: Axes, key: tuple[str, float, str], own: pd.DataFrame, tasks: list[str]) -> None:
        x, scores = strata(own, tasks)
        found = stratified_bootstrap(scores, iqm, np.random.default_rng(seed))
        band(panel, x, found, style.look(*key))

    return _by_suite(table, draw, "environment steps", "IQM of normalised score")


def performance_profiles(table: pd.DataFrame, seed: int = 0) -> Figure:
    """Draw the share of runs whose last score exceeds each threshold, a panel for each suite.

    Args:
        table: as in `iqm_curves`.
        seed: as there.
    """

    def draw(panel: Axes, key: tuple[str, float, str], own: pd.DataFrame, tasks: list[str]) -> None:
        _, scores = strata(own, tasks)
        last = [task[:, -1] for task in scores]
        found = performance_profile(last, _THRESHOLDS, np.random.default_rng(seed))
        band(panel, _THRESHOLDS, found, style.look(*key))
        panel.set(ylim=(-0.02, 1.02), xlim=(0, 1))

    return _by_suite(table, draw, "normalised score τ", "share of runs above τ", steps=False)


def wall_clock(table: pd.DataFrame, tasks: Sequence[str]) -> Figure:
    """Draw returns over the hours that a run took, evaluations included, a panel for each task.

    The agents of one program take their time together; `timing` says how many they are.

    Args:
        table: as in `iqm_curves`.
        tasks: one panel each.
    """
    columns = min(max(len(tasks), 1), 4)
    with style.settings():
        figure, axes = style.panels(-(-max(len(tasks), 1) // columns), columns)
        unused = iter(axes.flat)
        for task in tasks or [""]:
            panel = next(unused)
            rows = table.loc[table["task"] == task]
            for key, own in agents(rows):
                returns, seconds = curve(own), curve(own, "wall_s")
                look = style.look(*key)
                panel.plot(seconds.scores.mean(axis=0) / _HOUR, returns.scores.mean(axis=0),
                           color=look.color, linestyle=look.dash, linewidth=1.3,
                           label=look.label)  # fmt: skip
            panel.set_title(title(task))
            if rows.empty:
                style.not_run(panel)
        for panel in unused:
            panel.set_visible(False)
        return finished(figure, axes, "return", "hours", steps=False)


def timing(table: pd.DataFrame) -> pd.DataFrame:
    """Return how long runs took: hours of a run, its agents, and each agent's decisions a second.

    Args:
        table: as in `iqm_curves`.

    Returns:
        One row a task, agent and device; means over seeds, evaluations included.
    """
    last = table.sort_values("env_step").groupby(["run", "agent"]).tail(1)
    rows = []
    for key, own in agents(last):
        parts: list[tuple[Any, pd.DataFrame]] = list(own.groupby(["task", "device"], dropna=False))
        for (task, device), part in parts:
            rows.append({
                "task": task, "agent": style.look(*key).label, "seeds": part["seed"].nunique(),
                "agents in a program": int(part["agents"].to_numpy().max()), "device": device,
                "hours": round(part["wall_s"].mean() / _HOUR, 2),
                "decisions/s": round((part["decision"] / part["wall_s"]).mean(), 1),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=["task", "agent", "seeds", "agents in a program", "device",
                                       "hours", "decisions/s"])  # fmt: skip


def aggregates(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return mean and IQM of the last normalised scores with stratified bootstrap intervals.

    No interval stands where a task has one run of the agent.

    Args:
        table: as in `iqm_curves`.
        seed: as there.

    Returns:
        One row a suite and agent that has run its shared tasks; "not run" where none has.
    """
    rows = []
    for suite, tasks in suites(table).items():
        shared = shared_tasks(table, tasks)
        own = table.loc[table["task"].isin(shared)]
        for key, part in agents(own):
            _, scores = strata(part, shared)
            last = [task[:, -1] for task in scores]
            rows.append({
                "suite": suite, "agent": style.look(*key).label, "tasks": len(shared),
                "runs": sum(map(len, last)),
                "mean": _interval(last, np.mean, seed), "IQM": _interval(last, iqm, seed),
            })  # fmt: skip
        if not shared:
            rows.append(dict.fromkeys(["agent", "mean", "IQM"], "not run")
                        | {"suite": suite, "tasks": 0, "runs": 0})  # fmt: skip
    return pd.DataFrame(rows, columns=["suite", "agent", "tasks", "runs", "mean", "IQM"])


def _interval(scores: list[np.ndarray], statistic: Callable[..., np.ndarray], seed: int) -> str:
    found = stratified_bootstrap(scores, statistic, np.random.default_rng(seed))
    ends = "" if np.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.center:.3f}{ends}"


def _by_suite(
    table: pd.DataFrame,
    draw: Callable[[Axes, tuple[str, float, str], pd.DataFrame, list[str]], None],
    xlabel: str,
    ylabel: str,
    steps: bool = True,
) -> Figure:
    """Draw the agents of Figure 2 on the tasks of each suite that all of them have run."""
    found, table = suites(table), methods(table)
    with style.settings():
        figure, axes = style.panels(1, len(found), width=2.6, height=2.2)
        for panel, (name, tasks) in zip(axes[0], found.items(), strict=True):
            shared = shared_tasks(table, tasks)
            panel.set_title(f"{name}: {len(shared)} of {len(tasks)}")
            for key, own in agents(table.loc[table["task"].isin(shared)]):
                draw(panel, key, own, shared)
            if not shared:
                some = set(table["task"]) & set(tasks)
                style.not_run(panel, "no task has runs\nof every method" if some else "not run")
        return finished(figure, axes, ylabel, xlabel, steps)
