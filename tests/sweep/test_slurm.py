"""`sweeps/test.yaml` in a real SLURM (`make test-slurm`): one job outlives its time limit."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pompc import runs
from pompc.sweep import backends, job, plan, status

ROOT = Path(__file__).parents[2]
DEADLINE_S = 1500


def _reason():
    """Return why there is no SLURM here, or an empty string."""
    if shutil.which("sinfo") is None:
        return "SLURM is not installed: see `make test-slurm` in CONTRIBUTING.md"
    if subprocess.run(["sinfo"], capture_output=True, check=False).returncode:
        return "no SLURM answers: `make test-slurm` starts one"
    return ""


pytestmark = pytest.mark.skipif(bool(_reason()), reason=_reason())


def _load(folder):
    content = yaml.safe_load((ROOT / "sweeps" / "test.yaml").read_text())
    folder.mkdir()
    (folder / "test.yaml").write_text(yaml.safe_dump(content | {"runs": str(folder / "runs")}))
    return plan.load(folder / "test.yaml")


def test_a_sweep_in_slurm_equals_the_local_one(tmp_path):
    sweep = _load(tmp_path / "slurm")
    assert backends.launch(sweep, "slurm") == 0
    states = set(status.table([sweep])["state"])
    assert states <= {"waiting", "running"}
    assert backends.launch(sweep, "slurm") == 0  # nothing is queued twice
    deadline = time.monotonic() + DEADLINE_S
    while not all(job.state(one.folder).name == "done" for one in sweep.jobs):
        assert time.monotonic() < deadline, status.readable(status.table([sweep]))
        time.sleep(2)
    said = [(one.folder / job.OUTPUT).read_text() for one in sweep.jobs]
    assert "SIGUSR1: ended at step" in said[3]
    assert "going on from step" in said[3]
    local = _load(tmp_path / "local")
    for mine, theirs in zip(local.jobs, sweep.jobs, strict=True):
        job.prepare(mine.folder, mine.settings)
        assert job.Attempts(mine.folder).run() == 0
        tables = [runs.read_table(one.folder / "returns.csv").drop(columns="wall_s")
                  for one in (mine, theirs)]  # fmt: skip
        pd.testing.assert_frame_equal(*tables, check_exact=True)
