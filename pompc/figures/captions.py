"""Captions, notices and folded tables: seeds, steps, preset and commit of what a page shows."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from pompc.figures.tasks import hours, title
from pompc.results.read_runs import CELL, CHANGES, Results
from pompc.settings.config import preset_values

_COMMAND = "python -m pompc.sweep sweeps/"
_MARK = (  # that sphinx-design has on what can be unfolded
    '<span class="sd-summary-state-marker sd-summary-chevron-right"><svg width="1.5em" '
    'height="1.5em" viewBox="0 0 24 24" aria-hidden="true"><path d="M9 5l7 7-7 7" fill="none" '
    'stroke="currentColor" stroke-width="1.5"/></svg></span>'
)
_NAMED = 3  # commits at most that a caption names
_PAPER_DECISIONS = preset_values("paper")["steps"]


class Markdown(str):
    """Text that a notebook renders."""

    def _repr_markdown_(self) -> str:
        return str(self)


class Folded(NamedTuple):
    """A table that a notebook shows below a line, which unfolds it."""

    title: str
    table: pd.DataFrame

    def _repr_html_(self) -> str:
        rows = self.table.to_html(border=0, index=self.table.index.names != [None], na_rep="")
        return (
            '<details class="sd-sphinx-override sd-dropdown sd-card sd-mb-3">'
            '<summary class="sd-summary-title sd-card-header">'
            f'<span class="sd-summary-text">{self.title}</span>{_MARK}</summary>'
            f'<div class="sd-summary-content sd-card-body" style="overflow-x: auto">{rows}</div>'
            "</details>"
        )


def caption(table: pd.DataFrame, text: str = "", missing: Sequence[str] = ()) -> Markdown:
    """Return a figure's caption: what it shows, the origin of its rows, and `missing` tasks."""
    left = f"Not run: {', '.join(map(title, missing))}." if missing else ""
    return Markdown(f"*{' '.join(filter(None, (text, origin(table), left)))}*")


def not_run(figures: Sequence[str], tasks: Collection[str]) -> Markdown:
    """Return the line for figures without runs: what they need, and how long it takes."""
    names = " and ".join(name.replace("_", " ").capitalize() for name in figures)
    if not tasks:
        return Markdown(f"*{names}: not run. A sweep of small runs:* `{_COMMAND}small.yaml`")
    return Markdown(
        f"*{names}: not run. 0 of {len(tasks)} tasks are done; all agents of them would take an "
        f"estimated {hours(tasks):,.0f} hours of one H200:* `{_COMMAND}paper.yaml`"
    )


def origin(table: pd.DataFrame) -> str:
    """Return in a sentence or two how runs were made: seeds, steps, preset, commit."""
    if table.empty:
        return "It was not run."
    cells: Any = table.groupby([*CELL, *({CHANGES} & set(table))])
    seeds, steps = _span(cells["seed"].nunique()), _span(cells["env_step"].max())
    unfinished = len(set(table.loc[~table["finished"].astype(bool), "run"]))
    late = f" {unfinished} of its runs are not finished." if unfinished else ""
    return (
        f"{seeds} {'seed' if seeds == '1' else 'seeds'} of each agent and task, {steps} "
        f"environment steps, preset {_listed(table['preset'])}, {_commits(table['commit'])}.{late}"
    )


def notice(results: Results) -> Markdown:
    """Return what the head of a results page says: the scale of its runs, and what is left out."""
    lines = [f"**Profile `{results.profile}`.** {_scale(results.returns)}"]
    if results.warnings:
        lines += ["", "**Left out:**", "", *(f"- {warning}" for warning in results.warnings)]
    return Markdown("\n".join(lines))


def _scale(table: pd.DataFrame) -> str:
    if table.empty:
        return "It holds no runs."
    runs = f"{len(set(table['run']))} runs of {', '.join(sorted(set(table['task'])))}: "
    if set(table["preset"]) == {"paper"} and max(table["decision"]) >= _PAPER_DECISIONS:
        return runs + origin(table)
    return (
        f"These runs are small-scale, and no test of the paper's claims at its own scale, which is "
        f"{digits(_PAPER_DECISIONS)} decisions on dog, humanoid and HumanoidBench tasks with the "
        f"preset `paper`. They are {runs}{origin(table)}"
    )


def _span(values: Iterable[int]) -> str:
    return " to ".join(digits(value) for value in dict.fromkeys((min(values), max(values))))


def digits(number: float) -> str:
    """Write a whole number with its thousands apart."""
    return f"{number:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(f"`{value}`" for value in sorted(set(map(str, values))))


def _commits(commits: Iterable[object]) -> str:
    """Return seven digits of the runs' commits, or, of many, how many and where they are named."""
    texts = (commit if isinstance(commit, str) else "unknown" for commit in commits)
    short = {re.sub(r"^(\S{7})\S*", r"\1", text) for text in texts}
    if len(short) > _NAMED:
        return f"{len(short)} commits, each in its run's `provenance.json`"
    return f"commit {_listed(short)}"
