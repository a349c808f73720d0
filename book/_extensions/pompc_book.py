"""What this book asks of Sphinx: results that follow their runs, and docstrings as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

_STRESSED = r"(?<![\w*])\*\w[^*\n]*\*(?![\w*])"
_MARKED = rf"(\$\$.+?\$\$|\$(?:[^$\n]|\n(?!\n))+\$|`[^`]+`|{_STRESSED})"
_RESULTS = ("results/", "appendix_g")  # pages that read runs/


def reread_results(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> Iterable[str]:
    """Return the results pages if a file of a run, or code, has changed since they were built.

    Sphinx executes a notebook again only if the notebook itself has changed.
    """
    root = Path(app.srcdir).resolve().parent
    found = [*(root / "runs").rglob("*"), *(root / "pompc").rglob("*.py")]
    paths = sorted(path for path in found if path.suffix in (".csv", ".json", ".py"))
    state = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
    before, env.pompc_runs = getattr(env, "pompc_runs", None), state  # pyright: ignore
    return [] if before == state else [name for name in env.found_docs if name.startswith(_RESULTS)]


def to_restructured_text(
    app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]
) -> None:
    """Turn a docstring's dollars into mathematics, backticks into code, keep *stress*; in place."""
    if lines and lines[0].startswith("Alias for field number"):
        lines[:] = []
    parts = re.split(_MARKED, "\n".join(lines), flags=re.DOTALL)
    lines[:] = "".join(map(_part, parts)).split("\n")


def _part(text: str) -> str:
    """Return one piece of a docstring as reStructuredText."""
    if text.startswith("$$"):
        return f"\n\n.. math::\n\n   {' '.join(text.strip('$').split())}\n\n"
    if text.startswith("$"):
        return f":math:`{' '.join(text.strip('$').split())}`\\ "
    if text.startswith("`"):
        return f"``{' '.join(text.strip('`').split())}``\\ "
    if re.fullmatch(_STRESSED, text):
        return f"{text}\\ "
    return re.sub(r"([|*])", r"\\\1", text)  # no substitutions, and no stress that no word ends


def no_address_no_buttons(app: Sphinx, config: Config) -> None:
    """Drop the launch buttons where `repository: url` is empty: they would lead nowhere."""
    if not config.html_theme_options.get("repository_url"):
        config.html_theme_options["launch_buttons"] = {}


def no_buttons_on_markdown(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave the launch buttons to notebooks: Colab opens no Markdown, executed or not."""
    if app.env.doc2path(pagename).endswith(".md"):
        app.env.metadata[pagename].pop("kernelspec", None)


def no_thebe(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave out Thebe, which is switched off; its constant, declared twice, would be an error."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in str(getattr(script, "filename", "") or "")
        and "THEBE" not in str(getattr(script, "attributes", {}).get("body", ""))
    ]


def add_captions(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make a `<figure>` of each image that a cell displays right before a line in italics.

    The line is its caption: in the notebook, where it is seen as well, and here.
    """
    outputs = [box for box in doctree.findall(nodes.container) if "cell_output" in box["classes"]]
    for output in outputs:
        for image, words in pairwise(list(output.children)):
            if isinstance(image, nodes.image) and _in_italics(words):
                place = output.index(image)
                output[place : place + 2] = [
                    nodes.raw("", '<figure class="output">', format="html"),
                    image,
                    nodes.raw("", "<figcaption>", format="html"),
                    words,
                    nodes.raw("", "</figcaption></figure>", format="html"),
                ]


def keep_numbers_whole(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let no line end inside a number such as 30 000."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, (nodes.literal, nodes.math, nodes.FixedTextElement)):
            whole = re.sub(r"(?<=\d)[ \n](?=\d{3}(?!\d))", "\N{NO-BREAK SPACE}", text)
            if whole != text:
                text.parent.replace(text, nodes.Text(whole))


def _in_italics(node: nodes.Node) -> bool:
    """Return whether a node is one paragraph, all of it in italics."""
    if not isinstance(node, nodes.paragraph):
        return False
    return len(node.children) == 1 and isinstance(node.children[0], nodes.emphasis)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the events of a build."""
    app.connect("config-inited", no_address_no_buttons, priority=900)
    app.connect("html-page-context", no_buttons_on_markdown, priority=400)
    app.connect("html-page-context", no_thebe, priority=900)
    app.connect("env-get-outdated", reread_results)
    app.connect("doctree-resolved", add_captions)
    app.connect("doctree-resolved", keep_numbers_whole)
    app.connect("autodoc-process-docstring", to_restructured_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
