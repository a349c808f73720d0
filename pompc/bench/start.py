"""Memory and start of a run: each in a process of its own, with an empty cache and a filled one."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import pompc
from pompc.training.hooks import Rows

COLUMNS = {
    "first_s": "first evaluation s", "first_cpu_s": "CPU s",
    "learning_s": "learning s", "learning_cpu_s": "its CPU s", "peak_mb": "peak MB",
}  # fmt: skip


def measure(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Start a run of `pompc.Config(**settings)` twice; the second finds what the first compiled.

    Return a row a run: `cache` (cold, warm), seconds from the command to the first evaluation and
    to the first row of metrics after seeding, on the clock and of all cores, and the most memory
    that was resident until then, in MB.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [{"cache": name} | _run(settings, Path(folder), name) for name in ("cold", "warm")]


def _run(settings: Mapping[str, Any], folder: Path, name: str) -> dict[str, float]:
    words = [json.dumps(dict(settings)), str(folder / name), str(time.time())]
    command = [sys.executable, "-m", "pompc.bench.start", *words]
    environment = os.environ | {"POMPC_CACHE": str(folder / "cache")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        raise pompc.ConfigError(f"the {name} run failed: its error is above")
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as text."""
    return pd.DataFrame(rows).rename(columns=COLUMNS).round(1)


def run(settings: Mapping[str, Any], folder: Path, began: float) -> dict[str, float]:
    """Train until something was learned; return seconds since `began`, and memory.

    The buffer has its whole size from the start, so that memory hardly grows after this.
    """
    found: dict[str, float] = {}

    def keep(name: str) -> None:
        found.setdefault(f"{name}_s", time.time() - began)
        found.setdefault(f"{name}_cpu_s", time.process_time())

    def logged(rows: Rows) -> None:
        if rows[0]["decision"] > config.seeding_decisions:
            keep("learning")
            raise pompc.Stop("all is measured")

    config = pompc.Config(**settings)
    pompc.train(config, folder, logged, lambda _: keep("first"))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found | {"peak_mb": peak / 1e6}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))))
