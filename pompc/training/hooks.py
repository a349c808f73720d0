"""Functions of one's own that a run calls with its newest rows, and how they end it."""

from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]  # one an agent
Hook = Callable[[Rows], object]  # what it returns is not looked at


class Stop(Exception):  # noqa: N818
    """Raised by a hook, it ends the run in good order; provenance.json keeps its message."""


def ignore(rows: Rows) -> None:
    """Do nothing with the rows of a table."""
