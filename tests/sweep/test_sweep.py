"""Grids become jobs, jobs become runs; what fails is retried and named."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from papermill.cli import _resolve_type

from pompc import ConfigError, runs
from pompc.runs import lock
from pompc.settings.config import Config
from pompc.sweep import __main__, backends, job, plan, status

ROOT = Path(__file__).parents[2]
TEST = yaml.safe_load((ROOT / "sweeps" / "test.yaml").read_text())


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a sweep, its runs below the test's folder, and loads it."""

    def written(grid, **keys):
        settings = TEST["settings"] | keys.pop("settings", {})
        content = {"runs": str(tmp_path / "runs"), "settings": settings, "grid": grid} | keys
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content))
        return plan.load(path)

    return written


def identities(configs):
    return sorted(agent.to_json() for config in configs for agent in config.agents)


def test_an_entry_is_one_job_for_each_task(write):
    sweep = write([{"task": ["cartpole-swingup", "cup-catch"], "lam": [0, 1, "inf"], "seeds": 2}])
    assert [one.config.task for one in sweep.jobs] == ["cartpole-swingup", "cup-catch"]
    assert [len(one.config.agents) for one in sweep.jobs] == [6, 6]
    assert sweep.agents == 12


def test_a_job_is_named_by_its_configuration_alone(write):
    first, second = write([{"lam": [0, 1]}]).jobs[0], write([{"lam": [0, 1]}], about="x").jobs[0]
    assert first.folder == second.folder
    assert write([{"lam": [0, 2]}]).jobs[0].folder != first.folder
    assert write([{"lam": [0, 1], "steps": 600}]).jobs[0].folder != first.folder


def _finished(run, config, **stored):
    """Leave the configuration of a finished run, some fields as an earlier version stored them."""
    run.mkdir(parents=True)
    runs.write_config(run, config)
    values = json.loads((run / "config.json").read_text())
    changed = [one | stored for one in (values if isinstance(values, list) else [values])]
    (run / "config.json").write_text(json.dumps(changed if len(changed) > 1 else changed[0]))
    runs.write_provenance(run, {"finished": True})


def test_agents_that_another_run_trained_are_not_trained_again(write, tmp_path, capsys):
    grid = [{"lam": 1, "seeds": 3}, {"lam": [0, 9], "seeds": 2}]
    trained = write(grid).jobs[0].config
    run = tmp_path / "runs" / "by-hand"
    _finished(run, trained, matmul_precision="float32")
    _finished(tmp_path / "runs" / "longer", dataclasses.replace(trained.agents[0], steps=4000))
    singles = write(grid, agents_per_job=1)
    found = [one.folder == run for one in singles.jobs]
    assert found == [True] * 3 + [False] * 4
    rows = [{"task": trained.task, "method": "pompc", "lam": 1.0, "prior": "reverse_kl",
             "seed": seed, "env_step": 300, "return": 10 * seed} for seed in range(3)]  # fmt: skip
    runs.append_rows(run / "returns.csv", rows)
    assert status.table([singles])["return"].head(3).tolist() == [0, 10, 20]
    backends.launch(singles, "print")
    printed = capsys.readouterr().out
    assert "3 of 7 jobs are done" in printed
    assert printed.count("papermill") == 4


def test_agents_are_trained_again_where_a_run_differs_or_is_not_finished(write, tmp_path):
    one = write([{"lam": 1}]).jobs[0]
    (tmp_path / "runs" / "unfinished").mkdir(parents=True)
    runs.write_config(tmp_path / "runs" / "unfinished", one.config)
    assert write([{"lam": 1}]).jobs[0].folder == one.folder
    _finished(tmp_path / "runs" / "other", one.config, matmul_precision="tf32")
    assert write([{"lam": 1, "matmul_precision": "float32"}]).jobs[0].folder.name != "other"
    assert write([{"lam": 1, "seeds": 2}]).jobs[0].folder.name != "other"
    assert write([{"lam": 1}]).jobs[0].folder.name == "other"


def test_a_folder_of_another_version_stops_no_sweep(write, tmp_path):
    run = tmp_path / "runs" / "old"
    _finished(run, Config(preset="laptop"), forgotten_option=1)
    assert write([{"lam": 1}]).jobs[0].folder.parent == run.parent


def test_runs_that_ship_are_jobs_of_their_sweep_whatever_options_were_added_since():
    """Their configurations were written before some options were there, as default.

    The default of one changed: float32 is what `auto` is without a GPU.
    """
    listed = ["git", "ls-files", "runs/small/*/config.json"]
    found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = [ROOT / Path(line).parent for line in found.splitlines()]
    shipped = [folder for folder in folders if re.search(r"-[0-9a-f]{10}$", folder.name)]
    assert len(shipped) >= 9
    jobs = {one.folder: one.config for one in plan.load(ROOT / "sweeps" / "small.yaml").jobs}
    for folder in shipped:
        stored = json.loads((folder / "config.json").read_text()) | {"matmul_precision": "auto"}
        assert Config(**stored) == jobs[folder]
        assert runs.read_provenance(folder)["finished"]
        assert runs.read_provenance(folder)["matmul_precision"] == "highest"


@pytest.mark.parametrize("most", [1, 2, 4, 7])
def test_what_is_too_large_is_split_without_losing_or_doubling_an_agent(write, most):
    grid = {"method": ["pompc", "tdmpc2", "bmpc_v3"], "lam": [0, 1, 9], "seeds": 3,
            "prior": ["reverse_kl", "replay", "forward_kl"]}  # fmt: skip
    sweep = write([grid], agents_per_job=most)
    assert max(len(one.config.agents) for one in sweep.jobs) <= most
    whole = Config(**(TEST["settings"] | grid))
    assert identities(one.config for one in sweep.jobs) == identities([whole])
    for one in sweep.jobs:  # what the notebook is given says the same
        assert Config(**one.settings).to_json() == one.config.to_json()


def test_any_setting_varies_and_is_told_apart(write):
    """Lists of λ are agents of one job, other lists are jobs; the grid says which is which."""
    sweep = write([{"lam": [0, 1], "horizon": [1, 3], "prior_rate": [1, 0.01]}, {"lam": 9}])
    assert [len(one.config.agents) for one in sweep.jobs] == [2, 2, 2, 2, 1]
    found = [(one.config.horizon, one.config.agents[1].prior_rate) for one in sweep.jobs[:4]]
    assert found == [(1, 1.0), (1, 0.01), (3, 1.0), (3, 0.01)]
    assert len({one.folder for one in sweep.jobs}) == 5
    table = status.table([sweep])
    assert list(table["horizon"]) == [1] * 4 + [3] * 4 + [3]
    assert list(table["prior_rate"]) == [1, 1, 0.01, 0.01] * 2 + [1]
    with pytest.raises(ConfigError, match="elites is 999 but must be"):
        write([{"elites": [4, 999]}])


def test_memory_bounds_the_agents_of_a_job(write):
    grid = [{"seeds": 4, "steps": 200_000, "buffer_size": 100_000}]
    assert len(write(grid, device={"memory_gb": 1.0}).jobs) == 1
    assert len(write(grid, device={"memory_gb": 0.01}).jobs) == 4


BAD = {
    "unknown key 'grids'; did you mean 'grid'": {"grids": []},
    "grid must be a list of entries": {"grid": []},
    "grid entry 1: unknown parameter 'lamb'; did you mean 'lam'": {"grid": [{"lamb": 1}]},
    "grid entry 2: unknown task 'dog-rum'": {"grid": [{"lam": 1}, {"task": "dog-rum"}]},
    "grid entry 2: .*lam 1, prior reverse_kl, seed 0 is in entry 1 already": {
        "grid": [{"lam": [0, 1]}, {"lam": 1}]
    },
    "run_dir is chosen by the sweep": {"grid": [{"run_dir": "x"}]},
    "agents_per_job must be a number of agents, not 'all'": {
        "grid": [{"lam": 1}], "agents_per_job": "all"
    },
    "device: unknown key 'memory'; did you mean 'memory_gb'": {
        "grid": [{"lam": 1}], "device": {"memory": 8}
    },
}  # fmt: skip


@pytest.mark.parametrize("sentence", BAD)
def test_a_bad_sweep_is_one_sentence(tmp_path, sentence, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({"settings": TEST["settings"]} | BAD[sentence]))
    with pytest.raises(SystemExit) as caught:
        __main__.main([str(path), "--backend", "print"])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert re.search(sentence, printed.err), printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_no_file_and_no_yaml_are_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="there is no sweep"):
        plan.load(tmp_path / "missing.yaml")
    (tmp_path / "bad.yaml").write_text("grid: [")
    with pytest.raises(ConfigError, match=r"bad\.yaml is not YAML"):
        plan.load(tmp_path / "bad.yaml")


def test_a_sweep_without_a_task_names_its_entry(tmp_path):
    (tmp_path / "bad.yaml").write_text("grid: [{lam: 1}]")
    with pytest.raises(ConfigError, match="grid entry 1: it names no task"):
        plan.load(tmp_path / "bad.yaml")


def test_printed_commands_make_the_jobs(write, capsys):
    grid = [{"lam": [0, 1, "inf"], "prior": ["reverse_kl", "replay"]}, {"method": "tdmpc2"}]
    sweep = write(grid)
    assert backends.launch(sweep, "print") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(sweep.jobs) == 2
    for line, one in zip(lines, sweep.jobs, strict=True):
        make, run = line.split(" && ")
        assert shlex.split(make) == ["mkdir", "-p", str(one.folder)]
        words = shlex.split(run)
        assert words[:3] == ["papermill", "book/train.ipynb", str(one.folder / "train.ipynb")]
        flags, names, values = words[3::3], words[4::3], words[5::3]
        assert set(flags) == {"-p"}
        given = dict(zip(names, map(_resolve_type, values), strict=True))
        assert Config(**given).to_json() == one.config.to_json()


def test_the_sweep_of_the_paper_is_the_whole_paper():
    sweep = plan.load(ROOT / "sweeps" / "paper.yaml")
    agents = [agent for one in sweep.jobs for agent in one.config.agents]
    tasks = {agent.task for agent in agents}
    assert len({task for task in tasks if task.startswith("h1hand-")}) == 14
    assert len(tasks) == 21
    assert {agent.preset for agent in agents} == {"paper"}
    assert len(agents) == 14 * 3 * (3 * 3 + 2) + 7 * 3 * (3 + 2)
    assert sweep.hours is not None
    assert "hours of a device that sustains 88 TFLOP/s" in status.summary(sweep)


def run_dirs_of(sweep):
    return [one.folder for one in sweep.jobs]


@pytest.fixture(scope="module")
def environment():
    """Let kernels find this code, and the compiled programs of each other."""
    assert os.environ["POMPC_CACHE"]


def test_local_runs_each_job_once_and_equals_training_directly(
    write, environment, tmp_path, capsys, monkeypatch
):
    sweep = write([{"lam": 1}, {"lam": 9}])  # which are one program
    assert backends.launch(sweep, "local", at_once=2) == 0
    said = capsys.readouterr().out
    assert said.count(": done") == 2
    assert set(status.table([sweep])["state"]) == {"done"}
    for one in sweep.jobs:
        assert (one.folder / "train.ipynb").exists()
    with monkeypatch.context() as patch:
        patch.setattr(backends.job, "Attempts", None)  # no job is started
        assert backends.launch(sweep, "local") == 0
    assert capsys.readouterr().out == "2 of 2 jobs are done\n"
    # In a process of its own, with the cores that the job had: another number rounds differently.
    one = sweep.jobs[1]
    code = "import sys; from pompc import *; train(Config.from_json(sys.argv[1]), sys.argv[2])"
    share = ",".join(map(str, backends._core_shares(2)[1]))
    subprocess.run(
        ["taskset", "-c", share, sys.executable, "-c", code, one.config.to_json(),
         str(tmp_path / "direct")], check=True, capture_output=True,
    )  # fmt: skip
    tables = [runs.read_table(folder / "returns.csv").drop(columns="wall_s")
              for folder in (one.folder, tmp_path / "direct")]  # fmt: skip
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_job_that_cannot_be_prepared_does_not_let_others_wait(write, monkeypatch):
    sweep = write([{"lam": lam} for lam in (1, 2, 3)])

    def full(*_):
        raise OSError("no room")

    monkeypatch.setattr(job, "prepare", full)
    with pytest.raises(OSError, match="no room"):
        backends.launch(sweep, "local", at_once=1)


def test_a_failing_job_is_tried_three_times_and_listed(write, environment, capsys):
    sweep = write([{"lam": 1}])
    (one,) = sweep.jobs
    broken = one._replace(settings=one.settings | {"lam": -1})
    assert backends.launch(sweep._replace(jobs=(broken,)), "local") == 1
    sentence = "ConfigError: lam is -1.0 but must be a number >= 0, or inf"
    assert f"failed 3 times: {sentence}" in capsys.readouterr().out
    known = job.read_record(one.folder)
    assert (known.attempts, known.failure) == (3, sentence)
    assert job.state(one.folder) == job.State("failed", sentence)
    assert (one.folder / job.OUTPUT).read_text().count(sentence) == 3


def test_a_job_that_is_asked_to_end_goes_on_when_started_again(write, environment, capsys):
    (one,) = write([{"lam": 1, "steps": 2000, "buffer_size": 200}]).jobs
    job.prepare(one.folder, one.settings)
    attempts = job.Attempts(one.folder)
    codes = []
    thread = threading.Thread(target=lambda: codes.append(attempts.run()))
    thread.start()
    deadline = time.monotonic() + 300
    while not _evaluated(one.folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert job.state(one.folder) == job.State("running")
    attempts.signal(signal.SIGTERM)
    thread.join()
    assert codes == [75]
    steps = runs.read_table(one.folder / "returns.csv")["env_step"]
    assert "SIGTERM: ended at step" in (one.folder / job.OUTPUT).read_text()
    assert job.state(one.folder) == job.State("waiting")
    known = job.read_record(one.folder)
    assert known.attempts == 0
    assert job.Attempts(one.folder).run() == 0
    assert "going on from step" in (one.folder / job.OUTPUT).read_text()
    after = runs.read_table(one.folder / "returns.csv")["env_step"]
    assert list(after) == list(range(0, 2001, 200))
    assert list(after[: len(steps)]) == list(steps)


def _evaluated(folder):
    path = folder / "returns.csv"
    return path.exists() and len(runs.read_table(path)) > 1


def test_the_status_of_each_state(write, monkeypatch):
    sweep = write([{"lam": lam, "seeds": 2} for lam in (0, 1, 2, 3, 4)])
    done, failed, running, queued, _ = run_dirs_of(sweep)
    rows = [{"task": "cartpole-swingup", "method": "pompc", "lam": lam, "prior": "reverse_kl",
             "seed": seed, "env_step": step, "decision": step // 2, "return": 100 * seed + step,
             "return_policy": 1.0, "wall_s": step / 10}
            for lam in (0.0, 2.0) for step in (0, 100) for seed in (0, 1)]  # fmt: skip
    for folder in run_dirs_of(sweep):
        folder.mkdir(parents=True)
    runs.append_rows(done / "returns.csv", rows[:4])
    runs.append_rows(running / "returns.csv", rows[4:])
    runs.write_provenance(done, {"finished": True})
    job.write_record(failed, job.Record({}, attempts=3, failure="ValueError: broken"))
    job.write_record(queued, job.Record({}, slurm="7_0"))
    monkeypatch.setattr(job, "_in_slurm", lambda number: number == "7_0")
    with lock.held(running):
        table = status.table([sweep])
        said = status.readable(table)
    assert list(table["state"]) == ["done", "failed", "running", "waiting", "waiting"]
    assert list(table["seeds"]) == [2] * 5
    assert list(table["return"].fillna(-1)) == [150, -1, 150, -1, -1]
    assert list(table["cause"]) == ["", "ValueError: broken", "", "in SLURM as 7_0", ""]
    assert list(table["time left"]) == ["", "", "30 s", "", ""]  # 300 steps at 10 a second
    assert "ValueError: broken" in said
    assert "5 jobs (3 waiting, 1 done, 1 failed), 10 agents" in status.summary(sweep)


def test_the_status_of_all_sweeps_is_a_line_each(capsys):
    __main__.main(["status"])
    lines = capsys.readouterr().out.splitlines()
    names = sorted(path.stem for path in (ROOT / "sweeps").glob("*.yaml"))
    assert [line.split(":")[0] for line in lines] == names


def test_a_reader_that_has_read_enough_is_no_error(write, tmp_path):
    write([{"lam": lam} for lam in range(40)])
    listing = [
        sys.executable,
        "-m",
        "pompc.sweep",
        str(tmp_path / "sweep.yaml"),
        "--backend",
        "print",
    ]
    with subprocess.Popen(listing, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_what_runs_already_is_left_alone(write, capsys):
    sweep = write([{"lam": 1}])
    sweep.jobs[0].folder.mkdir(parents=True)
    with lock.held(sweep.jobs[0].folder):
        assert backends.launch(sweep, "local") == 0
    assert f"{sweep.jobs[0].folder.name} is running" in capsys.readouterr().out


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(backends.os, "sched_getaffinity", lambda _: {2, 3, 5})
    assert backends._core_shares(2) == [[2, 5], [3]]
    assert backends._core_shares(1) == [[2, 3, 5]]
    assert backends._core_shares(4) == [[2], [3], [5], [2]]


def test_help_names_both_uses(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--help"])
    said = capsys.readouterr().out
    assert "--backend" in said
    assert "python -m pompc.sweep status" in said


def test_slurm_without_its_program_is_one_sentence(write, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="SLURM cannot take this sweep"):
        backends.launch(write([{"lam": 1}]), "slurm")


def test_a_folder_that_holds_no_job_is_said(tmp_path, capsys):
    assert job.attempt(tmp_path) == 2
    assert "holds no job" in capsys.readouterr().out
