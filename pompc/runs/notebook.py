"""A run as a notebook asks for it: its parameters, and the folder that papermill writes it to."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from numbers import Number
from pathlib import Path
from typing import Any

import psutil

from pompc.errors import ConfigError
from pompc.settings.checks import plain
from pompc.settings.config import Config
from pompc.settings.field_types import settings_of

# What a parameter may be, once it is Python's own, and what is always meant as one.
_VALUES = (str, bytes, Number, list, tuple, range, dict, set, frozenset, os.PathLike)
_PARAMETERS = {"run_dir", *settings_of(Config)}


def notebook_config(names: Mapping[str, Any]) -> tuple[Config, Path]:
    """Return the configuration and run folder from a notebook's parameters, its `globals()`.

    Every value whose name does not begin with an underscore counts as a parameter, so that a
    mistyped one is found; None means the default. Other objects (modules, functions, tables) are
    left alone unless they have a parameter's name. Without `run_dir`, a run goes where papermill
    writes the executed page.

    Raise ConfigError for unknown names, values that are not allowed, or an unknown folder.
    """
    given = {
        name: value
        for name, value in names.items()
        if value is not None
        and not name.startswith("_")
        and name not in ("In", "Out")  # IPython's own
        and (name in _PARAMETERS or isinstance(plain(value), _VALUES))
    }
    given.pop("PAPERMILL_INPUT_PATH", None)
    page, run_dir = given.pop("PAPERMILL_OUTPUT_PATH", None), given.pop("run_dir", None)
    if not isinstance(run_dir, (str, int, os.PathLike, type(None))):
        raise ConfigError(f"run_dir must be a folder, not {run_dir!r}")
    config = Config(**given)
    return config, Path(str(run_dir)) if run_dir else _page_folder(page, names)


def _page_folder(injected: str | None, names: Mapping[str, Any]) -> Path:
    """Return the folder of the page that papermill, our parent process, is writing."""
    # Its path comes from papermill itself, or is that word of its command line at which there is a
    # page under way, made from another word (or from "-", a pipe).
    parent = psutil.Process().parent()
    words = [injected] if injected else parent.cmdline() if parent else []
    filled = [_filled(word, names) for word in words]
    for word in filled:
        page = Path(word)
        if injected and page.is_absolute() and page.parent.is_dir():
            return page.parent
        state = _papermill_state(page)
        under_way = state.get("output_path") == word and state.get("end_time") is None
        if under_way and (injected or state.get("input_path") in [*filled, "-"]):
            return page.parent
    raise ConfigError(
        "run_dir is not given, and nothing tells in which folder this page is written: give "
        "run_dir, the run's folder (papermill takes -p run_dir FOLDER, or --inject-output-path)"
    )


def _filled(path: str, names: Mapping[str, Any]) -> str:
    """Return a path with its parameters, as in "runs/{task}/train.ipynb", filled in."""
    with suppress(KeyError, IndexError, AttributeError, ValueError):
        return path.format(**names)
    return path


def _papermill_state(page: Path) -> dict[str, Any]:
    """Return what papermill wrote about a page's execution; nothing where there is no page."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        if page.suffix == ".ipynb":
            return json.loads(page.read_bytes())["metadata"]["papermill"]
    return {}
