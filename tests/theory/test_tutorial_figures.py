"""Divergences from mixtures against numerical integrals; figures show what they are given."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from pompc.errors import ConfigError
from pompc.figures import tutorials
from pompc.theory import mixtures, tabular
from pompc.theory.gradient_variance import Normal, moment_match

PLANNERS = Normal(np.array([[-0.8], [0.3], [0.9]]), np.array([[0.2], [0.4], [0.15]]))


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    """Draw without a display, and forget the figures."""
    mpl.use("agg")
    yield
    plt.close("all")


def mixture(a: float) -> float:
    """Density of the planners' mixture."""
    pairs = zip(PLANNERS.mean[:, 0], PLANNERS.std[:, 0], strict=True)
    return float(np.mean([stats.norm.pdf(a, mean, std) for mean, std in pairs]))


def integral(function) -> float:
    """Integrate over all actions that matter."""
    return integrate.quad(function, -6.0, 6.0, points=[-0.8, 0.3, 0.9], limit=400)[0]


# Fails if the two arguments of a divergence change places, or the mixture is not an average.
@pytest.mark.parametrize(("mean", "std"), [(0.1, 0.5), (-0.8, 0.2), (0.9, 0.05)])
def test_divergences_equal_numerical_integrals(mean: float, std: float):
    own = stats.norm(mean, std)
    np.testing.assert_allclose(mixtures.density(PLANNERS, np.array([0.4])), mixture(0.4))
    found = {
        name: float(mixtures.objective(name, np.float64(mean), np.float64(std), PLANNERS))
        for name in mixtures.OBJECTIVES
    }
    to_mixture = integrate.quad(
        lambda a: own.pdf(a) * (own.logpdf(a) - np.log(mixture(a))), mean - 8 * std, mean + 8 * std
    )[0]
    assert found["to_mixture"] == pytest.approx(to_mixture, abs=1e-6)
    each = [stats.norm(m, s) for m, s in zip(*(part[:, 0] for part in PLANNERS), strict=True)]
    to_each = [
        integrate.quad(
            lambda a, k=k: own.pdf(a) * (own.logpdf(a) - k.logpdf(a)),
            mean - 8 * std,
            mean + 8 * std,
        )[0]
        for k in each
    ]
    assert found["to_each"] == pytest.approx(np.mean(to_each), rel=1e-6)
    assert found["to_each"] > found["to_mixture"]  # Jensen


def test_the_forward_kl_from_each_and_from_the_mixture_differ_by_a_constant():
    def from_mixture(mean: float, std: float) -> float:
        return integral(
            lambda a: mixture(a) * (np.log(mixture(a)) - stats.norm.logpdf(a, mean, std))
        )

    gaussians = [(0.0, 1.0), (0.5, 0.6), (-0.3, 0.8)]
    differences = [
        float(mixtures.objective("from_each", np.float64(m), np.float64(s), PLANNERS))
        - from_mixture(m, s)
        for m, s in gaussians
    ]
    np.testing.assert_allclose(differences, differences[0], atol=1e-6)
    assert differences[0] > 0.1


def test_a_landscape_finds_the_closed_form_and_every_mode():
    means, stds = np.linspace(-1.2, 1.2, 97), np.linspace(0.05, 1.0, 96)
    covering = mixtures.landscape("from_each", means, stds, PLANNERS)
    expected = moment_match(PLANNERS)
    for found in (*covering.minima(), covering.least()):
        assert abs(found.mean - expected.mean) <= 0.0125
        assert abs(found.std - expected.std) <= 0.005
    assert len(covering.minima()) == 1
    sharp = Normal(PLANNERS.mean, np.full((3, 1), 0.08))
    minima = mixtures.landscape("to_mixture", means, stds, sharp).minima()
    modes = [place for place in minima if place.std < 0.2]
    assert [round(float(mode.mean[0]), 1) for mode in modes] == [-0.8, 0.3, 0.9]


def test_bad_objectives_are_named():
    with pytest.raises(ConfigError, match="unknown objective"):
        mixtures.objective("forward", np.zeros(1), np.ones(1), PLANNERS)
    with pytest.raises(ConfigError, match="planners have shape"):
        mixtures.objective("to_each", np.zeros(1), np.ones(1), Normal(np.ones(3), np.ones(3)))


def test_variance_lines_are_the_table_s_rows_in_order():
    rows = [
        {"parameter": parameter, "estimator": estimator, "reference": reference, "N": n,
         "variance": n + 10 * len(reference) + (parameter == "mean") * 100}
        for parameter in ("mean", "log_std") for estimator in ("score", "closed_form")
        for reference in ("replayed", "unnormalised", "normalised") for n in (4, 1, 2)
        if estimator == "score" or n == 1
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    (axes,) = tutorials.variances({"N": table}).axes
    assert [line.get_xdata().tolist() for line in axes.lines] == [[1, 2, 4]] * 3
    assert axes.lines[1].get_ydata().tolist() == [221, 222, 224]
    bars = tutorials.estimators(table[table["N"] == 1]).axes[0].patches
    assert [bar.get_height() for bar in bars] == [181.0] * 2 + [221.0] * 2 + [201.0] * 2


def test_baselines_mark_constants_on_the_curve():
    constants = np.linspace(-1.0, 1.0, 5)
    axes = tutorials.baselines(constants, constants**2, 0.3, {"here": 0.75}).axes[0]
    mark = next(line for line in axes.lines if line.get_label() == "here")
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (0.75, 0.625)


def test_policies_and_fits_and_curves_are_drawn():
    found = tabular.Iterates(np.zeros((3, 2, 2)), np.arange(12.0).reshape(3, 2, 2))
    axes = tutorials.value_rise(found, np.zeros((2, 2))).axes[0]
    assert axes.lines[3].get_ydata().tolist() == [3.0, 7.0, 11.0]
    curves = tutorials.convergence({"a": np.ones(3)}, "error", np.full(3, 2.0)).axes[0].lines
    assert [line.get_ydata().tolist() for line in curves] == [[1.0] * 3, [2.0] * 3]
    fitted = tutorials.fits(np.arange(3.0), np.ones(3), {"one": np.full(3, 5.0)}).axes[0]
    assert fitted.lines[0].get_ydata().tolist() == [5.0] * 3
    policy = np.tile([0.1, 0.2, 0.3, 0.4], (9, 1))
    drawn = tutorials.grid_policies({"one": policy}, {"one": np.arange(9.0)}, (3, 3)).axes[0]
    assert drawn.get_title() == "one"
    assert [text.get_text() for text in drawn.texts] == ["pit", "goal"]
    arrows = drawn.collections[0]
    np.testing.assert_allclose(
        [arrows.U, arrows.V], 0.45 * np.array([[0, 0.2, 0, -0.4], [0.1, 0, -0.3, 0]])
    )
    surface = mixtures.landscape(
        "from_each", np.linspace(-1, 1, 5), np.linspace(0.1, 1, 4), PLANNERS
    )
    marked = tutorials.landscapes({"one": surface}, {"one": [surface.least()]}).axes[0].lines[0]
    assert marked.get_xdata().tolist() == surface.least().mean.tolist()
