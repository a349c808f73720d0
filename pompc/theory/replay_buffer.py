"""Appendix G on the replay buffer of a run: `python -m pompc.theory.replay_buffer RUN_DIR`.

Around each of several rows the nearest neighbours stand in for the visits of one state; of their
planners the exact variances are written to a small table, which outlives the run's checkpoints.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pompc import runs
from pompc.errors import ConfigError, said_by_command
from pompc.results.intervals import stratified_bootstrap
from pompc.runs import checkpoint, files
from pompc.theory import variances
from pompc.theory.gradient_variance import ESTIMATORS, PARAMETERS, REFERENCES, Normal
from pompc.theory.variances import StoredPlanners

TABLE = runs.SHIPPED / "runs" / "appendix-g" / "planners.csv"  # the table that comes with us
_ORIGIN = ["task", "method", "lam", "prior", "seed", "env_step", "commit"]
_KEYS = ["row", "neighbours", "samples", "parameter", "estimator"]
_COLUMNS = [*_ORIGIN, *_KEYS, *REFERENCES]


class Sizes(NamedTuple):
    """How much of a buffer is measured."""

    rows: int = 20  # states
    neighbours: int = 64  # K: rows that stand in for the visits of one, itself among them
    samples: int = 16  # N: planners of an update


_SIZES = Sizes()


def without_seeding(stored: StoredPlanners, seeding: int) -> StoredPlanners:
    """Leave out the first `seeding` rows, and all that hold N(0, σ_max²) and no plan.

    Reanalyse makes plans for most of the first ones, too, but no planner chose their actions. An
    episode that ended in that phase has a row more, so that as many of its last rows can stay.
    """
    made = np.any(stored.plan.mean != 0.0, axis=-1)
    made[:seeding] = False
    return StoredPlanners(stored.observation[made], Normal(*(part[made] for part in stored.plan)))


def spread_rows(size: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return one of `size` rows in each of `count` equal parts; a ConfigError if they are fewer."""
    if not 1 <= count <= size:
        raise ConfigError(f"rows is {count}, but must be between 1 and the {size} that hold a plan")
    edges = np.linspace(0, size, count + 1).astype(int)
    return generator.integers(edges[:-1], edges[1:])


def measure_planners(
    stored: StoredPlanners, sizes: Sizes, generator: np.random.Generator
) -> pd.DataFrame:
    """Return the exact variances of g1 and g2 around several rows of a buffer.

    The rows of `stored` hold a plan, as `without_seeding` returns them. The result has a row for
    each `row, parameter, estimator`, and a column for each reference. A ConfigError says that the
    buffer has fewer rows, or `samples` is less than 1.
    """
    tables = []
    for row in spread_rows(len(stored.observation), sizes.rows, generator):
        near = variances.nearest_rows(stored.observation, int(row), sizes.neighbours)
        mean, std = (part[near] for part in stored.plan)
        found = variances.measure(mean, std, sizes.samples)
        tables.append(found.assign(row=int(row), neighbours=sizes.neighbours))
    long = pd.concat(tables, ignore_index=True)
    wide = long.pivot_table(index=_KEYS, columns="reference", values="variance", sort=False)
    return wide[list(REFERENCES)].reset_index().rename_axis(columns=None)


def measure_run(
    run_dir: Path, sizes: Sizes = _SIZES, seed: int = 0, agent: int = 0
) -> pd.DataFrame:
    """Measure the newest checkpoint of a run: `measure_planners`, with columns of its origin.

    The seed is of the draw of rows; `agent` is which one of a population. A ConfigError says that
    there is no run, no such agent, or too little in its buffer, a MissingError or a
    DamagedError that its newest checkpoint is missing or damaged.
    """
    config = runs.read_config(run_dir)
    found = variances.read_planners(run_dir, agent)
    one = config.agents[agent]
    stored = without_seeding(found, one.seeding_decisions)
    table = measure_planners(stored, sizes, np.random.default_rng(seed))
    origin = {name: getattr(one, name) for name in _ORIGIN[:5]}
    origin["env_step"] = checkpoint.saved_steps(run_dir)[-1]
    origin["commit"] = runs.read_provenance(run_dir).get("commit") or "unknown"
    return pd.DataFrame(table.assign(**origin), columns=_COLUMNS)


def read(path: Path = TABLE) -> pd.DataFrame:
    """Read a table that `measure_run` made; none, or something else, is a ConfigError."""
    if not path.exists():
        raise ConfigError(
            f"there is no {str(path)!r}: python -m pompc.theory.replay_buffer makes it"
        )
    table = pd.read_csv(path, dtype={"commit": str})
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise ConfigError(f"{str(path)!r} lacks {', '.join(missing)}")
    return table


def ratios(table: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Return Var g2 / Var g1: medians over rows, with 95 % bootstrap intervals.

    The rows are of one run: the interval says how much its states differ, and nothing of seeds. For
    each parameter and estimator there is the ratio of each g2, and the number of rows where the
    normalised g2 has the larger variance. The other g2 never has (Eq. 52).
    """
    lines = {}
    for parameter, estimator in itertools.product(PARAMETERS, ESTIMATORS):
        own = table.query("parameter == @parameter and estimator == @estimator")
        # Both references of the same rows: what is equal has equal intervals.
        ratio = np.asarray(own[list(REFERENCES[1:])], float) / np.asarray(own[["replayed"]])
        found = np.transpose(stratified_bootstrap([ratio], np.median, generator))
        texts = ("{:.2g} [{:.2g}, {:.2g}]".format(*numbers) for numbers in found)
        above = f"{int(np.sum(own['normalised'] > own['replayed']))} of {len(own)}"
        lines[parameter, estimator.replace("_", " ")] = [*texts, above]
    frame = pd.DataFrame.from_dict(lines, "index", columns=[*REFERENCES[1:], "normalised > 1"])
    return frame.set_index(pd.MultiIndex.from_tuples(lines, names=["parameter", "estimator"]))


def origin(table: pd.DataFrame) -> str:
    """Return in a sentence which run and what of it a table holds."""
    first = table.iloc[0]
    return (
        f"{first['task']}: {first['method']}, λ = {float(first['lam']):g}, prior {first['prior']}, "
        f"seed {first['seed']}, the buffer after {first['env_step']:,} environment steps, commit "
        f"{str(first['commit'])[:7]}; {table['row'].nunique()} rows with {first['neighbours']} "
        f"neighbours each, N = {first['samples']}."
    )


def _arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m pompc.theory.replay_buffer", description=__doc__)
    parser.add_argument("run_dir", type=Path, help="folder of a run with checkpoints")
    parser.add_argument("--to", type=Path, default=TABLE, metavar="FILE",
                        help="table to write (default: runs/appendix-g/planners.csv)")  # fmt: skip
    meanings = ("states", "rows that stand in for one state", "planners of an update",
                "which one of a population", "of the draw of rows")  # fmt: skip
    defaults = {**_SIZES._asdict(), "agent": 0, "seed": 0}
    for (name, default), meaning in zip(defaults.items(), meanings, strict=True):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="NUMBER",
                            help=f"{meaning} (default: {default})")  # fmt: skip
    return parser.parse_args(values)


def main(values: Sequence[str]) -> None:
    """Measure a run, write the table and print the ratios of variances."""
    arguments = _arguments(values)
    sizes = Sizes(arguments.rows, arguments.neighbours, arguments.samples)
    with said_by_command():
        table = measure_run(arguments.run_dir, sizes, arguments.seed, arguments.agent)
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(arguments.to, table.to_csv(index=False, float_format="%.6g"))
    written = read(arguments.to)
    print(origin(written))
    print(ratios(written, np.random.default_rng(arguments.seed)).to_string())


if __name__ == "__main__":
    main(sys.argv[1:])
