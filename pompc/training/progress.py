"""What a run prints: a first line, then a bar on a terminal or one line an evaluation elsewhere."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from tqdm import tqdm

from pompc.runs.resources import gigabytes
from pompc.settings.config import Config
from pompc.settings.fields import PRESETS


def first_line(config: Config, facts: Mapping[str, Any], seconds: float) -> str:
    """Return the lines that say what is about to run, on what, and for how long."""
    others = ", ".join(sorted(set(PRESETS) - {config.preset}))
    agents = len(config.agents)
    gpu = f"GPU memory {facts['gpu_memory']}, " if "gpu_memory" in facts else ""
    return (
        f"{config.task}: {_agents(config)}; preset {config.preset} (others: {others}), "
        f"{facts['parameters']:,} parameters{' an agent' if agents > 1 else ''}, "
        f"{config.steps:,} environment steps = {config.decisions:,} decisions, on "
        f"{facts['device']}; about {duration(seconds)}\n{_idle(agents, facts)}"
        f"matmul precision {facts['matmul_precision']}, replay {facts['replay_bytes'] / 1e6:,.0f} "
        f"MB in {facts['replay_memory']} memory, at most {gigabytes(facts['disk_bytes'])} on disk, "
        f"{gpu}JAX {facts['jax']}; a first run also compiles for "
        f"about a minute\nterminations in the TD targets: {config.terminations}"
        + (f"; note: {facts['note']}" if "note" in facts else "")
    )


def _idle(agents: int, facts: Mapping[str, Any]) -> str:
    """Return a line on devices that do not share the agents, if there are any."""
    used, all_of_them = facts["agent_devices"], facts["local_devices"]
    if agents == 1 or used == all_of_them:
        return ""
    return (
        f"the agents share {used} of {all_of_them} devices: seeds that {all_of_them} divides "
        "would use all\n"
    )


def _agents(config: Config) -> str:
    """Name the agents of a run."""
    if len(config.agents) == 1:
        return f"{config.method}, lam {config.lam:g}, prior {config.prior}, seed {config.seed}"
    lams = ", ".join(f"{lam:g}" for lam in config.lam)
    several = f"{config.seeds} seeds from" if config.seeds > 1 else "seed"
    return (
        f"{len(config.agents)} agents ({', '.join(config.method)}; lam {lams}; prior "
        f"{', '.join(config.prior)}; {several} {config.seed})"
    )


class Progress:
    """A progress bar with decisions a second and time left, on a terminal only, and lines."""

    def __init__(self, config: Config) -> None:
        self._bar = tqdm(total=config.decisions, unit="decision", disable=None)

    def move(self, decision: int, rate: float) -> None:
        """Show that `decision` decisions are done, `rate` a second."""
        self._bar.update(decision - self._bar.n)
        self._bar.set_postfix_str(f"{rate:.1f} decisions/s", refresh=False)

    def note(self, text: str) -> None:
        """Print one line."""
        tqdm.write(text)
        sys.stdout.flush()

    def evaluated(self, rows: Sequence[Mapping[str, Any]], rate: float) -> None:
        """Show the newest evaluation: a line for agents that differ in their seed only."""
        kinds = pd.DataFrame(rows).groupby(["method", "lam", "prior"], sort=False)
        for _, found in kinds:
            first = found.iloc[0]
            name = f"  {first['method']} lam {first['lam']:g} {first['prior']}"
            self.note(self._line(found, rate) + (name if len(kinds) > 1 else ""))

    def _line(self, rows: pd.DataFrame, rate: float) -> str:
        """Return a line on the mean over seeds, with decisions a second of each agent."""
        first, mean = rows.iloc[0], rows[["return", "return_policy"]].mean()
        left = (self._bar.total - first["decision"]) / rate if rate else None
        return (
            f"step {first['env_step']:>8,}  return {mean['return']:8.1f}  "
            f"policy alone {mean['return_policy']:8.1f}"
            + (f"  (mean of {len(rows)} seeds)" if len(rows) > 1 else "")
            + f"  {first['wall_s']:7.1f} s"
            + (f"  {rate:6.1f} decisions/s, {duration(left)} left" if left else "")
        )

    def close(self) -> None:
        """Complete the bar."""
        self._bar.update(self._bar.total - self._bar.n)
        self._bar.close()


def duration(seconds: float) -> str:
    """Write a time for people."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
