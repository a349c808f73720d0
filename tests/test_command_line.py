"""`python -m pompc`: what its words become, what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pandas as pd
import pytest
import written

import pompc
from pompc.__main__ import main
from pompc.errors import VideoError


@pytest.fixture
def trained(monkeypatch):
    """Return what `pompc.train` is called with, in place of training."""
    calls = []
    monkeypatch.setattr(pompc, "train", lambda *given: calls.append(given), raising=False)
    return calls


def test_train_reads_values_as_papermill_does(trained):
    main(["train", "task=walker-walk", "lam=[0, 0.5, inf]", "seeds=3", "preset=laptop",
          "steps=1e5", "kl_in_target=False", "prior=None", "out=runs/x"])  # fmt: skip
    ((config, folder),) = trained
    assert config == pompc.Config("walker-walk", lam=[0.0, 0.5, float("inf")], seeds=3,
                                  preset="laptop", steps=100_000, kl_in_target=False)  # fmt: skip
    assert folder == "runs/x"


def test_a_run_without_folder_is_named_by_its_words(trained):
    main(["train", "task=gym:Pendulum-v1", "lam=[0, 1]", "preset=laptop"])
    assert trained[0][1] == "runs/task=gym-Pendulum-v1_lam=0,1_preset=laptop"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "lamda=1"], "unknown parameter 'lamda'; did you mean 'lam'?"),
        (["train", "lam"], "'lam' must be NAME=VALUE, such as task=walker-walk, and in quotes"),
        (["train", "lam=1", "lam=2"], "'lam' is given twice"),
        (["train", "task=walker"], "unknown task 'walker'"),
        (["evaluate", "nowhere"], "'nowhere' holds no run"),
        (["evaluate", "nowhere", "--episodes", "0"], "episodes is 0 but must be at least 1"),
        (["video", "nowhere"], "'nowhere' holds no run"),
        (["runs", "nowhere"], "no run found in 'nowhere'"),
    ],
)
def test_an_error_of_ours_is_one_sentence_and_exit_code_2(words, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1


def test_a_second_ctrl_c_waits_for_no_thread(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    def end(code):
        raise SystemExit(code)

    monkeypatch.setattr(pompc, "train", interrupted, raising=False)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit) as ended:
        main(["train", "out=runs/x"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "ended at once, without a checkpoint\n"


def test_no_traceback_in_a_process_of_its_own():
    done = subprocess.run([sys.executable, "-m", "pompc", "runs", "nowhere"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "no run found in 'nowhere': there is no returns.csv below it\n"


@pytest.mark.parametrize("words", [[], ["train"], ["evaluate"], ["video"], ["export"], ["runs"]])
def test_every_command_has_help(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m pompc" in capsys.readouterr().out


def test_runs_are_a_table(tmp_path, capsys):
    written.write_run(tmp_path / "one", "dog-run")
    main(["runs", str(tmp_path)])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "task", "method", "lam", "prior", "seeds", "env_step", "steps",
                            "last", "return", "finished"]  # fmt: skip
    assert len(rows) == 1


def test_evaluate_video_and_export_hand_their_words_on(monkeypatch, capsys):
    def evaluate(run, episodes):
        return pd.DataFrame({"run": [run], "n": [episodes]})

    def record(run, path, agent):
        raise VideoError(f"none of {run}, {path}, {agent}")

    monkeypatch.setattr(pompc, "evaluate", evaluate, raising=False)
    monkeypatch.setattr(pompc, "record_video", record, raising=False)
    monkeypatch.setattr(pompc, "export_agent", lambda *given: given, raising=False)
    main(["evaluate", "x", "--episodes", "4"])
    assert capsys.readouterr().out.split() == ["run", "n", "x", "4"]
    main(["export", "x", "y", "--agent", "2"])
    assert capsys.readouterr().out == "('x', 'y', 2)\n"
    with pytest.raises(SystemExit):
        main(["video", "x", "--agent", "2", "--out", "y.mp4"])
    assert capsys.readouterr().err == "none of x, y.mp4, 2\n"
