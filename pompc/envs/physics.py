"""MuJoCo's full state, as both suites that run on it store it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np


def import_mujoco() -> Any:
    """Import MuJoCo's own functions; not before a suite has chosen the OpenGL back end."""
    return importlib.import_module("mujoco")


def get_state(model: Any, data: Any) -> np.ndarray:
    """Return everything that a step reads, warm start included, float64 `[S]`."""
    mujoco = import_mujoco()
    everything = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, everything))
    mujoco.mj_getState(model, data, state, everything)
    return state


def set_state(model: Any, data: Any, state: np.ndarray) -> None:
    """Put a state that `get_state` returned in place, and what follows from it."""
    mujoco = import_mujoco()
    mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)
