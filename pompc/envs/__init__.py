"""One Gymnasium-style face for dm_control tasks and any Gymnasium id; nothing here imports JAX.

A task is a string: `dog-run` (dm_control) or `gym:Pendulum-v1` (Gymnasium; `gym:module:Id-v0`
imports your own module first). A suite is a module with `ACTION_REPEAT`, `check(task)` and
`make(task, seed, render)`; a new one is one more line of `_SUITES`.
"""

from __future__ import annotations

import functools
from types import ModuleType

import gymnasium
import numpy as np
from gymnasium.spaces import flatdim

from pompc.envs import dmc, gym
from pompc.envs.dmc import task_names
from pompc.envs.vector import Observations, Vector
from pompc.envs.workers import make_vector

__all__ = [
    "Observations",
    "Vector",
    "action_repeat",
    "check_task",
    "dimensions",
    "make_env",
    "make_vector",
    "task_names",
]

# Prefix of the task's name -> its suite; the empty prefix takes what no other does, so it is last.
_SUITES: dict[str, ModuleType] = {"gym:": gym, "": dmc}


def _suite(task: str) -> ModuleType:
    """Return the module that serves a task."""
    return next(suite for prefix, suite in _SUITES.items() if task.startswith(prefix))


def check_task(task: str) -> str:
    """Return the canonical name of a task, as the published curves spell it.

    Raises:
        ConfigError: for an unknown task, an observation or action space that is not a `Box`, or
            infinite action bounds.
    """
    return _suite(task).check(task)


def action_repeat(task: str) -> int:
    """Return the simulator steps that one decision takes: 2 for dm_control, 1 for Gymnasium."""
    return _suite(task).ACTION_REPEAT


@functools.cache
def dimensions(task: str) -> tuple[int, int]:
    """Return the sizes of a task's observations and actions.

    Raises:
        ConfigError: as in `check_task`.
    """
    env = make_env(task)
    env.close()
    return flatdim(env.observation_space), flatdim(env.action_space)


def make_env(
    task: str, seed: int = 0, render: bool = False
) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """Make an environment with flat float32 observations `[O]` and actions `[A]` in [-1, 1].

    `info["env_steps"]` counts the simulator steps of each call. `seed` determines the first
    `reset()`; `reset(seed=s)` makes the episode a function of `s`, and a `reset()` without a
    seed goes on with the random stream.

    Args:
        task: the name of the task.
        seed: the seed of the first episode.
        render: whether `render()` returns uint8 frames `[height, width, 3]`. Without it, no
            OpenGL context is ever created.

    Raises:
        ConfigError: as in `check_task`.
        RuntimeError: for `render` after dm_control was imported without rendering.
    """
    return _suite(task).make(task, seed, render)
