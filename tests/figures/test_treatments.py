"""What one change of PO-MPC does: which agents count as a treatment, and the verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from pompc.figures import treatments
from pompc.runs import SHIPPED
from pompc.settings.config import Config

STEPS = 100_000
LAPTOP: dict[str, Any] = {"task": "walker-run", "preset": "laptop", "steps": STEPS}


def write_run(folder: Path, last: float, **settings: Any) -> None:
    """Write the tables of a run of one agent that ends at a return."""
    config = Config(**(LAPTOP | {"evaluate_every": 20_000} | settings))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config.to_json())
    who = {name: getattr(config, name) for name in ("task", "method", "lam", "prior", "seed")}
    rows = [who | {"env_step": step, "decision": step // 2, "return": value,
                   "return_policy": value - 50, "wall_s": 1.0}
            for step, value in ((0, 20.0), (config.steps, last))]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "returns.csv", index=False)
    steps = [20_000, 90_000, 100_000]
    pd.DataFrame({"env_step": steps, "agent": 0, "kl_mean": [9.0, 1.0, 2.0]}).to_csv(
        folder / "metrics.csv", index=False
    )


def test_a_treatment_is_the_agents_with_exactly_its_settings(tmp_path: Path):
    write_run(tmp_path / "a", 500.0, lam=1.0)
    write_run(tmp_path / "b", 600.0, lam=1.0, kl_value_trains_model=False, seed=1)
    write_run(tmp_path / "wider", 700.0, lam=1.0, hidden_dim=128)
    write_run(tmp_path / "another task", 800.0, lam=1.0, task="walker-walk")
    found = treatments.gather(*treatments.load(tmp_path)).set_index("treatment")
    assert list(found.index) == ["λ = 1", "λ = 1, Q^λ apart"]
    assert list(found["return"]) == [500.0, 600.0]
    assert list(found["seed"]) == [0, 1]
    assert list(found["lead"]) == [50.0, 50.0]
    assert list(found["kl_mean"]) == [1.5, 1.5]  # of the last fifth
    assert list(found["kl_to_plans"].isna()) == [True, True]


def test_kls_of_all_treatments_are_sums_over_actions(tmp_path: Path):
    """BMPC's loss, and with it its columns, take the mean over the six actions."""
    write_run(tmp_path / "a", 500.0, method="bmpc")
    found = treatments.gather(*treatments.load(tmp_path)).set_index("treatment")
    assert dict(found["kl_mean"]) == {"BMPC": 6 * 1.5}


def test_alone_a_treatment_does_not_stand_for_another(tmp_path: Path):
    """A setting that no runs differ in still tells them from a treatment that changes it."""
    write_run(tmp_path / "a", 600.0, lam=1.0)
    found = treatments.gather(*treatments.load(tmp_path))
    assert list(found["treatment"]) == ["λ = 1"]


def test_every_treatment_is_another_agent():
    agents = {Config(**LAPTOP, **changed) for changed in treatments.TREATMENTS.values()}
    assert len(agents) == len(treatments.TREATMENTS)
    named = {name for one in treatments.PREDICTIONS for name in (one.treatment, *one.others)}
    assert named <= set(treatments.TREATMENTS)


def seeds(treatment: str, returns: list[float], **measured: float) -> pd.DataFrame:
    return pd.DataFrame({"treatment": treatment, "return": returns} | measured).reindex(
        columns=["treatment", "return", *treatments.MEASURED]
    )


@pytest.mark.parametrize(
    ("returns", "verdict"),
    [([700.0, 710.0, 720.0], "supports"), ([300.0, 310.0, 320.0], "contradicts"),
     ([490.0, 500.0, 700.0], "cannot tell"), ([700.0, 710.0], "cannot tell: few seeds"),
     ([], "not run")],
)  # fmt: skip
def test_verdicts_on_returns(returns: list[float], verdict: str):
    table = pd.concat([seeds("λ = 1, no KL in Q", returns), seeds("λ = 1", [480.0, 500.0, 520.0])])
    found = treatments.verdicts(table).set_index("change").loc["λ = 1, no KL in Q"]
    assert found["verdict"] == verdict
    if len(returns) == 3:
        own = float(scipy.stats.trim_mean(returns, 0.25))
        assert found["measured"].startswith(f"{own - 500:+.0f}".replace("-", "−"))


def test_verdicts_on_a_range():
    low, high = (seeds("budget 0.5", [600.0] * 3, kl_weight=lam) for lam in (0.12, 0.3))
    for table, verdict in ((low, "supports"), (high, "contradicts")):
        found = treatments.verdicts(table)
        row = found.loc[(found["change"] == "budget 0.5") & found["predicted"].str.contains("near")]
        assert list(row["verdict"]) == [verdict]


def test_two_treatments_count_together():
    """Half of a lead: the treatment is compared with both ends of it at once."""
    ends = [seeds("λ = ∞", [400.0] * 3), seeds("BMPC, Variant 3", [600.0] * 3)]
    table = pd.concat([seeds("λ = ∞, mean of two Q", [520.0] * 3), *ends])
    found = treatments.verdicts(table).set_index("change").loc["λ = ∞, mean of two Q"]
    assert (found["verdict"], found["seeds"]) == ("supports", "3 and 3 and 3")
    assert found["measured"].startswith("+20 ")


def test_the_figures_draw_what_was_run():
    shipped = SHIPPED / "runs"
    returns, metrics = treatments.load(shipped / "small", shipped / "lambda")
    table = treatments.gather(returns, metrics)
    figure = treatments.by_treatment(table, {"return": "return", "lead": "lead"})
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == list(table["treatment"].drop_duplicates())
    points = sum(np.size(line.get_xdata()) for line in figure.axes[0].get_lines())
    assert points == len(table) + len(names)
    lines = treatments.over_steps(metrics, "kl_to_plans", "nats").axes[0].get_lines()
    assert len(lines) == table["kl_to_plans"].notna().sum() > 0
