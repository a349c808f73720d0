"""Replay buffers on disk: what was written since the last checkpoint, segment after segment.

A segment holds, of each agent, the rows that are new and the plans that were made anew. Counters,
and the ring of transitions that can be drawn, are small and stand whole in each checkpoint.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from pompc.algorithm.maths import Gaussian
from pompc.algorithm.replay import Replay

Arrays = dict[str, np.ndarray]
_COUNTERS, _OF_RETURNS = ("starts", "rows", "complete", "first", "opened"), ("so_far", "best")


class Mark(NamedTuple):
    """How far one agent's buffer was written when it was last stored."""

    rows: int
    opened: int


def marks(buffers: tuple[Replay, ...]) -> list[Mark]:
    """Return where the buffers of all agents stand."""
    return [
        Mark(int(rows), int(opened))
        for buffer in buffers
        for rows, opened in zip(*map(np.atleast_1d, (buffer.rows, buffer.opened)), strict=True)
    ]


def new_rows(buffers: tuple[Replay, ...], since: Iterable[Mark]) -> Arrays:
    """Return all that changed since the marks: rows by slot, and plans made anew."""
    arrays: Arrays = {}
    for agent, (buffer, mark) in enumerate(zip(_agents(buffers), since, strict=True)):
        capacity, rows = buffer.last.size, int(buffer.rows)
        # The newest row's outcome came later, and the return of an episode when it ended.
        begin = max(min(mark.rows - 1, mark.opened), 0, rows - capacity)
        slots = np.arange(begin, rows) % capacity
        replanned = np.setdiff1d(np.flatnonzero(np.asarray(buffer.replanned)), slots)
        found = {"slot": slots, "replanned": replanned}
        found |= {name: _take(ring, slots) for name, ring in _rings(buffer).items()}
        found |= {
            f"replanned_{name}": _take(ring, replanned)
            for name, ring in buffer.plan._asdict().items()
        }
        arrays |= {f"{agent}.{name}": value for name, value in found.items()}
    return arrays


def counters(buffers: tuple[Replay, ...]) -> Arrays:
    """Return what stands whole in each checkpoint, by agent."""
    arrays: Arrays = {}
    for agent, buffer in enumerate(_agents(buffers)):
        whole = {name: getattr(buffer, name) for name in _COUNTERS}
        if buffer.returns is not None:
            whole |= {name: getattr(buffer.returns, name) for name in _OF_RETURNS}
        arrays |= {f"{agent}.{name}": np.asarray(value) for name, value in whole.items()}
    return arrays


def rebuild(
    like: tuple[Replay, ...], segments: Iterable[Mapping[str, np.ndarray]], counted: Arrays
) -> tuple[Replay, ...]:
    """Return the buffers of each group, shaped as `like`, from all segments in their order."""
    agents = [jax.tree.map(np.array, agent) for agent in _agents(like)]
    for segment in segments:
        for number, agent in enumerate(agents):
            slots, replanned = segment[f"{number}.slot"], segment[f"{number}.replanned"]
            for name, ring in _rings(agent).items():
                ring[slots] = segment[f"{number}.{name}"]
            for name, ring in agent.plan._asdict().items():
                ring[replanned] = segment[f"{number}.replanned_{name}"]
    agents = [_counted(agent, number, counted) for number, agent in enumerate(agents)]
    groups, start = [], 0
    for group in like:
        size = np.atleast_1d(group.rows).size
        own = agents[start : start + size]
        groups.append(jax.tree.map(lambda *leaves: np.stack(leaves), *own) if size > 1 else own[0])
        start += size
    return tuple(groups)


def cleared(buffers: tuple[Replay, ...]) -> tuple[Replay, ...]:
    """Return the buffers with no plan marked as made anew."""
    # Not zeros_like, which might lie elsewhere.
    return tuple(buffer._replace(replanned=buffer.replanned & False) for buffer in buffers)


def _counted(agent: Replay, number: int, counted: Arrays) -> Replay:
    agent = agent._replace(**{name: counted[f"{number}.{name}"] for name in _COUNTERS})
    if agent.returns is None:
        return agent
    scalars = {name: counted[f"{number}.{name}"] for name in _OF_RETURNS}
    return agent._replace(returns=agent.returns._replace(**scalars))


def _agents(buffers: tuple[Replay, ...]) -> Iterator[Replay]:
    """Yield each agent's buffer, one at a time: taken out of a group it is a copy."""
    for buffer in buffers:
        if np.ndim(buffer.rows) == 0:
            yield buffer
            continue
        for index in range(len(buffer.rows)):
            yield jax.tree.map(partial(_row, index), buffer)


def _row(index: int, leaf: Any) -> Any:
    """Return one row; of an array on several devices from its own, so that none waits."""
    for shard in leaf.addressable_shards if isinstance(leaf, jax.Array) else ():
        begin, end, _ = shard.index[0].indices(len(leaf))
        if begin <= index < end:
            return shard.data[index - begin]
    return leaf[index]


def _rings(buffer: Replay) -> dict[str, Any]:
    """Return the arrays with one row a slot."""
    rings = {name: getattr(buffer, name) for name in
             ("observation", "action", "reward", "terminated", "last")}  # fmt: skip
    rings |= Gaussian(*buffer.plan)._asdict()
    return rings if buffer.returns is None else rings | {"of_row": buffer.returns.of_row}


def _take(ring: Any, slots: np.ndarray) -> np.ndarray:
    """Return rows of a ring; where it lies on a device only they are copied."""
    if isinstance(ring, jax.Array) and next(iter(ring.devices())).platform != "cpu":
        return np.asarray(ring[slots])
    return np.asarray(ring)[slots]
