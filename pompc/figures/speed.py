"""Decisions per second, with those of the public implementations, from the benchmark's tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc import runs
from pompc.figures import style

_FOLDER = runs.SHIPPED / "runs" / "bench"
TABLES = {  # of `python -m pompc.bench` -> title of a panel
    _FOLDER / "paper-tdmpc2.json": "the paper's sizes, dog-run, two CPU cores",
    _FOLDER / "laptop.json": "sizes of the preset laptop, cartpole-swingup, two CPU cores",
    _FOLDER / "h200-tuned.json": "the paper's sizes, humanoid-run, one H200",
}
_OURS = "pompc"
_PEERS = {"tdmpc2_jax": "tdmpc2", "bmpc_jax": "bmpc_jax"}  # program -> method
_ROW = 0.19  # inches


def decisions_per_second() -> Figure:
    """Draw the whole loop's decisions/s, all agents of a program counted, a panel a table.

    Behind a bar of ours stands how many times the peer's it is: `tdmpc2-jax`'s with λ = 0,
    `bmpc-jax`'s with λ > 0 where the table has it.
    """
    tables = {title: _rows(path) for path, title in TABLES.items()}
    sizes = [len(table) + 1 for table in tables.values()]
    with style.settings():
        figure, axes = style.stacked(sizes, _ROW)
        for panel, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
            _bars(panel, table)
            panel.set_title(title, loc="left")
        axes[-1, 0].set_xlabel("decisions/s")
        return figure


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return a table's rows in the order of a panel: peers, then ours by λ and agents."""

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["program"] == _OURS, row["lam"], row["agents"]

    return sorted(json.loads(path.read_text())["rows"], key=order)


def _bars(panel: Axes, table: list[dict[str, Any]]) -> None:
    """Draw a table's rows from top to bottom."""
    theirs = {row["program"]: row["decisions_per_s"] for row in table if row["program"] != _OURS}
    labels = []
    for place, row in enumerate(table):
        peer = "tdmpc2_jax" if row["lam"] == 0 else "bmpc_jax"
        rate, ours = row["decisions_per_s"], row["program"] == _OURS
        method = "pompc" if ours else _PEERS[row["program"]]
        color = style.look(method, row["lam"], "reverse_kl").color
        panel.barh(place, rate, color=color, height=0.7)
        told = f"{rate / theirs[peer]:.1f} ×" if ours and peer in theirs else ""
        panel.annotate(f"{rate:.3g}    {told}", (rate, place), xytext=(3, 0), va="center",
                       textcoords="offset points", fontsize=8)  # fmt: skip
        labels.append(_label(row) if ours else row["program"].replace("_", "-"))
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.4, -0.6)
    panel.margins(x=0.2)
    panel.grid(visible=False, axis="y")


def _label(row: dict[str, Any]) -> str:
    agents = "one agent" if row["agents"] == 1 else f"{row['agents']} agents"
    heads = {"pair": "two Q heads", "all": "all Q heads"}[row["heads"]]
    reduced = "" if row["planner"] == "float32" else f", plans in {row['planner']}"
    return f"λ = {row['lam']:g}, {agents}, {heads}{reduced}"
