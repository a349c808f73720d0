"""Planners that are made up, swept over, read from a buffer, and growing old in one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pompc import files, journal, replay
from pompc.errors import ConfigError
from pompc.losses import prior_loss
from pompc.ops import Gaussian
from pompc.theory import gradient_variance as gv
from pompc.theory import measure, staleness
from pompc.theory.gradient_variance import Normal, Setting


def test_made_planners_have_the_spread_that_was_asked_for():
    normal = measure.normal_planners(4000, spread=0.3, std=0.05)
    assert np.var(normal.mean) == pytest.approx(0.09)
    assert np.mean(normal.mean**4) == pytest.approx(3.0 * 0.09**2, rel=0.02)
    drifting = measure.drifting_planners(5, drift=2.0, std=0.1)
    np.testing.assert_allclose(drifting.mean[:, 0], [-1.0, -0.5, 0.0, 0.5, 1.0])
    assert measure.drifting_planners(1, 2.0, 0.1).mean.tolist() == [[0.0]]
    assert measure.normal_planners(1, 2.0, 0.1).mean.tolist() == [[0.0]]
    with pytest.raises(ConfigError, match="at least one"):
        measure.normal_planners(0, 1.0, 0.1)


def test_a_sweep_holds_every_estimate_of_every_buffer():
    policy = Normal(np.zeros(1), np.full(1, 0.1))
    planners = {drift: measure.drifting_planners(9, drift, 0.2) for drift in (0.0, 0.5)}
    table = measure.sweep(policy, "drift", planners, {0.0: 2, 0.5: 4}, ("score", "closed_form"))
    assert len(table) == 2 * 2 * 2 * 3
    for parameter in gv.PARAMETERS:
        chosen = {"drift": 0.5, "parameter": parameter, "estimator": "score", "samples": 4}
        (row,) = table[table["reference"] == "replayed"].merge(pd.DataFrame([chosen])).itertuples()
        expected = gv.exact_moments(policy, planners[0.5], Setting(4, parameter)).replayed
        assert row.variance == pytest.approx(expected.variance.sum())


def test_a_buffer_is_measured_at_its_adaptive_prior_by_default():
    rng = np.random.default_rng(12)
    planners = Normal(rng.normal(size=(6, 3)), rng.uniform(0.5, 2.0, (6, 3)))
    table = measure.measure(planners.mean.astype(np.float32), planners.std.astype(np.float32))
    single = table.query("estimator == 'closed_form' and parameter == 'mean'")
    variances = dict(zip(single["reference"], single["variance"], strict=True))
    slopes = planners.std**-2.0 * (planners.mean - gv.geometric_mean(planners).mean)
    assert variances["replayed"] == pytest.approx(slopes.var(axis=0).sum() / 16, rel=1e-5)
    assert variances["normalised"] == 0.0
    with pytest.raises(ConfigError, match="shapes"):
        measure.measure(planners.mean[0], planners.std[0])


def test_nearest_rows_count_each_entry_in_its_own_units():
    observations = np.array(
        [[0.0, 0.0, 5.0], [0.1, 400.0, 5.0], [0.5, 0.0, 5.0], [1.0, 900.0, 5.0]]
    )
    assert measure.nearest_rows(observations, 0, 2).tolist() == [0, 1]
    assert measure.nearest_rows(observations * [1.0, 1e-3, 1.0], 0, 2).tolist() == [0, 1]
    for row, count in ((4, 1), (-1, 1), (0, 5), (0, 0)):
        with pytest.raises(ConfigError, match="neighbours"):
            measure.nearest_rows(observations, row, count)


def test_planners_of_a_checkpoint_are_read_with_those_made_anew(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    (folder / "replay").mkdir(parents=True)
    buffer, segments, marks = replay.create(8, 2, 1), [], [journal.Mark(0, 0)]
    for part, rows in enumerate((3, 2)):
        for _ in range(rows):
            number = buffer.rows.astype(jnp.float32)
            plan = Gaussian(jnp.full(1, number), jnp.full(1, 0.5))
            seen, action = jnp.full(2, 10.0 * number), jnp.zeros(1)
            buffer = replay.record(buffer, jnp.zeros(()), jnp.bool_(False), seen, action, plan)
        if part == 0:  # an episode that goes on is written again whole; one that ended is not
            end = Gaussian(jnp.full(1, 9.0), jnp.full(1, 0.5))
            nothing = jnp.zeros(()), jnp.bool_(False), jnp.full(2, 90.0)
            buffer = replay.record_end(buffer, *nothing, end, jnp.bool_(True))
        else:
            anew = Gaussian(jnp.full((1, 1), -7.0), jnp.full((1, 1), 0.25))
            buffer = replay.write_plans(buffer, jnp.array([1]), anew)
        files.write_arrays(folder / "replay" / f"{part}.npz", journal.new_rows((buffer,), marks))
        marks = journal.marks((buffer,))
        segments.append({"name": f"{part}.npz"})
    body = {"segments": segments, "files": {}}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (folder / "10").mkdir()
    (folder / "10/checkpoint.json").write_text(json.dumps({"sha256": digest, "body": body}))

    found = measure.read_planners(tmp_path)
    assert found.observation[:, 0].tolist() == [0.0, 10.0, 20.0, 90.0, 40.0, 50.0]
    assert found.plan.mean[:, 0].tolist() == [0.0, -7.0, 2.0, 9.0, 4.0, 5.0]
    assert found.plan.std[:, 0].tolist() == [0.5, 0.25, 0.5, 0.5, 0.5, 0.5]
    with pytest.raises(ConfigError, match="fewer agents"):
        measure.read_planners(tmp_path, agent=1)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        measure.read_planners(tmp_path / "elsewhere")


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
    buffer = staleness.fill(60, 0, np.random.default_rng(0))
    fitted = staleness.fit_prior(buffer, forward)

    def loss(theta: np.ndarray) -> float:
        prior = staleness.Prior(theta[:-1], float(np.exp(theta[-1]))).at(buffer.state)
        return float(
            np.mean(prior_loss(Gaussian(*prior), Gaussian(*buffer.plan), np.float32(forward)))
        )

    best = np.append(fitted.weights, np.log(fitted.std))
    for index in range(len(best)):
        step = 0.02 * np.eye(len(best))[index]
        lower, higher = loss(best - step), loss(best + step)
        assert loss(best) < min(lower, higher)
        assert abs(higher - lower) < 0.05 * (lower + higher - 2.0 * loss(best)) + 1e-6
