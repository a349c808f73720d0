"""Figures: what is drawn is what the table says."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import written
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pompc import figures, results
from pompc.errors import ConfigError
from pompc.figures import __main__ as command_line
from pompc.figures import (
    curves,
    episode_rewards,
    learning_curve,
    overview,
    public_code,
    registry,
    seed_statistics,
    style,
)
from pompc.runs import files
from pompc.settings.methods import METHODS


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


def test_agents_with_other_settings_are_drawn_apart():
    """As `load_runs` returns them: a column a setting, and one in which no agents differ."""
    table = pd.concat([runs(2).assign(horizon=length, critic="q") for length in (3, 5)])
    axes = learning_curve(table).axes[0]
    labels = [line.get_label() for line in axes.lines if len(np.asarray(line.get_xdata()))]
    assert labels[::2] == [
        f"pompc, λ = 1, reverse_kl, horizon = {length}: planner" for length in (3, 5)
    ]


def test_several_tasks_are_refused():
    table = pd.concat([runs(1), runs(1).assign(task="dog-walk")])
    with pytest.raises(ConfigError, match="one task"):
        learning_curve(table)


def test_rewards_of_episodes_stand_in_rows_of_their_agent():
    rows = [
        {"agent": agent, "episode": episode, "decision": decision, "task": "dog-run",
         "method": "pompc", "lam": 1.0, "prior": "reverse_kl", "seed": agent, "env_step": 2000,
         "reward": 100 * agent + 10 * episode + decision}
        for agent in (0, 1) for episode in (0, 1, 2) for decision in range(4 + 2 * episode)
    ]  # fmt: skip
    axes = episode_rewards(pd.DataFrame(rows)).axes[0]
    shown = axes.images[0].get_array()
    assert shown is not None
    assert shown.shape == (6, 8)
    assert shown[4].compressed().tolist() == [110, 111, 112, 113, 114, 115]
    assert axes.get_yticks().tolist() == [1.5, 4.5]
    assert axes.get_yticklabels()[1].get_text() == "pompc, λ = 1, reverse_kl\nseed 1"
    assert axes.get_title() == "dog-run: 3 episodes an agent after 2,000 steps"


def line(axes: Axes, label: str) -> Line2D:
    """Return the curve with a label."""
    (found,) = [drawn for drawn in axes.lines if drawn.get_label() == label]
    return found


def panel(figure: Figure, title: str) -> Axes:
    """Return the panel with a title."""
    (found,) = [axes for axes in figure.axes if axes.get_title() == title]
    return found


def texts(axes: Axes) -> str:
    """Return what is written into a panel, on one line."""
    return " ".join(" ".join(text.get_text() for text in axes.texts).split())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    """Return results of two HumanoidBench tasks, one dog and one task that the paper lacks."""
    root = tmp_path_factory.mktemp("top") / "runs"
    priors = [("pompc", 1.0, "replay"), ("pompc", 1.0, "forward_kl")]
    agents = [("tdmpc2", 0.0, "reverse_kl"), *written.AGENTS, *priors]
    for task in ("h1hand-walk", "h1hand-stair"):
        written.write_run(root / "paper" / task, task, agents, seeds=(0, 1, 2))
    written.write_run(root / "paper" / "dog", "dog-run", written.AGENTS, seeds=(0, 1))
    written.write_run(root / "paper" / "hopper", "hopper-stand", written.AGENTS)
    return results.collect("paper", root)


def draw(name: str, found: results.Results, **others: pd.DataFrame) -> Figure:
    """Draw a figure that has runs."""
    figure = figures.draw(name, found, **others)
    assert figure is not None
    return figure


def titles(figure: Figure) -> list[str]:
    """Return the titles of the panels that are seen."""
    return [axes.get_title() for axes in figure.axes if axes.get_visible()]


def test_figure_2_has_a_panel_for_each_task_that_was_run_and_one_for_their_average(
    found: results.Results,
):
    assert titles(draw("figure_2", found)) == ["Average of 2 tasks", "Stair", "Walk"]
    _, caption = figures.show("figure_2", found)
    assert "Not run: Balance Hard, Balance Simple, Crawl, Hurdle" in str(caption)
    assert "Walk" not in str(caption)


def test_figure_2_draws_means_and_says_which_methods_are_not_run(found: results.Results):
    figure = draw("figure_2", found)
    walk = panel(figure, "Walk")
    # 10 seed + 500 step / (step + 20 000) + 5 λ, of seeds 0 to 2.
    steps = np.arange(0, 40_001, 10_000)
    expected = 10.0 + 500.0 * steps / (steps + 20_000) + 5.0
    np.testing.assert_allclose(line(walk, "PO-MPC, λ = 1").get_xydata(), np.c_[steps, expected])
    average = panel(figure, "Average of 2 tasks")
    np.testing.assert_allclose(line(average, "PO-MPC, λ = 1").get_ydata(), expected)
    assert texts(walk) == "not run: BMPC"


def test_bands_reach_no_further_than_the_seeds(found: results.Results):
    walk = panel(draw("figure_2", found), "Walk")
    (path,) = walk.collections[0].get_paths()
    at_start = path.vertices[path.vertices[:, 0] == 0.0][:, 1]
    # Returns 0, 10 and 20 of TD-MPC2's seeds at step 0.
    assert (at_start.min(), at_start.max()) == (0.0, 20.0)


def test_an_average_is_over_tasks_that_its_agents_have_run(found: results.Results):
    table = found.returns
    hole = (table["task"] == "h1hand-walk") & (table["method"] == "tdmpc2")
    figure = draw("figure_2", found._replace(returns=table.loc[~hole]))
    average = panel(figure, "Average of 2 tasks")
    assert [drawn.get_label() for drawn in average.lines] == [
        "PO-MPC, λ = 0.1", "PO-MPC, λ = 1", "PO-MPC, λ = 9",
    ]  # fmt: skip
    assert texts(average) == "not run on all of them: TD-MPC2"


def test_of_all_choices_the_one_with_most_pairs_of_agent_and_task_is_shared():
    ran = {"a": "xyz", "b": "xyz", "c": "xy", "d": "xy", "e": "y"}
    table = pd.DataFrame(
        [{"method": agent, "lam": 0.0, "prior": "", "task": task}
         for agent, own in ran.items() for task in own]
    )  # fmt: skip
    shared, rows = curves.shared(table, ["z", "y", "x"])
    assert shared == ["y", "x"]  # 8 pairs; a and b share three tasks, but these are 6
    assert set(rows["method"]) == {"a", "b", "c", "d"}
    assert len(rows) == 8
    assert curves.shared(table.iloc[:0], ["x"])[0] == []
    alone, _ = curves.shared(table.query("method == 'a'"), ["x", "y", "w"])
    assert alone == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "dashed", "row"),
    [("figure_3", "replayed planner", "Average of 2 tasks"), ("figure_4", "forward KL", "Stair")],
)
def test_priors_are_compared_where_both_were_run(
    name: str, dashed: str, row: str, found: results.Results
):
    figure = draw(name, found)
    middle = panel(figure, f"{row}, λ = 1")
    labels = [drawn.get_label() for drawn in middle.lines]
    assert labels == ["PO-MPC, λ = 1", f"PO-MPC, λ = 1, {dashed}"]
    assert middle.lines[1].get_linestyle() != "-"
    assert {title.rpartition(", ")[2] for title in titles(figure)} == {"λ = 1"}


def test_every_weight_has_its_column_where_all_were_run(tmp_path: Path):
    both = [*written.AGENTS, *(("pompc", lam, "replay") for lam in (0.1, 1.0, 9.0))]
    for task in ("h1hand-walk", "h1hand-balance_simple"):
        written.write_run(tmp_path / "paper" / task, task, both)
    figure = draw("figure_3", results.collect("paper", tmp_path))
    weights = ("λ = 0.1", "λ = 1", "λ = 9")
    rows = ("Average of 2 tasks", "Balance Simple")
    assert titles(figure) == [f"{row}, {weight}" for row in rows for weight in weights]
    assert figure.axes[0].get_gridspec().ncols == 3


def test_figures_6_and_8_show_every_task_with_both_priors(found: results.Results):
    for name in ("figure_6", "figure_8"):
        figure = draw(name, found)
        assert titles(figure) == ["Average of 2 tasks", "Stair", "Walk"]
        assert len(panel(figure, "Walk").lines) == 2


def test_figure_7_draws_mean_and_std_of_the_kl_on_log_axes(found: results.Results):
    axes = draw("figure_7", found).axes
    assert [one.get_title() for one in axes] == ["Stair", "Stair", "Walk", "Walk"]
    assert [one.get_ylabel() for one in axes[:2]] == ["mean KL, nats", "std of KL, nats"]
    assert {one.get_yscale() for one in axes} == {"log"}
    mean, std = (line(one, "PO-MPC, λ = 1, replayed planner").get_ydata() for one in axes[:2])
    np.testing.assert_allclose(mean, 35.0)  # 34 + seed, of seeds 0 to 2; step 0 has none
    np.testing.assert_allclose(std, 70.0)
    np.testing.assert_allclose(line(axes[0], "PO-MPC, λ = 1").get_ydata(), 5.0)


def test_a_run_without_an_update_has_no_kl_to_draw(found: results.Results):
    seeding = found._replace(metrics=found.metrics.query("env_step == 0"))
    assert figures.draw("figure_7", seeding) is None
    nothing = found.metrics.drop(columns=["kl_mean", "kl_std"])
    assert figures.draw("figure_7", found._replace(metrics=nothing)) is None


def test_published_curves_end_at_their_first_point_beyond_ours(found: results.Results):
    published = pd.DataFrame({
        "method": "bmpc", "task": "dog-run", "env_step": [0, 100_000, 200_000],
        "return": [1.0, 2.0, 3.0], "low": [0.0, 1.0, 2.0], "high": [2.0, 3.0, 4.0],
    })  # fmt: skip
    figure = draw("figure_5", found, published=published)
    assert line(panel(figure, "Dog Run"), "BMPC, published").get_xdata()[-1] == 100_000


def test_small_tasks_have_panels_where_agents_can_be_compared(tmp_path: Path):
    both = [*written.AGENTS, ("pompc", 1.0, "replay"), ("tdmpc2", 0.0, "reverse_kl")]
    for task in ("hopper-stand", "walker-run"):
        written.write_run(tmp_path / "small" / task, task, both, seeds=(0, 1))
    written.write_run(tmp_path / "small" / "alone", "walker-walk", [("pompc", 1.0, "replay")])
    small = results.collect("small", tmp_path)
    average = "Average of 2 tasks"
    assert titles(draw("small_tasks_returns", small)) == [average, "Hopper Stand", "Walker Run"]
    assert titles(draw("small_tasks_prior_or_replay", small)) == [
        f"{average}, λ = 1", "Hopper Stand, λ = 1", "Walker Run, λ = 1",
    ]  # fmt: skip
    assert titles(draw("small_tasks_kl_term", small)) == [
        *["Hopper Stand"] * 2, *["Walker Run"] * 2,
    ]  # fmt: skip
    assert figures.draw("small_tasks_kl_direction", small) is None
    assert "Small tasks" in str(figures.show("small_tasks_returns", small)[1])
    assert figures.draw("figure_5", small) is None


def test_one_agent_alone_is_drawn_and_compared_with_none(tmp_path: Path):
    written.write_run(tmp_path / "own", "walker-walk")
    alone = results.collect(str(tmp_path / "own"))
    assert titles(draw("small_tasks_returns", alone)) == ["Walker Walk"]
    assert figures.draw("small_tasks_prior_or_replay", alone) is None
    assert figures.draw("planner_over_policy", alone) is None


def test_the_planner_s_lead_is_drawn_seed_by_seed_over_lambda():
    table = runs(seeds=3, lams=(0.0, 1.0, math.inf))
    ahead = (table["lam"] == 0.0) & (table["env_step"] == 200)
    table.loc[ahead, "return_policy"] -= 10.0 * table.loc[ahead, "seed"]
    (panel,) = overview.planner_over_policy(overview.weights(table)).axes
    points, bars = panel.lines[1::2], panel.lines[2::2]  # after the line at zero
    assert [list(map(float, line.get_ydata())) for line in points] == [
        [5.0, 15.0, 25.0], [5.0] * 3, [5.0] * 3,
    ]  # fmt: skip
    assert [float(line.get_ydata()[0]) for line in bars] == [15.0, 5.0, 5.0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "1", "∞"]
    assert overview.weights(runs(seeds=3, lams=(1.0, 9.0))).empty  # without λ = 0


def test_coverage_has_a_cell_for_each_agent_and_task_that_was_run(found: results.Results):
    (panel,) = draw("coverage", found).axes
    agents = [label.get_text() for label in panel.get_yticklabels()]
    columns = [label.get_text().replace("\n", " ") for label in panel.get_xticklabels()]
    assert columns == ["Stair", "Walk", "Dog Run", "Hopper Stand"]
    cells = {}
    for text in panel.texts:
        column, row = map(int, text.get_position())
        cells[agents[row], columns[column]] = text.get_text()
    assert cells["TD-MPC2", "Walk"] == "3 × 40k"
    assert cells["PO-MPC, λ = 9", "Dog Run"] == "2 × 40k"
    assert ("TD-MPC2", "Dog Run") not in cells
    assert len(cells) == 2 * 6 + 3 + 3


def test_every_agent_looks_the_same_in_every_figure_and_unlike_the_others():
    assert style.look("tdmpc2", 0.0, "replay") == style.look("tdmpc2", 0.0, "reverse_kl")
    assert style.look("pompc", 0.0, "replay") == style.look("pompc", 0.0, "reverse_kl")
    looks = [style.look("pompc", lam, prior)
             for lam in (0.1, 0.5, 1.0, 9.0, math.inf)
             for prior in ("reverse_kl", "replay", "forward_kl")]  # fmt: skip
    assert len({(one.color, str(one.dash)) for one in looks}) == len(looks)
    assert len({one.color for one in looks}) == len(looks)


# Machado, Oliveira and Fernandes (2009): linear RGB as protanopes and deuteranopes see it.
EYES = {
    "all": np.eye(3),
    "without red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                             [-0.003882, -0.048116, 1.051998]]),
    "without green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                               [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip


def linear(color: str) -> np.ndarray:
    """Return linear RGB of a colour."""
    values = np.array(to_rgb(color))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* of linear RGB."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = np.array(to_xyz) @ rgb / np.array([0.9505, 1.0, 1.089])
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", EYES)
def test_colours_of_a_figure_differ_for_all_eyes(eyes: str):
    baselines = ("tdmpc2", "bmpc", "bmpc_v3", "bmpc_jax")
    methods = [(name, math.inf) for name in baselines]
    weights = [("pompc", lam) for lam in (0.0, 0.1, 1.0, 9.0, math.inf)]
    colors = [style.look(method, lam, "reverse_kl").color for method, lam in methods + weights]
    seen = [lab(np.clip(EYES[eyes] @ linear(color), 0, 1)) for color in colors]
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(one - other) > 15  # 2.3 is a just noticeable difference


def test_colours_stand_out_from_the_background():
    for method, lam in [(name, 0.0) for name in METHODS] + [("pompc", lam) for lam in (0.1, 9.0)]:
        luminance = linear(style.look(method, lam, "reverse_kl").color) @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) >= 3.0  # WCAG 2.1, 1.4.11


def test_figure_1_draws_what_the_divergences_fit():
    loop, reverse, forward, weight = figures.figure_1().axes
    assert "Planner" in texts(loop)
    assert "λ = ∞" in texts(weight)
    means, stds = np.array([-1.5, -1.0, 1.4]), np.array([0.3, 0.5, 0.8])
    # The precision-weighted mean with the mean precision, and the moments of the mixture.
    precisions = stds**-2
    narrow = np.average(means, weights=precisions), precisions.mean() ** -0.5
    wide = means.mean(), math.sqrt(np.mean(stds**2) + means.var())
    for axes, (mean, std) in ((reverse, narrow), (forward, wide)):
        x, y = line(axes, "adaptive prior").get_data()
        density = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2.0 * math.pi))
        np.testing.assert_allclose(y, density, atol=0.02)  # the eye sees less


def test_iqm_curve_is_of_normalised_scores(found: results.Results):
    figure = draw("iqm", found)
    bench = panel(figure, "Stair, Walk")
    last = line(bench, "TD-MPC2").get_ydata()[-1]
    returns = [10 * seed + 500 * 40 / 60 for seed in range(3)]
    # Walk and stair count from a random agent's return to 700; a quarter of six is cut as one.
    random = [4.6236, 6.5175]
    scores = sorted((value - low) / (700 - low) for value in returns for low in random)[1:-1]
    assert last == pytest.approx(np.mean(scores))
    assert line(panel(figure, "Hopper Stand"), "PO-MPC, λ = 9")
    assert titles(figure) == ["Stair, Walk", "Dog Run", "Hopper Stand"]


def test_profile_falls_where_the_runs_end(found: results.Results):
    other = line(panel(draw("performance_profiles", found), "Hopper Stand"), "PO-MPC, λ = 1")
    score = (500 * 40 / 60 + 5) / 1000
    above = np.asarray(other.get_xdata()) < score
    np.testing.assert_allclose(np.asarray(other.get_ydata()), above)


def test_wall_clock_is_in_hours(found: results.Results):
    (axes,) = seed_statistics.wall_clock(found.returns.query("task == 'dog-run'")).axes
    drawn = line(axes, "PO-MPC, λ = 1")
    assert drawn.get_xdata()[-1] == pytest.approx((400.0 + 0.5) / 3600)  # seeds 0 and 1
    timing = figures.timing(found.returns).set_index(["task", "agent"])
    assert timing.loc[("dog-run", "PO-MPC, λ = 1"), "agents in a program"] == 6


def test_aggregates_are_of_suites_with_runs_and_of_each_task_s_own_end(found: results.Results):
    table = figures.aggregates(found.returns).set_index(["suite", "agent"])
    assert table.loc[("DMControl", "λ = 1"), "runs"] == 2
    assert set(table["tasks"]) == {1, 2}
    few = figures.aggregates(found.returns.query("task == 'hopper-stand'"))
    assert set(few["suite"]) == {"small tasks"}
    longer = found.returns.query("task == 'hopper-stand'").assign(task="walker-run")
    longer = longer.assign(**{"env_step": 2 * longer["env_step"], "return": 1000.0})
    both = pd.concat([found.returns.query("task == 'hopper-stand'"), longer])
    (mean,) = figures.aggregates(both).query("agent == 'λ = 1'")["mean"]
    assert mean == f"{(1.0 + (500 * 40 / 60 + 5) / 1000) / 2:.3f}"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a folder of runs of two tasks."""
    for task in ("hopper-stand", "walker-run"):
        written.write_run(tmp_path / "own" / task, task, written.AGENTS)
    return tmp_path / "own"


NAMES = ("figure_1", "figure_5", "small_tasks_returns", "last_returns")


def make(runs: Path, folder: Path) -> dict[str, bool]:
    """Draw a few figures of a folder of runs."""
    return command_line.make(results.collect(str(runs)), folder, NAMES)


def test_figures_are_the_same_bytes_in_another_process_with_other_settings(
    own: Path, tmp_path: Path
):
    with mpl.rc_context({"font.size": 20.0, "lines.linewidth": 9.0, "svg.hashsalt": None}):
        make(own, tmp_path / "here")
    command = [sys.executable, "-m", "pompc.figures", *NAMES, "--profile", str(own)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "there")], check=True, capture_output=True, text=True
    )
    assert "figure_5: not run\nsmall_tasks_returns: drawn\n" in done.stdout
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "there").iterdir())
    assert len(names) == 3 * 2 + 1  # each SVG and PNG, and the manifest
    for name in names:
        here, there = (tmp_path / where / name for where in ("here", "there"))
        assert here.read_bytes() == there.read_bytes(), name


def test_a_notebook_gets_the_svg(own: Path):
    (figure, _) = figures.show("small_tasks_returns", results.collect(str(own)))
    with mpl.rc_context({"font.size": 20.0}):
        shown = figure._repr_svg_()  # pyright: ignore
    assert shown.count("</svg>") == 1
    assert not hasattr(figure, "_repr_png_")


def test_a_figure_without_runs_goes_with_them(own: Path, tmp_path: Path):
    folder = tmp_path / "figures"
    assert make(own, folder) == {name: name != "figure_5" for name in NAMES}
    entry = command_line.read(folder)["small_tasks_returns"]
    assert list(entry["runs"]) == ["own/hopper-stand", "own/walker-run"]
    shutil.rmtree(own / "walker-run")
    make(own, folder)
    assert list(command_line.read(folder)["small_tasks_returns"]["runs"]) == ["own/hopper-stand"]
    shutil.rmtree(own / "hopper-stand")
    assert make(own, folder) == {name: name == "figure_1" for name in NAMES}
    assert {path.name for path in folder.iterdir()} == {
        "figure_1.png", "figure_1.svg", "manifest.json",
    }  # fmt: skip


def test_manifest_leads_from_a_figure_to_its_function_and_runs(own: Path, tmp_path: Path):
    make(own, tmp_path)
    entry = command_line.read(tmp_path)["small_tasks_returns"]
    assert entry["function"] == "pompc.figures.comparisons.returns"
    digests = {f"own/{run.name}": results.digest(run) for run in sorted(own.iterdir())}
    assert entry["runs"] == digests
    names = {path: files.checksum(tmp_path / path) for path in entry["files"]}
    assert entry["files"] == names
    assert set(names) == {"small_tasks_returns.svg", "small_tasks_returns.png"}


def test_shipped_figures_are_those_of_the_shipped_runs():
    folder = Path(__file__).parents[2] / "figures" / "small"
    small = results.collect("small")
    without_data = {name for name, one in registry.FIGURES.items() if not one.table}
    expected = without_data | {
        name for name in registry.FIGURES if len(registry.drawn(name, small))
    }
    entries = command_line.read(folder)
    assert set(entries) == expected
    named = {name for entry in entries.values() for name in entry["files"]}
    assert {path.name for path in folder.iterdir()} == named | {"manifest.json"}
    for name, entry in entries.items():
        drawn = set(registry.drawn(name, small)["run"])
        assert entry["runs"] == {run: small.digests[run] for run in sorted(drawn)}, name


@pytest.mark.parametrize("name", [name for name, one in registry.FIGURES.items() if one.table])
def test_a_figure_without_runs_is_one_line(name: str):
    nothing = results.collect("paper", Path("no such folder"))
    assert figures.draw(name, nothing) is None
    (line,) = map(str, figures.show(name, nothing))
    assert ": not run." in line
    assert "`python -m pompc.sweep sweeps/" in line
    assert ("hours of one H200" in line) == name.startswith("figure_")


def test_figures_without_runs_share_a_line(found: results.Results):
    (line,) = map(str, figures.show(["figure_2", "figure_5"], found._replace(
        returns=found.returns.iloc[:0])))  # fmt: skip
    assert line == (
        "*Figure 2 and Figure 5: not run. 0 of 21 tasks are done; all agents of them would take an "
        "estimated 611 hours of one H200:* `python -m pompc.sweep sweeps/paper.yaml`"
    )
    assert len(figures.show(["figure_2", "figure_5"], found)) == 4


def test_command_line_says_what_is_wrong(own: Path, capsys: pytest.CaptureFixture[str]):
    for words, sentence in (
        (["--profile", "smal"], "profile is 'smal', .*; did you mean 'small'"),
        (["figure_9", "--profile", str(own)], "no figure 'figure_9'"),
        (["figure_1", "--profile", str(own), "--published", "none.json"], "nothing is there"),
    ):
        with pytest.raises(SystemExit) as ended:
            command_line.main(words)
        assert ended.value.code == 2
        assert re.search(sentence, capsys.readouterr().err)


def test_figures_do_not_import_jax():
    code = "import sys, pompc.figures, pompc.results; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_seed_s_last_return_is_a_point_and_the_mean_a_bar():
    table = runs(seeds=3, lams=(1.0, math.inf))
    unfinished = (table["lam"] == 1.0) & (table["seed"] == 2) & (table["env_step"] == 200)
    table = table.loc[~unfinished]  # so that λ = 1 is compared at 100 steps
    (panel,) = overview.last_returns(table).axes
    assert panel.get_title(loc="left") == "Dog Run, after 0.1k to 0.2k environment steps"
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels == ["PO-MPC, λ = 1", "PO-MPC, λ = ∞"]
    points, bars = panel.lines[::2], panel.lines[1::2]
    places = [sorted(zip(*line.get_data(), strict=True)) for line in points]
    assert places == [[(110, 0), (111, 0), (112, 0)], [(290, 1), (291, 1), (292, 1)]]
    assert [list(map(tuple, zip(*line.get_data(), strict=True))) for line in bars] == [
        [(111, 0)], [(291, 1)],
    ]  # fmt: skip
    assert panel.yaxis_inverted()
    (first, _) = figures.returns_by_seed(table).to_dict("records")
    assert first == {"task": "Dog Run", "agent": "λ = 1", "step": 100, "mean": "111",
                     "seeds": "110, 111, 112"}  # fmt: skip


def test_seeds_are_shown_of_tasks_that_several_agents_ran_if_there_are_any():
    alone = runs(seeds=1).assign(task="walker-walk")
    assert set(overview.compared_or_all(alone)["task"]) == {"walker-walk"}
    both = pd.concat([alone, runs(seeds=2, lams=(1.0, 3.0))])
    assert set(overview.compared_or_all(both)["task"]) == {"dog-run"}
    assert overview.compared_or_all(alone.iloc[:0]).empty


def test_bars_of_speed_are_the_benchmark_s_and_stand_beside_the_right_peer():
    panels = public_code.decisions_per_second().axes
    assert len(panels) == len(public_code.TABLES)
    for panel, path in zip(panels, public_code.TABLES, strict=True):
        rows = json.loads(path.read_text())["rows"]
        bars = [bar.get_width() for bar in panel.patches]
        assert sorted(bars) == sorted(row["decisions_per_s"] for row in rows)
        rates = dict(
            zip([label.get_text() for label in panel.get_yticklabels()], bars, strict=True)
        )
        told = dict(zip(rates, [text.get_text().split() for text in panel.texts], strict=True))
        for name, rate in rates.items():
            peer = "tdmpc2-jax" if name.startswith("λ = 0") else "bmpc-jax"
            ours = name.startswith("λ")
            times = [f"{rate / rates[peer]:.1f}", "×"] if ours and peer in rates else []
            assert told[name] == [f"{rate:.3g}", *times]


def test_scores_are_printed_as_a_matrix_of_runs_and_tasks(own: Path, capsys):
    """The last score of each seed, divided by 1000, for each agent and task."""
    command_line.main(["scores", "--json", "--profile", str(own)])
    (suite,) = json.loads(capsys.readouterr().out).values()
    returns = results.collect(str(own)).returns.sort_values("env_step")
    last = returns.groupby(["method", "lam", "prior", "task", "seed"])["return"].last()
    assert suite["scores"]
    for agent, matrix in suite["scores"].items():
        assert np.shape(matrix)[1] == len(suite["tasks"])
        keys = (key for key, _ in curves.agents(returns) if style.look(*key).label == agent)
        found = last[next(keys)[:3]].unstack("task")[suite["tasks"]].to_numpy()[: len(matrix)]
        np.testing.assert_allclose(np.array(matrix) * 1000, found)
    command_line.main(["scores", "--profile", str(own)])
    assert "optimality gap" in capsys.readouterr().out
