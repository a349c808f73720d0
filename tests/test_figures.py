"""Figures: what is drawn is what the table says."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

from pompc.errors import ConfigError
from pompc.figures import learning_curve


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    """Draw without a display, and forget the figures."""
    mpl.use("agg")
    yield
    plt.close("all")


def runs(seeds: int, lams: tuple[float, ...] = (1.0,)) -> pd.DataFrame:
    """Return evaluations at 0, 100 and 200 steps: 10 λ + seed + step, the policy 5 lower."""
    rows = [
        {"task": "dog-run", "method": "pompc", "lam": lam, "prior": "reverse_kl", "seed": seed,
         "env_step": step, "return": 10 * min(lam, 9) + seed + step,
         "return_policy": 10 * min(lam, 9) + seed + step - 5}
        for lam in lams for seed in range(seeds) for step in (0, 100, 200)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_lines_are_means_over_seeds_and_dashed_without_the_planner():
    axes = learning_curve(runs(seeds=3)).axes[0]
    planner, policy = axes.lines[:2]
    assert np.array_equal(planner.get_xdata(), [0, 100, 200])
    np.testing.assert_allclose(np.asarray(planner.get_ydata()), [11, 111, 211])
    np.testing.assert_allclose(np.asarray(policy.get_ydata()), [6, 106, 206])
    assert planner.get_linestyle() == "-"
    assert policy.get_linestyle() == "--"
    assert axes.get_xlabel() == "environment steps"
    assert axes.get_ylabel() == "return"
    assert axes.get_title() == "dog-run: mean and 95 % interval of 3 seeds"


@pytest.mark.parametrize(("seeds", "bands"), [(1, 0), (3, 2)])
def test_intervals_need_several_seeds(seeds: int, bands: int):
    axes = learning_curve(runs(seeds)).axes[0]
    assert sum(isinstance(drawn, PolyCollection) for drawn in axes.collections) == bands


def test_agents_have_a_colour_and_a_name_each():
    table = runs(1, lams=(0.1, float("inf")))
    axes = learning_curve(table).axes[0]
    lines = [line for line in axes.lines if len(np.asarray(line.get_xdata()))]
    assert [line.get_label() for line in lines] == [
        "pompc, λ = 0.1, reverse_kl: planner",
        "pompc, λ = 0.1, reverse_kl: sampling policy alone",
        "pompc, λ = ∞, reverse_kl: planner",
        "pompc, λ = ∞, reverse_kl: sampling policy alone",
    ]
    assert len({line.get_color() for line in lines}) == 2


def test_several_tasks_are_refused():
    table = pd.concat([runs(1), runs(1).assign(task="dog-walk")])
    with pytest.raises(ConfigError, match="one task"):
        learning_curve(table)
