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
from pompc.runs import files
from pompc.runs.folder import IDENTITY
from pompc.settings.config import Config, preset_values, retired_values
from pompc.settings.field_types import options_of
from pompc.settings.methods import METHODS

# Profile -> folders of runs/ that it reads, at any depth. What a reader trains is in neither.
PROFILES = {"paper": ("paper",), "small": ("small", "dogs", "cartpole-swingup", "walker-walk")}
# Profile -> folder of runs/ with the runs of public implementations of its preset.
PEERS = {"small": "peers"}
AGENT = ["method", "lam", "prior"]  # columns that tell agents apart; `seed` repeats them
CELL = ["task", *AGENT]  # what a figure draws as one curve, if their `changes` are the same
CHANGES = "changes"  # column: in which settings an agent differs, such as "horizon = 5", or ""
REPEATED = {*IDENTITY, "seeds", "steps"}  # settings in which the curves of a cell may differ
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


def collect(profile: str = "small", root: Path | None = None) -> Results:
    """Read the runs of a profile.

    Of agents with the same settings one of each seed is kept; what is left out for that reason, or
    because it cannot be read, is named in `warnings`.

    A profile is `paper`, `small`, or a folder of runs, seen from here or from the checkout; `root`
    holds the profiles, by default the checkout's `runs/`. An unknown one is a ConfigError.
    """
    root = root or runs.ROOT / "runs"
    digests, warnings = dict[str, str](), list[str]()
    own = _read_all(_folders(profile, root), _read, digests, warnings)
    returns = _joined([run.returns for run in own], [*_RETURNS, *_ORIGIN])
    metrics = _joined([run.metrics for run in own], [*_AGENT_SEED, "env_step", *_ORIGIN])
    settings = {key: values for run in own for key, values in run.settings.items()}
    peers = [root / PEERS[profile]] if profile in PEERS else []
    theirs = [run.returns for run in _read_all(peers, _read_public, digests, warnings)]
    kept, left_out = _comparable(returns, settings)
    returns, metrics = (table.merge(kept, on=["run", "agent"]) for table in (returns, metrics))
    beside = _beside(_joined(theirs, [*_PUBLIC, *_ORIGIN]), returns)
    return Results(profile, returns, metrics, digests, (*warnings, *left_out), beside)


def compared_returns(variants: Mapping[str, Results], query: str) -> pd.DataFrame:
    """Return the returns of a query in several results: a row a seed, a column a moment."""
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


class _Run(NamedTuple):
    """What a run holds, with columns that say where it comes from."""

    returns: pd.DataFrame
    metrics: pd.DataFrame = pd.DataFrame()
    settings: Mapping[str, dict[str, Any]] = {}  # of each agent, by the key that tables name


def _read_all(
    folders: Sequence[Path],
    read: Callable[[Path], _Run],
    digests: dict[str, str],
    warnings: list[str],
) -> list[_Run]:
    """Read every run below the folders; add their digests, and the names of the unreadable."""
    found = []
    for run, folder in ((run, top) for top in folders for run in _run_folders(top)):
        name = _name(run, folder)
        try:
            one, digests[name] = read(run), digest(run)
            tables = one.returns.assign(run=name), one.metrics.assign(run=name)
            found.append(_Run(*tables, one.settings))
        except (ValueError, KeyError, TypeError, OSError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            told = text if len(text) < 200 else text[:200] + " ..."
            warnings.append(f"`{name}` cannot be read: {told}")
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


def digest(run: Path) -> str:
    """Return the SHA-256 of a run's tables and configuration, in hexadecimal."""
    parts = [f"{name} {files.checksum(run / name)}\n" for name in _FILES if (run / name).exists()]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _read(run: Path) -> _Run:
    """Read a run of ours."""
    facts, agents = runs.read_provenance(run), _agents(run)
    precision = {"matmul_precision": facts.get("matmul_precision")}  # what "auto" came to
    settings = [_settings_of(agent | precision) for agent in agents]
    keys = [_key_of(one) for one in settings]
    described = pd.DataFrame(agents)[[*_AGENT_SEED, "preset"]].assign(settings=keys)
    once = described.drop_duplicates(_AGENT_SEED)
    returns: Any = _read_returns(run).merge(once, "left", _AGENT_SEED)
    if returns["settings"].isna().any():
        raise ConfigError("returns.csv holds an agent that config.json does not")
    origin = {"agents": len(agents), "commit": facts.get("commit"),
              "finished": bool(facts.get("finished")), "device": facts.get("device")}  # fmt: skip
    own = returns.drop_duplicates("agent").set_index("agent")[list(described)]
    metrics = _read_metrics(run, own).assign(**origin)
    return _Run(returns.assign(**origin), metrics, dict(zip(keys, settings, strict=True)))


def _read_public(run: Path) -> _Run:
    """Read a run of a public implementation, which has evaluations alone."""
    facts = runs.read_provenance(run)
    _require(["preset", "commit"], facts, "provenance.json")
    origin = {"preset": facts["preset"], "commit": facts["commit"], "finished": True, CHANGES: ""}
    return _Run(_read_table(run, _PUBLIC).assign(**origin))


def _settings_of(agent: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that make an agent of config.json another, complete."""
    values = options_of(Config) | retired_values(agent["task"]) | agent
    return {name: value for name, value in values.items() if name not in REPEATED}


def _key_of(settings: dict[str, Any]) -> str:
    """Return a short key that agents with the same settings share."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def _changes(agents: Sequence[dict[str, Any]], method: str) -> list[str]:
    """Return what tells each agent from the others, or "": its preset, and what differs from it."""
    differing = {name for one in agents for name in one if one[name] != agents[0].get(name)}
    own = dict(METHODS[method].settings) if method in METHODS else {}
    found = list[str]()
    for agent in agents:
        usual = preset_values(agent["preset"]) | own | {"preset": None}
        changed = [name for name in agent if name in differing and agent[name] != usual.get(name)]
        found.append(", ".join(f"{name} = {agent[name]}" for name in changed))
    return found


def _require(names: Sequence[str], found: Any, file: str) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(f"{file} lacks {', '.join(missing)}")


def _beside(public: pd.DataFrame, returns: pd.DataFrame) -> pd.DataFrame:
    """Return public rows and, without a `peer`, ours of the same tasks and methods."""
    same = returns.merge(public[["task", "method"]].drop_duplicates(), on=["task", "method"])
    return _joined([public, same.assign(peer=None)], [*_PUBLIC, *_ORIGIN])


def _agents(run: Path) -> list[dict[str, Any]]:
    """Return the configurations in config.json, unknown tasks and all."""
    if not (run / "config.json").exists():
        raise ConfigError("there is no config.json")
    try:
        values = json.loads((run / "config.json").read_text())
    except ValueError as error:
        raise ConfigError(f"config.json is no JSON ({error})") from error
    agents = values if isinstance(values, list) else [values]
    for agent in agents:
        _require(_REQUIRED, agent if isinstance(agent, dict) else {}, "config.json")
    return [agent | {"lam": float(agent["lam"])} for agent in agents]


def _read_returns(run: Path) -> pd.DataFrame:
    """Return returns.csv with the number of each row's agent in the population."""
    table = _read_table(run, _RETURNS)
    numbers = table[["lam", "seed", "env_step", "return", "return_policy", "wall_s"]].astype(float)
    if not len(table) or not np.isfinite(numbers.drop(columns="lam")).all(axis=None):
        raise ConfigError("returns.csv holds no returns, or some that are no number")
    return table.assign(lam=numbers["lam"], agent=table.groupby("env_step").cumcount())


def _read_table(run: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return returns.csv, which must have these columns."""
    if not (run / "returns.csv").exists():
        raise ConfigError("there is no returns.csv, so no evaluation yet")
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
    filled = [table for table in tables if len(table)] or [pd.DataFrame(columns=list(columns))]
    return pd.concat(filled, ignore_index=True)


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
        words = _changes([settings[key] for key in keys], cell_key[1])
        told = cell["settings"].map(dict(zip(keys, words, strict=True)).get)
        longest = cell.sort_values("env_step", ascending=False, kind="stable")
        first = longest.drop_duplicates(["settings", "seed"])
        kept.append(first.assign(**{CHANGES: told}))
        for row in cell.drop(first.index).to_dict(orient="records"):
            who = "{method}, λ = {lam:g}, {prior}, seed {seed} of {task}".format(**row)
            warnings.append(f"`{row['run']}`: {who} is there twice, and is not drawn")
    columns = ["run", "agent", CHANGES]
    return _joined([first[columns] for first in kept], columns), warnings
