"""Runs killed at random instants, POMPC_KILLS times (50 with make test-faults); a full disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from pompc import runs
from pompc.runs import files

KILLS = int(os.environ.get("POMPC_KILLS", "2"))
RUN = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import pompc
from fingerprints import Fingerprints
from pompc.training import trainer

trainer.LOG_INTERVAL, trainer.Evaluator = 20, Fingerprints
trainer.compile_ahead = lambda programs, *_: programs  # programs of evaluation are not needed
config = pompc.Config.from_json(open(sys.argv[1]).read())
pompc.train(config, sys.argv[2])
"""


def _start(config_file, folder):
    command = [sys.executable, "-c", RUN, str(config_file), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _killed_after_an_interval(process, seconds):
    """Kill the run so long after it wrote its first checkpoint; tell if it still ran."""
    for line in process.stdout:
        if line.startswith("step") and not line.startswith("step        0"):
            break
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    assert process.returncode in (0, -signal.SIGKILL), rest
    return process.returncode != 0


def test_sigkill_at_random_instants_loses_no_row(small, tmp_path):
    """A checkpoint is written every ten decisions, so that many kills hit one."""
    chance, interval = random.Random(0), 20
    steps = 200 * KILLS
    config = small(steps=steps, evaluate_every=interval, buffer_size=200)
    (tmp_path / "config.json").write_text(config.to_json())
    folder, kills, torn, began = tmp_path / "run", 0, 0, time.time()
    while _killed_after_an_interval(_start(tmp_path / "config.json", folder), chance.uniform(0, 2)):
        kills += 1
        torn += any(folder.rglob("*.partial"))
        table = runs.read_table(folder / "returns.csv")
        assert not table["env_step"].duplicated().any()
        assert files.whole_lines(folder / "returns.csv")
        if kills == KILLS:
            break
    done = _start(tmp_path / "config.json", folder)
    said = done.communicate()[0]
    assert done.returncode == 0, said
    print(f"{kills} kills in {time.time() - began:.0f} s, checkpoints interrupted: {torn}")
    assert kills == KILLS
    pd.testing.assert_series_equal(
        runs.read_table(folder / "returns.csv")["env_step"],
        pd.Series(range(0, steps + 1, interval), name="env_step"),
    )
    other = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "config.json"), str(tmp_path / "whole")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert other.returncode == 0, other.stderr
    tables = [
        runs.read_table(path / "returns.csv").drop(columns="wall_s")
        for path in (folder, tmp_path / "whole")
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.fixture
def small_disk(tmp_path):
    """Return a disk of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _fill(path):
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_ends_with_a_sentence_and_goes_on_with_more_room(small, small_disk, tmp_path):
    config = small(steps=1000, evaluate_every=40, buffer_size=200)
    (tmp_path / "config.json").write_text(config.to_json())
    run, filler = small_disk / "run", small_disk / "filler"
    full = _start(tmp_path / "config.json", run)
    for line in full.stdout:
        if line.startswith("step       80"):
            break
    _fill(filler)
    said = full.communicate()[0]
    assert full.returncode == 1, said
    assert "DiskFullError: no room is left on the disk of" in said
    before = list(runs.read_table(run / "returns.csv")["env_step"])
    filler.unlink()
    done = _start(tmp_path / "config.json", run)
    said = done.communicate()[0]
    assert done.returncode == 0, said
    assert "going on from step" in said
    after = list(runs.read_table(run / "returns.csv")["env_step"])
    assert after == list(range(0, 1001, 40))
    assert before == after[: len(before)]
