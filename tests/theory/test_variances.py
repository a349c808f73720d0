"""Planners that are made up, swept over, read from a buffer, and growing old in one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pompc import Config
from pompc.algorithm import replay
from pompc.algorithm.losses import prior_loss
from pompc.algorithm.maths import Gaussian
from pompc.errors import ConfigError
from pompc.runs import files, replay_segments
from pompc.theory import gradient_variance as gv
from pompc.theory import replay_buffer, staleness, variances
from pompc.theory.gradient_variance import Normal, Setting


def test_made_planners_have_the_spread_that_was_asked_for():
    normal = variances.normal_planners(4000, spread=0.3, std=0.05)
    assert np.var(normal.mean) == pytest.approx(0.09)
    assert np.mean(normal.mean**4) == pytest.approx(3.0 * 0.09**2, rel=0.02)
    drifting = variances.drifting_planners(5, drift=2.0, std=0.1)
    np.testing.assert_allclose(drifting.mean[:, 0], [-1.0, -0.5, 0.0, 0.5, 1.0])
    assert variances.drifting_planners(1, 2.0, 0.1).mean.tolist() == [[0.0]]
    assert variances.normal_planners(1, 2.0, 0.1).mean.tolist() == [[0.0]]
    with pytest.raises(ConfigError, match="at least one"):
        variances.normal_planners(0, 1.0, 0.1)


@pytest.mark.parametrize("whole", [False, True])
def test_a_sweep_holds_every_estimate_of_every_buffer(whole):
    policy = Normal(np.zeros(1), np.full(1, 0.1))
    planners = {drift: variances.drifting_planners(9, drift, 0.2) for drift in (0.0, 0.5)}
    table = variances.sweep(policy, "drift", planners, {0.0: 2, 0.5: 4}, whole)
    assert len(table) == 2 * 2 * 3
    for parameter in gv.PARAMETERS:
        chosen = {"drift": 0.5, "parameter": parameter, "estimator": "score", "samples": 4}
        (row,) = table[table["reference"] == "replayed"].merge(pd.DataFrame([chosen])).itertuples()
        setting = Setting(4, parameter, whole=whole)
        expected = gv.exact_moments(policy, planners[0.5], setting).replayed
        assert row.variance == pytest.approx(expected.variance.sum())


def test_a_buffer_is_measured_at_its_adaptive_prior_by_default():
    rng = np.random.default_rng(12)
    planners = Normal(rng.normal(size=(6, 3)), rng.uniform(0.5, 2.0, (6, 3)))
    table = variances.measure(planners.mean.astype(np.float32), planners.std.astype(np.float32))
    single = table.query("estimator == 'closed_form' and parameter == 'mean'")
    found = dict(zip(single["reference"], single["variance"], strict=True))
    slopes = planners.std**-2.0 * (planners.mean - gv.geometric_mean(planners).mean)
    assert found["replayed"] == pytest.approx(slopes.var(axis=0).sum() / 16, rel=1e-5)
    assert found["normalised"] == 0.0
    with pytest.raises(ConfigError, match="shapes"):
        variances.measure(planners.mean[0], planners.std[0])


def test_nearest_rows_count_each_entry_in_its_own_units():
    observations = np.array(
        [[0.0, 0.0, 5.0], [0.1, 400.0, 5.0], [0.5, 0.0, 5.0], [1.0, 900.0, 5.0]]
    )
    assert variances.nearest_rows(observations, 0, 2).tolist() == [0, 1]
    assert variances.nearest_rows(observations * [1.0, 1e-3, 1.0], 0, 2).tolist() == [0, 1]
    for row, count in ((4, 1), (-1, 1), (0, 5), (0, 0)):
        with pytest.raises(ConfigError, match="neighbours"):
            variances.nearest_rows(observations, row, count)


def write_head(run_dir: Path, segments: list[str]) -> None:
    """Write the head of a checkpoint whose buffer lies in segments."""
    replay = run_dir / "checkpoints" / "replay"
    written = [{"name": name, "sha256": files.checksum(replay / name)} for name in segments]
    body = {"segments": written, "files": {}}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (run_dir / "checkpoints/10").mkdir()
    head = json.dumps({"sha256": digest, "body": body})
    (run_dir / "checkpoints/10/checkpoint.json").write_text(head)


def write_run(run_dir: Path, rows: int, seeding: int) -> Path:
    """Write a run whose buffer holds `rows`, the first from seeding; reanalyse had one of those."""
    (run_dir / "checkpoints/replay").mkdir(parents=True)
    rng, stored = np.random.default_rng(4), replay.create(rows, 1, 2)
    for row in range(rows):
        plan = Gaussian(jnp.zeros(2), jnp.full(2, 2.0))
        if row >= seeding or row == 3:
            mean, std = rng.normal(size=2), rng.uniform(0.2, 0.4, 2)
            plan = Gaussian(jnp.asarray(mean), jnp.asarray(std))
        seen, action = jnp.full(1, float(row)), jnp.zeros(2)
        stored = replay.record(stored, jnp.zeros(()), jnp.bool_(False), seen, action, plan)
    rows_of = replay_segments.new_rows((stored,), [replay_segments.Mark(0, 0)])
    files.write_arrays(run_dir / "checkpoints/replay/0.npz", rows_of)
    write_head(run_dir, ["0.npz"])
    config = Config("walker-run", seed=7, preset="laptop", seeding_decisions=seeding)
    (run_dir / "config.json").write_text(config.to_json())
    (run_dir / "provenance.json").write_text('{"commit": "0123456789"}')
    return run_dir


def test_planners_of_a_checkpoint_are_read_with_those_made_anew(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    (folder / "replay").mkdir(parents=True)
    stored, marks = replay.create(8, 2, 1), [replay_segments.Mark(0, 0)]
    for part, rows in enumerate((3, 2)):
        for _ in range(rows):
            number = stored.rows.astype(jnp.float32)
            plan = Gaussian(jnp.full(1, number), jnp.full(1, 0.5))
            seen, action = jnp.full(2, 10.0 * number), jnp.zeros(1)
            stored = replay.record(stored, jnp.zeros(()), jnp.bool_(False), seen, action, plan)
        if part == 0:  # an episode that goes on is written again whole; one that ended is not
            end = Gaussian(jnp.full(1, 9.0), jnp.full(1, 0.5))
            nothing = jnp.zeros(()), jnp.bool_(False), jnp.full(2, 90.0)
            stored = replay.record_end(stored, *nothing, end, jnp.bool_(True))
        else:
            anew = Gaussian(jnp.full((1, 1), -7.0), jnp.full((1, 1), 0.25))
            stored = replay.write_plans(stored, jnp.array([1]), anew)
        files.write_arrays(
            folder / "replay" / f"{part}.npz", replay_segments.new_rows((stored,), marks)
        )
        marks = replay_segments.marks((stored,))
    write_head(tmp_path, ["0.npz", "1.npz"])

    found = variances.read_planners(tmp_path)
    assert found.observation[:, 0].tolist() == [0.0, 10.0, 20.0, 90.0, 40.0, 50.0]
    assert found.plan.mean[:, 0].tolist() == [0.0, -7.0, 2.0, 9.0, 4.0, 5.0]
    assert found.plan.std[:, 0].tolist() == [0.5, 0.25, 0.5, 0.5, 0.5, 0.5]
    with pytest.raises(ConfigError, match="fewer agents"):
        variances.read_planners(tmp_path, agent=1)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        variances.read_planners(tmp_path / "elsewhere")


def test_a_buffer_is_measured_around_rows_that_hold_a_plan(tmp_path: Path):
    run_dir = write_run(tmp_path / "run", rows=40, seeding=10)
    sizes = replay_buffer.Sizes(rows=5, neighbours=6, samples=4)
    table = replay_buffer.measure_run(run_dir, sizes, seed=3)
    assert len(table) == 5 * 2 * 3
    assert set(table["row"]) == set(replay_buffer.spread_rows(30, 5, np.random.default_rng(3)))
    assert [row // 6 for row in sorted(set(table["row"]))] == [0, 1, 2, 3, 4]  # one in each part
    assert (table["replayed"] > table["unnormalised"]).all()  # Eq. (52)
    assert (table.query("estimator == 'closed_form'")["normalised"] == 0.0).all()
    # The six rows around the first one, by hand: none of them is from seeding.
    first = int(table["row"].iloc[0])
    stored = variances.read_planners(run_dir)
    near = sorted(range(10, 40), key=lambda row: (abs(row - 10 - first), row))[:6]
    means, stds = stored.plan.mean[near], stored.plan.std[near]
    expected = variances.measure(means, stds, 4).query("reference == 'normalised'")["variance"]
    found = table.loc[table["row"] == first, "normalised"]
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-9, atol=1e-12)


def test_a_measured_buffer_is_a_table_that_tells_its_origin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run_dir, path = write_run(tmp_path / "run", 40, 10), tmp_path / "new" / "planners.csv"
    options = [str(run_dir), "--to", str(path), "--rows", "5", "--neighbours", "6"]
    replay_buffer.main(options)
    first = path.read_bytes()
    replay_buffer.main(options)
    assert path.read_bytes() == first
    table = replay_buffer.read(path)
    said = replay_buffer.origin(table)
    assert said in capsys.readouterr().out
    for words in ("walker-run: pompc, λ = 1", "seed 7", "after 10 environment", "commit 0123456;"):
        assert words in said
    shown = replay_buffer.ratios(table, np.random.default_rng(0))
    above = (table["normalised"] > table["replayed"]) & (table["estimator"] == "score")
    counted = above[table["parameter"] == "mean"].sum()
    assert shown.loc[("mean", "score"), "normalised > 1"] == f"{counted} of 5"
    ratio = (table["unnormalised"] / table["replayed"])[table["estimator"] == "score"]
    median = ratio[table["parameter"] == "mean"].median()
    assert shown.loc[("mean", "score"), "unnormalised"].startswith(f"{median:.2g} [")
    assert shown.loc[("mean", "closed form"), "normalised"] == "0 [0, 0]"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rows", "31"], "between 1 and the 30 that hold a plan"),
        (["--rows", "3", "--neighbours", "31"], "the buffer holds 30 rows"),
        (["--rows", "3", "--neighbours", "3", "--samples", "0"], "samples is 0"),
        (["--agent", "1"], "has fewer agents"),
    ],
)
def test_what_cannot_be_measured_ends_with_one_sentence(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
):
    run_dir = write_run(tmp_path / "run", 40, 10)
    with pytest.raises(SystemExit):
        replay_buffer.main([str(run_dir), "--to", str(tmp_path / "planners.csv"), *options])
    assert words in capsys.readouterr().err
    assert not (tmp_path / "planners.csv").exists()
    with pytest.raises(SystemExit):
        replay_buffer.main([str(tmp_path)])
    assert "there is no config.json" in capsys.readouterr().err


def test_a_missing_segment_of_the_buffer_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run_dir = write_run(tmp_path / "run", 40, 10)
    next((run_dir / "checkpoints" / "replay").iterdir()).unlink()
    with pytest.raises(SystemExit) as ended:
        replay_buffer.main([str(run_dir), "--to", str(tmp_path / "planners.csv")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("is damaged\n")


def test_a_table_of_a_buffer_that_is_missing_or_another_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"python -m pompc\.theory\.replay_buffer makes it"):
        replay_buffer.read(tmp_path / "nowhere.csv")
    (tmp_path / "other.csv").write_text("row\n1\n")
    with pytest.raises(ConfigError, match="lacks task, method"):
        replay_buffer.read(tmp_path / "other.csv")


# Fails if refreshed rows are not drawn from the whole buffer, or the exponent is another.
@pytest.mark.parametrize("refreshed", [0, 1, 6])
def test_ages_of_plans_follow_the_closed_form(refreshed: int):
    made = staleness.plan_moments(20_000, refreshed, np.random.default_rng(refreshed))
    for moment in (0.3, 0.6, 0.9):
        expected = staleness.older_share(np.array(moment), refreshed)
        assert np.mean(made <= moment) == pytest.approx(expected, abs=0.015)
    assert made.max() == 1.0
    with pytest.raises(ConfigError, match="refreshed"):
        staleness.plan_moments(10, -1, np.random.default_rng(0))


# Fails for the other direction, for weights other than precisions, or a std that leaves one out.
@pytest.mark.parametrize("forward", [False, True])
def test_a_fitted_prior_minimises_its_loss(forward: bool):
    filled = staleness.fill(60, 0, np.random.default_rng(0))
    fitted = staleness.fit_prior(filled, forward)

    def loss(theta: np.ndarray) -> float:
        prior = staleness.Prior(theta[:-1], float(np.exp(theta[-1]))).at(filled.state)
        return float(
            np.mean(prior_loss(Gaussian(*prior), Gaussian(*filled.plan), np.float32(forward)))
        )

    best = np.append(fitted.weights, np.log(fitted.std))
    for index in range(len(best)):
        step = 0.02 * np.eye(len(best))[index]
        lower, higher = loss(best - step), loss(best + step)
        assert loss(best) < min(lower, higher)
        assert abs(higher - lower) < 0.05 * (lower + higher - 2.0 * loss(best)) + 1e-6
