"""The tutorials: stored with their outputs, and what they show of the code is there."""

from __future__ import annotations

import ast
import json
import re
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
    assert len(TUTORIALS) == 7


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
        equations.show("99")
    with pytest.raises(ConfigError, match=r"no file 'test_nothing\.py'"):
        equations.source_of_test("test_nothing.py::test_a")
    with pytest.raises(ConfigError, match="did you mean 'test_td_target_eq_15'"):
        equations.source_of_test("test_losses.py::test_td_target_eq_16")
    shown = equations.show("15").data
    assert "def td_target(" in shown
    assert "def test_td_target_eq_15(" in shown
