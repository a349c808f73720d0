"""Appendix G as tidy tables: over N, K and planner drift, and for the planners of a buffer.

Policies and planners that do not fit raise the ConfigError of `gradient_variance.exact_moments`.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from pompc.errors import ConfigError, MissingError
from pompc.runs import checkpoint, files
from pompc.theory import gradient_variance as gv
from pompc.theory.gradient_variance import Normal, exact_moments


class StoredPlanners(NamedTuple):
    """Rows of a replay buffer, oldest slot first: where plans were made, and what they were."""

    observation: np.ndarray  # [C, O]
    plan: Normal  # [C, A], in action space


def normal_planners(number: int, spread: float, std: float) -> Normal:
    """Return `number` planners `[K, 1]` with normally distributed means of variance spread².

    The means are quantiles, scaled to that variance: no generator, no sampling error.
    """
    _check_planners(number, spread, std)
    means = norm.ppf((np.arange(number) + 0.5) / number)
    means *= spread / max(float(means.std()), 1e-300)  # a single planner has no spread
    return Normal(means[:, None], np.full((number, 1), std))


def drifting_planners(number: int, drift: float, std: float) -> Normal:
    """Return `number` planners `[K, 1]` whose mean moves steadily from -drift / 2 to drift / 2."""
    _check_planners(number, drift, std)
    means = np.linspace(-0.5 * drift, 0.5 * drift, number) if number > 1 else np.zeros(1)
    return Normal(means[:, None], np.full((number, 1), std))


def compare(
    policy: Normal,
    planners: Normal,
    samples: int,
    estimators: Iterable[str] = ("score",),
    whole: bool = False,
) -> pd.DataFrame:
    """Return exact variances, summed over actions, of all references and `PARAMETERS`."""
    rows = []
    for parameter, estimator in itertools.product(gv.PARAMETERS, estimators):
        found = exact_moments(policy, planners, gv.Setting(samples, parameter, estimator, whole))
        rows += [(parameter, estimator, reference, samples, float(moments.variance.sum()))
                 for reference, moments in found._asdict().items()]  # fmt: skip
    names = ["parameter", "estimator", "reference", "samples", "variance"]
    return pd.DataFrame(rows, columns=names)


def sweep(
    policy: Normal,
    over: str,
    planners: dict[float, Normal],
    samples: dict[float, int],
    whole: bool = False,
) -> pd.DataFrame:
    """Return `compare` for several planners `[K, A]` and N, by the values of a column `over`."""
    tables = [
        compare(policy, own, samples[value], whole=whole).assign(**{over: value})
        for value, own in planners.items()
    ]
    return pd.concat(tables, ignore_index=True)


def measure(means: np.ndarray, stds: np.ndarray, samples: int = 16) -> pd.DataFrame:
    """Return `compare`, all estimators, for planners of a replay buffer, at their adaptive prior.

    Appendix G isolates planners that share a state: choose rows `[K, A]` with `nearest_rows` first.
    """
    if np.ndim(means) != 2 or np.shape(means) != np.shape(stds):
        shapes = np.shape(means), np.shape(stds)
        raise ConfigError(f"means and stds have shapes {shapes}, not [K, A] both")
    planners = Normal(np.asarray(means, np.float64), np.asarray(stds, np.float64))
    return compare(gv.geometric_mean(planners), planners, samples, gv.ESTIMATORS)


def nearest_rows(observations: np.ndarray, row: int, count: int) -> np.ndarray:
    """Return the `count` rows `[count]` with the observations `[C, O]` nearest to `row`.

    Distances are Euclidean, each entry in units of its standard deviation over the buffer. No such
    row, or fewer than `count` of them, is a ConfigError.
    """
    if not (0 <= row < len(observations) and 1 <= count <= len(observations)):
        raise ConfigError(
            f"row {row} and {count} neighbours of it: the buffer holds {len(observations)} rows"
        )
    scale = np.maximum(observations.std(axis=0), 1e-9)  # an entry that never changes counts 0
    distance = np.sum(np.square((observations - observations[row]) / scale), axis=-1)
    return np.argsort(distance, kind="stable")[:count]


def read_planners(run_dir: str | Path, agent: int = 0) -> StoredPlanners:
    """Read the planners that a run's newest checkpoint holds, in the order of the buffer's slots.

    Rows of the seeding phase, whose plans are N(0, σ_max²), are among them. A run without a
    checkpoint is a MissingError, one without such an agent a ConfigError.
    """
    run_dir = Path(run_dir)
    steps = checkpoint.saved_steps(run_dir)
    if not steps:
        raise MissingError(f"the run in {str(run_dir)!r} has no checkpoint")
    folder = run_dir / "checkpoints"
    rings: dict[str, dict[int, np.ndarray]] = {"observation": {}, "mean": {}, "std": {}}
    for segment in checkpoint.verified(folder / str(steps[-1]))["segments"]:
        path = checkpoint.checked(folder / "replay" / segment["name"], segment["sha256"])
        arrays = files.read_arrays(path)
        if f"{agent}.slot" not in arrays:
            raise ConfigError(f"agent is {agent}, but the run in {str(run_dir)!r} has fewer agents")
        for name, ring in rings.items():
            ring.update(zip(arrays[f"{agent}.slot"], arrays[f"{agent}.{name}"], strict=True))
        for name in ("mean", "std"):
            replanned = arrays[f"{agent}.replanned"], arrays[f"{agent}.replanned_{name}"]
            rings[name].update(zip(*replanned, strict=True))
    slots = sorted(rings["observation"])
    observation, mean, std = (
        np.array([ring[slot] for slot in slots], np.float64) for ring in rings.values()
    )
    return StoredPlanners(observation, Normal(mean, std))


def _check_planners(number: int, spread: float, std: float) -> None:
    if number < 1 or spread < 0.0 or std <= 0.0:
        raise ConfigError(
            f"{number} planners, spread {spread!r}, std {std!r}: there must be at least one "
            "planner, spread >= 0 and std > 0"
        )
