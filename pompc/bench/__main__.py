"""Speed, beside the public implementations, and with `--start` memory and time to a first result.

Every program is called in turn, ours and the peers', round after round on the same machine; the
table holds medians. Ratios between rows of one table mean something, milliseconds alone do not.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from pompc import runtime
from pompc.bench import kernels, peers, start
from pompc.bench.contestants import BUFFER, Contestant, Ours, Theirs, rates
from pompc.envs import make_vector
from pompc.errors import said_by_command
from pompc.population import cost
from pompc.settings.config import Config

WARM_UP = 2  # calls before any is timed: a peer compiles again once it has a previous plan
SLOW_S, SLOW_ROUNDS = 5.0, 5  # what takes longer than this is called every fifth round only
# Two tables, so that each fits a page: what is measured, and where the time and the memory go.
RATIOS = {"plan_ratio": "plan_ms", "update_ratio": "update_ms", "speed_ratio": "decisions_per_s"}
SPEED = ["name", "plan_ms", "update_ms", "reanalyse_ms", "decisions_per_s", *RATIOS]
SHARES = ["name", "plan_of_peak", "update_of_peak", "reanalyse_of_peak", "plan_share",
          "environment_share", "update_share", "memory_mb", "compile_s"]  # fmt: skip
HEADS = {"name": "program", "decisions_per_s": "decisions/s", "speed_ratio": "decisions ratio",
         "environment_share": "env share", "memory_mb": "memory MB"}  # fmt: skip


def medians(contestants: Sequence[Contestant], rounds: int) -> list[dict[str, float]]:
    """Call every program of every contestant in turn, `rounds` times; return medians in seconds."""
    measures = [contestant.measures() for contestant in contestants]
    times: list[dict[str, list[float]]] = [{name: [] for name in found} for found in measures]
    for number in range(rounds):
        print(f"\rround {number + 1} of {rounds}", end="", flush=True)
        for found, kept in zip(measures, times, strict=True):
            for name, call in found.items():
                slow = kept[name] and min(kept[name]) > SLOW_S
                if slow and number % SLOW_ROUNDS:
                    continue
                started = time.perf_counter()
                jax.block_until_ready(call())
                kept[name].append(time.perf_counter() - started)
    print()
    return [{name: float(np.median(kept)) for name, kept in one.items()} for one in times]


def whole_loops(contestants: Sequence[Contestant], decisions: int, loops: int) -> list[np.ndarray]:
    """Run every contestant's loop in turn, `loops` times; return its median run's seconds, `[3]`.

    The seconds are those in plan, environment and update.
    """
    runs = [[contestant.run(decisions) for contestant in contestants] for _ in range(loops)]
    return [sorted(own, key=np.sum)[loops // 2] for own in zip(*runs, strict=True)]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what the command line asks for; return the rows and what they were measured on."""
    settings = {"task": arguments.task, "preset": arguments.preset, "buffer_size": BUFFER,
                "matmul_precision": arguments.precision}  # fmt: skip
    base = Config(**settings)
    runtime.configure(base.matmul_precision)
    peak = cost.matmul_rate(1024)
    makers = [partial(_make_ours, settings, varied) for varied in _grid(arguments)]
    makers += [partial(_make_peer, base, name) for name in peers.NAMES]
    with ThreadPoolExecutor(runtime.cores() if runtime.has_gpu() else 1) as pool:
        made = [pool.submit(maker) for maker in makers]
        contestants = [found for one in made if (found := one.result())]
    for call in (call for one in contestants for call in one.measures().values()):
        for _ in range(WARM_UP):
            jax.block_until_ready(call())
    found = medians(contestants, arguments.rounds)
    looped = whole_loops(contestants, arguments.decisions, arguments.loops)
    peak = max(peak, cost.matmul_rate(1024))  # a busy machine may have disturbed the first
    rows = [
        contestant.row(values, peak) | rates(seconds, arguments.decisions * contestant.population)
        for contestant, values, seconds in zip(contestants, found, looped, strict=True)
    ]
    if arguments.profile:
        write_profiles(contestants, arguments.profile)
    for contestant in contestants:
        contestant.vector.close()
    return {
        "task": base.task, "preset": base.preset, "peak_gflops": peak / 1e9,
        "rounds": arguments.rounds, "loops": arguments.loops, "decisions": arguments.decisions,
        **runtime.describe(), "rows": _compared(rows)
    }  # fmt: skip


def write_profiles(contestants: Sequence[Contestant], path: Path) -> None:
    """Write the operations of our programs, a trace of each."""
    traced = [
        kernels.table(call).assign(
            P=one.population, lam=one.config.lam, planner=one.config.planner_dtype, program=name
        )
        for one in contestants
        if isinstance(one, Ours)
        for name, call in one.measures().items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    head = ["P", "lam", "planner", "program", "kind", "operation", "count", "ms"]
    pd.concat(traced)[head].to_csv(path, index=False, float_format="%.4g")


def _grid(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what our programs differ in, one dictionary each."""
    axes = {"seeds": arguments.populations, "lam": arguments.lam,
            "planner_heads": arguments.heads, "planner_dtype": arguments.planner}  # fmt: skip
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def _make_ours(settings: dict[str, Any], varied: dict[str, Any]) -> Contestant:
    print(f"compiling pompc, {', '.join(f'{n} = {v}' for n, v in varied.items())}", flush=True)
    return Ours(Config(**settings, **varied))


def _make_peer(base: Config, name: str) -> Contestant | None:
    vector = make_vector(base.task, [0])
    peer = peers.load(name, base, vector.observation_dim, vector.action_dim)
    return Theirs(peer, base, vector) if peer else None


def _compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add each figure over that of `tdmpc2_jax` in the same run, where it was measured."""
    theirs = next((row for row in rows if row["program"] == "tdmpc2_jax"), {})
    known = {name: of for name, of in RATIOS.items() if of in theirs}
    return [
        row | {name: row[of] / theirs[of] for name, of in known.items() if of in row}
        for row in rows
    ]


def tables(result: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a measurement as text, the most telling digits alone: its speed, and its shares."""
    rows = pd.DataFrame([row | {"name": _name(row)} for row in result["rows"]])
    text = rows.map(lambda value: "" if pd.isna(value) else _short(value))
    speed, shares = (text.reindex(columns=names, fill_value="") for names in (SPEED, SHARES))
    heads = {name: HEADS.get(name, name.replace("_", " ")) for name in (*SPEED, *SHARES)}
    return speed.rename(columns=heads), shares.rename(columns=heads)


def _name(row: dict[str, Any]) -> str:
    """Name a program: of ours, its agents and what tells them apart."""
    if row["program"] != "pompc":
        return row["program"]
    agents = "1 agent" if row["agents"] == 1 else f"{row['agents']} agents"
    reduced = "" if row["planner"] == "float32" else f", {row['planner']}"
    return f"{agents}, λ = {row['lam']:g}, {row['heads']}{reduced}"


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m pompc.bench", description=__doc__)
    parser.add_argument("--preset", default="auto", help="paper, laptop or auto")
    parser.add_argument("--task", default="dog-run", help="any task of pompc.make_env")
    parser.add_argument("--populations", type=int, nargs="+", default=[1], metavar="P",
                        help="numbers of agents")  # fmt: skip
    parser.add_argument("--lam", type=float, nargs="+", default=[1.0, 0.0],
                        help="λ of all agents; 0 is TD-MPC2's amount of work")  # fmt: skip
    parser.add_argument("--heads", nargs="+", default=["pair", "all"], choices=["pair", "all"],
                        help="Q heads that the planner evaluates")  # fmt: skip
    parser.add_argument("--planner", nargs="+", default=["float32"],
                        choices=["float32", "bfloat16"],
                        help="type of the planner's activations")  # fmt: skip
    parser.add_argument("--precision", default="float32", choices=["float32", "tf32"],
                        help="of matrix products; on a GPU the peers' too")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=15, help="calls that a median is over")
    parser.add_argument("--loops", type=int, default=5, help="whole loops that a median is over")
    parser.add_argument("--decisions", type=int, default=50, help="of a whole loop")
    parser.add_argument("--start", action="store_true",
                        help="memory and start of one run instead, cold and warm")  # fmt: skip
    parser.add_argument("--profile", type=Path, metavar="FILE",
                        help="write where our time goes on the device, as CSV")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    return parser.parse_args(values)


def main(values: Sequence[str]) -> None:
    """Print the table, and write it where asked."""
    arguments = _arguments(values)
    with said_by_command():
        if arguments.start:
            rows = start.measure({"task": arguments.task, "preset": arguments.preset})
            return print(start.table(rows).to_string(index=False))
        result = measure(arguments)
    print(f"{result['task']}, {result['preset']}, {result['device']}; matrix products "
          f"{result['peak_gflops']:.0f} GFLOP/s at most")  # fmt: skip
    for table in tables(result):
        print(f"\n{table.to_string(index=False)}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
