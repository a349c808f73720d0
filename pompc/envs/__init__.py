"""One Gymnasium-style face for tasks of dm_control, HumanoidBench and Gymnasium, without JAX.

A task is a string: `dog-run` (dm_control), `h1hand-walk` (HumanoidBench) or `gym:Pendulum-v1`
(Gymnasium; `gym:module:Id-v0` imports your own module first). A suite is a module with
`ACTION_REPEAT`, `TERMINATIONS`, `check(task)`, `make(task, seed, render)` and, if a run is to say
more of its tasks, `describe(task)`; a new one is one more line of `_SUITES`.
"""

import functools
from contextlib import closing
from types import ModuleType

import gymnasium
import numpy as np
from gymnasium.spaces import flatdim

from pompc.envs import dmc, gym, humanoid
from pompc.envs.dmc import task_names as task_names
from pompc.envs.vector import Observations as Observations
from pompc.envs.vector import Vector as Vector
from pompc.envs.worker_vector import make_vector as make_vector

# Prefix of the task's name -> its suite; the empty prefix takes what no other does, so it is last.
_SUITES: dict[str, ModuleType] = {"gym:": gym, "h1": humanoid, "g1-": humanoid, "": dmc}


def _suite(task: str) -> ModuleType:
    """Return the module that serves a task."""
    return next(suite for prefix, suite in _SUITES.items() if task.startswith(prefix))


def check_task(task: str) -> str:
    """Return the canonical name of a task, as the published curves spell it.

    Raise ConfigError for an unknown task, a space that is not a `Box`, or infinite action bounds.
    """
    return _suite(task).check(task)


def action_repeat(task: str) -> int:
    """Return the simulator steps that one decision takes: 2 for dm_control, 1 elsewhere."""
    return _suite(task).ACTION_REPEAT


def terminations(task: str) -> str:
    """Return whether TD targets use terminations of a task, or ignore them as its curves did."""
    return _suite(task).TERMINATIONS


@functools.cache
def dimensions(task: str) -> tuple[int, int]:
    """Return the numbers of observations and of actions of a task.

    Of the paper's HumanoidBench tasks they are known; elsewhere an environment is made briefly.
    Errors are those of `check_task`.
    """
    task = check_task(task)
    if humanoid.in_paper_table(task):
        return humanoid.dimensions(task)
    with closing(make_env(task)) as environment:
        return flatdim(environment.observation_space), flatdim(environment.action_space)


def describe(task: str) -> dict[str, str]:
    """Return what the provenance of a run says of its task besides the usual packages."""
    about = getattr(_suite(task), "describe", None)
    return about(task) if about else {}


def make_env(
    task: str, seed: int = 0, render: bool = False
) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """Make an environment with flat float32 observations `[O]` and actions `[A]` in [-1, 1].

    `info["env_steps"]` counts the simulator steps of each call. `seed` determines the first
    `reset()`; `reset(seed=s)` makes the episode a function of `s`, and a `reset()` without a
    seed goes on with the random stream. With `render`, `render()` returns uint8 frames
    `[height, width, 3]`; without it, no OpenGL context is ever created. Raise ConfigError as
    `check_task` does, RuntimeError for `render` after dm_control or MuJoCo was imported without.
    """
    return _suite(task).make(task, seed, render)
