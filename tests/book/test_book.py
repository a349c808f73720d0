"""The results pages are executable, thin and described; the reference names every module."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import written
from docutils import nodes

import pompc
from pompc import results
from pompc.figures import registry

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "book" / "results").glob("*.ipynb"))


def name(path: Path) -> str:
    """Return a page's name for a test."""
    return path.stem


def code_cells(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cells of code of a notebook."""
    return [cell for cell in page["cells"] if cell["cell_type"] == "code"]


def outputs(page: dict[str, Any], kind: str) -> list[str]:
    """Return what a notebook's cells have displayed, of one MIME type."""
    found = [output.get("data", {}) for cell in code_cells(page) for output in cell["outputs"]]
    return ["".join(data[kind]) for data in found if kind in data]


def execute(path: Path, folder: Path, profile: str) -> dict[str, Any]:
    """Execute a page from the top of the repository, as its readers do; return it."""
    target = folder / path.name
    subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR", str(path),
         str(target), "-p", "profile", profile],
        cwd=ROOT, check=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(Path(pompc.__file__).parents[1])},
    )  # fmt: skip
    return json.loads(target.read_text())


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_page_has_one_cell_of_plain_parameters_and_little_code(path: Path):
    page = json.loads(path.read_text())
    (cell,) = [cell for cell in page["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    values = {
        target.id: ast.literal_eval(statement.value)
        for statement in ast.parse("".join(cell["source"])).body
        for target in statement.targets  # pyright: ignore
    }
    assert values == {"profile": "small", "published": None}
    assert page["metadata"]["kernelspec"]["name"] == "python3"
    assert not any(one["outputs"] or one["execution_count"] for one in code_cells(page))
    assert sum(len(one["source"]) for one in code_cells(page)) <= 20
    assert all("remove-input" in one["metadata"]["tags"] for one in code_cells(page))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_figure_is_hidden_code_with_words_for_it(path: Path):
    for cell in code_cells(json.loads(path.read_text())):
        if "figures.show(" in "".join(cell["source"]):
            assert "remove-input" in cell["metadata"]["tags"]
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 40


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_page_begins_with_its_answer(path: Path):
    """A sentence below the title, then a figure or the line that says that there is none."""
    first, *others = json.loads(path.read_text())["cells"]
    title, answer = "".join(first["source"]).split("\n\n")
    assert title.startswith("# ")
    assert len(answer.split()) < 60
    assert not answer.startswith("**The paper")
    code = ["".join(cell["source"]) for cell in others if cell["cell_type"] == "code"]
    assert path.stem == "tables" or "figures.show(" in code[2]  # after parameters and imports


def named(page: dict[str, Any]) -> set[str]:
    """Return the figures that a page's cells show."""
    found = set()
    for cell in code_cells(page):
        for shown in re.findall(r"figures\.show\((\[.*?\]|\".*?\")", "".join(cell["source"])):
            found |= set(re.findall(r'"(\w+)"', shown))
    return found


@functools.cache
def shipped() -> results.Results:
    """Return the runs that come with the book."""
    return results.collect("small")


@pytest.mark.pages
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_page_runs_with_the_small_profile_and_leaves_its_figures(path: Path, tmp_path: Path):
    page = execute(path, tmp_path, "small")
    of_paper = {figure for figure in named(page) if figure.startswith("figure_")}
    not_run = {figure for figure in of_paper if registry.drawn(figure, shipped()).empty}
    images = outputs(page, "image/svg+xml")
    assert len(images) == len(named(page) - not_run)
    assert all("</svg>" in image and len(image) > 5_000 for image in images)
    said = " ".join(outputs(page, "text/markdown"))
    assert "These runs are small-scale" in said
    for figure in of_paper:
        assert figure.replace("_", " ").capitalize() in said
    assert said.count("hours of one H200") == bool(not_run)


@pytest.mark.pages
def test_a_page_names_a_malformed_run_and_draws_what_is_there(tmp_path: Path):
    runs = tmp_path / "own"
    written.write_run(runs / "whole", "dog-run")
    (written.write_run(runs / "broken", "dog-walk") / "config.json").write_text("{")
    page = execute(ROOT / "book" / "results" / "dmcontrol.ipynb", tmp_path, str(runs))
    said = " ".join(outputs(page, "text/markdown"))
    assert "`own/broken` cannot be read: config.json is no JSON" in said
    assert "Not run: Dog Stand, Dog Trot, Dog Walk, Humanoid Stand" in said
    assert "Small tasks returns: not run." in said
    table = outputs(page, "text/html")[-1]
    assert "338 (one seed)" in table
    assert table.count(">ours: ") == 1  # the row of Dog Run


def test_every_module_stands_in_the_reference_once():
    modules = {
        module.name
        for module in pkgutil.walk_packages(pompc.__path__, "pompc.")
        if not module.name.endswith("__main__")
    }
    pages = "\n".join(path.read_text() for path in (ROOT / "book" / "api").glob("*.md"))
    listed = re.findall(r"automodule:: (\S+)", pages)
    assert len(listed) == len(set(listed))
    assert set(listed) == modules


@functools.cache
def extension() -> ModuleType:
    """Return the book's own extension of Sphinx."""
    path = ROOT / "book" / "_extensions" / "pompc_book.py"
    spec = importlib.util.spec_from_file_location("pompc_book", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Return `[H, B]`, `N`s.", "Return ``[H, B]``\\ , ``N``\\ s."),
        (r"The target, $r + \gamma Q$.", r"The target, :math:`r + \gamma Q`\ ."),
        ("Before $$a\nb$$ after", "Before \n\n.. math::\n\n   a b\n\n after"),
        ("With $L_k\n= a$: *no write*,", "With :math:`L_k = a`\\ : *no write*\\ ,"),
        ("5 $ a\n\nb $ c", "5 $ a\n\nb $ c"),
        ("Where |G| < 1, *args.", r"Where \|G\| < 1, \*args."),
        ("Code `a|b` stays.", "Code ``a|b``\\  stays."),
        ("Alias for field number 3", ""),
    ],
)
def test_docstrings_become_restructured_text(docstring: str, expected: str):
    lines = docstring.split("\n")
    extension().to_restructured_text(None, "function", "name", None, None, lines)
    assert "\n".join(lines) == expected


def test_no_line_ends_inside_a_number():
    words = nodes.paragraph("", "", nodes.Text("30 000 to 1 000\n000 of 3 seeds, 2 1000"))
    code, raw = nodes.paragraph("", "", nodes.literal("", "30 000")), nodes.raw("", "30 000")
    extension().keep_numbers_whole(None, nodes.document(None, None, "", words, code, raw), "page")
    space = "\N{NO-BREAK SPACE}"
    assert words.astext() == f"30{space}000 to 1{space}000{space}000 of 3 seeds, 2 1000"
    assert code.astext() == raw.astext() == "30 000"  # such as the path of a drawing


def test_results_are_read_again_when_a_run_has_changed(tmp_path: Path):
    (tmp_path / "book").mkdir()
    run = written.write_run(tmp_path / "runs" / "one", "dog-run")
    app = SimpleNamespace(srcdir=tmp_path / "book")
    env = SimpleNamespace(found_docs=["index", "results/tables", "appendix_g"])

    def changed() -> list[str]:
        return list(extension().reread_results(app, env, set(), set(), set()))

    assert changed() == ["results/tables", "appendix_g"]
    assert changed() == []
    (run / "returns.csv").unlink()
    assert changed() == ["results/tables", "appendix_g"]
    (tmp_path / "pompc").mkdir()
    (tmp_path / "pompc" / "code.py").touch()
    assert changed() == ["results/tables", "appendix_g"]


def test_launch_buttons_need_the_repositorys_address():
    buttons = {"colab_url": "https://colab.research.google.com"}
    for address, expected in (("", {}), ("https://github.com/someone/pompc", buttons)):
        options = {"repository_url": address, "launch_buttons": buttons}
        extension().no_address_no_buttons(None, SimpleNamespace(html_theme_options=options))
        assert options["launch_buttons"] == expected
