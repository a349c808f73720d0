"""What a run tells its hooks, and how they end it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shared_programs
from fingerprints import Fingerprints

import pompc
from pompc import runs
from pompc.runs import checkpoint
from pompc.training import trainer

PAGE = Path(__file__).parents[2] / "book" / "hooks.md"
WHO = {"agent": 0, "task": "cartpole-swingup", "method": "pompc", "lam": 1.0,
       "prior": "reverse_kl", "seed": 0}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def short_runs():
    with shared_programs.short_runs(40):  # some rows before the first evaluation
        yield


class Writer:
    """Stands for TensorBoard's."""

    def __init__(self, folder):
        self.scalars = []

    def add_scalar(self, name, value, step):
        self.scalars.append((name, float(value), step))

    def close(self):
        pass


def of_page(heading, config, folder, monkeypatch):
    """Run the code below a heading of the page with another configuration and folder."""
    code = re.findall(rf"## {heading}\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    monkeypatch.setattr(pompc, "Config", lambda *_, **__: config, raising=False)
    values: dict[str, Any] = {}
    exec(re.sub("runs/[a-z-]+", str(folder), code), values)
    return values


def test_every_row_of_both_tables_reaches_a_tensorboard(small, tmp_path, monkeypatch):
    module: Any = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    for name in ("torch", "torch.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    config = small(evaluate_every=80)
    found = of_page("TensorBoard", config, tmp_path, monkeypatch)["writer"].scalars
    for name in ("returns.csv", "metrics.csv"):
        table = runs.read_table(tmp_path / name)
        for column in table.columns.difference([*WHO, "env_step", "decision"]):
            values = np.array([value for own, value, _ in found if own == f"agent_0/{column}"])
            # Instruments are in no row before learning; other metrics are NaN there.
            stored = table[column].astype(float).dropna()
            np.testing.assert_allclose(values[~np.isnan(values)], stored)
    steps = {step for name, _, step in found if name == "agent_0/return"}
    assert steps == {*range(0, 401, 80)}


class Winners(Fingerprints):
    """Agents that earn 701 in each episode."""

    def planner(self, states):
        found = super().planner(states)
        return found._replace(rewards=np.full_like(found.rewards, 701.0))


def test_an_early_stop_counts_as_finished(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainer, "Evaluator", Winners)
    of_page("An early stop", small(), tmp_path, monkeypatch)
    assert "stopped: all agents earn more than 600" in capsys.readouterr().out
    facts = runs.read_provenance(tmp_path)
    assert facts["finished"] is True
    assert facts["stopped"] == "all agents earn more than 600"
    assert list(pompc.load_runs(tmp_path)["env_step"]) == [0]
    pompc.train(small(), tmp_path)
    assert "finished: nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(("hook", "decision"), [("on_log", 40), ("on_evaluate", 100)])
def test_a_hook_that_raises_leaves_a_checkpoint_and_the_run_goes_on(
    small, tmp_path, hook, decision
):
    """At the end of seeding, too, where an update of the model is still to come."""
    seen = []

    def failing(rows):
        seen.extend(rows)
        if rows[0]["decision"] == decision:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pompc.train(small(), tmp_path / "run", **{hook: failing})
    assert checkpoint.saved_steps(tmp_path / "run")[-1] == 2 * decision
    assert not runs.read_provenance(tmp_path / "run")["finished"]
    pompc.train(small(), tmp_path / "run")
    pompc.train(small(), tmp_path / "whole")
    tables = [runs.read_table(tmp_path / name / "returns.csv") for name in ("run", "whole")]
    first, second = (table.drop(columns="wall_s") for table in tables)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert all(row.items() >= WHO.items() for row in seen)
