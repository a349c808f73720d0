"""Figures: what is drawn is what the table says."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
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
    episode_rewards,
    first_figure,
    learning_curve,
    manifest,
    registry,
    seed_returns,
    speed,
    style,
    tasks,
)
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


def test_figure_2_has_a_panel_for_each_task_and_one_for_the_average(found: results.Results):
    axes = figures.figure_2(found.returns).axes
    titles = [one.get_title() for one in axes if one.get_visible()]
    assert titles == ["Average of 2 of 13 tasks", *map(tasks.title, tasks.HUMANOIDBENCH)]


def test_figure_2_draws_means_and_says_what_is_not_run(found: results.Results):
    figure = figures.figure_2(found.returns)
    walk = panel(figure, "Walk")
    # 10 seed + 500 step / (step + 20 000) + 5 λ, of seeds 0 to 2.
    steps = np.arange(0, 40_001, 10_000)
    expected = 10.0 + 500.0 * steps / (steps + 20_000) + 5.0
    np.testing.assert_allclose(line(walk, "PO-MPC, λ = 1").get_xydata(), np.c_[steps, expected])
    average = panel(figure, "Average of 2 of 13 tasks")
    np.testing.assert_allclose(line(average, "PO-MPC, λ = 1").get_ydata(), expected)
    assert texts(walk) == "not run: BMPC"
    assert texts(panel(figure, "Pole")) == "not run"
    assert not panel(figure, "Pole").lines


def test_band_is_students_interval(found: results.Results):
    walk = panel(figures.figure_2(found.returns), "Walk")
    (path,) = walk.collections[0].get_paths()
    at_start = path.vertices[path.vertices[:, 0] == 0.0][:, 1]
    # Returns 0, 10 and 20 of TD-MPC2's seeds at step 0: 10 ± 4.303 · 10 / sqrt(3).
    assert at_start.min() == pytest.approx(10.0 - 24.841, abs=1e-3)
    assert at_start.max() == pytest.approx(10.0 + 24.841, abs=1e-3)


def test_an_average_is_over_the_tasks_that_all_agents_have_run(found: results.Results):
    table = found.returns
    hole = (table["task"] == "h1hand-walk") & (table["method"] == "tdmpc2")
    figure = figures.figure_2(table.loc[~hole])
    average = panel(figure, "Average of 1 of 13 tasks")
    assert len(average.lines) == 4
    apart = table.loc[(table["task"] == "h1hand-walk") ^ (table["method"] == "tdmpc2")]
    assert "of every method" in texts(panel(figures.figure_2(apart), "Average"))


@pytest.mark.parametrize(
    ("draw", "dashed", "row"),
    [
        (figures.figure_3, "replayed planner", "Balance Simple"),
        (figures.figure_4, "forward KL", "Stair"),
    ],
)
def test_priors_are_compared_at_each_weight(
    draw: Callable[..., Figure], dashed: str, row: str, found: results.Results
):
    figure = draw(found.returns)
    middle = panel(figure, "Average of 2 of 13 tasks, λ = 1")
    labels = [drawn.get_label() for drawn in middle.lines]
    assert labels == ["PO-MPC, λ = 1", f"PO-MPC, λ = 1, {dashed}"]
    assert middle.lines[1].get_linestyle() != "-"
    assert f"not run: λ = 9, {dashed}" in texts(panel(figure, "Average of 2 of 13 tasks, λ = 9"))
    assert panel(figure, f"{row}, λ = 0.1")


def test_figures_6_and_8_show_every_task(found: results.Results):
    for draw, word in ((figures.figure_6, "replayed planner"), (figures.figure_8, "forward KL")):
        walk = panel(draw(found.returns), "Walk")
        assert len(walk.lines) == 4
        assert texts(walk) == f"not run: λ = 0.1, {word}; λ = 9, {word}"


def test_figure_7_draws_mean_and_std_of_the_kl(found: results.Results):
    axes = figures.figure_7(found.metrics, ["h1hand-walk"]).axes
    assert [one.get_ylabel() for one in axes] == ["mean KL, nats", "std of KL, nats"]
    mean, std = (line(one, "PO-MPC, λ = 1, replayed planner").get_ydata() for one in axes)
    np.testing.assert_allclose(mean, 35.0)  # 34 + seed, of seeds 0 to 2; step 0 has none
    np.testing.assert_allclose(std, 70.0)
    np.testing.assert_allclose(line(axes[0], "PO-MPC, λ = 1").get_ydata(), 5.0)


def test_a_run_without_an_update_has_no_kl_to_draw(found: results.Results):
    seeding = found.metrics.query("env_step == 0")
    assert texts(figures.figure_7(seeding, ["h1hand-walk"]).axes[0]) == "not run"


def test_published_curves_end_at_their_first_point_beyond_ours(found: results.Results):
    curves = pd.DataFrame({
        "method": "bmpc", "task": "dog-run", "env_step": [0, 100_000, 200_000],
        "return": [1.0, 2.0, 3.0], "low": [0.0, 1.0, 2.0], "high": [2.0, 3.0, 4.0],
    })  # fmt: skip
    figure = figures.figure_5(found.returns, published=curves)
    assert line(panel(figure, "Dog Run"), "BMPC, published").get_xdata()[-1] == 100_000
    elsewhere = curves.assign(task="dog-walk")
    walk = panel(figures.figure_5(found.returns, published=elsewhere), "Dog Walk")
    assert line(walk, "BMPC, published").get_xdata()[-1] == 200_000
    assert texts(walk).startswith("not run; ")


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


def test_overview_draws_what_the_divergences_fit():
    # Against a search over a grid of Gaussians, with the closed form of their KL.
    def kl(p: tuple[float, float], q: tuple[float, float]) -> float:
        return math.log(q[1] / p[1]) + (p[1] ** 2 + (p[0] - q[0]) ** 2) / (2 * q[1] ** 2) - 0.5

    plans = [(-1.0, 0.3), (0.5, 0.6), (1.5, 0.9)]
    grid = list(itertools.product(np.linspace(-2, 2, 201), np.linspace(0.2, 2, 181)))
    forward = min(grid, key=lambda one: sum(kl(plan, one) for plan in plans))
    reverse = min(grid, key=lambda one: sum(kl(one, plan) for plan in plans))
    assert first_figure.forward_fit(plans) == pytest.approx(forward, abs=0.011)
    assert first_figure.reverse_fit(plans) == pytest.approx(reverse, abs=0.011)
    assert len(figures.figure_1().axes) == 4


def test_iqm_curve_is_of_normalised_scores(found: results.Results):
    figure = figures.iqm_curves(found.returns)
    bench = panel(figure, "HumanoidBench without Reach: 2 of 13")
    last = line(bench, "TD-MPC2").get_ydata()[-1]
    returns = [10 * seed + 500 * 40 / 60 for seed in range(3)]
    # Walk and stair count from a random agent's return to 700; a quarter of six is cut as one.
    random = [4.6236, 6.5175]
    scores = sorted((value - low) / (700 - low) for value in returns for low in random)[1:-1]
    assert last == pytest.approx(np.mean(scores))
    assert line(panel(figure, "other tasks: 1 of 1"), "PO-MPC, λ = 9")


def test_profile_falls_where_the_runs_end(found: results.Results):
    figure = figures.performance_profiles(found.returns)
    other = line(panel(figure, "other tasks: 1 of 1"), "PO-MPC, λ = 1")
    score = (500 * 40 / 60 + 5) / 1000
    above = np.asarray(other.get_xdata()) < score
    np.testing.assert_allclose(np.asarray(other.get_ydata()), above)


def test_wall_clock_is_in_hours(found: results.Results):
    (axes,) = figures.wall_clock(found.returns, ["dog-run"]).axes
    drawn = line(axes, "PO-MPC, λ = 1")
    assert drawn.get_xdata()[-1] == pytest.approx((400.0 + 0.5) / 3600)  # seeds 0 and 1
    timing = figures.timing(found.returns).set_index(["task", "agent"])
    assert timing.loc[("dog-run", "PO-MPC, λ = 1"), "agents in a program"] == 6


def test_aggregates_say_what_is_not_run(found: results.Results):
    table = figures.aggregates(found.returns).set_index(["suite", "agent"])
    assert table.loc[("DMControl, 7 tasks", "PO-MPC, λ = 1"), "runs"] == 2
    few = figures.aggregates(found.returns.query("task == 'hopper-stand'"))
    assert list(few.query("tasks == 0")["IQM"]) == ["not run", "not run"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a folder of runs of two tasks."""
    for task in ("hopper-stand", "walker-run"):
        written.write_run(tmp_path / "own" / task, task, written.AGENTS)
    return tmp_path / "own"


NAMES = ("figure_1", "figure_5", "figure_5_at_hand", "figure_7_at_hand")


def make(runs: Path, folder: Path) -> dict[str, bool]:
    """Draw a few figures of a folder of runs."""
    return manifest.make(results.collect(str(runs)), folder, NAMES)


def test_figures_are_the_same_bytes_in_another_process_with_other_settings(
    own: Path, tmp_path: Path
):
    with mpl.rc_context({"font.size": 20.0, "lines.linewidth": 9.0, "svg.hashsalt": None}):
        make(own, tmp_path / "here")
    command = [sys.executable, "-m", "pompc.figures", *NAMES, "--profile", str(own)]
    subprocess.run([*command, "--out", str(tmp_path / "there")], check=True, capture_output=True)
    for name in NAMES:
        for ending in ("svg", "png"):
            here, there = (tmp_path / where / f"{name}.{ending}" for where in ("here", "there"))
            assert here.read_bytes() == there.read_bytes(), here.name


def test_only_what_changed_is_drawn_again(own: Path, tmp_path: Path):
    folder = tmp_path / "figures"
    assert make(own, folder) == dict.fromkeys(NAMES, True)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert make(own, folder) == dict.fromkeys(NAMES, False)
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    # Other returns of one run: the figures that draw it. Figure 5 shows other tasks, 1 none.
    table = own / "walker-run" / "returns.csv"
    table.write_text(table.read_text().replace("walker-run,pompc,9.0", "walker-run,pompc,9.00"))
    assert make(own, folder) == {
        "figure_1": False, "figure_5": False, "figure_5_at_hand": True, "figure_7_at_hand": True,
    }  # fmt: skip
    (folder / "figure_1.png").unlink()
    assert make(own, folder)["figure_1"]
    shutil.rmtree(own / "walker-run")
    assert make(own, folder)["figure_5_at_hand"]
    assert list(manifest.read(folder)["figure_5_at_hand"]["runs"]) == ["own/hopper-stand"]


def test_manifest_leads_from_a_figure_to_its_function_and_runs(own: Path, tmp_path: Path):
    make(own, tmp_path)
    entry = manifest.read(tmp_path)["figure_7_at_hand"]
    assert entry["function"] == "pompc.figures.paper.figure_7"
    digests = {f"own/{run.name}": results.digest(run) for run in sorted(own.iterdir())}
    assert entry["runs"] == digests
    assert set(entry["files"]) == {"figure_7_at_hand.svg", "figure_7_at_hand.png"}
    assert len(entry["commit"] or "0" * 40) >= 40


def test_changed_code_draws_everything_again(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make(own, tmp_path)
    monkeypatch.setattr(manifest, "code_digest", lambda: "other")
    assert make(own, tmp_path) == dict.fromkeys(NAMES, True)


def test_every_figure_can_be_drawn_without_runs():
    nothing = results.collect("paper", Path("no such folder"))
    for name in registry.FIGURES:
        figure, caption = registry.show(name, nothing)
        written_into = " ".join(texts(axes) for axes in figure.axes)
        if registry.FIGURES[name].table:
            assert "not run" in written_into, name
            assert "No run of it is at hand." in caption


def test_command_line_says_what_is_wrong(own: Path):
    with pytest.raises(SystemExit, match=r"profile is 'smal', .*; did you mean 'small'"):
        command_line.main(["--profile", "smal"])
    with pytest.raises(SystemExit, match="no figure 'figure_9'"):
        command_line.main(["figure_9", "--profile", str(own)])
    with pytest.raises(SystemExit, match="nothing is there"):
        command_line.main(["figure_1", "--profile", str(own), "--published", "none.json"])


def test_figures_do_not_import_jax():
    code = "import sys, pompc.figures, pompc.results; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_seed_s_last_return_is_a_point_and_the_mean_a_bar():
    table = runs(seeds=3, lams=(1.0, math.inf))
    unfinished = (table["lam"] == 1.0) & (table["seed"] == 2) & (table["env_step"] == 200)
    table = table.loc[~unfinished]  # so that λ = 1 is compared at 100 steps
    (panel,) = figures.last_returns(table).axes
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
    found = figures.returns_by_seed(table)
    assert found.loc[("Dog Run", "λ = 1")].tolist() == [100, 111, 110, 111, 112]
    assert list(found.columns) == ["step", "mean", "seed 0", "seed 1", "seed 2"]


def test_seeds_are_shown_of_tasks_that_several_agents_ran_if_there_are_any():
    alone = runs(seeds=1).assign(task="walker-walk")
    assert set(seed_returns.compared(alone)["task"]) == {"walker-walk"}
    both = pd.concat([alone, runs(seeds=2, lams=(1.0, 3.0))])
    assert set(seed_returns.compared(both)["task"]) == {"dog-run"}
    found = figures.returns_by_seed(pd.concat([runs(1), runs(2, (3.0,))]))
    assert found["seed 1"].tolist() == ["", 231]
    assert seed_returns.compared(alone.iloc[:0]).empty


def test_bars_of_speed_are_the_benchmark_s_and_stand_beside_the_right_peer():
    panels = figures.decisions_per_second().axes
    assert len(panels) == len(speed.TABLES)
    for panel, path in zip(panels, speed.TABLES, strict=True):
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
