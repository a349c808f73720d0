"""Compile the programs of a run one after the other, while it already evaluates.

XLA compiles the parts of one program on all cores, and two programs at once would only need the
memory of both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from pompc import runtime
from pompc.population.groups import actors, initial_arguments
from pompc.population.programs import Programs

PATIENCE_S = 1.0  # without a word about what is waited for
Shape = jax.ShapeDtypeStruct


def _awaiting(compiled: Future[Any], say: Callable[[], None]) -> Callable[..., Any]:
    """Return a program that is being compiled: a call waits for it, and says so."""

    def call(*arguments: Any) -> Any:
        if not compiled.done() and wait([compiled], PATIENCE_S).not_done:
            say()
        return compiled.result()(*arguments)

    return call


@contextmanager
def compiler() -> Iterator[Executor]:
    """Yield a thread that compiles; what it has not begun when the block ends is dropped."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def compile_ahead(
    programs: Programs,
    pool: Executor,
    episodes: int,
    note: Callable[[str], None],
    later: Collection[str] = (),
) -> Programs:
    """Return the programs of a run, compiling in a `pool` of one thread.

    `note` prints a line about what is waited for.

    `episodes` of each agent are evaluated together. Programs of the names `later` compile at their
    first call, if there is one.
    """
    if programs.devices > 1 or programs.replay_on_host:
        return programs  # where arrays lie is known with the first ones only
    found: dict[str, Callable[..., Any]] = {}
    wanted = {name: own for name, own in shapes(programs, episodes).items() if name not in later}
    for name, arguments in wanted.items():
        lowered = pool.submit(getattr(programs, name).lower, *arguments)
        if not found:
            wait([lowered])  # before others trace: Python's one lock would be shared with them
        say = partial(note, f"waiting for a program to compile: {name}")
        compiled = pool.submit(lambda lowered=lowered: lowered.result().compile())
        found[name] = _awaiting(compiled, say)
        pool.submit(runtime.trim_memory)  # once the thread has let go of what it lowered
    return programs._replace(**found)


def shapes(programs: Programs, episodes: int) -> dict[str, tuple[Any, ...]]:
    """Return the shapes that each program is called with, in the order in which to compile.

    That of their first call, but for the update: it takes the most memory, and longest, and is
    compiled before others have left theirs.
    """
    population, world = programs.population, programs.population.world
    count = len(population.agents)
    states, buffers = jax.eval_shape(programs.init, *initial_arguments(population))
    acting = actors(states)
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
        "evaluation_actions": (acting, keys, seen, means),
        "policy_actions": (acting, seen),
        "act_seeding": (acting, buffers, *feedback),
        "end_seeding_episode": (acting, buffers, *feedback, done),
        "update": (states, buffers, now),
        "pretrain": (states, buffers, now),
        "act": (acting, buffers, *feedback),
        "end_episode": (acting, buffers, *feedback, done),
        "measure": (states, buffers),
    }
