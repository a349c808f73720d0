"""Programs that runs of neighbouring tests share: compiling is most of their time."""

import os

import numpy as np

from pompc.population.programs import make_programs

_PROGRAMS = {}
# Populations; the programs of one take thousands of memory maps, and Linux allows 65,530.
_KEPT = 4 if "fusion_emitters=false" in os.environ["XLA_FLAGS"] else 2


def compiled_once(population):
    """Return the programs of a population, the same for each call with its agents."""
    agents = tuple(group.agents for group in population.groups)
    if agents not in _PROGRAMS:
        for oldest in list(_PROGRAMS)[: 1 - _KEPT]:
            del _PROGRAMS[oldest]
        _PROGRAMS[agents] = make_programs(population)
    return _PROGRAMS[agents]


def without_instruments(population):
    """Return the same, with instruments that are 0: they compile for as long as an update."""
    programs = compiled_once(population)
    groups = zip(population.groups, programs.instrument_names, strict=True)
    zeros = [np.zeros((len(group.agents), len(names))) for group, names in groups]
    return programs._replace(measure=lambda *_: zeros)


def forget():
    """Let go of all programs."""
    _PROGRAMS.clear()
