"""Which finished run holds the agents of a job, whatever else it holds and how it is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pompc import runs
from pompc.settings.config import Config


class Trained:
    """The agents of the finished runs in a folder."""

    def __init__(self, folder: Path) -> None:
        """Read the configurations; what is no run, or not finished, is passed over."""
        self._runs: dict[str, set[Path]] = {}
        for path in sorted(folder.glob("*/config.json")):
            for agent in _agents(path.parent):
                for one in (agent, dataclasses.replace(agent, matmul_precision="auto")):
                    self._runs.setdefault(one.to_json(), set()).add(path.parent)

    def run_of(self, config: Config) -> Path | None:
        """Return a run that holds every agent of a configuration.

        Agents that leave `matmul_precision` to the machine are found whatever they ran with.
        """
        holders = [self._runs.get(agent.to_json(), set()) for agent in config.agents]
        return min(set.intersection(*holders), default=None)


def _agents(run_dir: Path) -> Iterator[Config]:
    if runs.read_provenance(run_dir).get("finished"):
        with suppress(ValueError, TypeError):  # a configuration of another version, or none
            yield from runs.read_config(run_dir).agents
