"""Agents on disk: each array under its name, so that later versions of this code can read it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax import ShapeDtypeStruct

from pompc.algorithm.agent import AgentState
from pompc.algorithm.loss_weights import hypers
from pompc.population.groups import Population, cut_padding, with_padding
from pompc.runs import files
from pompc.settings.config import Config

# Part of `AgentState` that earlier versions did not have -> its value where it was not stored.
STARTS: dict[str, Callable[[AgentState], Any]] = {
    "from_policy": lambda state: jnp.zeros_like(state.scales.kl),
}
_ACTING = ("model", "policy")  # parts of `AgentState` that an agent needs to act


class DifferentError(ValueError):
    """Stored agents lack arrays of this version, or have others."""


def write_agents(path: Path, states: tuple[AgentState, ...]) -> None:
    """Write the agents of each group, without padding; config.json holds their loss weights."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tuple(state._replace(hypers=None) for state in states))


def read_agents(
    path: Path, like: tuple[AgentState, ...], population: Population
) -> tuple[AgentState, ...]:
    """Read agents of this or an earlier version, padded and placed as the arrays of `like`.

    Raise DifferentError, with the names of arrays that differ and have no default in `STARTS`.
    """
    shapes = cut_padding(
        like, population, lambda leaf, n: ShapeDtypeStruct((n, *leaf.shape[1:]), leaf.dtype)
    )
    found = _named(_read(path))
    parts = {name.split(".")[1] for name in found}  # names begin with the number of the group
    missing = [part for part in STARTS if part not in parts]
    wanted = tuple(state._replace(**dict.fromkeys(["hypers", *missing])) for state in shapes)
    _require_same(found, _named(wanted))
    own = jax.tree_util.tree_map_with_path(lambda keys, _: found[_name(keys)], wanted)
    states = []
    for state, group in zip(own, population.groups, strict=True):
        weights = [hypers(config) for config in group.agents]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights)
        whole = state._replace(hypers=stacked if len(weights) > 1 else weights[0])
        # Copied, since training donates every array, and can donate each only once.
        added = {part: jax.tree.map(jnp.copy, STARTS[part](whole)) for part in missing}
        states.append(whole._replace(**added))
    return with_padding(tuple(states), like)


def write_networks(path: Path, state: AgentState) -> None:
    """Write what a single agent needs to act, and nothing that only training needs."""
    named = _named({part: getattr(state, part) for part in _ACTING})
    files.write_arrays(path, {name: np.asarray(leaf) for name, leaf in named.items()})


def read_networks(path: Path, like: AgentState, config: Config) -> AgentState:
    """Read an agent that can act, shaped as `like`; what only training needs is 0.

    Raise DifferentError, with the names of arrays that differ.
    """
    found = files.read_arrays(path)
    wanted = {part: getattr(like, part) for part in _ACTING}
    _require_same(found, _named(wanted))
    own = jax.tree_util.tree_map_with_path(lambda keys, _: jnp.asarray(found[_name(keys)]), wanted)
    rest = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
    return rest._replace(hypers=hypers(config), **own)


def _read(path: Path) -> Any:
    """Return the tree that is stored, whatever it holds."""
    with ocp.StandardCheckpointer() as checkpointer:
        stored = checkpointer.metadata(path).item_metadata.tree
        # In the host's memory: the devices of the run may not exist here.
        shapes = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), stored)
        return checkpointer.restore(path, shapes)


def _name(keys: Any) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator=".")


def _named(tree: Any) -> dict[str, Any]:
    """Return the arrays of a tree by their names, such as `0.policy.output.bias`."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = {_name(keys): leaf for keys, leaf in leaves}
    # Stored until format 1; config.json says the same.
    return {name: leaf for name, leaf in named.items() if name.split(".")[1] != "hypers"}


def _require_same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differences = [f"{name} is missing" for name in wanted if name not in found]
    differences += [f"{name} is unknown" for name in found if name not in wanted]
    for name in sorted(wanted.keys() & found.keys()):
        is_, should = (f"{x.dtype}{list(x.shape)}" for x in (found[name], wanted[name]))
        differences += [f"{name} is {is_}, not {should}"] if is_ != should else []
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise DifferentError(f"{', '.join(differences[:3])}{more}")
