"""Runs as the results pages read them: collected by profile, checked, and told in one sentence.

A run that cannot be read is named and left out; a figure shows what is there, and "not run". Agents
of one method, λ and prior whose settings differ are told apart by their `changes`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pompc import runs
from pompc.errors import ConfigError, nearest
from pompc.results import changes
from pompc.runs import files

# Profile -> folders of runs/ that it reads, at any depth. What a reader trains is in neither.
PROFILES = {"paper": ("paper",), "small": ("small", "dogs", "cartpole-swingup", "walker-walk")}
# Profile -> folder of runs/ with the runs of public implementations of its preset.
PEERS = {"small": "peers"}
AGENT = ["method", "lam", "prior"]  # columns that tell agents apart; `seed` repeats them
CELL = ["task", *AGENT]  # what a figure draws as one curve, if their `changes` are the same
CHANGES = "changes"  # column: in which settings an agent differs, such as "horizon = 5", or ""
_AGENT_SEED = [*CELL, "seed"]
_RETURNS = [*_AGENT_SEED, "env_step", "decision", "return", "return_policy", "wall_s"]
# Columns that say where a row comes from; `agents` is how many one program trained, on `device`.
_ORIGIN = ["run", "agent", "agents", "settings", CHANGES, "preset", "commit", "finished", "device"]
_PUBLIC = [*_AGENT_SEED, "env_step", "peer", "return"]
_SEEDS = ["variant", "lam", "seed"]  # what a row of a comparison of variants is
_REQUIRED = [*_AGENT_SEED, "preset", "steps"]  # of config.json
_FILES = ("config.json", "provenance.json", *runs.TABLES)


class Results(NamedTuple):
    """What the runs of a profile hold, one row an agent and moment."""

    profile: str
    returns: pd.DataFrame  # as `pompc.load_runs`, with `agent, preset, commit, finished`
    metrics: pd.DataFrame  # metrics.csv, with the same columns that tell agents and runs apart
    digests: dict[str, str]  # run -> SHA-256 of its files
    warnings: tuple[str, ...]  # a sentence for each run or agent that was left out
    # Returns of public implementations, named in `peer`, and of ours of the same tasks and methods.
    peers: pd.DataFrame = pd.DataFrame(columns=[*_PUBLIC, *_ORIGIN])


class _MalformedError(ValueError):
    """A folder holds no run that can be drawn."""


def collect(profile: str = "small", root: Path | None = None) -> Results:
    """Read the runs of a profile.

    Of agents with the same settings one of each seed is kept; what is left out for that reason, or
    because it cannot be read, is named in `warnings`.

    A profile is `paper`, `small`, or a folder of runs, seen from here or from the checkout; `root`
    holds the profiles, by default the checkout's `runs/`.

    Raises:
        ConfigError: for an unknown profile.
    """
    root = root or runs.ROOT / "runs"
    own = _read_all(_folders(profile, root), _read)
    returns = _joined([tables[0] for tables in own.tables], [*_RETURNS, *_ORIGIN])
    metrics = _joined([tables[1] for tables in own.tables], [*_AGENT_SEED, "env_step", *_ORIGIN])
    settings = {key: values for tables in own.tables
                for key, values in tables[2][["settings", "values"]].to_numpy()}  # fmt: skip
    kept, left_out = _comparable(returns, settings)
    returns, metrics = _only(returns, kept), _only(metrics, kept)
    others = _read_all([root / PEERS[profile]] if profile in PEERS else [], _read_public)
    public = _joined([tables[0] for tables in others.tables], [*_PUBLIC, *_ORIGIN])
    warnings = (*own.warnings, *others.warnings, *left_out)
    digests = own.digests | others.digests
    return Results(profile, returns, metrics, digests, warnings, _beside(public, returns))


def compared_returns(variants: Mapping[str, Results], query: str) -> pd.DataFrame:
    """Return the returns of a query in several results: a row a seed, a column a moment.

    The names of the variants are the first level of the index, λ and seed the others.
    """
    rows = _of_variants(variants, "returns", query)
    table = rows.pivot_table(index=_SEEDS, columns="env_step", values="return")
    return table.round().astype("Int64")


def compared_metrics(
    variants: Mapping[str, Results], query: str, columns: Sequence[str]
) -> pd.DataFrame:
    """Return each seed's means of some metrics over the rows of a query in several results."""
    rows = _of_variants(variants, "metrics", query)
    return rows.pivot_table(index=_SEEDS, values=[*columns]).loc[:, [*columns]].round(2)


def _of_variants(variants: Mapping[str, Results], table: str, query: str) -> pd.DataFrame:
    rows = {name: getattr(found, table).query(query) for name, found in variants.items()}
    return pd.concat(rows, names=["variant"])


class _Read(NamedTuple):
    """What folders of runs hold."""

    tables: list[tuple[pd.DataFrame, ...]]  # of each run, with its name
    digests: dict[str, str]
    warnings: list[str]


def _read_all(folders: Sequence[Path], read: Callable[[Path], tuple[pd.DataFrame, ...]]) -> _Read:
    """Read every run below the folders; name those that cannot be read."""
    found = _Read([], {}, [])
    for folder in folders:
        for run in _run_folders(folder):
            name = _name(run, folder)
            try:
                found.tables.append(tuple(table.assign(run=name) for table in read(run)))
                found.digests[name] = digest(run)
            except (ValueError, KeyError, TypeError, OSError) as error:
                found.warnings.append(f"`{name}` cannot be read: {_sentence(error)}")
    return found


def _folders(profile: str, root: Path) -> list[Path]:
    if profile in PROFILES:
        return [root / name for name in PROFILES[profile]]
    for folder in (Path(profile), runs.ROOT / profile):
        if folder.is_dir():
            return [folder]
    raise ConfigError(
        f"profile is {profile!r}, but must be {' or '.join(map(repr, PROFILES))}, or a folder of "
        f"runs{nearest(profile, PROFILES)}"
    )


def _run_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders at any depth that hold a file of a run, in order; none inside another."""
    if any((folder / name).exists() for name in _FILES):
        yield folder
    elif folder.is_dir():
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from _run_folders(inner)


def _name(run: Path, folder: Path) -> str:
    """Return the run's path as a page shows it: from the checkout, or from the profile's folder."""
    run = run.resolve()
    base = runs.ROOT if run.is_relative_to(runs.ROOT) else folder.resolve().parent
    return run.relative_to(base).as_posix()


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 200 else text[:200] + " ..."


def digest(run: Path) -> str:
    """Return the SHA-256 of a run's tables and configuration, in hexadecimal."""
    parts = [f"{name} {files.checksum(run / name)}\n" for name in _FILES if (run / name).exists()]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _read(run: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return evaluations and metrics of a run, with columns that say where they come from.

    The third table holds the settings of each agent, by the key that the others name.
    """
    facts, agents = runs.read_provenance(run), _agents(run)
    precision = {"matmul_precision": facts.get("matmul_precision")}  # what "auto" came to
    settings = [changes.settings_of(agent | precision) for agent in agents]
    keys = [changes.key_of(one) for one in settings]
    described = pd.DataFrame([
        {name: agent[name] for name in [*_AGENT_SEED, "preset"]} | {"settings": key}
        for agent, key in zip(agents, keys, strict=True)
    ])  # fmt: skip
    returns: Any = _read_returns(run).merge(
        described.drop_duplicates(_AGENT_SEED), "left", _AGENT_SEED
    )
    if returns["settings"].isna().any():
        raise _MalformedError("returns.csv holds an agent that config.json does not")
    origin = {"agents": len(agents), "commit": facts.get("commit"),
              "finished": bool(facts.get("finished")), "device": facts.get("device")}  # fmt: skip
    own = returns.drop_duplicates("agent").set_index("agent")[list(described)]
    named = pd.DataFrame({"settings": keys, "values": settings})
    return returns.assign(**origin), _read_metrics(run, own).assign(**origin), named


def _read_public(run: Path) -> tuple[pd.DataFrame]:
    """Return the evaluations of a run of a public implementation."""
    facts = runs.read_provenance(run)
    _require(["preset", "commit"], facts, "provenance.json")
    origin = {"preset": facts["preset"], "commit": facts["commit"], "finished": True, CHANGES: ""}
    return (_read_table(run, _PUBLIC).assign(**origin),)


def _require(names: Sequence[str], found: Any, file: str) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise _MalformedError(f"{file} lacks {', '.join(missing)}")


def _beside(public: pd.DataFrame, returns: pd.DataFrame) -> pd.DataFrame:
    """Return public rows and, without a `peer`, ours of the same tasks and methods."""
    same = returns.merge(public[["task", "method"]].drop_duplicates(), on=["task", "method"])
    return _joined([public, same.assign(peer=None)], [*_PUBLIC, *_ORIGIN])


def _agents(run: Path) -> list[dict[str, Any]]:
    """Return the configurations in config.json, unknown tasks and all."""
    path = run / "config.json"
    if not path.exists():
        raise _MalformedError("there is no config.json")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise _MalformedError(f"config.json is no JSON ({error})") from error
    agents = values if isinstance(values, list) else [values]
    for agent in agents:
        _require(_REQUIRED, agent if isinstance(agent, dict) else {}, "config.json")
    return [agent | {"lam": float(agent["lam"])} for agent in agents]


def _read_returns(run: Path) -> pd.DataFrame:
    """Return returns.csv with the number of each row's agent in the population."""
    table = _read_table(run, _RETURNS)
    numbers = table[["lam", "seed", "env_step", "return", "return_policy", "wall_s"]].astype(float)
    if not len(table) or not np.isfinite(numbers.drop(columns="lam")).all(axis=None):
        raise _MalformedError("returns.csv holds no returns, or some that are no number")
    return table.assign(lam=numbers["lam"], agent=table.groupby("env_step").cumcount())


def _read_table(run: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return returns.csv, which must have these columns."""
    if not (run / "returns.csv").exists():
        raise _MalformedError("there is no returns.csv, so no evaluation yet")
    table = runs.read_table(run / "returns.csv")
    _require(columns, table, "returns.csv")
    return table


def _read_metrics(run: Path, own: pd.DataFrame) -> pd.DataFrame:
    """Return metrics.csv with what tells its agents apart; empty where there is none."""
    if not (run / "metrics.csv").exists():
        return pd.DataFrame(columns=["env_step", "agent", *own])
    table = runs.read_table(run / "metrics.csv")
    _require(["agent", "env_step"], table, "metrics.csv")
    return table.join(own, on="agent", how="inner")


def _joined(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))


def _comparable(
    returns: pd.DataFrame, settings: Mapping[str, dict[str, Any]]
) -> tuple[pd.DataFrame, list[str]]:
    """Choose one run of each agent and seed; return `run, agent, changes`, and what is left out."""
    by = [*_AGENT_SEED, "settings", "run", "agent"]
    units = pd.DataFrame(returns.groupby(by, as_index=False).agg(env_step=("env_step", "max")))
    cells: list[tuple[Any, pd.DataFrame]] = list(units.groupby(CELL))
    kept, warnings = [], []
    for cell_key, cell in cells:
        keys = list(cell["settings"].unique())
        words = changes.words([settings[key] for key in keys], cell_key[1])
        told = dict(zip(keys, words, strict=True))
        cell = cell.assign(**{CHANGES: cell["settings"].map(told.get)})
        longest = cell.sort_values("env_step", ascending=False, kind="stable")
        first = longest.drop_duplicates(["settings", "seed"])
        kept.append(first)
        for row in cell.drop(first.index).to_dict(orient="records"):
            who = "{method}, λ = {lam:g}, {prior}, seed {seed} of {task}".format(**row)
            warnings.append(f"`{row['run']}`: {who} is there twice, and is not drawn")
    return _joined(kept, [*by, CHANGES]), warnings


def _only(table: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    return table.merge(units[["run", "agent", CHANGES]], on=["run", "agent"], how="inner")
