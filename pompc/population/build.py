"""From functions of one agent to those of a population: where they run, and in which program."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from pompc import runtime
from pompc.population import axes
from pompc.population.axes import Function
from pompc.population.groups import Group, Population, replay_on_host
from pompc.runtime import has_gpu
from pompc.settings.config import Config

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
        groups = self.groups
        self.rows = [group.rows for group in groups]
        counts = [len(group.agents) for group in groups]
        self.mesh = axes.make_mesh(counts, padded=_leaves_devices_idle(groups))
        self.sizes = tuple(axes.axis_length(count, self.mesh) for count in counts)
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

        def of_group(group: Group, size: int) -> Function:
            if size == 1:
                return axes.over_devices(per_agent(group), self.mesh, 0, arguments + shared)
            config, share = group.world.config, size // self.mesh.size
            together = 1 if one_by_one and not has_gpu() else plans_at_once(share, config)
            function = axes.over_agents(per_agent(group), share, shared, together)
            return axes.over_devices(function, self.mesh, arguments, shared)

        return self._piece(of_group, donate, shared)

    def storing(
        self, per_agent: PerAgent, arguments: int, donate: tuple[int, ...] = ()
    ) -> Function:
        """Return what runs where the buffers are."""

        def of_group(group: Group, size: int) -> Function:
            if self.replay_on_host:
                one = per_agent(group)
                return one if size == 1 else axes.over_agents(one, size)
            if size == 1:
                return axes.over_devices(per_agent(group), self.mesh, 0, arguments)
            function = axes.over_agents(per_agent(group), size // self.mesh.size)
            return axes.over_devices(function, self.mesh, arguments, 0)

        return self._piece(of_group, donate, 0)

    def _piece(
        self, of_group: Callable[[Group, int], Function], donate: tuple[int, ...], shared: int
    ) -> Function:
        functions = list(map(of_group, self.groups, self.sizes))
        piece = axes.by_group(functions, self.rows, self.sizes, shared)
        return jax.jit(piece, donate_argnums=donate) if self.replay_on_host else piece

    def whole(self, function: Function, donate: tuple[int, ...] = ()) -> Function:
        """Compile a function of pieces, unless they are programs themselves."""
        return function if self.replay_on_host else jit(function, donate_argnums=donate)

    def to_device(self, trees: tuple[Any, ...]) -> tuple[Any, ...]:
        """Carry a tree of each group to where its agents compute."""
        if not self.replay_on_host:
            return trees
        places = [axes.place(self.mesh, size) for size in self.sizes]
        return tuple(map(jax.device_put, trees, places))

    def to_host(self, tree: Any) -> Any:
        """Carry a tree to where the buffers are."""
        return jax.device_put(tree, self._host) if self.replay_on_host else tree


def _leaves_devices_idle(groups: tuple[Group, ...]) -> bool:
    """Return whether one agent's networks leave other devices idle, cores of a CPU included."""
    return has_gpu() or all(plans_at_once(2, group.world.config) > 1 for group in groups)


def plans_at_once(count: int, config: Config) -> int:
    """Return how many of so many plans are made at once: on a CPU, what its caches hold."""
    return runtime.at_once(count, config.plan_samples, config.hidden_dim)
