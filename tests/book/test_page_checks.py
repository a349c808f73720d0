"""Each check of a page passes on a good page, and says what is wrong with a broken one."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import page_checks
import pytest
from browser import PROGRAM, Browser

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
FIELD = '<button class="search-button-field">Search</button>'
TABLE = "<table><tr><td>name</td><td style='min-width: {}px'>number</td></tr></table>"
HEADER = "<table><thead><th style='max-width: 40px; overflow-wrap: anywhere'>{}</thead></table>"
MANY = HEADER.format("{}" + "<th>x" * 7)
SCROLLED = "<div style='width: 400px; overflow-x: auto'>{}</div>"
CODE = "<pre style='width: 400px; overflow-x: auto'>{}</pre>"
FOLDED = "<details><summary>Show</summary><div class='cell_input'>{}</div></details>"
FIGURE = "<figure><img src='{}' style='width: 300px' alt='Two lines.'>{}</figure>"
CAPTION = "<figcaption>Two lines that rise.</figcaption>"
DRAWING = "data:image/svg+xml,<svg xmlns=%22http://www.w3.org/2000/svg%22/>"
VIDEO = "<video title='A pole' width='{}'></video>"
LONG, SHORT = "x" * 120, "print(x)"
PIPES = "| task | return |\n| --- | --- |\n| walker-run | 517 |"

CASES = {  # check -> a page that passes, a page that does not, what it says of that one
    "raw tables": (TABLE.format(10) + "<p>|x| &lt; 1 | y</p>", f"<p>{PIPES}</p>", "raw pipes"),
    "raw tables, printed": (
        f"<pre>{PIPES}</pre>", f"<div class='cell_output'><pre>{PIPES}</pre></div>", "raw pipes",
    ),
    "raw marks": (
        "<p>2 * 3 * 4, f(*one, *all), <code>*a*</code> <b class='math'>$x_1$</b>, 5 $</p>",
        "<p>with $\\mathrm{Var}, g_1$ here</p>", "$\\mathrm{Var}, g_1$",
    ),
    "raw marks, of a stressed word": ("<p><em>All</em></p>", "<p>but *Reach*, so</p>", "*Reach*"),
    "broken numbers": (
        "<p style='width: 1px'>30\N{NO-BREAK SPACE}000</p>", "<p style='width: 1px'>30 000</p>",
        "inside a number: 30 000",
    ),
    "cut code": (CODE.format(SHORT), CODE.format(f"{SHORT}\n{LONG}"), "120 characters"),
    "cut tables": (SCROLLED.format(TABLE.format(10)), SCROLLED.format(TABLE.format(900)), "cut"),
    "cut tables, by the page": (TABLE.format(10), TABLE.format(1200), "cut at its right"),
    "broken headers": (HEADER.format("so-so"), HEADER.format("reanalyse"), ": reanalyse"),
    "broken headers, of many columns": (
        MANY.format("reanalyse").replace("<table", "<table class='dataframe'"),
        MANY.format("update"), ": update",
    ),
    "open code": (FOLDED.format(SHORT), f"<div class='cell_input'>{SHORT}</div>", "print(x)"),
    "search fields": (FIELD + FIELD.replace("class", "hidden class"), FIELD + FIELD, "2 search"),
    "captions": (FIGURE.format(DRAWING, CAPTION), FIGURE.format(DRAWING, ""), "Two lines."),
    "captions, hidden": (
        FIGURE.format(DRAWING, CAPTION),
        FIGURE.format(DRAWING, CAPTION.replace(">", " hidden>", 1)), "no caption",
    ),
    "captions, of an output": (
        f"<div class='cell_output'>{FIGURE.format(DRAWING, CAPTION)}</div>",
        f"<div class='cell_output'><img src='{DRAWING}' alt='Two lines.'></div>", "no caption",
    ),
    "captions, of an image alone": (
        FIGURE.format(DRAWING, CAPTION), f"<p><img src='{DRAWING}' alt='Two lines.'></p>",
        "no caption",
    ),
    "sharpness": (FIGURE.format("600.png", ""), FIGURE.format("500.png", ""), "500 pixels"),
    "sharpness, of a drawing": (FIGURE.format(DRAWING, ""), FIGURE.format("300.png", ""), "300"),
    "proportions": (
        FIGURE.format("600.png", ""), FIGURE.format("600.png' height='40", ""), "stretched",
    ),
    "videos": (VIDEO.format(800), VIDEO.format(900), "cut at its right: A pole"),
}  # fmt: skip


def found_in(browser: Browser, folder: Path, body: str, check: str) -> list[str]:
    """Return what a check finds on a page of this body."""
    for width in (300, 500, 600):
        imageio.imwrite(folder / f"{width}.png", np.zeros((90, width), np.uint8))
    page = folder / "page.html"
    page.write_text(f"<!doctype html><meta charset='utf-8'><article style='width: 800px'>{body}")
    browser.resize(1280)
    browser.open(page.as_uri())
    return page_checks.faults(browser, [check])


@pytest.mark.parametrize("case", CASES)
def test_a_check_passes_a_good_page_and_fails_a_broken_one(
    browser: Browser, tmp_path: Path, case: str
):
    check, (good, broken, said) = case.split(",")[0], CASES[case]
    assert found_in(browser, tmp_path, good, check) == []
    (fault,) = found_in(browser, tmp_path, broken, check)
    assert said in fault


def test_every_check_has_a_case_and_a_page():
    assert {case.split(",")[0] for case in CASES} == set(page_checks.CHECKS)
    assert set(page_checks.names("results/claims.html", 1280)) == set(page_checks.CHECKS)
    assert "open code" not in page_checks.names("tutorials/mppi.html", 1280)
    assert "cut tables" not in page_checks.names("results/claims.html", 390)


def test_folds_are_opened_for_what_is_in_them(browser: Browser, tmp_path: Path):
    body = FOLDED.format(CODE.format(LONG))
    assert found_in(browser, tmp_path, body, "cut code") == []
    page_checks.open_folds(browser)
    assert len(page_checks.faults(browser, ["cut code"])) == 1
