"""Errors whose message says all, and the nearest-match hint of a sentence on bad input."""

import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class SaidError(Exception):
    """An error in one sentence; notebooks and commands show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(SaidError, ValueError):
    """Report bad input in one sentence: the value, what is allowed, the nearest match."""


class MissingError(SaidError, FileNotFoundError):
    """A run has not left yet what is asked for."""


class VideoError(SaidError, RuntimeError):
    """There can be no video of an episode."""


@contextmanager
def said_by_command() -> Iterator[None]:
    """End a command with an error of ours as one sentence, and exit code 2.

    One whose output nobody reads any more, as before `| head`, ends without a word.
    """
    try:
        yield
    except SaidError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return `; did you mean 'dog-run'?` for the allowed name closest to `name`, or nothing."""
    matches = difflib.get_close_matches(name, list(allowed), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
