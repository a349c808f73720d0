"""Child Python processes that find the same modules as this one, and never use its __main__."""

import os
import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    # -P keeps the working directory off the path: the parent's path is handed over instead.
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment variables, its `sys.path`, and the given ones."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, **variables}
