"""What survives a run: the agents' state, written by Orbax without pickle."""

from __future__ import annotations

import shutil
from pathlib import Path

import orbax.checkpoint as ocp

from pompc.agent import AgentState

KEPT = 2


def save(run_dir: Path, env_step: int, states: tuple[AgentState, ...]) -> None:
    """Write agents (axis G in each group) as checkpoint `env_step`; keep the newest two."""
    folder = (run_dir / "checkpoints").absolute()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / str(env_step), states, force=True)
    for step in saved_steps(run_dir)[:-KEPT]:
        shutil.rmtree(folder / str(step))


def saved_steps(run_dir: Path) -> list[int]:
    """Return the environment steps of the checkpoints in a run, oldest first."""
    folder = run_dir / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def restore(run_dir: Path, env_step: int, like: tuple[AgentState, ...]) -> tuple[AgentState, ...]:
    """Read checkpoint `env_step` into the shapes and types of `like`."""
    folder = (run_dir / "checkpoints").absolute()
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder / str(env_step), like)
