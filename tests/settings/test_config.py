"""Presets, what a configuration accepts, and the sentences on what it does not."""

import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pompc import Config, ConfigError, runs
from pompc.algorithm.loss_weights import hypers
from pompc.settings.field_types import allowed
from pompc.settings.fields import PRESETS, Fields


def test_paper_preset_is_table_3():
    """The values of Table 3, typed from the paper once more."""
    paper = Config(task="dog-run", preset="paper")
    table = {
        "decisions": 1_000_000, "buffer_size": 1_000_000, "learning_rate": 3e-4,
        "max_grad_norm": 20, "encoder_dim": 256, "encoder_layers": 2, "latent_dim": 512,
        "dropout": 0.01, "value_nets": 5, "bins": 101, "symlog_min": -10, "symlog_max": 10,
        "simnorm_dim": 8, "horizon": 3, "mppi_iterations": 8, "plan_samples": 512,
        "policy_samples": 24, "elites": 64, "min_plan_std": 0.05, "max_plan_std": 2,
        "temperature": 1.0, "batch_size": 256, "discount": 0.99, "time_discount": 0.5,
        "consistency_coef": 20, "reward_coef": 0.1, "value_coef": 0.1, "entropy_coef": 1e-4,
        "target_rate": 0.01, "kl_value_coef": 0.1, "reanalyse_batch": 20,
        "reanalyse_interval": 10,
    }  # fmt: skip
    for name, value in table.items():
        assert getattr(paper, name) == value, name
    assert paper.steps == 2_000_000
    assert (paper.seeding, paper.seeding_decisions) == ("policy", 2500)


def test_auto_takes_the_preset_of_the_machine(monkeypatch):
    monkeypatch.setattr("pompc.runtime.has_gpu", lambda: True)
    assert Config(task="cartpole-swingup").preset == "paper"
    monkeypatch.setattr("pompc.runtime.has_gpu", lambda: False)
    assert Config(task="cartpole-swingup").preset == "laptop"


@pytest.mark.parametrize("lam", [0, 0.1, 9.0, math.inf, "inf"])
def test_lambda_is_any_number_from_zero_to_infinity_and_survives_json(lam):
    written = Config(lam=lam, preset="laptop")
    assert written.lam == float(lam)
    assert Config.from_json(written.to_json()) == written
    assert hash(written) == hash(Config.from_json(written.to_json()))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lamda": 1}, ["unknown parameter 'lamda'", "did you mean 'lam'"]),
        ({"task": "cartpole-swinup"}, ["unknown task 'cartpole-swinup'", "cartpole-swingup"]),
        ({"method": "pomcp"}, ["unknown method 'pomcp'", "pompc"]),
        ({"method": "tdmpc2", "lam": 1}, ["lam is 1.0", "0.0", "makes method tdmpc2"]),
        ({"method": "pompc", "critic": "v"}, ["lam is 1.0", "inf with critic 'v'"]),
        ({"policy_form": "squashed"}, ["lam is 1.0", "0, and no cloning", "squashed"]),
        ({"squash_correction": True}, ["squash_correction is True", "policy_form is 'squashed'"]),
        ({"lam": []}, ["lam is an empty list"]),
        ({"lam": [0, -1]}, ["lam is -1.0"]),
        ({"seeds": 0}, ["seeds is 0", "at least 1"]),
        ({"seeds": 2.5}, ["seeds must be of type int, not 2.5"]),
        ({"seeding_decisions": 1}, ["seeding_decisions is 1", "at least 2"]),
        ({"log_std_max": math.inf}, ["log_std_max is inf", "a finite number"]),
        ({"min_plan_std": 0}, ["min_plan_std is 0.0", "greater than 0"]),
        ({"prior": "reverse"}, ["unknown prior 'reverse'", "reverse_kl", "forward_kl", "replay"]),
        ({"preset": "labtop"}, ["unknown preset 'labtop'", "paper", "did you mean 'laptop'"]),
        ({"lam": -1}, ["lam is -1.0", ">= 0, or inf"]),
        ({"lam": math.nan}, ["lam is nan", ">= 0, or inf"]),
        ({"lam": "much"}, ["lam must be of type float, not 'much'"]),
        ({"lam": True}, ["lam must be of type float, not True"]),
        ({"seed": 1.5}, ["seed must be of type int, not 1.5"]),
        ({"steps": 1000}, ["steps is 1000", "at least 2002", "seeding alone takes 2000"]),
        ({"steps": 4001}, ["steps is 4001", "multiple of the action repeat"]),
        ({"latent_dim": 30}, ["latent_dim is 30", "multiple of simnorm_dim = 8"]),
        ({"elites": 999}, ["elites is 999", "at most plan_samples = 128"]),
        ({"discount": 1.5}, ["discount is 1.5", "between 0 and 1"]),
        ({"learning_rate": 0}, ["learning_rate is 0.0", "greater than 0"]),
        ({"symlog_min": 20}, ["symlog_min is 20.0", "less than symlog_max"]),
        ({"seeding": "random"}, ["unknown seeding 'random'", "policy, uniform"]),
        ({"action_repeat": 3}, ["action_repeat is 3", "2 for cartpole-swingup"]),
    ],
)
def test_bad_input_ends_in_one_sentence(settings, words):
    with pytest.raises(ConfigError) as caught:
        Config(**({"task": "cartpole-swingup", "preset": "laptop"} | settings))
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_every_sized_field_is_checked():
    """No number of a configuration may be minus one (bounds of symlog and log std apart)."""
    good = Config(preset="laptop")
    free = {"symlog_min", "log_std_min", "log_std_max", "symlog_max"}
    numbers = {name for name, (kind, *_) in allowed(Fields).items() if kind in ("int", "float")}
    assert len(numbers) >= 49
    for name in numbers - free:
        with pytest.raises(ConfigError, match=name):
            Config(preset="laptop", task=good.task, **{name: -1})


def test_notebook_parameters_are_found_among_globals(tmp_path):
    names = {
        "task": "cartpole-swingup", "lam": 9, "steps": None, "preset": "laptop", "_private": 3,
        "run_dir": str(tmp_path), "In": [], "pompc": pytest,
    }  # fmt: skip
    found, folder = runs.notebook_config(names)
    assert (found.lam, found.preset, folder) == (9.0, "laptop", tmp_path)
    with pytest.raises(ConfigError, match="unknown parameter 'lamda'; did you mean 'lam'"):
        runs.notebook_config(names | {"lamda": 1})
    again = names | {"config": found, "run_dir": folder, "Out": {1: 2}, "table": pd.DataFrame()}
    assert runs.notebook_config(again) == (found, folder)  # its cell run twice


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("seed", np.int64(3), 3), ("lam", np.linspace(0, 1, 3), (0.0, 0.5, 1.0)),
    ("lam", range(3), (0.0, 1.0, 2.0)), ("lam", np.array(3), 3.0), ("steps", "1e6", 1_000_000),
    ("steps", 1e6, 1_000_000), ("seed", "3.0", 3), ("lam", ["1e-1", "inf"], (0.1, math.inf)),
    ("kl_in_target", np.False_, False), ("prior", np.array(["replay", "reverse_kl"]), None),
    ("steps", str(2**60), 2**60), ("lam", Decimal("0.5"), 0.5),
])  # fmt: skip
def test_values_that_are_not_plain_python_are_taken(tmp_path, name, value, expected):
    names = {"preset": "laptop", "run_dir": tmp_path, name: value}
    found, _ = runs.notebook_config(names)
    assert getattr(found, name) == (("replay", "reverse_kl") if expected is None else expected)
    assert Config.from_json(found.to_json()) == found


@pytest.mark.parametrize(("name", "value"), [
    ("lam", {"a": 1}), ("lam", {1.0}), ("lam", np.zeros((2, 2))), ("seed", "1e-1"), ("task", 3),
    ("seed", np.float64(0.5)), ("kl_in_target", "yes"), ("steps", "many"), ("seed", len),
    ("run_dir", {}), ("steps", "inf"), ("steps", "nan"),
])  # fmt: skip
def test_values_that_no_parameter_takes_are_refused_by_name(tmp_path, name, value):
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        runs.notebook_config({"preset": "laptop", "run_dir": tmp_path, name: value})


@pytest.mark.parametrize("value", [np.zeros(2), {}, range(2), Path("x"), np.int64(1), b""])
def test_a_mistyped_name_is_found_whatever_its_value(tmp_path, value):
    with pytest.raises(ConfigError, match="unknown parameter 'lamda'"):
        runs.notebook_config({"preset": "laptop", "run_dir": tmp_path, "lamda": value})


def test_hypers_are_the_table_of_the_limits():
    def numbers(**settings):
        return [float(v) for v in hypers(Config(preset="laptop", **settings))]

    alpha = pytest.approx(1e-4)
    assert numbers(lam=0.0) == [0, 0, 1, alpha, 0, 0, 0, 0, 1, 0, 0]
    assert numbers(lam=9.0, prior="forward_kl") == [9, 9, 1, alpha, 0, 0, 1, 0, 1, 0, 0]
    assert numbers(lam=math.inf, prior="replay") == [1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    assert numbers(method="bmpc") == [1, 0, 0, alpha, 0, 0, 0, 1, 1, 0, 0]
    assert numbers(method="tdmpc_square") == [0, 0, 1, alpha, 1, 0, 0, 1, 1, 0, 0]
    assert numbers(method="tdmpbc") == [0, 0, 1, alpha, 0, 1, 0, 0, 1, 0, 0]
    assert numbers(method="boom") == [0, 0, 1, alpha, 0, 0, 0, 1, 1, 0, 1]
    assert numbers(method="pompc_budget", prior_rate=0.25)[-3:] == [0.25, 0.5, 0]
    assert set(PRESETS) == {"paper", "laptop"}


@pytest.mark.parametrize("settings", [
    {"seeds": 3}, {"seeds": 3.0}, {"seeds": "3"}, {"seeds": np.int64(3)}, {"seed": "0", "seeds": 3},
])  # fmt: skip
def test_a_number_of_seeds_is_one_however_it_was_written(settings):
    found = Config(preset="laptop", **settings)
    assert [agent.seed for agent in found.agents] == [0, 1, 2]
    assert Config.from_json(found.to_json()).agents == found.agents


def test_without_lambda_priors_differ_where_eq_34_reads_them():
    found = Config(
        preset="laptop", lam=0, cross_entropy_coef=1.0, prior=["reverse_kl", "forward_kl", "replay"]
    )
    assert [agent.prior for agent in found.agents] == ["reverse_kl", "forward_kl", "replay"]


def test_lists_make_a_population_in_which_nothing_is_there_twice():
    """λ = 0 reads no prior, and a method that fixes λ stands for itself."""
    found = Config(
        preset="laptop", method=["pompc", "tdmpc2", "bmpc"], lam="[0, 1, inf]",
        prior=["reverse_kl", "replay"], seeds=2, seed=5,
    )  # fmt: skip
    points = [(agent.method, agent.lam, agent.prior) for agent in found.agents]
    assert len(points) == 14
    assert points[::2] == [
        ("pompc", 0.0, "reverse_kl"), ("pompc", 1.0, "reverse_kl"), ("pompc", 1.0, "replay"),
        ("pompc", math.inf, "reverse_kl"), ("pompc", math.inf, "replay"),
        ("tdmpc2", 0.0, "reverse_kl"), ("bmpc", math.inf, "replay"),
    ]  # fmt: skip
    assert {agent.seed for agent in found.agents} == {5, 6}
    assert found.agents[-1].critic == "v"
    assert (found.lam, found.seeds) == ((0.0, 1.0, math.inf), 2)
    again = Config.from_json(found.to_json())
    assert again == found
    assert again.agents == found.agents
    twice = Config(preset="laptop", lam=["0.00", -0.0, 0], prior=["replay", "forward_kl"])
    assert [(agent.lam, agent.prior) for agent in twice.agents] == [(0.0, "replay")]
    alone = Config(preset="laptop", lam=[2])
    assert (alone.lam, alone.agents) == (2.0, (alone,))
