"""Runs are collected by profile; what cannot be read is named; the tables say what runs hold."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import written

from pompc import figures, results
from pompc.errors import ConfigError
from pompc.figures import captions, verdicts
from pompc.results import published
from pompc.settings.config import preset_values
from pompc.settings.field_types import settings_of
from pompc.settings.fields import Fields

ROOT = Path(__file__).parents[2]
REVERSE = ("pompc", 1.0, "reverse_kl")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of profiles: a population in `small`, one run beside it, one in `paper`."""
    runs = tmp_path / "runs"
    population = [*written.AGENTS, ("pompc", math.inf, "replay")]
    written.write_run(runs / "small" / "hopper-stand-1f", "hopper-stand", population, seeds=(0, 1))
    written.write_run(runs / "walker-walk" / "seed0", "walker-walk")
    written.write_run(runs / "paper" / "dog-run-0c", "dog-run", [REVERSE], (0, 1, 2))
    written.write_run(runs / "quickstart", "cartpole-swingup")
    return runs


def test_a_profile_reads_its_folders_at_any_depth(root: Path):
    small, paper = results.collect("small", root), results.collect("paper", root)
    assert set(small.digests) == {"small/hopper-stand-1f", "walker-walk/seed0"}
    assert set(paper.returns["task"]) == {"dog-run"}
    assert len(paper.returns) == 3 * 5
    assert small.warnings == paper.warnings == ()


def test_returns_and_metrics_say_which_agent_and_run_they_are_of(root: Path):
    found = results.collect("small", root)
    infinite = found.returns[np.isinf(found.returns["lam"])]
    assert set(infinite["prior"]) == {"replay"}
    assert set(infinite["agent"]) == {6, 7}
    assert set(infinite["preset"]) == {"laptop"}
    assert set(infinite["agents"]) == {8}
    # kl_mean is 4 + seed, and 30 more where planners are replayed.
    metrics = found.metrics.dropna(subset="kl_mean")
    expected = 4.0 + metrics["seed"] + 30.0 * (metrics["prior"] == "replay")
    np.testing.assert_allclose(metrics["kl_mean"], expected)


def test_variants_are_compared_seed_by_seed(root: Path):
    variants = {profile: results.collect(profile, root) for profile in ("small", "paper")}
    query = "method == 'pompc' and lam == 1 and prior == 'reverse_kl' and task != 'walker-walk'"
    returns = results.compared_returns(variants, query)
    seeds = [
        ("paper", 1.0, 0),
        ("paper", 1.0, 1),
        ("paper", 1.0, 2),
        ("small", 1.0, 0),
        ("small", 1.0, 1),
    ]
    assert list(returns.index) == seeds
    rows = variants["paper"].returns.query("seed == 2").set_index("env_step")["return"]
    np.testing.assert_allclose(returns.loc[("paper", 1.0, 2)].dropna(), rows.round())
    metrics = results.compared_metrics(variants, query, ["kl_mean"])
    np.testing.assert_allclose(metrics["kl_mean"], [4.0 + seed for _, _, seed in seeds])


def test_a_folder_of_runs_is_a_profile_too(root: Path):
    assert set(results.collect(str(root / "quickstart")).returns["task"]) == {"cartpole-swingup"}
    with pytest.raises(ConfigError, match=r"profile is 'papr', .* did you mean 'paper'"):
        results.collect("papr", root)


def broken(run: Path, how: str) -> str:
    """Break a run; return what is said of it."""
    config, table = run / "config.json", run / "returns.csv"
    if how == "json":
        config.write_text("{")
        return "config.json is no JSON"
    if how == "no config":
        config.unlink()
        return "there is no config.json"
    if how == "no returns":
        table.unlink()
        return "no evaluation yet"
    if how == "key":
        config.write_text(json.dumps({"task": "dog-run"}))
        return "config.json lacks method, lam, prior, seed, preset, steps"
    if how == "column":
        pd.read_csv(table).drop(columns="return").to_csv(table, index=False)
        return "returns.csv lacks return"
    if how == "number":
        pd.read_csv(table).assign(**{"return": math.nan}).to_csv(table, index=False)
        return "no number"
    if how == "words":
        pd.read_csv(table).assign(**{"return": "high"}).to_csv(table, index=False)
        return "could not convert"
    if how == "agent":
        pd.read_csv(table).assign(seed=7).to_csv(table, index=False)
        return "returns.csv holds an agent that config.json does not"
    if how == "metrics":
        (run / "metrics.csv").write_text("loss\n1.0\n")
        return "metrics.csv lacks agent, env_step"
    table.write_bytes(b"\xff\xfe\n")
    return "decode"


KINDS = ["json", "no config", "no returns", "key", "column", "number", "words", "agent", "metrics",
         "bytes"]  # fmt: skip


@pytest.mark.parametrize("how", KINDS)
def test_a_malformed_run_is_named_and_left_out(how: str, root: Path):
    said = broken(root / "walker-walk" / "seed0", how)
    found = results.collect("small", root)
    (warning,) = found.warnings
    assert warning.startswith("`walker-walk/seed0` cannot be read: ")
    assert said in warning
    assert set(found.returns["task"]) == {"hopper-stand"}
    assert warning in captions.notice(found)


def test_a_torn_last_line_is_left_out(root: Path):
    table = root / "walker-walk" / "seed0" / "returns.csv"
    table.write_text(table.read_text()[:-20])
    found = results.collect("small", root)
    assert found.warnings == ()
    assert found.returns.query("task == 'walker-walk'")["env_step"].max() == 30_000


def test_a_deleted_run_takes_its_row_of_table_1_with_it(root: Path):
    before = figures.table_1(results.collect("paper", root).returns)
    ours = before.loc[("Dog Run", "ours: laptop, 40k steps")]
    assert ours["λ = 1"] == "348 [338, 358]"  # 338, 348, 358 by seed
    assert ours["λ = 9"] == "–"
    assert len(before) == 7 + 1
    shutil.rmtree(root / "paper" / "dog-run-0c")
    after = figures.table_1(results.collect("paper", root).returns)
    assert set(after.index.get_level_values("source")) == {"paper"}
    assert before.xs("paper", level="source").equals(after.xs("paper", level="source"))


def test_runs_with_other_settings_are_agents_of_their_own(root: Path):
    for seed in (0, 1):
        written.write_run(root / "small" / f"other{seed}", "walker-walk", seeds=(seed,), horizon=5)
    found = results.collect("small", root)
    assert found.warnings == ()
    walker = found.returns[found.returns["task"] == "walker-walk"]
    changes = walker.groupby("run")["changes"].unique().map(list).to_dict()
    assert changes == {"walker-walk/seed0": [""], "small/other0": ["horizon = 5"],
                       "small/other1": ["horizon = 5"]}  # fmt: skip
    hopper = found.returns[found.returns["task"] == "hopper-stand"]
    assert set(hopper["changes"]) == {""}
    assert set(found.metrics["changes"]) == {"", "horizon = 5"}
    drawn = figures.final_returns(walker)
    assert list(drawn["agent"]) == ["PO-MPC, λ = 1", "PO-MPC, λ = 1, horizon = 5"]
    assert list(drawn["seeds"]) == [1, 2]


def test_a_claim_is_not_tested_on_agents_with_other_settings(root: Path):
    """λ = 1 with another horizon alone is not PO-MPC with λ = 1."""
    shutil.rmtree(root / "small")
    for lam, settings in ((0.0, {}), (1.0, {}), (1.0, {"horizon": 5})):
        folder = root / "small" / f"{lam}{len(settings)}"
        agent = ("pompc", lam, "reverse_kl")
        value = (lambda *_: 900.0) if settings else written.rising
        written.write_run(folder, "hopper-stand", [agent], (0, 1, 2), value=value, **settings)
    table = verdicts.gather(
        verdicts.claims_of(found := results.collect("small", root))["C1"], found
    )
    ran = table[table["verdict"] != verdicts.NOT_RUN]
    assert len(ran) == 2
    assert ran["difference"].max() < 0.1


def test_presets_in_one_folder_are_told_by_their_names(root: Path):
    written.write_run(root / "small" / "big", "walker-walk", preset="paper", seeds=(1,))
    found = results.collect("small", root).returns.query("task == 'walker-walk'")
    assert set(found["changes"]) == {"preset = laptop", "preset = paper"}


@pytest.mark.parametrize(("computed", "together"), [("highest", True), ("tensorfloat32", False)])
def test_runs_are_told_apart_by_the_precision_they_had(tmp_path: Path, computed, together):
    """The precision that was asked for can be `auto`, which is not the same everywhere."""
    for seed, (asked, had) in enumerate([("float32", "highest"), ("auto", computed)]):
        folder = written.write_run(
            tmp_path / "small" / asked, "dog-run", seeds=(seed,), matmul_precision=asked
        )
        facts = json.loads((folder / "provenance.json").read_text()) | {"matmul_precision": had}
        (folder / "provenance.json").write_text(json.dumps(facts))
    found = results.collect("small", tmp_path)
    told = {""} if together else {"matmul_precision = highest", "matmul_precision = tensorfloat32"}
    assert set(found.returns["changes"]) == told
    assert found.warnings == ()


def test_of_a_seed_that_is_there_twice_the_longer_run_counts(root: Path):
    written.write_run(root / "small" / "again", "walker-walk", steps=60_000)
    found = results.collect("small", root)
    assert "`walker-walk/seed0`" in found.warnings[0]
    assert "is there twice" in found.warnings[0]
    assert found.returns.query("task == 'walker-walk'")["env_step"].max() == 60_000


def test_a_digest_changes_with_any_file_of_a_run(root: Path):
    run = root / "walker-walk" / "seed0"
    before = results.digest(run)
    (run / "notes.txt").write_text("of no run")
    assert results.digest(run) == before
    metrics = run / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("4.0", "4.1"))
    assert results.digest(run) != before


def test_shipped_runs_are_all_read():
    found = results.collect("small")
    assert found.warnings == ()
    assert "runs/cartpole-swingup/seed2" in found.digests


def test_caption_states_seeds_steps_preset_and_commit(root: Path):
    table = results.collect("small", root).returns
    text = captions.caption(table, "Returns.")
    assert text == (
        "*Returns. 1 to 2 seeds of each agent and task, 40\N{NO-BREAK SPACE}000 environment steps, "
        "preset `laptop`, "
        "commit `0123456`.*"
    )
    late = table.assign(finished=table["task"] != "walker-walk", commit=None)
    assert captions.origin(late).endswith("commit `unknown`. 1 of its runs are not finished.")
    many = pd.concat([table.assign(commit=f"{digit}" * 40) for digit in "abcd"])
    assert captions.origin(many).endswith("4 commits, each in its run's `provenance.json`.")


def test_notice_says_that_small_runs_are_small(root: Path):
    assert "small-scale, and no test of the paper's claims" in captions.notice(
        results.collect("small", root)
    )
    empty = results.collect("paper", root / "nothing")
    assert "It holds no runs" in captions.notice(empty)


def test_table_1_prints_the_papers_numbers():
    table = figures.table_1(results.collect("paper", Path("none")).returns)
    paper = table.xs("paper", level="source")
    assert list(paper.index[:4]) == ["Dog Stand", "Dog Trot", "Dog Walk", "Dog Run"]
    # The column of λ = 0.1 and the widest interval, typed from the paper once more.
    column = "993 ± 4, 959 ± 12, 976 ± 12, 709 ± 66, 958 ± 10, 948 ± 17, 581 ± 90"
    assert ", ".join(paper["λ = 0.1"]) == column
    assert paper.loc["Dog Trot", "TD-MPC2"] == "738 ± 488"


def test_every_number_of_the_paper_names_its_table_and_page():
    numbers = pd.read_csv(ROOT / "book" / "paper_numbers.csv", keep_default_na=False)
    assert set(zip(numbers["table"], numbers["page"], strict=True)) == {(1, 8), (2, 9), (3, 13)}
    assert len(numbers.query("table == 1")) == 5 * 7


def test_table_3_is_printed_from_the_presets():
    table = figures.table_3()
    named = {name: about.paper for name, about in settings_of(Fields).items()}
    keys = {name for name, paper in named.items() if "Table 3" in paper} - {"lam", "prior"}
    assert keys == set(table["key"]) - {""}
    for row in table[table["key"] != ""].to_dict(orient="records"):
        number = float(row["Table 3"].replace(" ", ""))
        assert number == preset_values("paper")[row["key"]], row
        other_name = named[row["key"]].partition("Table 3: ")[2]
        assert row["hyper-parameter"].endswith(other_name)
        assert float(row["paper"].replace(" ", "")) == number


def test_table_2_has_the_methods_as_rows():
    assert list(figures.table_2().index) == ["TD-MPC2", "BMPC", "PO-MPC"]


def test_final_returns_are_of_the_last_step_that_all_seeds_reached(root: Path):
    written.write_run(root / "walker-walk" / "seed1", "walker-walk", seeds=(1,), steps=20_000)
    table = figures.final_returns(results.collect("small", root).returns).set_index("task")
    row = table.loc["walker-walk"]
    assert (row["step"], row["seeds"]) == (20_000, 2)
    assert row["return"] == "260 [255, 265]"
    assert row["policy alone"] == "259 [254, 264]"


CURVE = {"steps": [0, 100_000], "values": [1.0, 2.0], "lcbs": [0.5, 1.5], "ucbs": [1.5, 2.5]}


def test_published_curves_take_our_names(tmp_path: Path):
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"tdmpc2": {"walk": CURVE}, "BMPC": {"dog-run": CURVE}, "sac": {}}))
    table = published.read(str(path))
    assert list(table.columns) == published.COLUMNS
    assert set(zip(table["method"], table["task"], strict=True)) == {
        ("tdmpc2", "h1hand-walk"), ("bmpc", "dog-run"),
    }  # fmt: skip
    assert list(table[table["method"] == "bmpc"]["high"]) == [1.5, 2.5]
    assert len(published.read([tmp_path, path])) == len(table)
    assert published.read(None).empty


def test_curves_of_boom_are_read_from_its_pickles(tmp_path: Path):
    mean, deviation = np.array([1.0, 40.0, 90.0]), np.array([0.5, 4.0, 9.0])
    found = {("dog-walk", "ours"): (mean, deviation), ("stand", "tdmpc2"): (mean, deviation),
             ("stand", "sac"): (mean, deviation)}  # fmt: skip
    (tmp_path / "results_dmc_2M.pkl").write_bytes(pickle.dumps(found, protocol=4))
    table = published.read(tmp_path)
    assert set(zip(table["method"], table["task"], strict=True)) == {
        ("boom", "dog-walk"), ("tdmpc2", "h1hand-stand"),
    }  # fmt: skip
    boom = table[table["method"] == "boom"]
    assert list(boom["env_step"]) == [0, 100_000, 200_000]
    assert [list(boom[name]) for name in ("low", "return", "high")] == [
        [0.5, 36.0, 81.0], [1.0, 40.0, 90.0], [1.5, 44.0, 99.0],
    ]  # fmt: skip


class Command:
    """What a stranger's pickle could run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_runs_nothing(tmp_path: Path):
    path, made = tmp_path / "curves.pkl", tmp_path / "made"
    for content in (pickle.dumps({("dog-walk", "ours"): Command(made)}), b"", b"no pickle"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"'curves\.pkl' holds no published curves"):
            published.read(path)
    assert not made.exists()


def test_a_file_without_published_curves_is_named(tmp_path: Path):
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"BMPC": {"dog-run": {"steps": [0]}}}))
    with pytest.raises(ConfigError, match=r"'curves\.json' holds no published curves"):
        published.read(path)
    path.write_text(json.dumps({"BMPC": {"wlak": CURVE}}))
    with pytest.raises(ConfigError, match=r"holds no published curves.*unknown task 'wlak'"):
        published.read(path)
    with pytest.raises(ConfigError, match="nothing is there"):
        published.read(tmp_path / "other.json")
