"""Statistics for few seeds: IQM with stratified bootstrap, performance profiles, time.

Agarwal et al. (2021). Scores are normalised, so that tasks can be pooled. Pooled are the tasks and
agents of `curves.shared`: every agent of a panel has run every task of it. Tables are returns, as
in `pompc.results.Results`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc.figures import curves, style, tasks
from pompc.figures.comparisons import methods
from pompc.figures.curves import agents
from pompc.results import intervals

_THRESHOLDS = np.linspace(0.0, 1.0, 101)
_HOUR = 3600.0  # seconds
_NAMED = 3  # tasks at most that a title names


def suites(table: pd.DataFrame) -> dict[str, tuple[list[str], pd.DataFrame]]:
    """Return what is pooled: name -> the tasks that its agents have all run, and their rows.

    The paper's two suites are pooled apart, and all other tasks with a range of returns together.
    Suites without runs are left out.
    """
    mine = [task for task in tasks.others(table["task"]) if tasks.score_range(task) is not None]
    found = {"HumanoidBench": tasks.AVERAGED, "DMControl": tasks.DMCONTROL, "small tasks": mine}
    pooled = {name: curves.shared(table, own) for name, own in found.items()}
    return {name: (own, rows) for name, (own, rows) in pooled.items() if own}


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Figures 2 and 5 on those tasks that are pooled."""
    rows = methods(table)
    return rows.loc[rows["task"].isin([task for own, _ in suites(rows).values() for task in own])]


def last_scores(table: pd.DataFrame, of: Sequence[str]) -> list[np.ndarray]:
    """Return the last normalised scores of one agent, `[N_task]` of each task, at its own end."""
    last = ((task, curves.final(table.loc[table["task"] == task])[1]) for task in of)
    return [tasks.normalised(task, returns) for task, returns in last]


def iqm_curves(table: pd.DataFrame) -> Figure:
    """Draw the IQM of normalised scores, a panel a suite, to where its shortest task ends."""

    def one(panel: Axes, look: style.Look, rows: pd.DataFrame, of: list[str]) -> None:
        x, returns = curves.aligned(rows, of)
        scores = [tasks.normalised(task, own) for task, own in zip(of, returns, strict=True)]
        curves.plot_interval(panel, x, _bootstrap(scores, intervals.iqm), look)

    return _by_suite(table, one, "environment steps", "IQM of normalised score")


def performance_profiles(table: pd.DataFrame) -> Figure:
    """Draw the share of runs whose last score exceeds each threshold, a panel for each suite."""

    def one(panel: Axes, look: style.Look, rows: pd.DataFrame, of: list[str]) -> None:
        last, generator = last_scores(rows, of), np.random.default_rng(0)
        found = intervals.performance_profile(last, _THRESHOLDS, generator)
        curves.plot_interval(panel, _THRESHOLDS, found, look)
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
        for panel, (name, (own, rows)) in zip(axes.flat, found.items(), strict=False):
            for key, of_agent in agents(rows):
                draw_one(panel, style.look(*key), of_agent, own)
            few = ", ".join(map(tasks.title, own)) if len(own) <= _NAMED else ""
            panel.set_title("\n".join(style.wrap(panel, few or f"{name}, {len(own)} tasks")))
            curves.remark_left_out(panel, rows, table.loc[table["task"].isin(own)])
        return curves.finished(figure, axes, ylabel, xlabel, steps)


def wall_clock(rows: pd.DataFrame) -> Figure:
    """Draw returns over the hours that a run took, evaluations included, a panel for each task.

    The agents of one program take their time together; `timing` says how many they are.
    """
    shown = tasks.ordered(rows["task"])
    with style.settings():
        figure, axes = style.grid(len(shown))
        for panel, task in zip(axes.flat, shown, strict=False):
            for key, own in agents(rows.loc[rows["task"] == task]):
                look = style.look(*key)
                scores, seconds = (curves.curve(own, name).scores.mean(axis=0)
                                   for name in ("return", "wall_s"))  # fmt: skip
                panel.plot(seconds / _HOUR, scores, color=look.color, linestyle=look.dash,
                           linewidth=1.5, label=look.label)  # fmt: skip
            panel.set_title(tasks.title(task))
        return curves.finished(figure, axes, "return", "hours", steps=False)


def timing(table: pd.DataFrame) -> pd.DataFrame:
    """Return how long runs took: hours of a run, its agents, and each agent's decisions a second.

    It has a row a task, agent and device; means are over seeds, evaluations included.
    """
    last = table.sort_values("env_step").groupby(["run", "agent"]).tail(1)
    rows = []
    for key, own in agents(last):
        for (task, device), part in curves.groups(own, ["task", "device"]):
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
    statistics = {"mean": np.mean, "IQM": intervals.iqm, "optimality gap": intervals.optimality_gap}
    for suite, (of, shared_rows) in suites(table).items():
        for key, part in agents(shared_rows):
            last = last_scores(part, of)
            row = {"suite": suite, "agent": style.name(*key), "tasks": len(of),
                   "runs": sum(map(len, last))}  # fmt: skip
            numbers = {name: _text(_bootstrap(last, one)) for name, one in statistics.items()}
            rows.append(row | numbers)
    return pd.DataFrame(rows, columns=["suite", "agent", "tasks", "runs", *statistics])


def improvements(table: pd.DataFrame, over: tuple[str, float, str]) -> pd.DataFrame:
    """Return how probably a run of each agent ends above one of another, in suites that have it."""
    rows, other = list[dict[str, str]](), (*over, "")
    for suite, (of, shared_rows) in suites(table).items():
        last = {key: last_scores(part, of) for key, part in agents(shared_rows)}
        for key in [key for key in last if key != other] if other in last else []:
            generator = np.random.default_rng(0)
            found = intervals.probability_of_improvement(last[key], last[other], generator)
            rows.append({"suite": suite, "agent": style.name(*key), "probability": _text(found)})
    return pd.DataFrame(rows, columns=["suite", "agent", "probability"])


def score_matrices(table: pd.DataFrame) -> dict[str, Any]:
    """Return suite -> its tasks, and agent -> last normalised scores `[runs, tasks]` as lists.

    It is what rliable takes. Where tasks have different numbers of runs, the first ones count.
    """
    found: dict[str, Any] = {}
    for suite, (of, rows) in suites(table).items():
        last = {style.look(*key).label: last_scores(part, of) for key, part in agents(rows)}
        # As many rows as the task with the fewest runs.
        scores = {name: list(zip(*own, strict=False)) for name, own in last.items()}
        found[suite] = {"tasks": of, "scores": scores}
    return found


def _bootstrap(scores: Sequence[np.ndarray], statistic: intervals.Statistic) -> intervals.Interval:
    return intervals.stratified_bootstrap(scores, statistic, np.random.default_rng(0))


def _text(found: intervals.Interval) -> str:
    ends = "" if np.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.center:.3f}{ends}"
