"""Claims: differences and verdicts that are known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import written
from matplotlib.axes import Axes

from pompc import figures, results
from pompc.figures import claims, evidence
from pompc.population import cost
from pompc.results.intervals import Interval, bootstrap_difference, iqm

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
    return evidence.gather(evidence.claims_of(found)[name], found)


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
    assert area["verdict"] == last["verdict"] == evidence.SUPPORTS
    assert set(table["verdict"]) == {evidence.SUPPORTS, evidence.NOT_RUN}


def test_the_summary_counts_each_claims_comparisons_by_verdict():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    counted = evidence.summary(found).loc["C3"]
    verdicts = gather("C3", found)["verdict"]
    assert counted["question"] == "learned prior or replayed planners?"
    assert counted[evidence.SUPPORTS] == 2 == (verdicts == evidence.SUPPORTS).sum()
    assert counted[evidence.NOT_RUN] == (verdicts == evidence.NOT_RUN).sum() > 0
    assert counted[[evidence.CONTRADICTS, evidence.CANNOT_TELL]].sum() == 0


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
    assert evidence.readable(gather("C3", two)).count("] cannot tell: few seeds |") == 2
    none = gather("C3", made({(LEARNED, "walker-run"): [600.0] * 3}))
    assert set(none["verdict"]) == {evidence.NOT_RUN}
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
    assert list(table["verdict"]).count(evidence.CANNOT_TELL) == 1


@pytest.mark.parametrize(
    ("interval", "better", "matching"),
    [
        ((0.01, 0.2), evidence.SUPPORTS, evidence.SUPPORTS),
        ((-0.04, 0.2), evidence.CANNOT_TELL, evidence.SUPPORTS),
        ((-0.06, 0.2), evidence.CANNOT_TELL, evidence.CANNOT_TELL),
        ((-0.2, -0.01), evidence.CONTRADICTS, evidence.CANNOT_TELL),
        ((-0.2, -0.06), evidence.CONTRADICTS, evidence.CONTRADICTS),
        ((-0.04, -0.01), evidence.CONTRADICTS, evidence.SUPPORTS),
    ],
)
def test_the_rule_of_verdicts(interval: tuple[float, float], better: str, matching: str):
    low, high = interval
    difference = Interval(np.array((low + high) / 2), np.array(low), np.array(high))
    assert evidence.judge(difference, matching=False) == better
    assert evidence.judge(difference, matching=True) == matching


def test_the_interval_of_a_difference_covers_as_often_as_it_says():
    generator, covered = np.random.default_rng(3), 0
    for _ in range(300):
        first, second = generator.normal(1.0, 1.0, 30), generator.normal(0.0, 2.0, 30)
        found = bootstrap_difference([first], [second], np.mean, generator, resamples=300)
        covered += bool(found.low < 1.0 < found.high)
    assert 0.90 < covered / 300 < 0.98


def test_a_difference_of_interquartile_means_pools_tasks_of_equal_weight():
    # Pooled, the run of the second task counts twice: the middle two of 1, 2, 3, 3.
    first, second = [np.array([1.0, 2.0]), np.array([3.0])], [np.array([0.0]), np.array([1.0])]
    found = bootstrap_difference(first, second, iqm, np.random.default_rng(0))
    assert found.center == pytest.approx(2.5 - 0.5)


def test_the_paragraph_names_paper_number_seeds_and_verdict():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    said, _ = map(str, evidence.show("C3", found))
    assert "Figures 3 and 6" in said
    assert "of 6 comparisons 2 support it, 4 were not run" in said
    assert "Walker Run: mean score over training +0.300 [+0.300, +0.300], 3 and 3 seeds" in said


def test_a_page_shows_what_was_run():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (BMPC, "walker-run"): [200.0] * 3})
    _, shown = evidence.show("C2", found)
    assert shown.split("\n") == [
        "| compared | task | seeds | mean score over training | last score |",
        "| --- | --- | --- | --- | --- |",
        "| λ = 1 against BMPC, Variant 3 | Walker Run | 3 and 3 | +0.300 [+0.300, +0.300] "
        "**supports** | +0.400 [+0.400, +0.400] **supports** |",
    ]


def test_a_comparison_on_several_tasks_is_named_once_and_minus_is_a_minus():
    found = made({
        (agent, task): [last, last, last + 100.0]
        for agent, last in ((LEARNED, 400.0), (BMPC, 500.0))
        for task in ("walker-run", "hopper-stand")
    })  # fmt: skip
    _, shown = evidence.show("C2", found)
    _, _, *rows = shown.split("\n")
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| λ = 1 against BMPC, Variant 3", "Walker Run"], ["| ", "Hopper Stand"], ["| ", "all 2"],
    ]  # fmt: skip
    assert rows[0].split(" | ")[-1].startswith("−0.100 [−0.1")


def test_a_run_that_has_just_begun_is_not_compared():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    begun = (found.returns["prior"] == "replay") & (found.returns["env_step"] > 0)
    early = found._replace(returns=found.returns.loc[~begun])
    assert set(gather("C3", early)["verdict"]) == {evidence.NOT_RUN}
    figures.draw("claims", early)


def test_the_paper_s_profile_has_its_comparisons_without_any_run(tmp_path: Path):
    found = results.collect("paper", tmp_path)
    assert len(gather("C1", found)) == 3 * 20 * 2


def test_a_claim_without_runs_has_a_paragraph_and_no_table():
    (said,) = evidence.show("C4", made({(LEARNED, "walker-run"): [600.0] * 3}))
    assert "of 4 comparisons 4 were not run" in str(said)


def test_a_forest_has_a_point_for_each_difference_and_says_what_was_not_run():
    found = made({(LEARNED, "walker-run"): [600.0] * 3, (REPLAY, "walker-run"): [200.0] * 3})
    panels = {axes.get_title(loc="left")[:2]: axes for axes in figures.claims_forest(found).axes}
    assert list(panels) == ["C1", "C2", "C3", "C4", "C5"]
    with_runs = panels.pop("C3")
    assert [_texts(axes) for axes in panels.values()] == [["not run"]] * 3 + [[]]
    points = [point.lines[0].get_xdata() for point in with_runs.containers]
    assert np.concatenate(points) == pytest.approx([0.3, 0.4])
    (label,) = with_runs.get_yticklabels()
    assert label.get_text() == "λ = 1 against λ = 1, replayed planner, Walker Run"


def _texts(panel: Axes) -> list[str]:
    return [text.get_text() for text in panel.texts]


@pytest.mark.parametrize(
    ("name", "scale"), [("small", claims.SCALES[0]), ("paper", claims.SCALES[1])]
)
def test_claims_compare_agents_that_the_shipped_sweep_trains(name: str, scale: claims.Scale):
    from pompc.sweep import plan

    trained = {
        (agent.task, agent.method, agent.lam, agent.prior)
        for job in plan.load(Path(__file__).parents[2] / "sweeps" / f"{name}.yaml").jobs
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
    bmpc, td = figures.draw("public_code", found).axes
    assert (bmpc.get_title(), td.get_title()) == (
        "Dog Run, beside bmpc_jax", "Dog Run, beside tdmpc2_jax",
    )  # fmt: skip
    assert _texts(bmpc) == ["not run by this code: bmpc_jax"]
    ours = found.returns.query("method == 'tdmpc2'").groupby("seed")["return"].last()
    *public, first, second, mean = (line.get_ydata()[-1] for line in td.lines)
    assert [*public, first, second, mean] == [300.0, 300.0, *ours, ours.mean()]  # a seed, its mean
    early = found.peers.query("peer != 'bmpc_jax' or env_step < 40_000")
    table = figures.returns_beside(early)
    assert isinstance(table, pd.DataFrame)
    assert list(table.loc["dog-run"].index) == [
        ("bmpc_jax", "bmpc_jax", 1), ("tdmpc2", "tdmpc2_jax", 1), ("tdmpc2", "this code", 2),
    ]  # fmt: skip
    assert table[40_000].isna().tolist() == [True, False, False]
    assert "peers/bmpc_jax" in found.digests


def test_without_runs_of_public_implementations_their_figure_says_not_run(tmp_path: Path):
    found = results.collect("paper", tmp_path)
    (panel,) = figures.draw("public_code", found).axes
    assert _texts(panel) == ["not run"]
    assert str(figures.returns_beside(found.peers)) == "*not run*"
