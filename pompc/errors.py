"""The error that bad input raises, and the nearest-match hint of its sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """Report bad input in one sentence: the value, what is allowed, the nearest match."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return `; did you mean 'dog-run'?` for the allowed name closest to `name`, or nothing.

    Args:
        name: what the user wrote.
        allowed: every name that would have been accepted.
    """
    matches = difflib.get_close_matches(name, list(allowed), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
