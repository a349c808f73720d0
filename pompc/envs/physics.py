"""What environments on MuJoCo share: OpenGL only where they render, and states to be stored."""

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np


class MujocoEnv(gymnasium.Env[np.ndarray, np.ndarray], ABC):
    """An environment whose state is stored as its episode's beginning, actions and physics."""

    frame_size: tuple[int, int] = (360, 480)  # height and width of rendered frames, in pixels
    _renders: bool
    _actions: list[np.ndarray]  # since the episode began

    def save(self) -> dict[str, Any]:
        """Return what `load` needs: how the episode began, its actions, and the physics now."""
        size = self.action_space.shape or (0,)
        actions = np.array(self._actions).reshape(-1, *size)
        return {**self._beginning(), "actions": actions, "physics": get_state(*self._mujoco())}

    def load(self, state: Mapping[str, Any]) -> np.ndarray:
        """Go on from a state that `save` returned; return the present observation `[O]`.

        The episode is played again, which restores all that a task keeps: what it drew, what it
        changed in its model, its counters. On another processor that may round differently; then
        the stored physics (with warm start) is put in place at its end.
        """
        self._begin(state)
        observation, _ = self.reset()
        for action in state["actions"]:
            observation = self.step(action)[0]
        if not np.array_equal(get_state(*self._mujoco()), state["physics"]):
            set_state(*self._mujoco(), state["physics"])
        return observation

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the current frame, uint8 `[height, width, 3]`; needs `render=True`."""
        if not self._renders:
            raise RuntimeError("render() needs an environment made with render=True")
        return self._frame()

    @abstractmethod
    def _beginning(self) -> dict[str, Any]:
        """Return arrays by name that determine how the episode began."""

    @abstractmethod
    def _begin(self, state: Mapping[str, Any]) -> None:
        """Let the next `reset()` begin a stored episode."""

    @abstractmethod
    def _mujoco(self) -> tuple[Any, Any]:
        """Return MuJoCo's own model and data."""

    @abstractmethod
    def _frame(self) -> np.ndarray:
        """Return the current frame, uint8 `[height, width, 3]`."""


def import_mujoco() -> Any:
    """Import MuJoCo's own functions; not before a suite has chosen the OpenGL back end."""
    return importlib.import_module("mujoco")


@contextmanager
def opengl(render: bool) -> Iterator[None]:
    """Set `MUJOCO_GL` for the imports inside the block, and restore it afterwards.

    mujoco and dm_control read it once, when they are imported. Without rendering it is
    `disabled`, whatever the user set: a display that is missing or broken then stops no training.
    With rendering it is the user's, or `egl`, which needs no display. It is restored so that
    child processes choose for themselves.
    """
    chosen = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = (chosen or "egl") if render else "disabled"
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]
        if chosen is not None:
            os.environ["MUJOCO_GL"] = chosen


def require_opengl(library: str, there: bool) -> None:
    """Raise RuntimeError unless OpenGL was there when this process imported a library."""
    if not there:
        raise RuntimeError(
            f"{library} was imported without OpenGL in this process: make the rendering "
            "environment before any other, or use pompc.envs.video.record_actions, which renders "
            "in a process of its own"
        )


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
