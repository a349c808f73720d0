"""What a run prints: a first line, then a bar on a terminal or one line an evaluation elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from pompc.config import PRESETS, Config


def first_line(config: Config, facts: Mapping[str, Any], seconds: float) -> str:
    """Return the lines that say what is about to run, on what, and for how long."""
    others = ", ".join(sorted(set(PRESETS) - {config.preset}))
    return (
        f"{config.task}: {config.method}, lam {config.lam:g}, prior {config.prior}, seed "
        f"{config.seed}; preset {config.preset} (others: {others}), {facts['parameters']:,} "
        f"parameters, {config.steps:,} environment steps = {config.decisions:,} decisions, on "
        f"{facts['device']}; about {_duration(seconds)}\n"
        f"matmul precision {facts['matmul_precision']}, GPU memory {facts['gpu_memory']}, JAX "
        f"{facts['jax']}; a first run also compiles for about a minute"
    )


class Progress:
    """A progress bar with return, decisions a second and time left, or plain lines."""

    def __init__(self, config: Config) -> None:
        """Show a bar only where standard error is a terminal."""
        self._config = config
        self._bar = tqdm(total=config.decisions, unit="decision") if sys.stderr.isatty() else None

    def move(self, decision: int, rate: float) -> None:
        """Show that `decision` decisions are done, `rate` a second."""
        if self._bar is not None:
            self._bar.update(decision - self._bar.n)
            self._bar.set_postfix_str(f"{rate:.1f} decisions/s", refresh=False)

    def note(self, text: str) -> None:
        """Print one line."""
        tqdm.write(text) if self._bar is not None else print(text, flush=True)

    def evaluated(self, rows: Sequence[Mapping[str, Any]], rate: float) -> None:
        """Show the newest evaluation of every agent."""
        for row in rows:
            left = (self._config.decisions - row["decision"]) / rate if rate else None
            self.note(
                f"step {row['env_step']:>8,}  return {row['return']:8.1f}  policy alone "
                f"{row['return_policy']:8.1f}  {row['wall_s']:7.1f} s"
                + (f"  {rate:6.1f} decisions/s, {_duration(left)} left" if left else "")
            )

    def close(self) -> None:
        """Complete the bar."""
        if self._bar is not None:
            self._bar.update(self._config.decisions - self._bar.n)
            self._bar.close()


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
