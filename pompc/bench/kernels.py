"""Where a program's time goes on the device, by operation, from a trace of JAX's profiler."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pandas as pd

# Names that XLA and its libraries give to what runs; the first that fits counts.
_KINDS = {
    "matrix products": r"gemm|xmma|nvjet|cutlass|cublas|dot|ynn",
    "copies": r"memcpy|memset|copy|concatenate|transpose|bitcast",
    "sorting": r"sort|top_?k",
    "reductions, LayerNorm, softmax": r"reduce|softmax|rsqrt",
}
_NAME = 60  # letters kept of a name: libraries spell out their templates
_OTHERS = "elementwise and others"
_CONTAINERS = re.compile(r"(while|conditional|call)\b")  # their parts are counted themselves


def table(call: Callable[[], Any], calls: int = 3) -> pd.DataFrame:
    """Trace calls of a compiled program, each of which returns what can be waited for.

    Return `kind, operation, count, ms` a call: a row for each kind of operation and name, numbers
    left out of it, longest first. Operations of a CPU run beside each other.
    """
    jax.block_until_ready(call())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                jax.block_until_ready(call())
        (path,) = Path(folder).rglob("*.xplane.pb")
        events = pd.DataFrame(_events(path), columns=["operation", "ms"])
    names = events["operation"].str.replace(r"[._]\d+", "", regex=True)
    events["operation"] = names.str.slice(0, _NAME)
    events["kind"] = events["operation"].map(kind)
    by_name = events.groupby(["kind", "operation"], as_index=False)
    found = by_name.agg(count=("ms", "size"), ms=("ms", "sum"))
    found[["count", "ms"]] /= calls
    return found.sort_values("ms", ascending=False, ignore_index=True)


def kind(operation: str) -> str:
    """Return the kind of an operation from its name."""
    found = (name for name, pattern in _KINDS.items() if re.search(pattern, operation, re.I))
    return next(found, _OTHERS)


def _events(path: Path) -> Iterator[tuple[str, float]]:
    """Yield name and milliseconds of what ran on the device: kernels, or a CPU's operations."""
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        on_gpu = "GPU" in plane.name
        for line in plane.lines:
            if on_gpu and not line.name.startswith("Stream"):
                continue
            for event in line.events:
                operation = on_gpu or any(name == "hlo_op" for name, _ in event.stats)
                if operation and not _CONTAINERS.match(event.name):
                    yield event.name, event.duration_ns / 1e6
