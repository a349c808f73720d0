"""Run folders as training leaves them, written in a moment: what figures and results read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

AGENTS = [("pompc", lam, "reverse_kl") for lam in (0.1, 1.0, 9.0)]


def rising(task: str, agent: tuple[str, float, str], seed: int, step: int) -> float:
    """Return 10 seed + 500 step / (step + 20 000), a little more for a larger λ."""
    return 10.0 * seed + 500.0 * step / (step + 20_000) + 5.0 * min(agent[1], 9.0)


def write_run(
    folder: Path,
    task: str,
    agents: Sequence[tuple[str, float, str]] = (("pompc", 1.0, "reverse_kl"),),
    seeds: Sequence[int] = (0,),
    steps: int = 40_000,
    value: Callable[..., float] = rising,
    **settings: object,
) -> Path:
    """Write a run of every agent and seed, evaluated each 10 000 steps; return its folder."""
    folder.mkdir(parents=True)
    members = [(agent, seed) for agent in agents for seed in seeds]
    configs = [
        {"task": task, "method": method, "lam": "inf" if math.isinf(lam) else lam, "prior": prior,
         "preset": "laptop", "seed": seed, "steps": steps, "horizon": 3} | settings
        for (method, lam, prior), seed in members
    ]  # fmt: skip
    (folder / "config.json").write_text(json.dumps(configs if len(configs) > 1 else configs[0]))
    facts = {"commit": "0123456789abcdef", "finished": True, "device": "1 CPU core"}
    (folder / "provenance.json").write_text(json.dumps(facts))
    rows, metrics = [], []
    for step in range(0, steps + 1, 10_000):
        for index, ((method, lam, prior), seed) in enumerate(members):
            score = value(task, (method, lam, prior), seed, step)
            rows.append({
                "task": task, "method": method, "lam": lam, "prior": prior, "seed": seed,
                "env_step": step, "decision": step // 2, "return": score,
                "return_policy": score - 1.0, "wall_s": step / 100.0 + seed,
            })  # fmt: skip
            kl = math.nan if step == 0 else 4.0 + seed + (prior == "replay") * 30.0
            metrics.append({"env_step": step, "agent": index, "kl_mean": kl, "kl_std": 2.0 * kl})
    pd.DataFrame(rows).to_csv(folder / "returns.csv", index=False)
    pd.DataFrame(metrics).to_csv(folder / "metrics.csv", index=False)
    return folder


def write_peer(folder: Path, task: str, peer: str, method: str, value: float) -> Path:
    """Write a run of a public implementation with one return at every step; return its folder."""
    folder.mkdir(parents=True)
    facts = {"commit": "0123456789abcdef", "preset": "laptop", "peer": peer}
    (folder / "provenance.json").write_text(json.dumps(facts))
    rows = [
        {"task": task, "peer": peer, "method": method, "lam": 0.0, "prior": "reverse_kl",
         "seed": 0, "env_step": step, "decision": step // 2, "return": value, "wall_s": 1.0}
        for step in range(0, 40_001, 10_000)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "returns.csv", index=False)
    return folder
