"""Steps to a return: the moments against a naive search, the figure against its table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from pompc.figures import sample_efficiency


def naive(x, row, level):
    """Walk along one curve in steps of a thousandth."""
    for now in np.linspace(x[0], x[-1], 1000 * int(x[-1] - x[0]) + 1):
        if np.interp(now, x, row) >= level - 1e-9:
            return now
    return math.inf


def test_steps_are_where_a_walk_along_the_curve_arrives():
    generator = np.random.default_rng(0)
    x, scores = np.array([0.0, 2.0, 3.0, 7.0]), generator.uniform(0, 10, size=(40, 4))
    found = sample_efficiency.steps_to(x, scores, 8.0)
    expected = [naive(x, row, 8.0) for row in scores]
    assert 5 < np.isinf(expected).sum() < 35
    np.testing.assert_allclose(found, expected, atol=1.1e-3)


@pytest.mark.parametrize(
    ("row", "steps"), [([5, 9, 9], 0), ([0, 0, 5], 20), ([0, 4, 4], math.inf), ([4, 5, 0], 10)]
)
def test_a_curve_that_touches_or_starts_at_the_return(row, steps):
    found = sample_efficiency.steps_to(np.array([0.0, 10.0, 20.0]), np.array([row], float), 5.0)
    assert found == [steps]


@pytest.fixture
def table():
    """Return two agents: the first ends at 60, 80 and 100, the second at 20, 41 and 60."""
    ends = {"tdmpc2": (60, 80, 100), "pompc": (20, 41, 60)}
    rows = [
        {"task": "walker-run", "method": method, "lam": 1.0, "prior": "reverse_kl", "changes": "",
         "seed": seed, "env_step": step, "return": end * step / 1000}
        for method, of_seeds in ends.items() for seed, end in enumerate(of_seeds)
        for step in (0, 1000)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_half_of_the_highest_last_return_is_the_goal(table):
    first, second = sample_efficiency.steps_table(table).to_dict(orient="records")
    assert first == {"task": "Walker Run", "return": "40", "agent": "TD-MPC2", "reached": "3 of 3",
                     "steps": "500", "low": "400", "high": "667"}  # fmt: skip
    assert second["reached"] == "2 of 3"
    assert (second["steps"], second["low"], second["high"]) == ("976", "667", "")


def test_the_figure_has_a_triangle_for_a_seed_that_never_arrives(table):
    panel = sample_efficiency.steps_to_return(table).axes[0]
    assert panel.get_title("left") == "Walker Run, to a return of 40"
    drawn = {line.get_marker(): line for line in panel.lines if list(line.get_ydata())[:1] == [1]}
    np.testing.assert_allclose(drawn["o"].get_xdata(), [1000 * 40 / 41, 1000 * 40 / 60])
    np.testing.assert_allclose(drawn["|"].get_xdata(), [1000 * 40 / 41])
    assert len(drawn[">"].get_xdata()) == 1
    assert drawn[">"].get_xdata()[0] > 1000
    assert max(panel.get_xticks()) <= 1000
