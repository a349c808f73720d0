"""The project around the code: dependencies, lock, pages, and what no file may hold."""

from __future__ import annotations

import ast
import dataclasses
import functools
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import locks
import numpy as np
import pytest
import yaml

import pompc
from pompc import make_env
from pompc.algorithm import instruments
from pompc.algorithm.loss_weights import Parts
from pompc.bench import __main__ as bench
from pompc.runs.folder import IDENTITY
from pompc.settings import methods
from pompc.settings.config import Config
from pompc.settings.field_types import settings_of
from pompc.settings.fields import Fields
from pompc.settings.tables import settings_table

ROOT = Path(__file__).parent.parent
# In pieces, so that this file does not hold what it looks for.
FORBIDDEN = re.compile(
    r"(?<![\w-])--(extra-|default-)?index" + "-url"
    r"|^\s*(extra-)?index" + "-url *="
    r"|(PIP|UV)_(\w+_)?INDEX" + r"(_URL)?\b"
    r"|(?<![\w.~-])/(home|Users)" + r"/\w"
    r"|(?<![\w.~-])/root" + r"/",
    re.MULTILINE,
)  # fmt: skip


@functools.cache
def project() -> dict[str, Any]:
    """Return the table [project] of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# The folders of the package from the top down: a module imports from its own line's folder, or from
# folders of later lines, at import time or inside a function.
LAYERS = [
    ["figures"],
    ["theory", "sweep", "bench"],
    ["training", "results"],
    ["runs"],
    ["population"],
    ["algorithm"],
    ["settings"],
    ["envs"],
    ["runtime", "errors"],
]


def folder(module: str) -> str | None:
    """Return the folder of `pompc` (or the module at its top) that a dotted name leads to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "pompc" and len(parts) > 1 else None


def imported(path: Path) -> set[str]:
    """Return the folders of `pompc` that a module imports from, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {folder(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {folder(f"{node.module}.{alias.name}") for alias in node.names}
    return found - {None}


MODULES = sorted(path for path in (ROOT / "pompc").rglob("*.py") if path.parent != ROOT / "pompc")


def test_every_module_stands_in_a_folder_of_the_order():
    named = {name for layer in LAYERS for name in layer}
    tops = {path.relative_to(ROOT / "pompc").parts[0] for path in MODULES}
    files = {path.stem for path in (ROOT / "pompc").glob("*.py")} - {"__init__", "__main__"}
    assert tops | files == named


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path):
    own = path.relative_to(ROOT / "pompc").parts[0]
    (level,) = [number for number, layer in enumerate(LAYERS) if own in layer]
    below = {name for layer in LAYERS[level + 1 :] for name in layer}
    public = set(pompc.__all__) | {"__version__"}  # handed on by the package itself
    assert imported(path) - public <= below | {own}


def normal(name: str) -> str:
    """Return a package's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


LOCKS = ["requirements.lock", "requirements-lab.lock"]


@functools.cache
def text_of(name: str) -> str:
    """Return the text of a file at the top."""
    return (ROOT / name).read_text()


def test_environment_asks_for_the_same_python_and_known_extras():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    # conda chooses the newest Python. There pip resolves dm-control anew, labmaze included.
    assert conda == [f"python{project()['requires-python']}".replace("<3.14", "<3.13"), "pip"]
    (requirement,) = pip["pip"]
    found = re.fullmatch(r"-e \.\[(.+)\]", requirement)
    assert found
    assert set(found[1].split(",")) <= set(project()["optional-dependencies"])


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_version_and_hashes(name: str):
    for requirement, hashes, _ in locks.entries(text_of(name)):
        assert str(requirement.specifier).startswith("=="), requirement
        assert hashes, requirement


@pytest.mark.parametrize("name", [*LOCKS, "requirements.wheels"])
def test_lock_names_no_address(name: str):
    assert "://" not in text_of(name)


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_wheel_for_each_python(name: str):
    """On Linux x86_64: else `make train` needs a compiler, if not worse. No network is asked."""
    assert locks.without_wheel(text_of(name), text_of("requirements.wheels")) == []


def test_the_lack_of_a_wheel_is_seen():
    """labmaze, which dm-control asks for, has wheels for 3.11 and 3.12 alone."""
    marked = "labmaze==1.0.6 ; python_full_version < '3.13'"
    assert marked in text_of("requirements.lock")
    lock = text_of("requirements.lock").replace(marked, "labmaze==1.0.6")
    lacking = locks.without_wheel(lock, text_of("requirements.wheels"))
    assert lacking == ["labmaze==1.0.6 on 3.13"]


def test_tasks_need_no_labmaze():
    """The lock leaves it out on 3.13: dm_control's suite must load where it is not installed."""
    code = "import sys; sys.modules['labmaze'] = None; from dm_control import suite"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"MUJOCO_GL": "off"}, check=True)


def test_a_lock_that_is_newer_than_its_table_is_seen():
    lock = "tqdm==9.9 \\\n    --hash=sha256:" + "0" * 64
    lacking = locks.without_wheel(lock, text_of("requirements.wheels"))
    assert lacking == [f"tqdm==9.9 on {python}" for python in ("3.11", "3.12", "3.13")]


def test_every_dependency_is_locked():
    extras = project()["optional-dependencies"]
    locked = {normal(e.requirement.name) for e in locks.entries(text_of("requirements.lock"))}
    added = {normal(e.requirement.name) for e in locks.entries(text_of("requirements-lab.lock"))}
    for requirement in [*project()["dependencies"], *extras["book"], *extras["dev"]]:
        assert normal(re.split(r"[^\w.-]", requirement)[0]) in locked, requirement
    for requirement in extras["lab"]:
        assert normal(re.split(r"[^\w.-]", requirement)[0]) in added, requirement


@functools.cache
def notation() -> list[list[str]]:
    """Return the cells of the notation table's rows, without its head."""
    text = (ROOT / "book/notation.md").read_text()
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names(cell: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("name", sorted({name for row in notation() for name in names(row[2])}))
def test_notation_names_code_that_exists(name: str):
    assert pkgutil.resolve_name(f"pompc.{name}") is not None


def test_notation_names_keys_that_exist_and_all_of_table_3():
    rows = notation()
    assert all(len(row) == 5 for row in rows)
    keys = {name for row in rows for name in names(row[3])}
    assert keys <= {field.name for field in dataclasses.fields(Config)}
    about = settings_of(Fields)
    assert {name for name in about if re.search(r"Table 3|B\.4", about[name].paper)} <= keys


def test_the_page_on_methods_prints_their_table():
    page = (ROOT / "book/methods.md").read_text()
    for row in methods.methods_table():
        cells = [value.replace("|", r"\|") for value in row.values()]
        assert f"| {' | '.join(cells)} |\n" in page


def test_the_page_on_settings_prints_all_of_them():
    assert settings_table() in (ROOT / "book/api/settings.md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("**/*.md")), ids=lambda p: p.stem)
def test_rows_of_a_table_have_the_cells_of_its_head(path: Path):
    """A line |G| in a cell, say, would be two more cells, and push the last ones out."""
    for table in re.findall(r"(?:^\|.*\|\n)+", path.read_text(), re.MULTILINE):
        counts = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert set(counts) == {counts[0]}, table


@pytest.mark.parametrize("path", sorted((ROOT / "runs/bench").glob("*.json")), ids=lambda p: p.stem)
def test_the_page_on_speed_prints_what_was_measured(path: Path):
    page = (ROOT / "book/speed.md").read_text()
    for table in bench.tables(json.loads(path.read_text())):
        for row in [list(table.columns), *table.to_numpy()]:
            assert f"| {' | '.join(row)} |\n" in page


@functools.cache
def train_page() -> dict[str, Any]:
    """Return book/train.ipynb."""
    return json.loads((ROOT / "book/train.ipynb").read_text())


def test_train_page_has_one_cell_of_plain_parameters():
    cells = train_page()["cells"]
    (cell,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    values = {}
    for statement in ast.parse("".join(cell["source"])).body:
        assert isinstance(statement, ast.Assign)
        (target,) = statement.targets
        assert isinstance(target, ast.Name)
        values[target.id] = ast.literal_eval(statement.value)
    order = ["task", "method", "lam", "prior", "preset", "seed", "seeds", "steps", "run_dir"]
    assert list(values)[: len(order)] == order
    others = [field.name for field in dataclasses.fields(Config) if field.name not in order]
    assert list(values)[len(order) :] == others  # else papermill warns of each that is given
    config = {name: value for name, value in values.items() if value is not None}
    assert Config(**config).task == "cartpole-swingup"


def test_train_page_is_stored_without_outputs():
    assert train_page()["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in train_page()["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


# What a page may name in backticks or link to: a path from the top of the repository.
PATHS = re.compile(r"\]\(([^)#]+)[)#]|src=\"([^\"]+)\"|`((?:pompc|book|tests|sweeps)/[^` ]*)`")
PAGES_WITH_PATHS = ["README.md", "CONTRIBUTING.md", "book/extend.md", "book/api/index.md"]
MADE_BY_THE_READER = {("book/extend.md", "pompc/envs/lab.py"), ("README.md", "book/_build/html")}


@pytest.mark.parametrize("name", PAGES_WITH_PATHS)
def test_paths_in_a_page_exist(name: str):
    page = (ROOT / name).read_text()
    found = ["".join(groups) for groups in PATHS.findall(re.sub(r"(?ms)^ *```.*?^ *```", "", page))]
    assert found
    for path in found:
        places = [ROOT / path, (ROOT / name).parent / path]
        elsewhere = "://" in path or (name, path) in MADE_BY_THE_READER
        assert elsewhere or any(place.exists() for place in places), path


def test_the_page_on_extending_names_code_that_exists():
    page = re.sub(r"(?ms)^ *```.*?^ *```", "", (ROOT / "book/extend.md").read_text())
    code = "\n".join(path.read_text() for path in MODULES)
    for name in set(re.findall(r"`(?:\w+\.)?(\w+)`", page)):
        assert re.search(rf"\b{name}\b", code), name


def files_of(entries: list[dict[str, Any]]) -> list[str]:
    """Return the pages below entries of the table of contents."""
    own = [entry["file"] for entry in entries if "file" in entry]
    inner = [child for entry in entries for key in ("chapters", "sections")
             for child in entry.get(key, [])]  # fmt: skip
    return own + (files_of(inner) if inner else [])


def test_every_page_of_the_book_exists():
    contents = yaml.safe_load((ROOT / "book/_toc.yml").read_text())
    for page in [contents["root"], *files_of(contents["parts"])]:
        assert any((ROOT / f"book/{page}{ending}").exists() for ending in (".md", ".ipynb")), page
    assert (ROOT / "book/_config.yml").samefile(ROOT / "_config.yml")


def test_own_environment_of_the_book_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (ROOT / "book/environments.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my_env.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    env = make_env("gym:my_env:Target-v0", seed=0)
    observation, _ = env.reset()
    after, reward, *_ = env.step(np.ones(1, np.float32))
    assert after == pytest.approx(observation + 0.2, abs=1e-6)
    assert 0.0 < float(reward) <= 1.0


def test_no_file_names_an_index_or_a_home_folder():
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            found = FORBIDDEN.search(path.read_text(errors="replace"))
            assert not found, f"{name} holds {found and found[0]!r}"


def test_the_page_on_metrics_names_every_column():
    page = (ROOT / "book/metrics.md").read_text()
    tables = sorted((ROOT / "runs").rglob("metrics.csv"))
    stored = {name for path in tables for name in path.read_text().split("\n")[0].split(",")}
    everything = Parts(*[True] * len(Parts._fields))
    wanted = stored | set(instruments.names(everything))
    assert len(wanted) > 40
    # `load_metrics` adds who an agent is.
    assert not wanted & set(IDENTITY)
    assert not {name for name in wanted if f"`{name}`" not in page}
