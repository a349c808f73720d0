"""Public implementations next to this code: learning curves, and decisions per second."""

import json
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc import runs
from pompc.figures import style
from pompc.figures.curves import curve, finished, groups, limit
from pompc.figures.tasks import title
from pompc.results.read_runs import AGENT

_FOLDER = runs.SHIPPED / "runs" / "bench"
TABLES = {  # of `python -m pompc.bench` -> title of a panel
    _FOLDER / "paper-tdmpc2.json": "the paper's sizes, dog-run, two CPU cores",
    _FOLDER / "laptop.json": "sizes of the preset laptop, cartpole-swingup, two CPU cores",
    _FOLDER / "h200-tuned.json": "the paper's sizes, humanoid-run, one H200",
}
_PEERS = {"tdmpc2_jax": "tdmpc2", "bmpc_jax": "bmpc_jax"}  # program -> method


def public_code(rows: pd.DataFrame) -> Figure:
    """Draw the returns of public implementations, a panel each, and ours of the same method.

    Thin lines are seeds. Rows are as in `pompc.results.Results.peers`.
    """
    public, ours = rows.loc[rows["peer"].notna()], rows.loc[rows["peer"].isna()]
    compared = groups(public, ["task", "peer", "method"])
    with style.settings():
        figure, axes = style.grid(len(compared), height=2.2)
        for panel, ((task, peer, method), theirs) in zip(axes.flat, compared, strict=False):
            panel.set_title(f"{title(task)}, {peer.replace('_', '-')}")
            _seeds(panel, theirs, "public implementation", color=style.INK, linestyle="--")
            own = ours.loc[(ours["task"] == task) & (ours["method"] == method)]
            if own.empty:
                style.remark(panel, f"not run by this code: {method}")
            else:
                look = style.look(*own[AGENT].iloc[0])
                _seeds(panel, own, look.label, color=look.color)
            limit(panel, [task])
        return finished(figure, axes, "return")


def returns_beside(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean returns that `public_code` draws, one row an implementation."""
    named = rows.assign(code=rows["peer"].fillna("this code"))
    by = ["task", "method", "code"]
    named["seeds"] = named.groupby(by)["seed"].transform("nunique")
    table = named.pivot_table(index=[*by, "seeds"], columns="env_step", values="return")
    return table.round().astype("Int64")


def _seeds(panel: Axes, rows: pd.DataFrame, label: str, **line: Any) -> None:
    """Draw every seed as a thin line and their mean as a thick one."""
    found = curve(rows)
    panel.plot(found.x, found.scores.T, linewidth=0.7, alpha=0.6, **line)
    panel.plot(found.x, found.scores.mean(axis=0), linewidth=1.6, label=label, **line)


def decisions_per_second() -> Figure:
    """Draw the whole loop's decisions/s, all agents of a program counted, a panel a table.

    Behind a bar of ours: how many times a peer's it is, `tdmpc2-jax`'s if λ = 0, or `bmpc-jax`'s.
    """
    tables = {title: json.loads(path.read_text())["rows"] for path, title in TABLES.items()}
    with style.settings():
        figure, axes = style.stacked([len(table) + 1 for table in tables.values()], 0.19)
        for panel, (title, table) in zip(axes[:, 0], tables.items(), strict=True):
            _bars(panel, table)
            panel.set_title(title, loc="left")
        axes[-1, 0].set_xlabel("decisions/s")
        return figure


def _bars(panel: Axes, table: list[dict[str, Any]]) -> None:
    """Draw a table's rows from top to bottom: peers, then ours by λ and agents."""
    theirs = {row["program"]: row["decisions_per_s"] for row in table if row["program"] in _PEERS}
    table = sorted(table, key=lambda row: (row["program"] == "pompc", row["lam"], row["agents"]))
    labels = []
    for place, row in enumerate(table):
        peer = "tdmpc2_jax" if row["lam"] == 0 else "bmpc_jax"
        rate, ours = row["decisions_per_s"], row["program"] == "pompc"
        method = _PEERS.get(row["program"], "pompc")
        color = style.look(method, row["lam"], "reverse_kl").color
        panel.barh(place, rate, color=color, height=0.7)
        told = f"{rate / theirs[peer]:.1f} ×" if ours and peer in theirs else ""
        panel.annotate(f"{rate:.3g}    {told}", (rate, place), xytext=(3, 0), va="center",
                       textcoords="offset points", fontsize=8)  # fmt: skip
        labels.append(_label(row) if ours else row["program"].replace("_", "-"))
    style.name_rows(panel, labels)
    panel.margins(x=0.2)
    panel.grid(visible=False, axis="y")


def _label(row: dict[str, Any]) -> str:
    agents = "one agent" if row["agents"] == 1 else f"{row['agents']} agents"
    heads = {"pair": "two Q heads", "all": "all Q heads"}[row["heads"]]
    reduced = "" if row["planner"] == "float32" else f", plans in {row['planner']}"
    return f"λ = {row['lam']:g}, {agents}, {heads}{reduced}"
