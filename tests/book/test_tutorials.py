"""The tutorials: stored with their outputs, and what they show of the code is there."""

from __future__ import annotations

import ast
import json
import math
import pkgutil
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from pompc.errors import ConfigError
from pompc.theory import equations

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "book/tutorials").glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    """Return the cells of a kind."""
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def text(cell: dict[str, Any]) -> str:
    """Return the source of a cell."""
    return "".join(cell["source"])


def test_every_tutorial_stands_in_the_table_of_contents():
    contents = (ROOT / "book/_toc.yml").read_text()
    listed = re.findall(r"tutorials/\w+", str(yaml.safe_load(contents)))
    assert sorted(listed) == [f"tutorials/{path.stem}" for path in TUTORIALS]
    assert len(TUTORIALS) == 8


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_stored_as_it_ran(path: Path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [output["output_type"] for cell in code for output in cell["outputs"]]
    assert "error" not in kinds
    assert not any(output.get("name") == "stderr" for cell in code for output in cell["outputs"])


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_has_exercises_with_folded_solutions_and_figures_with_words(path: Path):
    exercises = [text(cell) for cell in cells(path, "markdown") if "} Exercise" in text(cell)]
    solutions = [c for c in cells(path, "code") if "hide-cell" in c["metadata"].get("tags", [])]
    for solution in solutions:
        assert solution["metadata"]["mystnb"]["code_prompt_show"] == "Show the solution"
    folded = [text(cell) for cell in cells(path, "markdown") if ":class: dropdown" in text(cell)]
    assert len(exercises) == len(solutions) + len(folded) >= 2
    for cell in cells(path, "code"):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 40
            assert "hide-input" in cell["metadata"]["tags"]
        ast.parse(text(cell).replace("%", "#"))
    hints = [cell for cell in exercises if "```{admonition} Hint\n:class: tip dropdown\n" in cell]
    assert len(hints) == len(exercises)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_lines_of_code_fit_their_box_and_figures_have_captions(path: Path):
    for cell in cells(path, "code"):
        assert all(len(line) <= 85 for line in text(cell).split("\n")), text(cell)
        shown = [output.get("data", {}) for output in cell["outputs"]]
        for data, following in pairwise([*shown, {}]):
            if "image/png" in data:
                assert re.fullmatch(r"\*[^*]{40,}\*", "".join(following["text/markdown"]))


def minutes(path: Path) -> int:
    """Return the time to read a tutorial, in fives: 200 words or 25 lines of code a minute."""
    words = sum(len(text(cell).split()) for cell in cells(path, "markdown"))
    code = [cell for cell in cells(path, "code") if "display(" not in text(cell)]
    lines = sum(len(cell["source"]) for cell in code)
    for cell in code:
        for output in cell["outputs"]:
            lines += len("".join(output.get("data", {}).get("text/markdown", "")).split("\n"))
    return 5 * math.ceil((words / 200 + lines / 25) / 5)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_says_for_whom_it_is_and_how_long_and_ends_with_a_summary(path: Path):
    first, *_, last = map(text, cells(path, "markdown"))
    found = re.search(r"\*\*Level\*\*: (\w+)\. \*\*Reading time\*\*: (\d+) minutes\.", first)
    assert found
    assert int(found[2]) == minutes(path)
    row = f"](tutorials/{path.stem}) | {found[1]} | {found[2]} min |"
    assert row in (ROOT / "book/tutorials.md").read_text()
    assert "```{admonition} Summary\n- " in last


def test_algorithm_2_names_code_that_exists():
    page = ROOT / "book/tutorials/read_the_code.ipynb"
    (box,) = [text(cell) for cell in cells(page, "markdown") if "} Algorithm 2" in text(cell)]
    rows = re.findall(r"^\|.*\| `(\w+\.[\w.]+)` \|$", box, re.MULTILINE)
    assert len(rows) > 15
    for name in rows:
        assert pkgutil.resolve_name(f"pompc.{name}") is not None


@pytest.mark.parametrize("number", equations.EQUATIONS)
def test_an_equation_is_named_where_its_function_stands(number: str):
    function, test = equations.EQUATIONS[number]
    assert equations.source_of_test(test).startswith(f"def {test.split('::')[1]}(")
    documented = f"{function.__doc__}"
    named = {int(found) for found in re.findall(r"\b(\d+)\b", " ".join(
        re.findall(r"Eq\. \(\d+\)(?:(?:,| and| to) \(\d+\))*|Lemma E\.\d|Eq\. [\d, ]+", documented)
    ))}  # fmt: skip
    assert named & {int(one) for one in number.split(", ")}


def test_unknown_equations_and_tests_are_named():
    with pytest.raises(ConfigError, match="no equation '99'"):
        equations.function_and_test("99")
    with pytest.raises(ConfigError, match=r"no file 'test_nothing\.py'"):
        equations.source_of_test("test_nothing.py::test_a")
    with pytest.raises(ConfigError, match="did you mean 'test_td_target_eq_15'"):
        equations.source_of_test("algorithm/test_losses.py::test_td_target_eq_16")
    shown = equations.function_and_test("15").data
    assert "def td_target(" in shown
    assert "def test_td_target_eq_15(" in shown
