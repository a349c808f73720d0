"""What a public implementation is made to do when it is trained beside ours."""

import csv
import json

import numpy as np
import pytest

import pompc
from pompc import ConfigError
from pompc.bench import __main__ as bench
from pompc.bench import bmpc_torch
from pompc.bench import peer_runs as learning


class Recorder:
    """A peer that learns nothing and keeps what it was asked for."""

    name = "tdmpc2_jax"
    packages = ("pytest",)

    def __init__(self):
        self.stored, self.updates, self.noisy, self.begun = [], [], [], 0

    def act(self, observation, train):
        self.noisy.append(train)
        return np.full((len(observation), 1), 0.5, np.float32)

    def begin_episode(self):
        self.begun += 1

    def insert(self, transition):
        self.stored.append(transition)

    def update(self, reanalyse_now=False, pretrain=False):
        self.updates.append((reanalyse_now, pretrain))

    def reanalyse(self):
        raise AssertionError("an update reanalyses by itself")


@pytest.fixture
def config(small):
    return small(method="tdmpc2", steps=2400, evaluate_every=1200, evaluation_episodes=3)


@pytest.fixture
def trained(config, tmp_path, monkeypatch):
    peer = Recorder()
    monkeypatch.setattr(learning.peers, "load", lambda *_: peer)
    learning.train("tdmpc2_jax", config, tmp_path / "run")
    return peer, tmp_path / "run"


def test_a_peer_decides_and_updates_as_often_as_ours(trained, config):
    peer, _ = trained
    seeded, interval = config.seeding_decisions, config.reanalyse_interval
    assert len(peer.stored) == config.decisions
    assert sum(peer.noisy) == config.decisions - seeded
    assert [pretrain for _, pretrain in peer.updates] == [True] * seeded + [False] * (
        config.decisions - seeded
    )
    counts = [*range(seeded), *range(seeded, config.decisions)]
    assert [now for now, _ in peer.updates] == [count % interval == 0 for count in counts]


def test_a_peer_stores_the_episodes_that_it_saw(trained, config):
    peer, _ = trained
    length = 1000 // config.action_repeat
    ends = [bool(stored["truncated"][0]) for stored in peer.stored]
    assert [place for place, end in enumerate(ends, 1) if end] == [length, 2 * length]
    for before, after, end in zip(peer.stored, peer.stored[1:], ends, strict=False):
        assert np.array_equal(before["next_observation"], after["observation"]) != end
    rounds = 3  # evaluations at 0, 1200 and 2400 steps
    assert peer.begun == 2 + 2 * rounds


def test_a_peer_is_evaluated_where_ours_is(trained, config):
    _, folder = trained
    with (folder / "returns.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["env_step"]) for row in rows] == [0, 1200, 2400]
    assert {(row["peer"], row["method"]) for row in rows} == {("tdmpc2_jax", "tdmpc2")}
    # It never learns, and the environments are the same each time.
    assert len({row["return"] for row in rows}) == 1
    assert 0 < float(rows[0]["return"]) < 1000
    assert learning.Config.from_json((folder / "settings.json").read_text()) == config
    facts = json.loads((folder / "provenance.json").read_text())
    assert (facts["peer"], facts["pytest"]) == ("tdmpc2_jax", pytest.__version__)


def test_a_folder_with_a_run_is_left_alone(trained, config):
    _, folder = trained
    with pytest.raises(ConfigError, match="holds a run"):
        learning.train("tdmpc2_jax", config, folder)


def test_a_peer_that_is_not_there_is_named(config, tmp_path):
    with pytest.raises(ConfigError, match="bmpc_jax cannot be imported: put its checkout"):
        learning.train("bmpc_jax", config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bmpcs_torch_code_has_our_hyper_parameters():
    config = pompc.Config("walker-run", method="bmpc", preset="paper")
    found = bmpc_torch._settings(config, 24, 6)
    agent = "temperature", "num_q", "iterations", "enc_lr_scale", "log_std_min", "entropy_coef"
    # As in config.yaml of its checkout d5dabc6, but for iterations and learning rate (Table 3).
    assert [getattr(found, name) for name in agent] == [0.5, 2, 8, 1.0, -3.0, 1e-4]
    assert found.bin_size == pytest.approx(20 / 100)
    # It adds two iterations by itself from 20 actions on.
    assert bmpc_torch._settings(config, 24, 38).iterations == 6


@pytest.mark.filterwarnings("default")  # torch's own
def test_bmpcs_torch_code_stores_whole_episodes_with_their_plans(small):
    """Where it can be imported: `PYTHONPATH` with its checkout, torch, torchrl and tensordict."""
    pytest.importorskip("torchrl")
    pytest.importorskip("bmpc")
    peer = bmpc_torch.BmpcTorch(small(method="bmpc"), 3, 1)
    for step in range(12):
        action = peer.act(np.full((1, 3), step, np.float32), train=True)
        flag = np.array([step % 6 == 5])
        peer.insert({
            "observation": np.full((1, 3), step, np.float32), "action": action,
            "reward": np.ones(1, np.float32), "terminated": flag & False, "truncated": flag,
            "next_observation": np.full((1, 3), step + 1, np.float32),
        })  # fmt: skip
        if flag:
            peer.begin_episode()
    rows = peer._buffer._buffer[:]
    assert len(rows) == 14  # each episode's first observation stands alone
    assert rows["obs"][:, 0].tolist() == [*range(7), *range(6, 13)]
    assert np.isnan(rows["expert_action_dist"][:, 0].numpy()).nonzero()[0].tolist() == [0, 7]
    for _ in range(10):  # the tenth reanalyses
        found = peer.update()
    assert np.isfinite(float(found["total_loss"]))
    assert peer.act(np.zeros((1, 3), np.float32), train=False).shape == (1, 1)


class Timed:
    """A contestant whose loops take the seconds that it was given."""

    def __init__(self, name, seconds, calls):
        self.name, self.left, self.calls = name, list(seconds), calls

    def run(self, decisions):
        self.calls.append((self.name, decisions))
        return np.array([0.0, 0.0, self.left.pop(0)])


def test_whole_loops_run_in_turn_and_the_median_one_counts():
    calls = []
    ours, theirs = Timed("ours", [5.0, 1.0, 2.0], calls), Timed("theirs", [4.0, 9.0, 7.0], calls)
    found = bench.whole_loops([ours, theirs], decisions=10, loops=3)
    assert calls == [("ours", 10), ("theirs", 10)] * 3
    assert [list(seconds) for seconds in found] == [[0, 0, 2], [0, 0, 7]]
