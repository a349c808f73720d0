"""Programs that runs of neighbouring tests share: compiling is most of their time."""

import os
from contextlib import contextmanager

import numpy as np
import pytest
from fingerprints import Fingerprints

from pompc.population.programs import make_programs
from pompc.training import trainer

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


@contextmanager
def short_runs(log_interval, make=compiled_once):
    """Let short runs write rows of metrics.csv, and spend no time on what is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "LOG_INTERVAL", log_interval)
        patch.setattr(trainer, "make_programs", make)
        patch.setattr(trainer, "compile_ahead", lambda programs, *_: programs)
        patch.setattr(trainer, "Evaluator", Fingerprints)
        yield
    _PROGRAMS.clear()
