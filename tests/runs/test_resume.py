"""Runs that are killed go on where their last checkpoint was, bit for bit; what breaks is said."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
import shared_programs
from agents import shake

import pompc
from pompc import ConfigError, runs
from pompc.envs.vector import Feedback
from pompc.population import build
from pompc.population.groups import with_padding, without_padding
from pompc.population.programs import make_programs
from pompc.runs import checkpoint, files, lock, replay_segments, resources, stored_agents
from pompc.runs.checkpoint import Checkpoints, Snapshot
from pompc.runs.files import DiskFullError
from pompc.runs.signals import Interrupted, Interruption
from pompc.training import decision, trained_agent, trainer
from pompc.training.evaluation import Evaluator

TIMES = ["wall_s"]
METRIC_TIMES = ["decisions_per_s", "plan_share", "environment_share", "update_share"]


class Killed(BaseException):
    """Stands for the end of the process: nothing in the program may catch it."""


@pytest.fixture(scope="module", autouse=True)
def short_runs():
    with shared_programs.short_runs(30, shared_programs.without_instruments):
        yield


def kill_at(monkeypatch, decision):
    """Let the next training die just before this decision."""
    original = trainer._Training.decide

    def decide(self):
        if self.decision == decision:
            raise Killed
        return original(self)

    monkeypatch.setattr(trainer._Training, "decide", decide)


def restored(folder):
    """Return the newest checkpoint of a run, and what holds its checkpoints."""
    config = runs.read_config(folder)
    programs = shared_programs.compiled_once(trained_agent.population_of(config))
    start = trainer.Learners(*programs.init(*trainer.initial_arguments(programs.population)))
    checkpoints = Checkpoints(folder, programs.population)
    return checkpoints.restore(start), checkpoints


def agents_of(folder):
    """Return all arrays of the newest checkpoint of a finished run."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored(folder)[0].learners)]


def assert_same_run(first, second):
    """Tables but for times, agents, optimisers, random keys and buffers are equal, bit for bit."""
    for name, times in (("returns.csv", TIMES), ("metrics.csv", METRIC_TIMES)):
        tables = [runs.read_table(folder / name).drop(columns=times) for folder in (first, second)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    for mine, theirs in zip(agents_of(first), agents_of(second), strict=True):
        np.testing.assert_array_equal(mine, theirs)


KINDS = {
    "one agent": {"evaluation_episodes": 1},
    "population": {"lam": [0.0, 1.0, 3.0, 9.0]},
    "cloning, ring full": {"method": "tdmpbc", "buffer_size": 90, "lam": 0.0},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on_bit_for_bit(small, tmp_path, monkeypatch, kind, capsys):
    """Train to 2N at once; or to N, killed between checkpoints, and on."""
    config = small(steps=400, evaluate_every=100, **KINDS[kind])
    if kind == "one agent":
        # Neither evaluation nor instruments leave a trace in training.
        monkeypatch.setattr(trainer, "Evaluator", Evaluator)
        monkeypatch.setattr(trainer, "make_programs", shared_programs.compiled_once)
    pompc.train(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at(patch, 120)
        with pytest.raises(Killed):
            pompc.train(config, tmp_path / "killed")
    pompc.train(config, tmp_path / "killed")
    assert "going on from step 200" in capsys.readouterr().out
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    programs = shared_programs.compiled_once(trained_agent.population_of(config))
    for name in ("act", "update"):
        assert getattr(programs, name)._cache_size() == 1, "what was restored is placed otherwise"


@pytest.mark.skipif(jax.local_device_count() < 2, reason="padding fills a second device")
def test_a_checkpoint_does_not_depend_on_the_devices(small, tmp_path, monkeypatch):
    """Three agents and a copy on two devices, then three on one, then on two again."""
    population, devices = (
        trained_agent.population_of(small(lam=[1.0, 3.0, 9.0])),
        jax.local_devices(),
    )
    stored = None
    for count in (2, 1, 2):
        monkeypatch.setattr(build.jax, "local_devices", lambda n=count, **_: devices[:n])
        programs = make_programs(population)
        assert programs.sizes == (4 if count == 2 else 3,)
        start = trainer.Learners(*programs.init(*trainer.initial_arguments(population)))
        checkpoints = Checkpoints(tmp_path, population)
        if stored is None:
            rng = np.random.default_rng(0)
            seen = Feedback(np.ones(3, np.float32), np.zeros(3, bool), rng.normal(size=(3, 5)))
            learners, _ = decision.act(programs, start, seen)
            snapshot = Snapshot(1, learners, seen, [], {}, 0.0)
        else:
            snapshot = checkpoints.restore(start)
            np.testing.assert_array_equal(snapshot.feedback.observation, seen.observation)
        own = [without_padding(part, population) for part in snapshot.learners]
        found, stored = stored, [np.asarray(leaf) for leaf in jax.tree.leaves(own)]
        for mine, theirs in zip(stored, found or stored, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        checkpoints.save(snapshot._replace(decision=snapshot.decision + 1))
    for leaf in jax.tree.leaves(snapshot.learners):
        np.testing.assert_array_equal(leaf[2], leaf[3])
        assert len(leaf.sharding.device_set) == 2


@pytest.mark.skipif(jax.local_device_count() < 2, reason="agents lie on two devices")
def test_an_agent_is_stored_from_the_device_that_holds_it(small):
    population = trained_agent.population_of(small(lam=[1.0, 3.0, 9.0]))
    programs = make_programs(population)
    learners = trainer.Learners(*programs.init(*trainer.initial_arguments(population)))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(
        without_padding(learners.states, population)))  # fmt: skip
    (buffer,) = learners.buffers
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(buffer)} == {2}
    numbered = buffer._replace(rows=buffer.rows + jax.device_put(
        np.arange(4, dtype=buffer.rows.dtype), buffer.rows.sharding))  # fmt: skip
    agents = list(replay_segments._agents((numbered,)))
    assert [int(agent.rows) for agent in agents] == [0, 1, 2, 3]
    for agent in agents:
        assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(agent)} == {1}


ON_ONE_DEVICE = """
import sys
import jax, numpy as np
import pompc
agents = [pompc.load_agent(sys.argv[1], agent=index) for index in range(3)]
np.savetxt(sys.argv[2], [agent.act(np.ones(5), planner=False) for agent in agents])
assert len(jax.devices()) == 1
"""


@pytest.mark.skipif(jax.local_device_count() < 2, reason="the run wants two devices")
def test_agents_trained_on_two_devices_load_where_there_is_one(small, tmp_path):
    config = small(lam=[1.0, 3.0, 9.0])
    runs.write_config(tmp_path, config)
    population = trained_agent.population_of(config)
    programs = make_programs(population)
    learners = trainer.Learners(*programs.init(*trainer.initial_arguments(population)))
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(learners)} == {2}
    rng = np.random.default_rng(0)
    own = without_padding(jax.device_get(learners.states), population)
    moved = tuple(shake(state, rng) for state in own)
    learners = learners._replace(states=with_padding(moved, like=learners.states))
    seen = Feedback(np.ones(3, np.float32), np.zeros(3, bool), np.ones((3, 5)))
    Checkpoints(tmp_path, population).save(Snapshot(1, learners, seen, [], {}, 0.0))
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
    subprocess.run(
        [sys.executable, "-c", ON_ONE_DEVICE, str(tmp_path), str(tmp_path / "actions.txt")],
        env=os.environ | {"XLA_FLAGS": flags}, check=True,
    )  # fmt: skip
    here = [
        pompc.load_agent(tmp_path, agent=index).act(np.ones(5), planner=False) for index in range(3)
    ]
    assert len({*np.ravel(here)}) == 3
    np.testing.assert_allclose(np.loadtxt(tmp_path / "actions.txt"), np.ravel(here), rtol=1e-5)


@pytest.fixture(scope="module")
def halfway(small, tmp_path_factory):
    """Return a run that was killed after two checkpoints, its configuration, and the whole run."""
    folder = tmp_path_factory.mktemp("runs")
    config = small()
    pompc.train(config, folder / "whole")
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 150)
        with pytest.raises(Killed):
            pompc.train(config, folder / "killed")
    assert checkpoint.saved_steps(folder / "killed") == [0, 200]
    return folder / "killed", config, folder / "whole"


@pytest.fixture
def killed(halfway, tmp_path):
    """Return a copy of the killed run, its configuration, and the whole run."""
    folder, config, whole = halfway
    return Path(shutil.copytree(folder, tmp_path / "killed")), config, whole


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_writes_a_checkpoint_and_ends_with_its_code(
    killed, monkeypatch, signal_name, capsys
):
    folder, config, whole = killed
    original = trainer._Training.decide

    def decide(self):
        if self.decision == 133:
            os.kill(os.getpid(), getattr(signal, signal_name))
        return original(self)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(trainer._Training, "decide", decide)
        with pytest.raises(Interrupted) as caught:
            pompc.train(config, folder)
    assert signal.getsignal(signal.SIGTERM) is before
    assert caught.value.code == (130 if signal_name == "SIGINT" else 75)
    assert "ended at step 266 with a checkpoint" in str(caught.value)
    assert checkpoint.saved_steps(folder) == [200, 266]
    pompc.train(config, folder)
    assert "going on from step 266" in capsys.readouterr().out
    assert_same_run(whole, folder)


def test_a_second_ctrl_c_is_immediate():
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.received == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "a bit flipped": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["checkpoint.json", "arrays.npz", "agents", "../replay/100.npz"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(killed, how, name, capsys):
    folder, config, whole = killed
    path = folder / "checkpoints" / "200" / name
    if path.is_dir():
        path = max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    if how == "truncated" and name == "arrays.npz":
        pompc.train(config, folder)  # the whole way, once
        assert_same_run(whole, folder)
    else:
        found, _ = restored(folder)
        assert found is not None
        assert found.decision == 0
    assert "is damaged: the checkpoint before it is used" in capsys.readouterr().out


WRITES = {  # what a checkpoint does to the disk, one after the other
    (os, "fsync"): 5, (Path, "rename"): 5, (np, "savez"): 2, (Path, "mkdir"): 1,
    (shutil, "rmtree"): 3, (Path, "unlink"): 1, (stored_agents.ocp.StandardCheckpointer, "save"): 1,
}  # fmt: skip
MOMENTS = [(place, number) for place, count in WRITES.items() for number in range(count)]


@pytest.mark.parametrize(
    ("place", "number"), MOMENTS, ids=[f"{p[0].__name__}.{p[1]} {n}" for p, n in MOMENTS]
)
@pytest.mark.parametrize("how", ["killed", "disk full"])
def test_a_checkpoint_that_is_not_finished_leaves_the_one_before(
    killed, monkeypatch, place, number, how
):
    """Die, or run out of room, at each call that writes."""
    folder, _, _ = killed
    found, checkpoints = restored(folder)
    assert found is not None
    calls, original = [], getattr(*place)

    def failing(*arguments, **named):
        calls.append(None)
        if len(calls) == number + 1:
            if how == "killed":
                raise Killed
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(*place, failing)
        try:
            checkpoints.save(found._replace(decision=117))
        except (Killed, DiskFullError, OSError):
            pass
        else:
            assert len(calls) <= number, "the failure was swallowed"
    again, _ = restored(folder)
    assert again is not None
    assert again.decision in (100, 117)
    pairs = zip(jax.tree.leaves(found.learners), jax.tree.leaves(again.learners), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)


def test_a_full_disk_ends_with_a_sentence(killed, monkeypatch):
    folder, config, whole = killed

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(DiskFullError, match="no room is left on the disk of"):
            pompc.train(config, folder)
    assert checkpoint.saved_steps(folder) == [0, 200]
    pompc.train(config, folder)
    assert_same_run(whole, folder)


def test_segments_hold_what_is_new_and_are_written_anew_at_times(small, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "CHAIN", 0.5)
    pompc.train(small(steps=400, evaluate_every=40), tmp_path)
    names = [path.name for path in (tmp_path / "checkpoints" / "replay").iterdir()]
    assert any(name.endswith("-whole.npz") and name != "0-whole.npz" for name in names)
    head = json.loads((tmp_path / "checkpoints" / "400" / "checkpoint.json").read_text())
    assert {segment["name"] for segment in head["body"]["segments"]} <= set(names)
    assert agents_of(tmp_path)


HOLD = """
import sys
from pathlib import Path
from pompc.runs import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.mark.parametrize("alone", [(), ("unshare", "-p", "-f", "--mount-proc")])
def test_a_run_that_is_held_is_refused(small, tmp_path, alone):
    """Also where the holder cannot be seen from here: in a container, with a number of its own."""
    if alone and subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can start a process that sees no other")
    folder, config = tmp_path, small()
    holder = subprocess.Popen(
        [*alone, sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout.readline() == b"held\n"
    number = json.loads((folder / "lock.json").read_text())["pid"]
    assert (number == holder.pid) == (not alone)
    assert lock.is_held(folder)
    with pytest.raises(ConfigError, match=f"held by process {number} on"):
        pompc.train(config, folder)
    holder.communicate(b"\n")
    assert not any(folder.iterdir())  # the refused one left nothing, and could have other settings
    assert not lock.is_held(folder)


def test_a_lock_ends_with_its_holder(tmp_path):
    """Whatever its file says: it may be of another machine, or torn."""
    for left in (json.dumps({"host": "elsewhere", "pid": os.getpid()}), ""):
        (tmp_path / "lock.json").write_text(left)
        assert not lock.is_held(tmp_path)
        with lock.held(tmp_path):
            assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()
            with pytest.raises(ConfigError, match="is held by"), lock.held(tmp_path):
                pass
    assert not lock.is_held(tmp_path)


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: os.open(tmp_path / "none", os.O_RDONLY))
    with pytest.raises(ConfigError, match="choose a run_dir on a file"), lock.held(tmp_path):
        pass


def test_a_torn_last_line_is_left_out(tmp_path):
    table = tmp_path / "returns.csv"
    table.write_text("task,env_step,return\ncartpole-swingup,0,1.5\ncartpole-swi")
    assert list(pompc.load_runs(tmp_path)["return"]) == [1.5]
    table.write_text("task,env")
    with pytest.raises(ConfigError, match="no run found"):
        pompc.load_runs(tmp_path)


def test_too_small_a_disk_or_memory_is_said_before_the_run(tmp_path):
    fine = resources.needs(agents=10**6, replay=10**6, in_host_memory=True, groups=1)
    resources.check(tmp_path, fine)
    for big, what in ((fine._replace(disk_at_least=10**18), "disk"),
                      (fine._replace(memory=10**18), "memory")):  # fmt: skip
        with pytest.raises(ConfigError, match=f"needs 1000000000.0 GB of the {what}"):
            resources.check(tmp_path, big)


def test_more_programs_than_linux_maps_are_refused(tmp_path, monkeypatch):
    allowed, taken = tmp_path / "max_map_count", tmp_path / "maps"
    monkeypatch.setattr(resources, "_MAPS_ALLOWED", allowed)
    monkeypatch.setattr(resources, "_MAPS_TAKEN", taken)
    taken.write_text("7f00-7f01 r--p\n" * 1000)
    needed = resources.needs(agents=1, replay=1, in_host_memory=True, groups=10)
    resources.check(tmp_path, needed)  # another system
    allowed.write_text(f"{resources.MAPS * 10 + 1000}\n")
    resources.check(tmp_path, needed)
    allowed.write_text(f"{resources.MAPS * 10 + 999}\n")
    with pytest.raises(ConfigError, match=r"10 kinds of agents need about 60000 .* process 59999"):
        resources.check(tmp_path, needed)


V1 = "memory/a/memory."
GROUPS = [
    ("0::/job/step", {
        "job/memory.max": "800", "job/memory.current": "300", "job/step/memory.max": "max",
        "job/memory.stat": "anon 1\nactive_file 40\ninactive_file 60\nfile 9",
    }, 600),
    ("0::/", {"memory.max": "800", "memory.current": "300"}, 500),  # a container's
    ("0::/outer/not/seen", {"memory.max": "800", "memory.current": "900"}, 0),
    ("9:cpu:/a\n4:cpuacct,memory:/a", {
        f"{V1}limit_in_bytes": "700", f"{V1}usage_in_bytes": "300",
        f"{V1}stat": "active_file 5\ntotal_active_file 9",
    }, 409),
    ("0::/a", {"memory.max": "max"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("own", "found", "free"), GROUPS)
def test_memory_is_what_the_control_group_leaves(tmp_path, monkeypatch, own, found, free):
    for name, text in found.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    read = resources._read
    monkeypatch.setattr(resources, "_CONTROL_GROUPS", tmp_path)
    groups, none = Path("/proc/self/cgroup"), (resource.RLIM_INFINITY,) * 2
    monkeypatch.setattr(
        resources, "_read", lambda path: own + "\n" if path == groups else read(path)
    )
    monkeypatch.setattr(resource, "getrlimit", lambda _: none)
    host = resources.psutil.virtual_memory()._replace(available=10**15)
    monkeypatch.setattr(resources.psutil, "virtual_memory", lambda: host)
    assert resources.free_memory() == (10**15 if free is None else free)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))  # ulimit -v
    assert resources.free_memory() == 0


def test_needs_are_checked_before_they_are_taken(small, tmp_path, monkeypatch):
    """In a control group of 10 MB, say; the folder is then free for a run of other settings."""
    monkeypatch.setattr(resources, "free_memory", lambda: 10e6)
    monkeypatch.setattr(trainer, "compile_ahead", None)
    config = small(buffer_size=10**7, steps=2 * 10**7, evaluate_every=10**7)
    with pytest.raises(ConfigError, match=r"needs \d+ MB of the memory, where 10 MB are free"):
        pompc.train(config, tmp_path)
    assert not any(tmp_path.iterdir())


BREAKING = '''
import gymnasium
import numpy as np


class Breaks(gymnasium.Env):
    """Breaks at its 60th step, once; episodes have ten steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(size=2), {}

    def step(self, action):
        Breaks.steps += 1
        if Breaks.steps == 63:
            raise ValueError("the spring broke")
        return np.array([Breaks.steps, 1.0]), 0.5, False, False, {}


gymnasium.register("Breaks-v0", Breaks, max_episode_steps=10)
'''


def test_training_goes_on_after_an_environment_failed(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "breaking_env.py").write_text(BREAKING)
    monkeypatch.syspath_prepend(str(tmp_path))
    task = "gym:breaking_env:Breaks-v0"
    config = small(task=task, steps=100, evaluate_every=100, evaluation_episodes=1)
    pompc.train(config, tmp_path / "run")
    assert "agent 0 is discarded and its environment made anew: ValueError" in (
        capsys.readouterr().out
    )
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["discarded_episodes"].iloc[-1] == 1
    arrays = files.read_arrays(tmp_path / "run" / "checkpoints" / "100" / "arrays.npz")
    assert 0 < arrays["replay.0.complete"] < 99
