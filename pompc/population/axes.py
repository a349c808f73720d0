"""One agent's function as that of a population: along axes, by groups, over devices.

Axes: `P` agents of the population, `G` agents of one group. The arrays of a group of one agent
have no axis `G`: XLA would copy every array that it updates in place through a reshape.

A group whose size is not a multiple of the number of its devices is padded with copies of its last
agent. They start like it and compute the same; nothing of them is ever shown or stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

Function = Callable[..., Any]


def over_agents(
    function: Function, size: int, shared: int = 0, together: int | None = None
) -> Function:
    """Map a function of one agent over a leading axis; the last `shared` arguments have none.

    `together` agents are vmapped at once, and such batches follow one another; by default all are.
    One agent (a device's share) is not vmapped but squeezed.
    """

    def squeezed(*args: Any) -> Any:
        split = len(args) - shared
        own = jax.tree.map(lambda leaf: leaf[0], args[:split])
        return jax.tree.map(lambda leaf: leaf[None], function(*own, *args[split:]))

    def mapped(*args: Any) -> Any:
        split = len(args) - shared

        def one(own: tuple[Any, ...]) -> Any:
            return function(*own, *args[split:])

        if together is None or together >= size:
            return jax.vmap(one)(args[:split])
        return jax.lax.map(one, args[:split], batch_size=together if together > 1 else None)

    return squeezed if size == 1 else mapped


def make_mesh(sizes: Sequence[int], padded: bool) -> Mesh:
    """Return the devices that share the agents of groups of these sizes.

    Without padding they divide each group's size. If groups may be `padded` they are the fewest
    with which the groups, one after the other, take the fewest turns.
    """
    devices = jax.local_devices()
    counts = range(1, len(devices) + 1)
    if padded:
        count = min(counts, key=lambda n: sum(math.ceil(size / n) for size in sizes))
    else:
        count = max(n for n in counts if math.gcd(*sizes) % n == 0)
    return Mesh(np.array(devices[:count]), ("agents",))


def axis_length(size: int, mesh: Mesh) -> int:
    """Return the length of a group's axis: as many agents for each of its devices."""
    return size if size == 1 else math.ceil(size / mesh.size) * mesh.size


def place(mesh: Mesh, size: int) -> Sharding:
    """Return where arrays of a group lie: along its axis of `size` agents, or of one everywhere."""
    if mesh.size == 1:
        return SingleDeviceSharding(mesh.devices.item())
    return NamedSharding(mesh, PartitionSpec("agents") if size > 1 else PartitionSpec())


def over_devices(function: Function, mesh: Mesh, own: int, shared: int) -> Function:
    """Run a function of a group on its devices, each with its share of the agents.

    One agent, whose arguments are all `shared`, is computed by every device.
    """
    if mesh.size == 1:
        return function
    along, whole = PartitionSpec("agents"), PartitionSpec()
    specs, out = (along,) * own + (whole,) * shared, along if own else whole
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False)


def by_group(
    functions: Sequence[Function], rows: Sequence[slice], sizes: Sequence[int], shared: int = 0
) -> Function:
    """Return one function of the population from a function of each group.

    Tuples are taken by group, arrays along their axis `P`, where `rows` are a group's, and the last
    `shared` arguments whole; `sizes` are those of the groups' axes, padding included. Each output
    is a tuple by group; `along_agents` joins it.
    """

    def program(*args: Any) -> Any:
        split = len(args) - shared
        results = [
            function(
                *(_of_group(argument, n, rows[n], sizes[n]) for argument in args[:split]),
                *args[split:],
            )
            for n, function in enumerate(functions)
        ]
        several = isinstance(results[0], tuple) and not hasattr(results[0], "_fields")
        return tuple(zip(*results, strict=True)) if several else tuple(results)

    return program


def _of_group(argument: Any, index: int, rows: slice, size: int) -> Any:
    if isinstance(argument, tuple) and not hasattr(argument, "_fields"):
        return argument[index]
    own: Any = rows.start if size == 1 else rows
    if size > rows.stop - rows.start:
        own = np.minimum(np.arange(rows.start, rows.start + size), rows.stop - 1)
    return jax.tree.map(lambda leaf: leaf[own], argument)


def along_agents(outputs: Sequence[Array], rows: Sequence[slice]) -> Array:
    """Join arrays by group along the axis `P`."""
    sizes = [part.stop - part.start for part in rows]
    return jnp.concatenate([
        output[None] if size == 1 else output[:size]
        for output, size in zip(outputs, sizes, strict=True)
    ])  # fmt: skip
