"""Memory and start of a run, as `python -m pompc.bench --start` reports them."""

import json
import os
import time
from types import SimpleNamespace

import pytest
from fingerprints import Fingerprints

import pompc
from pompc import runs
from pompc.bench import start
from pompc.training import trainer


def test_a_run_ends_once_it_has_learned(small, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "LOG_INTERVAL", 20)
    monkeypatch.setattr(trainer, "compile_ahead", lambda programs, *_: programs)
    monkeypatch.setattr(trainer, "Evaluator", Fingerprints)
    began = time.time() - 100
    config = json.loads(small(steps=4000, evaluate_every=4000, buffer_size=200).to_json())
    found = start.run(config, tmp_path / "run", began)
    assert 100 < found["first_s"] < found["learning_s"] < time.time() - began
    assert 0 < found["first_cpu_s"] < found["learning_cpu_s"] <= time.process_time()
    assert found["peak_mb"] > 100
    table = pompc.load_metrics(tmp_path / "run")
    assert list(table["decision"]) == [20, 40, 60], "seeding takes 40 decisions"
    assert runs.read_provenance(tmp_path / "run")["stopped"]


def test_the_second_run_finds_what_the_first_compiled(monkeypatch, capsys):
    calls = []

    def run(command, *, env, **_):
        cache = env["POMPC_CACHE"]
        calls.append((command[-2], cache, os.path.exists(cache)))
        os.makedirs(cache, exist_ok=True)
        found = {"first_s": 2.0, "first_cpu_s": 3.0, "peak_mb": 400.0}
        return SimpleNamespace(stdout=f"step 0\n{json.dumps(found)}\n", returncode=0)

    monkeypatch.setattr(start.subprocess, "run", run)
    rows = start.measure({"task": "cartpole-swingup"})
    (cold, first, empty), (warm, second, filled) = calls
    assert (empty, filled) == (False, True)
    assert first == second
    assert cold != warm
    assert [row["cache"] for row in rows] == ["cold", "warm"]
    text = start.table(rows).to_string(index=False)
    assert "peak MB" in text
    assert "400.0" in text


def test_a_run_that_fails_is_named(capfd):
    with pytest.raises(pompc.ConfigError, match="the cold run failed"):
        start.measure({"task": "no-such-task"})
    assert "unknown task 'no-such-task'" in capfd.readouterr().err
