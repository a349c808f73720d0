"""Claims: differences and verdicts that are known beforehand."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import written
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pompc import figures, results
from pompc.figures import claims, tasks, verdicts
from pompc.population import cost
from pompc.results.intervals import Interval, bootstrap_difference, iqm
from pompc.sweep import plan
from pompc.training.trained_agent import population_of

LEARNED, REPLAY = ("pompc", 1.0, "reverse_kl"), ("pompc", 1.0, "replay")
BMPC = ("bmpc_v3", np.inf, "replay")


def made(returns: dict[tuple[claims.Agent, str], list[float]]) -> results.Results:
    """Return runs whose seeds rise in a line from 0 to the given last returns, at 200 steps."""
    rows = [
        {"task": task, "method": method, "lam": lam, "prior": prior, "seed": seed,
         "env_step": step, "return": last * step / 200, "kl_mean": 2.0 + (prior == "replay") * 2.0,
         "kl_std": 3.0}
        for ((method, lam, prior), task), lasts in returns.items()
        for seed, last in enumerate(lasts) for step in (0, 100, 200)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return results.Results("test", table, table, {}, ())


def gather(name: str, found: results.Results) -> pd.DataFrame:
    """Return what runs say of a claim."""
    return verdicts.gather(verdicts.claims_of(found)[name], found)


def row(table: pd.DataFrame, measure: str, task: str = "Walker Run") -> pd.Series:
    (found,) = (own for _, own in table.iterrows()
                if own["measure"] == measure and own["task"] == task)  # fmt: skip
    return found


def test_a_difference_is_that_of_normalised_scores_after_the_untrained_evaluation():
    found = made({
        (LEARNED, "walker-run"): [600.0, 620.0, 640.0],
        (REPLAY, "walker-run"): [200.0, 220.0, 240.0],
    })  # fmt: skip
    table = gather("C3", found)
    area, last = row(table, "mean score over training"), row(table, "last score")
    assert area["difference"] == pytest.approx(0.3)  # 0.75 of the last score, on average
    assert last["difference"] == pytest.approx(0.4)
    assert area["seeds"] == "3 and 3"
    assert area["verdict"] == last["verdict"] == verdicts.SUPPORTS
    assert set(table["verdict"]) == {verdicts.SUPPORTS, verdicts.NOT_RUN}


def test_the_summary_counts_each_claims_comparisons_by_verdict():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    counted = verdicts.summary(found).loc["C3"]
    of_claim = gather("C3", found)["verdict"]
    assert counted["question"] == "learned prior or replayed planners?"
    assert counted[verdicts.SUPPORTS] == 2 == (of_claim == verdicts.SUPPORTS).sum()
    assert counted[verdicts.NOT_RUN] == (of_claim == verdicts.NOT_RUN).sum() > 0
    assert counted[[verdicts.CONTRADICTS, verdicts.CANNOT_TELL]].sum() == 0


def test_agents_are_compared_as_far_as_both_were_run():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    table = found.returns
    cut = table.loc[(table["prior"] != "replay") | (table["env_step"] < 200)]
    table = gather("C3", found._replace(returns=cut))
    assert row(table, "last score")["difference"] == pytest.approx(0.2)


def test_few_seeds_have_no_verdict_and_no_seeds_no_number():
    two = made({(LEARNED, "walker-run"): [600.0] * 2, (REPLAY, "walker-run"): [200.0] * 3})
    assert row(gather("C3", two), "last score")["verdict"] == "cannot tell: few seeds"
    one = row(
        gather("C3", made({(agent, "walker-run"): [600.0] for agent in (LEARNED, REPLAY)})),
        "last score",
    )
    assert one[["low", "high"]].isna().all(), "one seed has no interval"
    shown = verdicts.readable(gather("C3", two))
    assert shown.loc[0, "last score"] == "+0.400 [+0.400, +0.400] cannot tell: few seeds"
    none = gather("C3", made({(LEARNED, "walker-run"): [600.0] * 3}))
    assert set(none["verdict"]) == {verdicts.NOT_RUN}
    assert none["difference"].isna().all()


def test_tasks_that_both_have_run_are_pooled():
    found = made({
        (agent, task): [last] * 3
        for agent, last in ((LEARNED, 500.0), (REPLAY, 400.0))
        for task in ("walker-run", "hopper-stand")
    })  # fmt: skip
    pooled = row(gather("C3", found), "last score", "all 2")
    assert pooled["difference"] == pytest.approx(0.1)


def test_the_kl_term_is_compared_by_its_logarithm():
    found = made({(LEARNED, "walker-run"): [1.0] * 3, (REPLAY, "walker-run"): [1.0] * 3})
    table = gather("C5", found)
    assert row(table, "log of the KL term's mean")["difference"] == pytest.approx(np.log(2.0))
    assert row(table, "log of its standard deviation")["difference"] == 0.0
    assert list(table["verdict"]).count(verdicts.CANNOT_TELL) == 1


@pytest.mark.parametrize(
    ("interval", "better", "matching"),
    [
        ((0.01, 0.2), verdicts.SUPPORTS, verdicts.SUPPORTS),
        ((-0.04, 0.2), verdicts.CANNOT_TELL, verdicts.SUPPORTS),
        ((-0.06, 0.2), verdicts.CANNOT_TELL, verdicts.CANNOT_TELL),
        ((-0.2, -0.01), verdicts.CONTRADICTS, verdicts.CANNOT_TELL),
        ((-0.2, -0.06), verdicts.CONTRADICTS, verdicts.CONTRADICTS),
        ((-0.04, -0.01), verdicts.CONTRADICTS, verdicts.SUPPORTS),
    ],
)
def test_the_rule_of_verdicts(interval: tuple[float, float], better: str, matching: str):
    low, high = interval
    difference = Interval(np.array((low + high) / 2), np.array(low), np.array(high))
    assert verdicts.judge(difference, matching=False) == better
    assert verdicts.judge(difference, matching=True) == matching


def test_the_interval_of_a_difference_covers_as_often_as_it_says():
    generator, covered = np.random.default_rng(3), 0
    for _ in range(300):
        first, second = generator.normal(1.0, 1.0, 30), generator.normal(0.0, 2.0, 30)
        found = bootstrap_difference([first], [second], np.mean, generator)
        covered += bool(found.low < 1.0 < found.high)
    assert 0.90 < covered / 300 < 0.98


def test_a_difference_of_interquartile_means_pools_tasks_of_equal_weight():
    # Pooled, the run of the second task counts twice: the middle two of 1, 2, 3, 3.
    first, second = [np.array([1.0, 2.0]), np.array([3.0])], [np.array([0.0]), np.array([1.0])]
    found = bootstrap_difference(first, second, iqm, np.random.default_rng(0))
    assert found.center == pytest.approx(2.5 - 0.5)


def test_the_paragraph_names_paper_and_verdicts():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    said, _ = map(str, figures.answer("C3", found))
    assert "Figures 3 and 6" in said
    assert "6 comparisons: 2 for it, 4 not run." in said


def test_a_page_shows_what_was_run_below_a_line():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (BMPC, "walker-run"): [200.0] * 3})
    _, shown = figures.answer("C2", found)
    assert isinstance(shown, figures.Folded)
    assert shown.table.to_dict("records") == [{
        "compared": "λ = 1 against BMPC, Variant 3", "task": "Walker Run", "seeds": "3 and 3",
        "mean score over training": "+0.300 [+0.300, +0.300] supports",
        "last score": "+0.400 [+0.400, +0.400] supports",
    }]  # fmt: skip
    html = shown._repr_html_()
    assert html.startswith("<details")
    assert html.count("<td>") == 5


def test_minus_is_a_minus():
    found = made({
        (agent, task): [last, last, last + 100.0]
        for agent, last in ((LEARNED, 400.0), (BMPC, 500.0))
        for task in ("walker-run", "hopper-stand")
    })  # fmt: skip
    shown = verdicts.readable(gather("C2", found))
    assert list(shown["task"]) == ["Walker Run", "Hopper Stand", "all 2"]
    assert shown.loc[0, "last score"].startswith("−0.100 [−0.1")


def test_a_run_that_has_just_begun_is_not_compared():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    begun = (found.returns["prior"] == "replay") & (found.returns["env_step"] > 0)
    early = found._replace(returns=found.returns.loc[~begun])
    assert set(gather("C3", early)["verdict"]) == {verdicts.NOT_RUN}


def test_the_paper_s_profile_has_its_comparisons_without_any_run(tmp_path: Path):
    found = results.collect("paper", tmp_path)
    assert len(gather("C1", found)) == 3 * 20 * 2


def test_a_claim_without_runs_has_a_paragraph_and_no_table():
    (said,) = figures.answer("C4", made({(LEARNED, "walker-run"): [600.0] * 3}))
    assert "4 comparisons: 4 not run" in str(said)


def test_a_forest_has_a_point_for_each_difference_and_no_panel_without_one():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    first, second = draw("claims", found).axes
    assert first.get_title(loc="left") == "C3: learned prior or replayed planners?"
    assert second.get_title(loc="left") == "C5: the size of the KL term"
    points = [point.lines[0].get_xdata() for point in first.containers]
    assert np.concatenate(points) == pytest.approx([0.3, 0.4])
    labels = [label.get_text().strip() for label in first.get_yticklabels()]
    assert labels == ["λ = 1 against λ = 1, replayed planner", "Walker Run"]
    assert [label.get_weight() for label in first.get_yticklabels()] == ["bold", "normal"]


def test_bars_of_verdicts_are_as_long_as_their_number():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    (panel,) = draw("claims_verdicts", found).axes
    labels = [label.get_text()[:2] for label in panel.get_yticklabels()]
    assert labels == ["C3", "C5"]
    supports, contradicts, cannot_tell = (
        [bar.get_width() for bar in bars] for bars in panel.containers
    )
    assert supports == [2, 1]
    assert contradicts == [0, 0]
    assert cannot_tell == [0, 1]


def draw(name: str, found: results.Results) -> Figure:
    """Draw a figure that has runs."""
    figure = figures.draw(name, found)
    assert figure is not None
    return figure


def _texts(panel: Axes) -> list[str]:
    return [text.get_text() for text in panel.texts]


@functools.cache
def sweep(name: str) -> plan.Sweep:
    """Return a sweep of the repository."""
    return plan.load(Path(__file__).parents[2] / "sweeps" / f"{name}.yaml")


def test_hours_of_the_paper_s_tasks_are_the_sweep_s_estimate():
    jobs, speed = sweep("paper").jobs, sweep("paper").tflops or 0.0
    for suite in (tasks.HUMANOIDBENCH, tasks.DMCONTROL):
        own = [job for job in jobs if job.config.task in suite]
        flops = sum(cost.operations(population_of(job.config)) for job in own)
        assert tasks.hours(suite) == pytest.approx(flops / (speed * 1e12) / 3600, rel=0.005)


@pytest.mark.parametrize(
    ("name", "scale"), [("small", claims.SCALES[0]), ("paper", claims.SCALES[1])]
)
def test_claims_compare_agents_that_the_shipped_sweep_trains(name: str, scale: claims.Scale):
    trained = {
        (agent.task, agent.method, agent.lam, agent.prior)
        for job in sweep(name).jobs
        for agent in job.config.agents
    }
    assert claims.scale_of(task for task, *_ in trained) is scale
    for claim in claims.claims(scale).values():
        for comparison in claim.comparisons:
            for agent in (comparison.first, comparison.second):
                assert {(task, *agent) for task in comparison.tasks} <= trained


def test_reanalyse_is_most_of_the_arithmetic_and_a_second_critic_is_not():
    table = cost.of_methods()
    ours, theirs = table.loc["PO-MPC, λ = 1"], table.loc["BMPC, Variant 3"]
    assert table.loc["TD-MPC2", "reanalyse"] == 0.0
    assert ours["reanalyse"] > 0.6 * ours["decision"]
    assert ours["of BMPC, Variant 3's"] == pytest.approx(
        ours["decision"] / theirs["decision"], abs=0.01
    )
    assert ours["of BMPC, Variant 3's"] < 1.15
    assert ours["decision"] == pytest.approx(sum(ours[["plan", "update", "reanalyse"]]), abs=0.02)


def test_a_public_implementation_stands_beside_the_seeds_of_its_method(tmp_path: Path):
    tdmpc2 = ("tdmpc2", 0.0, "reverse_kl")
    written.write_run(tmp_path / "small" / "ours", "dog-run", [tdmpc2, LEARNED], seeds=(0, 1))
    for peer, method in (("tdmpc2_jax", "tdmpc2"), ("bmpc_jax", "bmpc_jax")):
        written.write_peer(tmp_path / "peers" / peer, "dog-run", peer, method, 300.0)
    found = results.collect("small", tmp_path)
    bmpc, td = draw("public_code", found).axes
    assert (bmpc.get_title(), td.get_title()) == ("Dog Run, bmpc-jax", "Dog Run, tdmpc2-jax")
    assert _texts(bmpc) == ["not run by this code: bmpc_jax"]
    ours = found.returns.query("method == 'tdmpc2'").groupby("seed")["return"].last()
    *public, first, second, mean = (line.get_ydata()[-1] for line in td.lines)
    assert [*public, first, second, mean] == [300.0, 300.0, *ours, ours.mean()]  # a seed, its mean
    early = found.peers.query("peer != 'bmpc_jax' or env_step < 40_000")
    table = figures.returns_beside(early)
    assert list(table.loc["dog-run"].index) == [
        ("bmpc_jax", "bmpc_jax", 1), ("tdmpc2", "tdmpc2_jax", 1), ("tdmpc2", "this code", 2),
    ]  # fmt: skip
    assert table[40_000].isna().tolist() == [True, False, False]
    assert "peers/bmpc_jax" in found.digests
