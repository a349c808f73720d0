"""From a sweep's YAML file to its jobs."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from pompc import runs, runtime
from pompc.errors import ConfigError, nearest
from pompc.population import cost
from pompc.population.groups import REPLAY_SHARE, initial_bytes, replay_bytes
from pompc.settings.config import Config, retired_values
from pompc.settings.field_types import options_of
from pompc.settings.grid import AXES, listed
from pompc.settings.methods import METHODS
from pompc.training.trained_agent import population_of

_KEYS = ("about", "runs", "device", "agents_per_job", "settings", "grid", "slurm")
_DEVICE = ("memory_gb", "tflops")
_SPLIT = ("method", "prior", "lam", "seeds")  # what a job that is too large is cut along, in turn


class Job(NamedTuple):
    """One execution of the training notebook."""

    folder: Path  # its own, or that of a finished run that holds its agents
    settings: dict[str, Any]  # the notebook's parameters, but `run_dir`
    config: Config


class Sweep(NamedTuple):
    """A grid, cut into jobs."""

    name: str
    jobs: tuple[Job, ...]
    operations: float  # floating-point, in the matrix products of all agents
    tflops: float | None  # what the device is assumed to sustain, in 10^12 a second
    slurm: dict[str, Any]  # parameters of submitit's executor

    @property
    def varied(self) -> list[str]:
        """Settings that tell jobs apart, besides task, method, λ, prior, seeds and steps."""
        known = ("task", *AXES, "seed", "seeds", "steps")
        names = dict.fromkeys(name for job in self.jobs for name in job.settings)
        values = {name: {str(job.settings.get(name)) for job in self.jobs} for name in names}
        return [name for name in names if name not in known and len(values[name]) > 1]

    @property
    def agents(self) -> int:
        """The number of agents of all jobs."""
        return sum(len(job.config.agents) for job in self.jobs)

    @property
    def hours(self) -> float | None:
        """Estimated hours of one device, where its speed is given."""
        return self.operations / (self.tflops * 1e12) / 3600 if self.tflops else None


def load(path: str | Path) -> Sweep:
    """Read a sweep.

    The file holds `grid`, a list of entries; each is parameters of `book/train.ipynb`, and takes
    what it does not name from `settings`. Any of them may be a list. Optional: `about`, a
    sentence; `runs`, the folder of the runs (default `runs/<name of the file>`, seen from the
    checkout); `agents_per_job`, at most; `device`, what a job will run on (`memory_gb`, default
    this machine's; `tflops` for an estimate of hours); `slurm`, parameters of submitit's executor.
    Raise ConfigError, with the entry, for what is not allowed, or if there is no such file.
    """
    path = Path(path)
    given = _read(path)
    device, common = given.get("device") or {}, given.get("settings") or {}
    _check_names(device, _DEVICE, f"{path}: device")
    folder = runs.ROOT / given.get("runs", f"runs/{path.stem}")
    trained = _trained(folder)
    own = runtime.device_bytes() or psutil.virtual_memory().total
    memory = device["memory_gb"] * 1e9 if "memory_gb" in device else own
    jobs, operations, seen = [], 0.0, dict[str, int]()
    for number, entry in enumerate(given["grid"], 1):
        try:
            for config, settings in _entry(common | entry, given.get("agents_per_job"), memory):
                _require_new(config, number, seen)
                holders = [trained.get(agent.to_json(), set()) for agent in config.agents]
                run = min(set.intersection(*holders), default=folder / _folder_name(config))
                jobs.append(Job(run, settings, config))
                operations += cost.operations(population_of(config))
        except ConfigError as error:
            raise ConfigError(f"{path}, grid entry {number}: {error}") from error
    slurm = given.get("slurm") or {}
    return Sweep(path.stem, tuple(jobs), operations, device.get("tflops"), slurm)


def _trained(folder: Path) -> dict[str, set[Path]]:
    """Return agent as JSON, with precision "auto" too -> finished runs of a folder that hold it."""
    found: dict[str, set[Path]] = {}
    for path in sorted(folder.glob("*/config.json")):
        run = path.parent
        with suppress(ValueError, TypeError):  # a configuration of another version is passed over
            finished = runs.read_provenance(run).get("finished")
            for agent in runs.read_config(run).agents if finished else ():
                for one in (agent, dataclasses.replace(agent, matmul_precision="auto")):
                    found.setdefault(one.to_json(), set()).add(run)
    return found


def _read(path: Path) -> dict[str, Any]:
    """Read the file and check its shape."""
    if not path.is_file():
        raise ConfigError(f"there is no sweep {str(path)!r}")
    try:
        given = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    _check_names(given, _KEYS, str(path))
    grid = given.get("grid")
    if not isinstance(grid, list) or not grid or not all(isinstance(e, dict) for e in grid):
        raise ConfigError(f"{path}: grid must be a list of entries, each with a task")
    per_job = given.get("agents_per_job")
    if per_job is not None and (not isinstance(per_job, int) or per_job < 1):
        raise ConfigError(f"{path}: agents_per_job must be a number of agents, not {per_job!r}")
    return given


def _check_names(given: Any, allowed: Sequence[str], where: str) -> None:
    if not isinstance(given, dict):
        raise ConfigError(f"{where} must hold names and values, not {given!r}")
    for name in given:
        if name not in allowed:
            raise ConfigError(f"{where}: unknown key {name!r}{nearest(str(name), allowed)}")


def _entry(
    settings: Mapping[str, Any], per_job: int | None, memory: float
) -> Iterator[tuple[Config, dict[str, Any]]]:
    """Yield configuration and parameters of each job: lists but those of `AXES` make several."""
    settings = dict(settings)
    tasks = listed(settings.pop("task", None))
    if tasks == [None]:
        raise ConfigError("it names no task")
    if "run_dir" in settings:
        raise ConfigError("run_dir is chosen by the sweep; `runs` names the folder of all its runs")
    lists = [name for name in settings if name not in AXES and isinstance(settings[name], list)]
    for task, *values in product(tasks, *(settings[name] for name in lists)):
        point = settings | dict(zip(lists, values, strict=True))
        groups = population_of(Config(task, **point)).groups
        largest = max(replay_bytes(group) + initial_bytes(group) for group in groups)
        most = max(1, int(memory * REPLAY_SHARE // largest))
        yield from _split(task, point, min(per_job or most, most))


def _split(
    task: str, settings: dict[str, Any], most: int
) -> Iterator[tuple[Config, dict[str, Any]]]:
    """Halve a job until it has at most so many agents."""
    config = Config(task, **settings)
    if len(config.agents) <= most:
        yield config, {"task": task, **settings}
        return
    axes = {name: getattr(config, name) for name in _SPLIT}
    axes["seeds"] = range(config.seed, config.seed + config.seeds)
    name, values = next((name, values) for name, values in axes.items() if len(values) > 1)
    middle = len(values) // 2
    for number, half in enumerate((list(values[:middle]), list(values[middle:]))):
        change: dict[str, Any] = {name: half}
        if name == "seeds":
            change = {"seed": half[0], "seeds": len(half)}
        if name == "prior" and number:  # λ = 0 reads none: it stands with the first
            change["lam"] = [lam for lam in config.lam if lam]
        yield from _split(task, _without_fixed(settings | change), most)


def _without_fixed(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out λ and prior where every method of a job fixes them."""
    methods = listed(settings.get("method", "pompc"))
    fixed = [name for name in ("lam", "prior") if all(name in METHODS[m].settings for m in methods)]
    return {name: value for name, value in settings.items() if name not in fixed}


def _require_new(config: Config, number: int, seen: dict[str, int]) -> None:
    """Note an entry's agents; raise ConfigError where another entry has one of them."""
    for agent in config.agents:
        before = seen.setdefault(agent.to_json(), number)
        if before != number:
            raise ConfigError(
                f"{agent.task}, {agent.method}, lam {agent.lam:g}, prior {agent.prior}, seed "
                f"{agent.seed} is in entry {before} already"
            )


def _folder_name(config: Config) -> str:
    """Name a job by its task and the hash of its configuration.

    Options at their default are left out: one that a later version adds leaves the name alone.
    """
    task = re.sub(r"[^\w-]+", "-", config.task)
    chosen = []
    for agent in config.agents:
        values, options = dataclasses.asdict(agent), options_of(agent)
        own = {name: value for name, value in values.items() if options.get(name) != value}
        chosen.append(own | retired_values(agent.task))
    text = json.dumps(chosen, sort_keys=True)
    return f"{task}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
