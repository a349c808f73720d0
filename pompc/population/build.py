"""From functions of one agent to those of a population: along axes, by groups, over devices.

Axes: `P` agents of the population, `G` agents of one group. The arrays of a group of one agent
have no axis `G`: XLA would copy every array that it updates in place through a reshape.

A group whose size is not a multiple of the number of its devices is padded with copies of its last
agent. They start like it and compute the same; nothing of them is ever shown or stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from pompc import runtime
from pompc.population.groups import Group, Population, replay_on_host
from pompc.runtime import has_gpu
from pompc.settings.config import Config

Function = Callable[..., Any]
PerAgent = Callable[[Group], Function]  # what one agent of a group does

# XLA's default is vectors of 256 bits; without AVX-512, or on a GPU, this changes nothing.
# JAX takes such options of outermost programs only, and pieces are traced inside others.
jit = partial(jax.jit, compiler_options={"xla_cpu_prefer_vector_width": 512})


class Builder:
    """Makes functions of the population from functions of one agent of each group.

    Where all is on the device they are pieces of one program, which `whole` compiles; with replay
    on the host each piece is a program of its own, and `to_device` and `to_host` carry between.
    """

    def __init__(self, population: Population) -> None:
        self.population, self.groups = population, population.groups
        counts = [len(group.agents) for group in self.groups]
        self.mesh = _make_mesh(counts, padded=_leaves_devices_idle(self.groups))
        self.sizes = tuple(_axis_length(count, self.mesh) for count in counts)
        self.replay_on_host = replay_on_host(population, self.sizes)
        self._host = jax.local_devices(backend="cpu")[0]

    def computing(
        self,
        per_agent: PerAgent,
        arguments: int,
        shared: int = 0,
        donate: tuple[int, ...] = (),
        one_by_one: bool = False,
    ) -> Function:
        """Return what runs on the devices; `one_by_one` takes a CPU's agents after each other."""

        def together(group: Group, share: int) -> int:
            return 1 if one_by_one and not has_gpu() else plans_at_once(share, group.world.config)

        return self._piece(per_agent, self.mesh, arguments, shared, donate, together)

    def storing(
        self, per_agent: PerAgent, arguments: int, donate: tuple[int, ...] = ()
    ) -> Function:
        """Return what runs where the buffers are."""
        mesh = Mesh(np.array([self._host]), ("agents",)) if self.replay_on_host else self.mesh
        return self._piece(per_agent, mesh, arguments, 0, donate, lambda _, share: share)

    def _piece(
        self,
        per_agent: PerAgent,
        mesh: Mesh,
        arguments: int,
        shared: int,
        donate: tuple[int, ...],
        together: Callable[[Group, int], int],  # of a group's agents on one device
    ) -> Function:
        def of_group(group: Group, size: int) -> Function:
            if size == 1:
                return _over_devices(per_agent(group), mesh, 0, arguments + shared)
            share = size // mesh.size
            function = over_agents(per_agent(group), share, shared, together(group, share))
            return _over_devices(function, mesh, arguments, shared)

        piece = self._by_group(list(map(of_group, self.groups, self.sizes)), shared)
        return jax.jit(piece, donate_argnums=donate) if self.replay_on_host else piece

    def _by_group(self, functions: Sequence[Function], shared: int) -> Function:
        """Return one function of the population from a function of each group.

        Tuples are taken by group, arrays along their axis `P`, and the last `shared` arguments
        whole. Each output is a tuple by group; `along_agents` joins it.
        """

        def program(*args: Any) -> Any:
            split = len(args) - shared
            results = [
                function(*(self._of_group(own, number) for own in args[:split]), *args[split:])
                for number, function in enumerate(functions)
            ]
            return tuple(zip(*results, strict=True)) if _is_by_group(results[0]) else tuple(results)

        return program

    def _of_group(self, argument: Any, number: int) -> Any:
        if _is_by_group(argument):
            return argument[number]
        rows, size = self.groups[number].rows, self.sizes[number]
        own: Any = rows.start if size == 1 else rows
        if size > rows.stop - rows.start:  # padded
            own = np.minimum(np.arange(rows.start, rows.start + size), rows.stop - 1)
        return jax.tree.map(lambda leaf: leaf[own], argument)

    def whole(self, function: Function, donate: tuple[int, ...] = ()) -> Function:
        """Compile a function of pieces, unless they are programs themselves."""
        return function if self.replay_on_host else jit(function, donate_argnums=donate)

    def to_device(self, trees: tuple[Any, ...]) -> tuple[Any, ...]:
        """Carry a tree of each group to where its agents compute."""
        if not self.replay_on_host:
            return trees
        places = [_place(self.mesh, size) for size in self.sizes]
        return tuple(map(jax.device_put, trees, places))

    def to_host(self, tree: Any) -> Any:
        """Carry a tree to where the buffers are."""
        return jax.device_put(tree, self._host) if self.replay_on_host else tree

    def along_agents(self, outputs: Sequence[Array]) -> Array:
        """Join arrays by group along the axis `P`, without padding."""
        return jnp.concatenate([
            output[None] if size == 1 else output[: len(group.agents)]
            for output, size, group in zip(outputs, self.sizes, self.groups, strict=True)
        ])  # fmt: skip


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


def plans_at_once(count: int, config: Config) -> int:
    """Return how many of so many plans are made at once: on a CPU, what its caches hold."""
    return runtime.at_once(count, config.plan_samples, config.hidden_dim)


def _leaves_devices_idle(groups: tuple[Group, ...]) -> bool:
    """Return whether one agent's networks leave other devices idle, cores of a CPU included."""
    return has_gpu() or all(plans_at_once(2, group.world.config) > 1 for group in groups)


def _make_mesh(sizes: Sequence[int], padded: bool) -> Mesh:
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


def _axis_length(size: int, mesh: Mesh) -> int:
    """Return the length of a group's axis: as many agents for each of its devices."""
    return size if size == 1 else math.ceil(size / mesh.size) * mesh.size


def _place(mesh: Mesh, size: int) -> Sharding:
    """Return where arrays of a group lie: along its axis of `size` agents, or of one everywhere."""
    if mesh.size == 1:
        return SingleDeviceSharding(mesh.devices.item())
    return NamedSharding(mesh, PartitionSpec("agents") if size > 1 else PartitionSpec())


def _over_devices(function: Function, mesh: Mesh, own: int, shared: int) -> Function:
    """Run a function of a group on its devices, each with its share of the agents.

    One agent, whose arguments are all `shared`, is computed by every device.
    """
    if mesh.size == 1:
        return function
    along, whole = PartitionSpec("agents"), PartitionSpec()
    specs, out = (along,) * own + (whole,) * shared, along if own else whole
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False)


def _is_by_group(value: Any) -> bool:
    """Return whether a value is a plain tuple, which holds something of each group."""
    return isinstance(value, tuple) and not hasattr(value, "_fields")
