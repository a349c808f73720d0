"""Compile all programs of a run at once, in threads, while it already evaluates."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp

from pompc import runtime
from pompc.population.groups import initial_arguments
from pompc.population.programs import Programs

Shape = jax.ShapeDtypeStruct


class Ahead:
    """A jitted function that compiles in a thread from the start; a call waits for it."""

    def __init__(self, pool: ThreadPoolExecutor, function: Any, arguments: tuple[Any, ...]) -> None:
        """Trace here, where tracing is single-threaded anyway; compile in the pool."""
        self._compiled = pool.submit(function.lower(*arguments).compile)

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled program."""
        return self._compiled.result()(*arguments)


def compile_ahead(programs: Programs, episodes: int) -> Programs:
    """Return the programs of a run, compiling; `episodes` of each agent are evaluated together."""
    if programs.devices > 1 or programs.replay_on_host:
        return programs  # where arrays lie is known with the first ones only
    pool = ThreadPoolExecutor(runtime.cores(), thread_name_prefix="compile")
    found: dict[str, Callable[..., Any]] = {
        name: Ahead(pool, getattr(programs, name), arguments)
        for name, arguments in _arguments(programs, episodes).items()
    }
    pool.shutdown(wait=False)
    return programs._replace(**found)


def _arguments(programs: Programs, episodes: int) -> dict[str, tuple[Any, ...]]:
    """Return the shapes that each program is called with, in the order of their first call."""
    population, world = programs.population, programs.population.world
    count = len(population.agents)
    states, buffers = jax.eval_shape(programs.init, *initial_arguments(population))
    feedback = (
        Shape((count,), jnp.float32),
        Shape((count,), jnp.bool_),
        Shape((count, world.observation_dim), jnp.float32),
    )
    now, done = Shape((), jnp.bool_), Shape((count,), jnp.bool_)
    seen = Shape((count, episodes, world.observation_dim), jnp.float32)
    keys = Shape((count, episodes, 2), jnp.uint32)
    means = Shape((count, episodes, world.config.horizon, world.action_dim), jnp.float32)
    return {
        "evaluation_actions": (states, keys, seen, means),
        "update": (states, buffers, now),
        "policy_actions": (states, seen),
        "act_seeding": (states, buffers, *feedback),
        "pretrain": (states, buffers, now),
        "end_seeding_episode": (states, buffers, *feedback, done),
        "act": (states, buffers, *feedback),
        "end_episode": (states, buffers, *feedback, done),
    }
