"""The bytes that programs need, by XLA's own analysis: replay rings and networks are not copied."""

import jax
import pytest

from pompc.population.compile import shapes
from pompc.population.groups import make_population
from pompc.population.programs import make_programs

SMALL = 2e6  # bytes of temporary arrays that such small networks may take


@pytest.fixture(scope="module")
def programs(small):
    """Programs of an agent whose ring of a million decisions is much larger than all else."""
    config = small(steps=2 * 10**6, buffer_size=10**6, evaluate_every=10**6)
    return make_programs(make_population([config], 5, 2))


def _bytes(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _needed(programs, name):
    """Return the shapes that a program takes and the bytes that it needs."""
    taken = shapes(programs, 2)
    actors, buffers, *_, done = taken["end_seeding_episode"]
    taken["discard_episode"] = actors, buffers, done
    return taken[name], getattr(programs, name).lower(*taken[name]).compile().memory_analysis()


@pytest.mark.parametrize(
    "name", ["act_seeding", "end_seeding_episode", "discard_episode", "update"]
)
def test_what_is_donated_is_written_in_place(programs, name):
    (states, buffers, *_), needed = _needed(programs, name)
    kept = _bytes(buffers) + (_bytes(states) if name == "update" else 0)
    assert _bytes(buffers) > 25 * SMALL
    assert needed.alias_size_in_bytes >= kept, "a donated array is copied"
    assert needed.output_size_in_bytes - needed.alias_size_in_bytes < SMALL
    # Acting writes reward and terminated twice, and XLA copies these two arrays.
    copied = 5 * buffers[0].last.size if "seeding" in name else 0
    assert needed.temp_size_in_bytes < SMALL + copied


def test_acting_takes_no_array_that_it_does_not_use(programs):
    taken = shapes(programs, 2)["act"]
    text = programs.act.lower(*taken).as_text()
    start = text.index("@main(")  # whose arguments are those that the program uses
    main = text[start : text.index("->", start)]
    assert main.count("%arg") == len(jax.tree.leaves(taken))


def test_instruments_read_the_ring_where_it_lies(programs):
    _, needed = _needed(programs, "measure")
    assert needed.temp_size_in_bytes + needed.output_size_in_bytes < SMALL
