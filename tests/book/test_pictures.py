"""The pictures with sliders on the tutorials: what they draw is what `pompc` computes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from browser import PROGRAM, Browser

from pompc.theory import tabular

BOOK = Path(__file__).parents[2] / "book"
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")


@pytest.fixture
def picture(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Browser:
    """Open a page that has the book's scripts and style, and a tutorial's place for its picture."""
    config = yaml.safe_load((BOOK / "_config.yml").read_text())["sphinx"]["config"]
    addresses = [(BOOK / "_static" / name).as_uri() for name in config["html_js_files"]]
    scripts = "".join(f"<script src='{address}'></script>" for address in addresses)
    style = f"<link rel='stylesheet' href='{(BOOK / '_static/book.css').as_uri()}'>"
    cells = json.loads((BOOK / f"tutorials/{request.param}.ipynb").read_text())["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    (place,) = re.findall(r'^<div class="[\w-]+">.*</div>$', text, re.MULTILINE)
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><meta charset='utf-8'>{style}{scripts}{place}")
    browser.open(page.as_uri())
    return browser


def move(browser: Browser, value: float, returned: str) -> Any:
    """Move the slider to a value, and return an expression's value afterwards."""
    return browser.evaluate(f"""(() => {{
      const slider = document.querySelector('input');
      slider.value = {value};
      slider.dispatchEvent(new Event('input'));
      return {returned};
    }})()""")


def paths(selector: str) -> str:
    """Return an expression for the paths of a class."""
    return f"[...document.querySelectorAll('{selector}')].map(path => path.getAttribute('d'))"


def said(browser: Browser, value: float) -> list[float]:
    """Return the numbers that are printed for a value of the slider."""
    words = move(browser, value, "document.querySelector('output').textContent")
    found = re.findall(r"[−\d.]+|∞", words)
    return [float(one.replace("−", "-").replace("∞", "inf")) for one in found]


def heights(path: str) -> np.ndarray:
    """Return the heights of a line's points, in units of the picture."""
    return np.array([float(point.split(",")[1]) for point in path[1:].split("L")])


@pytest.mark.parametrize("picture", ["from_scratch", "mppi", "policy_iteration"], indirect=True)
def test_a_picture_fits_a_telephone_and_its_slider_says_its_value(picture: Browser):
    for width in (1280, 390):
        picture.resize(width)
        edges = picture.evaluate("""[...document.querySelectorAll('svg, input, button')]
          .map(one => one.getBoundingClientRect()).map(({left, right}) => [left, right])""")
        assert all(left >= 0 and 60 < right <= width for left, right in edges)
    labels = "[...document.querySelectorAll('svg')].map(one => one.getAttribute('aria-label'))"
    assert all(len(label) > 40 for label in picture.evaluate(labels))
    spoken, shown = picture.evaluate("""[document.querySelector('input').ariaValueText,
      document.querySelector('output').textContent]""")
    assert spoken == shown != ""
    assert picture.errors() == []


@pytest.mark.parametrize("picture", ["from_scratch"], indirect=True)
def test_a_small_lambda_lets_the_two_fits_part(picture: Browser):
    """A large λ leaves the prior alone."""
    prior, *far = map(heights, move(picture, 1, paths(".density")))
    assert np.max(np.abs(far - prior)) < 8
    first, *near = map(heights, move(picture, -1, paths(".density")))
    assert np.array_equal(first, prior)
    assert np.max(np.abs(near - prior)) > 40
    assert np.max(np.abs(near[1] - near[2])) > 40


@pytest.mark.parametrize("picture", ["policy_iteration"], indirect=True)
@pytest.mark.parametrize(
    ("exponent", "lam"), [(-2.1, 0.0), (-0.7, 0.2), (0, 1.0), (1.5, 32.0), (2.1, np.inf)]
)
def test_the_grid_shows_the_best_policy_and_its_return(
    picture: Browser, exponent: float, lam: float
):
    mdp = tabular.gridworld(slip=0.3, discount=0.9)
    prior = np.tile([0.1, 0.5, 0.3, 0.1], (16, 1))
    policy = tabular.improve(tabular.optimal_values(mdp, prior, lam), prior, lam)
    value = np.sum(policy * tabular.evaluate(mdp, policy, prior, 0.0), axis=1)
    assert said(picture, exponent) == pytest.approx([lam, value[0]], abs=5.1e-4)
    alive = [cell for cell in range(16) if cell not in tabular.terminal_cells()]
    arrows = move(picture, exponent, paths(".move"))
    lengths = [float(re.findall(r"L([\d.]+),0L", arrow)[0]) - 5 for arrow in arrows]
    np.testing.assert_allclose(np.reshape(lengths, (14, 4)) / 42, policy[alive], atol=1e-6)
    returns = picture.evaluate(
        "[...document.querySelectorAll('.return')].map(one => one.textContent)"
    )
    written = [float(one.replace("−", "-")) for one in returns]
    np.testing.assert_allclose(written, value[alive], atol=5.1e-3)


def pendulum_return(actions: np.ndarray) -> float:
    """Return the discounted return of Gymnasium's pendulum, which hangs at first."""
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.reset(seed=0)
    env.state = np.array([np.pi, 0.0])  # pyright: ignore
    rewards = [float(env.step(np.array([2.0 * action]))[1]) for action in actions]
    return float(0.99 ** np.arange(len(rewards)) @ rewards)


@pytest.mark.parametrize("picture", ["mppi"], indirect=True)
def test_the_iterations_of_mppi_raise_the_return_and_narrow_the_gaussian(picture: Browser):
    numbers = np.array([said(picture, iteration) for iteration in range(6)])
    _, values, stds, shares = numbers.T
    assert values[0] == -179.7  # as the page prints it
    assert shares[0] == pytest.approx(62, abs=2)
    assert np.all(np.diff(values) > 0.3)
    assert np.all(np.diff(stds) < -0.01)
    for iteration, value in enumerate(values):
        (mean,) = move(picture, iteration, paths(".mean"))
        actions = (160 - heights(mean)) / 65
        assert pendulum_return(actions) == pytest.approx(value, abs=0.2)


@pytest.mark.parametrize("picture", ["mppi"], indirect=True)
def test_the_mean_lies_among_the_elites_and_other_draws_give_another(picture: Browser):
    drawn, elites = move(picture, 0, paths(".draws, .elites"))
    assert (drawn.count("M"), elites.count("M")) == (128 * 20, 16)
    (mean,) = map(heights, move(picture, 1, paths(".mean")))
    lines = np.array([heights(f"M{line}") for line in elites.split("M")[1:]])
    assert np.all((lines.min(axis=0) <= mean + 0.1) & (mean - 0.1 <= lines.max(axis=0)))
    picture.evaluate("document.querySelector('button').click()")
    (other,) = map(heights, picture.evaluate(paths(".mean")))
    assert np.max(np.abs(other - mean)) > 20
