"""Statistics for few seeds: IQM with stratified bootstrap, performance profiles, time.

Agarwal et al. (2021). Scores are normalised, so that tasks can be pooled. Pooled are the tasks and
agents of `curves.shared`: every agent of a panel has run every task of it. Tables are returns, as
in `pompc.results.Results`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.comparisons import methods
from pompc.figures.curves import (
    agents,
    aligned,
    curve,
    final,
    finished,
    plot_interval,
    remark_left_out,
    shared,
)
from pompc.figures.tasks import (
    AVERAGED,
    DMCONTROL,
    normalised,
    ordered,
    others,
    score_range,
    title,
)  # fmt: skip
from pompc.results.intervals import (
    Interval,
    Statistic,
    iqm,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)  # fmt: skip

_THRESHOLDS = np.linspace(0.0, 1.0, 101)
_HOUR = 3600.0  # seconds
_NAMED = 3  # tasks at most that a title names
_SEED = 0  # of each bootstrap


def suites(table: pd.DataFrame) -> dict[str, tuple[list[str], pd.DataFrame]]:
    """Return what is pooled: name -> the tasks that its agents have all run, and their rows.

    The paper's two suites are pooled apart, and all other tasks with a range of returns together.
    Suites without runs are left out.
    """
    mine = [task for task in others(table["task"]) if score_range(task) is not None]
    found = {"HumanoidBench": AVERAGED, "DMControl": DMCONTROL, "small tasks": mine}
    pooled = {name: shared(table, tasks) for name, tasks in found.items()}
    return {name: (tasks, rows) for name, (tasks, rows) in pooled.items() if tasks}


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Figures 2 and 5 on those tasks that are pooled."""
    rows = methods(table)
    tasks = [task for tasks, _ in suites(rows).values() for task in tasks]
    return rows.loc[rows["task"].isin(tasks)]


def last_scores(table: pd.DataFrame, tasks: Sequence[str]) -> list[np.ndarray]:
    """Return the last normalised scores of one agent, `[N_task]` of each task, at its own end."""
    return [normalised(task, final(table.loc[table["task"] == task])[1]) for task in tasks]


def iqm_curves(table: pd.DataFrame) -> Figure:
    """Draw the interquartile mean of normalised scores over steps, a panel for each suite.

    A curve ends where the shortest task ends.
    """

    def one(panel: Axes, look: style.Look, rows: pd.DataFrame, tasks: list[str]) -> None:
        x, returns = aligned(rows, tasks)
        scores = [normalised(task, own) for task, own in zip(tasks, returns, strict=True)]
        found = stratified_bootstrap(scores, iqm, np.random.default_rng(_SEED))
        plot_interval(panel, x, found, look)

    return _by_suite(table, one, "environment steps", "IQM of normalised score")


def performance_profiles(table: pd.DataFrame) -> Figure:
    """Draw the share of runs whose last score exceeds each threshold, a panel for each suite."""

    def one(panel: Axes, look: style.Look, rows: pd.DataFrame, tasks: list[str]) -> None:
        last, generator = last_scores(rows, tasks), np.random.default_rng(_SEED)
        plot_interval(panel, _THRESHOLDS, performance_profile(last, _THRESHOLDS, generator), look)
        panel.set(ylim=(-0.02, 1.02), xlim=(0, 1))

    return _by_suite(table, one, "normalised score τ", "share of runs above τ", steps=False)


def _by_suite(
    table: pd.DataFrame,
    draw_one: Callable[[Axes, style.Look, pd.DataFrame, list[str]], None],
    xlabel: str,
    ylabel: str,
    steps: bool = True,
) -> Figure:
    """Draw a panel for each suite, with the agents that have run its tasks."""
    found = suites(table)
    with style.settings():
        figure, axes = style.grid(len(found), height=2.4)
        for panel, (name, (tasks, rows)) in zip(axes.flat, found.items(), strict=False):
            for key, own in agents(rows):
                draw_one(panel, style.look(*key), own, tasks)
            panel.set_title("\n".join(style.wrap(panel, _named(name, tasks))))
            remark_left_out(panel, rows, table.loc[table["task"].isin(tasks)])
        return finished(figure, axes, ylabel, xlabel, steps)


def _named(suite: str, tasks: Sequence[str]) -> str:
    few = len(tasks) <= _NAMED
    return ", ".join(map(title, tasks)) if few else f"{suite}, {len(tasks)} tasks"


def wall_clock(rows: pd.DataFrame) -> Figure:
    """Draw returns over the hours that a run took, evaluations included, a panel for each task.

    The agents of one program take their time together; `timing` says how many they are.
    """
    tasks = ordered(rows["task"])
    with style.settings():
        figure, axes = style.grid(len(tasks))
        for panel, task in zip(axes.flat, tasks, strict=False):
            for key, own in agents(rows.loc[rows["task"] == task]):
                scores, seconds = curve(own), curve(own, "wall_s")
                look = style.look(*key)
                panel.plot(seconds.scores.mean(axis=0) / _HOUR, scores.scores.mean(axis=0),
                           color=look.color, linestyle=look.dash, linewidth=1.5,
                           label=look.label)  # fmt: skip
            panel.set_title(title(task))
        return finished(figure, axes, "return", "hours", steps=False)


def timing(table: pd.DataFrame) -> pd.DataFrame:
    """Return how long runs took: hours of a run, its agents, and each agent's decisions a second.

    It has a row a task, agent and device; means are over seeds, evaluations included.
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
    return pd.DataFrame(rows)


def aggregates(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, IQM and optimality gap of the last normalised scores, with their intervals.

    No interval stands where a task has one run of the agent. The table has a row a suite and agent
    that has run all of its pooled tasks, λ without a name being PO-MPC.
    """
    rows = []
    for suite, (tasks, shared_rows) in suites(table).items():
        for key, part in agents(shared_rows):
            last, name = last_scores(part, tasks), style.look(*key).label
            rows.append({
                "suite": suite, "agent": name.removeprefix("PO-MPC, "), "tasks": len(tasks),
                "runs": sum(map(len, last)),
                "mean": _interval(last, np.mean), "IQM": _interval(last, iqm),
                "optimality gap": _interval(last, optimality_gap),
            })  # fmt: skip
    names = ["suite", "agent", "tasks", "runs", "mean", "IQM", "optimality gap"]
    return pd.DataFrame(rows, columns=names)


def improvements(table: pd.DataFrame, over: tuple[str, float, str]) -> pd.DataFrame:
    """Return the probability that a run of each agent ends above one of another agent.

    Args:
        table: returns.
        over: method, λ and prior of the other agent; suites that lack it are left out.
    """
    rows, other = list[dict[str, str]](), (*over, "")
    for suite, (tasks, shared_rows) in suites(table).items():
        last = {key: last_scores(part, tasks) for key, part in agents(shared_rows)}
        for key in [key for key in last if key != other] if other in last else []:
            found = probability_of_improvement(last[key], last[other], np.random.default_rng(_SEED))
            label = style.look(*key).label.removeprefix("PO-MPC, ")
            rows.append({"suite": suite, "agent": label, "probability": _text(found)})
    return pd.DataFrame(rows, columns=["suite", "agent", "probability"])


def score_matrices(table: pd.DataFrame) -> dict[str, Any]:
    """Return suite -> its tasks, and agent -> last normalised scores `[runs, tasks]` as lists.

    It is what rliable takes. Where tasks have different numbers of runs, the first ones count.
    """
    found: dict[str, Any] = {}
    for suite, (tasks, rows) in suites(table).items():
        last = {style.look(*key).label: last_scores(part, tasks) for key, part in agents(rows)}
        found[suite] = {
            "tasks": list(tasks),
            "scores": {
                name: np.stack([one[: min(map(len, scores))] for one in scores], axis=1).tolist()
                for name, scores in last.items()
            },
        }
    return found


def _interval(scores: list[np.ndarray], statistic: Statistic) -> str:
    return _text(stratified_bootstrap(scores, statistic, np.random.default_rng(_SEED)))


def _text(found: Interval) -> str:
    ends = "" if np.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.center:.3f}{ends}"
