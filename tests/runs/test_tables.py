"""The tables of many runs: one row a moment, and a column for what tells the runs apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import written

import pompc
from pompc import ConfigError

AGENTS = [("pompc", lam, "reverse_kl") for lam in (0.1, np.inf)]
ADDED = ["steps", "horizon", "critic"]


@pytest.fixture
def folder(tmp_path):
    """Return runs that differ in steps, horizon, and an option that an older one did not have."""
    written.write_run(tmp_path / "a", "dog-run", AGENTS, seeds=(0, 1), preset="paper")
    written.write_run(tmp_path / "b", "dog-run", steps=20_000, horizon=5, preset="paper",
                      critic="v", action_repeat=2)  # fmt: skip
    written.write_peer(tmp_path / "peer", "dog-run", "tdmpc2_jax", "tdmpc2", 5.0)
    return tmp_path


def test_settings_that_differ_between_runs_are_columns(folder):
    table = pompc.load_runs(folder)
    found = table.drop_duplicates("run").set_index("run")[ADDED]
    expected = {"a": (40_000, 3, "q"), "b": (20_000, 5, "v")}
    assert {name: tuple(found.loc[str(folder / name)]) for name in expected} == expected
    assert found.loc[str(folder / "peer")].isna().all()
    own = pd.read_csv(folder / "a" / "returns.csv")
    pd.testing.assert_frame_equal(table.reindex(columns=own.columns).head(len(own)), own)
    assert set(table) - set(own) == {"run", "peer", *ADDED}
    assert "horizon" not in pompc.load_runs(folder / "a")


def test_metrics_know_their_agents_and_have_the_same_columns(folder):
    table = pompc.load_metrics(folder)
    assert set(ADDED) <= set(table)
    own = pd.read_csv(folder / "a" / "metrics.csv")
    first = pd.DataFrame(table[table["run"] == str(folder / "a")])
    pd.testing.assert_frame_equal(first.reindex(columns=own.columns), own)
    expected = {0: (0.1, 0), 1: (0.1, 1), 2: (np.inf, 0), 3: (np.inf, 1)}
    for agent, pair in expected.items():
        assert set(first.loc[first["agent"] == agent, ["lam", "seed"]].itertuples(
            index=False, name=None)) == {pair}  # fmt: skip
    with pytest.raises(ConfigError, match=r"there is no metrics\.csv below it"):
        pompc.load_metrics(folder / "peer")
