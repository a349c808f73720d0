"""Where this code comes from, as provenance.json says it: the right commit, or none and why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from pompc import runs
from pompc.runs import folder


def _git(where, *arguments):
    command = ["git", "-C", str(where), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a checkout of code that is in its only commit, as the one that this code lies in."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    top = tmp_path / "checkout"
    _write(top / "pompc")
    _git(tmp_path, "init", "-q", str(top))
    _git(top, "add", ".")
    _git(top, "commit", "-qm", "all")
    monkeypatch.setattr(folder, "_CODE", top)
    return top


def _write(package):
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")


_found = folder.origin.__wrapped__  # without its memory


def test_the_commit_of_a_checkout_is_known_and_marked_where_files_differ(checkout):
    head = _git(checkout, "rev-parse", "HEAD")
    assert _found() == (head, "")
    (checkout / "pompc" / "__init__.py").write_text("changed")
    assert _found() == (f"{head} with changes", "")


def test_a_hook_of_another_repository_changes_nothing(checkout, tmp_path, monkeypatch):
    head = _git(checkout, "rev-parse", "HEAD")
    _git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    assert _found() == (head, "")


def test_a_checkout_of_another_owner_is_known(checkout):
    if os.geteuid():
        pytest.skip("only root can give files away")
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 65534, 65534)
    assert _found() == (_git(checkout, "-c", f"safe.directory={checkout}", "rev-parse", "HEAD"), "")


@pytest.mark.parametrize("place", ["lib/site-packages", "third_party"])
def test_a_copy_in_another_project_has_no_commit_and_says_why(checkout, monkeypatch, place):
    _write(checkout / place / "pompc")
    if place == "third_party":  # that project's own commits hold it
        _git(checkout, "add", ".")
        _git(checkout, "commit", "-qm", "a copy")
    monkeypatch.setattr(folder, "_CODE", checkout / place)
    commit, why = _found()
    assert commit is None
    assert "is no checkout, though it lies in one" in why


def test_a_copy_at_the_top_of_another_project_has_no_commit(checkout):
    _git(checkout, "rm", "-q", "--cached", "pompc/__init__.py")
    commit, why = _found()
    assert commit is None
    assert "did not match any file" in why


def test_outside_of_any_checkout_or_without_git_there_is_none_and_it_is_said(
    checkout, tmp_path, monkeypatch
):
    monkeypatch.setattr(folder, "_CODE", tmp_path)
    commit, why = _found()
    assert commit is None
    assert "not a git repository" in why
    monkeypatch.setattr(folder, "origin", _found)
    runs.write_provenance(tmp_path, {"finished": True})
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert (facts["commit"], facts["no_commit"], facts["finished"]) == (None, why, True)
    monkeypatch.setenv("PATH", "")
    assert "git cannot be started" in _found()[1]


ASK = """
from pompc import runs
from pompc.figures import public_code, tables
from pompc.results import scores
from pompc.sweep import job
from pompc.theory import replay_buffer

read = [tables.NUMBERS, scores.RANDOM, job.NOTEBOOK, replay_buffer.TABLE, *public_code.TABLES]
print(runs.ROOT, [str(path) for path in read if not path.exists()])
"""


def test_a_wheel_holds_what_is_read_and_writes_where_it_is_called(tmp_path):
    source, prefix, here = tmp_path / "source", tmp_path / "installed", tmp_path / "here"
    for name in ("pompc", "runs/appendix-g", "runs/bench", "runs/random"):
        shutil.copytree(runs.ROOT / name, source / name)
    (source / "book").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "book/train.ipynb",
                 "book/paper_numbers.csv"):  # fmt: skip
        shutil.copy(runs.ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    place = ["--no-deps", "--ignore-installed", "--prefix", str(prefix), str(wheel)]
    subprocess.run([*pip, "install", "-q", "--no-warn-script-location", *place], check=True)
    (packages,) = prefix.rglob("site-packages")
    here.mkdir()
    grid = "grid: [{task: cartpole-swingup, preset: laptop}]"
    (here / "grid.yaml").write_text(grid)
    asked = [["-c", ASK], ["-m", "pompc.sweep", "grid.yaml", "--backend", "print"]]
    read, printed = (
        subprocess.run(
            [sys.executable, *arguments], cwd=here, capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONPATH": str(packages)},
        ).stdout
        for arguments in asked
    )  # fmt: skip
    assert read.strip() == f"{here} []"
    assert printed.startswith("mkdir -p runs/grid/cartpole-swingup-")
    assert f"papermill {prefix / 'share' / 'pompc' / 'book' / 'train.ipynb'} runs/grid/" in printed
