"""What a run needs to go on from a moment: stored whole or not at all, and verified.

`checkpoints/<env step>/` holds agents (Orbax), arrays and `checkpoint.json` with the checksum of
every file; `checkpoints/replay/` the segments of the replay buffers, to which checkpoints refer.
No file is changed once written, and nothing is a pickle.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zipfile import BadZipFile

import jax
import numpy as np

import pompc
from pompc.algorithm.agent import AgentState
from pompc.envs.restarting import State
from pompc.envs.vector import Feedback
from pompc.errors import ConfigError, MissingError
from pompc.population.groups import Learners, Population, with_padding, without_padding
from pompc.runs import files, replay_segments
from pompc.runs.files import DamagedError
from pompc.runs.folder import commit, read_provenance
from pompc.runs.replay_segments import Arrays
from pompc.runs.stored_agents import DifferentError, read_agents, read_networks, write_agents

FORMAT = 1  # 0: agents with their loss weights, and the lengths of the tables in bytes
KEPT = 2
CHAIN = 3  # times the size of the buffers that segments may take until they are written anew
NETWORKS = "agent.npz"  # of one agent that acts and cannot learn on, where no checkpoint is
_FOLDER, _REPLAY, _HEAD = "checkpoints", "replay", "checkpoint.json"
T = TypeVar("T")


class Snapshot(NamedTuple):
    """A run after one of its decisions."""

    decision: int
    learners: Learners
    feedback: Feedback
    environments: list[State]
    log: Arrays
    wall_s: float


class Checkpoints:
    """The checkpoints of a run that is training."""

    def __init__(self, run_dir: Path, population: Population) -> None:
        self._folder, self._population = (run_dir / _FOLDER).absolute(), population
        self._repeat = population.agents[0].action_repeat
        self._segments: list[dict[str, Any]] = []  # in order; all together are the buffers
        self._marks = [replay_segments.Mark(0, 0)] * len(population.agents)
        self.newest: int | None = None  # decision

    def save(self, snapshot: Snapshot) -> Learners:
        """Write a checkpoint; return the learners to go on with. Keep the newest two.

        Raise DiskFullError if there is no room; earlier checkpoints stay as they are.
        """
        partial, learners = self._folder / ".partial", snapshot.learners
        own = Learners(*(without_padding(part, self._population) for part in learners))
        with files.reporting_full_disk(self._folder):
            try:
                self._write(snapshot._replace(learners=own), partial)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        self._marks, self.newest = replay_segments.marks(own.buffers), snapshot.decision
        self._clean()
        return learners._replace(buffers=replay_segments.cleared(learners.buffers))

    def _write(self, snapshot: Snapshot, partial: Path) -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        segments = self._with_new_segment(snapshot)
        write_agents(partial / "agents", snapshot.learners.states)
        files.write_arrays(partial / "arrays.npz", _arrays(snapshot))
        body = {
            "format": FORMAT,
            "pompc": _version(),
            "decision": snapshot.decision,
            "wall_s": snapshot.wall_s,
            "segments": segments,
            "files": {str(path.relative_to(partial)): files.checksum(path)
                      for path in sorted(partial.rglob("*")) if path.is_file()},
        }  # fmt: skip
        text = json.dumps({"sha256": _digest(body), "body": body}, indent=1)
        files.write_text(partial / _HEAD, text + "\n")
        target = self._folder / str(snapshot.decision * self._repeat)
        shutil.rmtree(target, ignore_errors=True)  # one that was found damaged
        partial.rename(target)
        files.sync_folder(self._folder)
        self._segments = segments

    def _with_new_segment(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """Write what is new in the buffers; return the segments that make them up."""
        buffers, earlier, marks = snapshot.learners.buffers, self._segments, self._marks
        whole = sum(leaf.nbytes for leaf in jax.tree.leaves(buffers))
        if sum(segment["bytes"] for segment in earlier) > CHAIN * whole:
            earlier, marks = [], [replay_segments.Mark(0, 0)] * len(marks)
        path = self._folder / _REPLAY / f"{snapshot.decision}{'' if earlier else '-whole'}.npz"
        path.parent.mkdir(exist_ok=True)
        files.write_arrays(path, replay_segments.new_rows(buffers, marks))
        size = path.stat().st_size
        return [*earlier, {"name": path.name, "sha256": files.checksum(path), "bytes": size}]

    def _clean(self) -> None:
        """Remove old checkpoints, and segments that none refers to."""
        for step in saved_steps(self._folder.parent)[:-KEPT]:
            shutil.rmtree(self._folder / str(step))
        used: set[str] = set()
        for step in saved_steps(self._folder.parent):
            with suppress(DamagedError):
                used |= {s["name"] for s in _read(self._folder / str(step))["segments"]}
        for path in (self._folder / _REPLAY).iterdir():
            if path.name not in used:
                path.unlink()

    def restore(self, start: Learners) -> Snapshot | None:
        """Return the newest checkpoint that is whole; None where there is none.

        Damaged ones are named and removed. Arrays lie where those of `start` do, which are the
        learners at their start. Raise ConfigError if this version cannot read it.
        """
        run_dir = self._folder.parent
        return _newest_whole(run_dir, lambda path: self._restore(path, start), remove_damaged=True)

    def _restore(self, path: Path, start: Learners) -> Snapshot:
        body = verified(path)
        replay = self._folder / _REPLAY
        segments = [checked(replay / own["name"], own["sha256"]) for own in body["segments"]]
        arrays = files.read_arrays(path / "arrays.npz")
        counted = _part(arrays, "replay")
        own = without_padding(start.buffers, self._population)
        own = replay_segments.rebuild(own, map(files.read_arrays, segments), counted)
        states = read_agents(path / "agents", start.states, self._population)
        self._segments, self._marks = body["segments"], replay_segments.marks(own)
        self.newest = body["decision"]
        count = len({name.split(".")[0] for name in _part(arrays, "environment")})
        return Snapshot(
            decision=body["decision"],
            learners=Learners(states, with_padding(own, start.buffers)),
            feedback=Feedback(**_part(arrays, "feedback")),
            environments=[_part(arrays, f"environment.{index}") for index in range(count)],
            log=_part(arrays, "log"),
            wall_s=body["wall_s"],
        )


def saved_steps(run_dir: Path) -> list[int]:
    """Return the environment steps of the checkpoints in a run, oldest first."""
    folder = run_dir / _FOLDER
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def restore_agents(
    run_dir: Path, like: tuple[AgentState, ...], population: Population
) -> tuple[AgentState, ...]:
    """Read the agents of a run's newest checkpoint that is whole, or else its exported agent.

    Raise MissingError if there is neither, ConfigError if this version cannot read it.
    """

    def read(path: Path) -> tuple[AgentState, ...]:
        verified(path)
        return read_agents(path / "agents", like, population)

    if (found := _newest_whole(run_dir, read)) is not None:
        return found
    alone = run_dir / NETWORKS
    if not alone.exists():
        raise MissingError(f"the run in {str(run_dir)!r} has no checkpoint")
    try:
        return (read_networks(alone, like[0], population.agents[0]),)
    except (ValueError, EOFError, BadZipFile) as error:
        raise _unreadable(alone, read_provenance(run_dir).get("pompc"), str(error)) from error


def _newest_whole(
    run_dir: Path, read: Callable[[Path], T], remove_damaged: bool = False
) -> T | None:
    """Return what `read` makes of the newest whole checkpoint, else None; what differs is told."""
    for step in reversed(saved_steps(run_dir)):
        path, body = (run_dir / _FOLDER / str(step)).absolute(), {}
        try:
            body = _read(path)
            if body.get("format", 0) > FORMAT:
                newer = f"its format is {body['format']}, the newest known is {FORMAT}"
                raise DifferentError(newer)
            return read(path)
        except DamagedError as error:
            print(f"{error}: the checkpoint before it is used", flush=True)
            if remove_damaged:
                shutil.rmtree(path)
        except (DifferentError, KeyError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise _unreadable(path, body.get("pompc"), what) from error
    return None


def _unreadable(path: Path, writer: str | None, why: str) -> ConfigError:
    return ConfigError(
        f"{path} was written by pompc {writer or '0.1.0 or earlier'} and cannot be read by "
        f"{_version()}: {why}"
    )


def _version() -> str:
    return f"{pompc.__version__} (commit {commit()})"


def verified(path: Path) -> dict[str, Any]:
    """Return what a checkpoint's head says; raise DamagedError of the first file that differs."""
    body = _read(path)
    for name, sha256 in body["files"].items():
        checked(path / name, sha256)
    return body


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        head = json.loads((path / _HEAD).read_text())
        if head["sha256"] == _digest(head["body"]):
            return head["body"]
    raise DamagedError(f"{path / _HEAD} is damaged")


def checked(path: Path, sha256: str) -> Path:
    """Return a file's path; raise DamagedError unless its contents are those that were written."""
    if not path.exists() or files.checksum(path) != sha256:
        raise DamagedError(f"{path} is damaged")
    return path


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _arrays(snapshot: Snapshot) -> Arrays:
    """Name all arrays of a snapshot but the agents' and the buffers' rows."""
    parts: dict[str, Mapping[str, Any]] = {
        "feedback": snapshot.feedback._asdict(),
        "log": snapshot.log,
        "replay": replay_segments.counters(snapshot.learners.buffers),
    }
    parts |= {f"environment.{i}": state for i, state in enumerate(snapshot.environments)}
    return {
        f"{part}.{name}": np.asarray(value)
        for part, values in parts.items()
        for name, value in values.items()
    }


def _part(arrays: Arrays, part: str) -> Arrays:
    start = f"{part}."
    return {name.removeprefix(start): v for name, v in arrays.items() if name.startswith(start)}
