"""What a run leaves on disk, and how it is read back as one tidy table."""

import csv
import dataclasses
import io
import json
import os
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

import pompc
from pompc.errors import ConfigError, MissingError
from pompc.runs import files
from pompc.settings.config import Config
from pompc.settings.field_types import options_of

_PAGE = "book/train.ipynb"
_CONFIG = "config.json"
TABLES = ("returns.csv", "metrics.csv")
IDENTITY = ["task", "method", "lam", "prior", "seed"]  # columns that tell agents apart
EPISODES = "episodes.npz"  # in a run: actions and rewards of its newest evaluation
_CODE = Path(pompc.__file__).parents[1]  # a checkout, or where packages are installed


def _shipped() -> Path:
    """Return the folder of the pages and tables that come with the code."""
    places = [_CODE, _CODE / "share" / "pompc"]
    with suppress(metadata.PackageNotFoundError):
        installed = [file.locate() for file in metadata.files("pompc") or [] if file.match(_PAGE)]
        places += [Path(str(page)).resolve().parents[1] for page in installed]
    return next((place for place in places if (place / _PAGE).exists()), _CODE)


SHIPPED = _shipped()
ROOT = _CODE if (_CODE / _PAGE).exists() else Path.cwd()  # of what is written: runs, figures


def open_run(config: Config, run_dir: Path) -> bool:
    """Check the folder of a run; return False if it holds this run, finished.

    Raise ConfigError if it holds another configuration.
    """
    if (run_dir / _CONFIG).exists():
        _require_same(config, read_config(run_dir), run_dir)
    return not read_provenance(run_dir).get("finished")


def write_config(run_dir: Path, config: Config) -> None:
    """Let a folder be this configuration's, once nothing more can refuse it."""
    files.write_text(run_dir / _CONFIG, config.to_json())


def cut_tables(run_dir: Path, env_step: int) -> None:
    """Cut off the rows of the tables that were written after a checkpoint at `env_step`."""
    for path in (run_dir / name for name in TABLES if (run_dir / name).exists()):
        table = _cells(path)
        kept = table[table["env_step"].astype(int) <= env_step] if len(table) else table
        if len(kept):
            _write_cells(path, pd.DataFrame(kept))
        else:
            path.unlink()


def read_config(run_dir: Path) -> Config:
    """Read the configuration of a run; raise ConfigError if the folder holds none."""
    path = Path(run_dir) / _CONFIG
    if not path.exists():
        raise ConfigError(f"{str(run_dir)!r} holds no run: there is no config.json in it")
    return Config.from_json(path.read_text())


def _require_same(config: Config, found: Config, run_dir: Path) -> None:
    # One value at a time: of the agents, what tells them apart is a tuple.
    ours, theirs = dataclasses.asdict(config), dataclasses.asdict(found)
    changed = [f"{name} {theirs[name]!r}, not {ours[name]!r}" for name in ours
               if ours[name] != theirs[name]]  # fmt: skip
    if not changed and config.to_json() != found.to_json():
        changed = ["other agents"]
    if changed:
        raise ConfigError(
            f"{str(run_dir)!r} holds a run of another configuration ({'; '.join(changed)}): "
            "choose another run_dir"
        )


def read_provenance(run_dir: Path) -> dict[str, Any]:
    """Read provenance.json; empty where there is none."""
    path = run_dir / "provenance.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write_provenance(run_dir: Path, facts: Mapping[str, Any]) -> None:
    """Write provenance.json: the commit and version of this code, and what the caller knows."""
    found, why = origin()
    known = {"pompc": pompc.__version__, "commit": found} | ({"no_commit": why} if why else {})
    files.write_text(run_dir / "provenance.json", json.dumps(known | dict(facts), indent=2) + "\n")


def commit() -> str | None:
    """Return the commit of this code, marked if files differ from it; None where nobody knows."""
    return origin()[0]


@cache
def origin() -> tuple[str | None, str]:
    """Return the commit of this code, or None and why it is not known.

    The answer of the first call stays: a checkout may move on while a process trains.
    """
    try:
        top = _git("rev-parse", "--show-toplevel")
        if not Path(top).samefile(_CODE):
            return None, f"pompc in {str(_CODE)!r} is no checkout, though it lies in one, {top!r}"
        _git("ls-files", "--error-unmatch", "pompc/__init__.py")
        changed = _git("status", "--porcelain", "--untracked-files=no", "pompc")
        return _git("rev-parse", "HEAD") + (" with changes" if changed else ""), ""
    except OSError as error:
        return None, f"git cannot be started: {error.strerror}"
    except subprocess.CalledProcessError as error:
        return None, error.stderr.strip().partition("\n")[0] or "git says nothing"


def _git(*arguments: str) -> str:
    """Ask git about the checkout that this code lies in, whoever owns it and whoever calls."""
    # A hook's GIT_DIR is another repository's.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", "-C", str(_CODE), "-c", f"safe.directory={_CODE.resolve()}", *arguments],
        capture_output=True, text=True, check=True, env=own | {"LC_ALL": "C"},
    ).stdout.strip()  # fmt: skip


def append_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows to a CSV file, with a column for each of their keys.

    A table of an earlier version gets the columns that it lacks; cells without a value are empty.
    """
    columns: list[str] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), [])
    added = [name for name in dict.fromkeys(chain(*rows)) if name not in columns]
    if added:
        table = _cells(path) if columns else pd.DataFrame()
        _write_cells(path, table.reindex(columns=columns + added, fill_value=""))
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, columns + added).writerows(rows)
        file.flush()
        os.fsync(file.fileno())


def _cells(path: Path) -> pd.DataFrame:
    """Return a table with its cells as they are written, of no columns where it has no line."""
    text = io.StringIO(files.whole_lines(path))
    return (
        pd.read_csv(text, dtype=str, keep_default_na=False) if text.getvalue() else pd.DataFrame()
    )


def _write_cells(path: Path, table: pd.DataFrame) -> None:
    # With the line breaks that the `csv` module appends rows with.
    files.write_text(path, table.to_csv(index=False, lineterminator="\r\n"))


def load_runs(path: str | Path, settings: Collection[str] = ()) -> pd.DataFrame:
    """Return the evaluations below `path`, one row each, with the run's folder in `run`.

    `path` is a run, or a folder that holds runs at any depth; raise ConfigError if there is none.
    Every setting in which the agents of the runs differ is a column too, and so are `settings`.
    """
    return _load(Path(path), "returns.csv", read_table, settings)


def load_metrics(path: str | Path, settings: Collection[str] = ()) -> pd.DataFrame:
    """Return the rows of metrics.csv below `path`; see `load_runs`, which takes the same."""
    return _load(Path(path), "metrics.csv", _read_metrics, settings)


def _load(
    root: Path, name: str, read: Callable[[Path], pd.DataFrame], kept: Collection[str]
) -> pd.DataFrame:
    found = sorted(path for path in root.rglob(name) if files.whole_lines(path))
    if not found:
        raise ConfigError(f"no run found in {str(root)!r}: there is no {name} below it")
    tables = [read(path).assign(run=str(path.parent)) for path in found]
    own = {column for table in tables for column in table}
    pairs = zip(tables, found, strict=True)
    joined = pd.concat([_with_settings(table, path.parent) for table, path in pairs])
    counts = joined.drop(columns=[*own]).nunique()
    same = [column for column, count in counts.items() if count < 2 and column not in kept]
    return joined.drop(columns=same).reset_index(drop=True)


def _read_metrics(path: Path) -> pd.DataFrame:
    """Return metrics.csv with what tells its agents apart, which returns.csv alone holds."""
    agents = read_table(path.with_name("returns.csv"))
    agents = agents.loc[agents["env_step"] == agents["env_step"].min(), IDENTITY]
    agents = agents.reset_index(drop=True).rename_axis("agent").reset_index()
    table = read_table(path).merge(agents, on="agent")
    return table.reindex(columns=list(dict.fromkeys([*agents, *table])))


def _with_settings(table: pd.DataFrame, run: Path) -> pd.DataFrame:
    """Add the settings of each row's agent, as this or an earlier version wrote them."""
    if not (run / "config.json").exists():  # of a public implementation
        return table
    found = json.loads((run / "config.json").read_text())
    agents = found if isinstance(found, list) else [found]
    settings = pd.DataFrame([options_of(Config) | agent for agent in agents])
    names = [field.name for field in dataclasses.fields(Config) if field.name not in table]
    settings = settings.astype({"lam": float}).reindex(columns=[*IDENTITY, *names])
    return table.merge(settings, on=IDENTITY, how="left")


def load_episodes(run_dir: str | Path) -> pd.DataFrame:
    """Return what the episodes of a run's newest evaluation earned, one row a decision of each.

    Columns: `agent`, numbered as its rows in returns.csv; `task, method, lam, prior, seed` and
    `env_step` of the evaluation; `episode`, `decision` (both from 0) and `reward`.

    Raise MissingError if the folder holds no evaluation, or one of an earlier version.
    """
    path = Path(run_dir) / EPISODES
    stored = files.read_arrays(path) if path.exists() else {}
    if "rewards" not in stored:
        raise MissingError(f"there is no {EPISODES} with rewards in {str(run_dir)!r}")
    agents = read_table(Path(run_dir) / "returns.csv")
    agents = agents.loc[agents["env_step"] == stored["env_step"]].reset_index(drop=True)
    columns = [*IDENTITY, "env_step"]
    index = pd.MultiIndex.from_product(
        [range(size) for size in stored["rewards"].shape], names=["agent", "episode", "decision"]
    )
    rewards = pd.DataFrame({"reward": stored["rewards"].ravel()}, index=index)
    return rewards.dropna().reset_index().join(agents[columns], on="agent")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a run; a last line that was not finished is left out."""
    return pd.read_csv(io.StringIO(files.whole_lines(path)))
