"""The grid of a population: lists of methods, λ and priors, times a number of seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from pompc.errors import ConfigError
from pompc.settings.checks import check_choice, convert
from pompc.settings.methods import METHODS

AXES = ("method", "lam", "prior")  # of the grid; `seeds` is a count
_DEFAULTS = {"method": "pompc", "lam": 1.0, "prior": "reverse_kl"}


def listed(value: Any) -> list[Any]:
    """Return a value as a list; "[0, 0.1, inf]", as a command line gives it, is one too."""
    if isinstance(value, str) and value.strip().startswith("["):
        parts = value.strip().removeprefix("[").removesuffix("]").split(",")
        return [part.strip().strip("'\"") for part in parts if part.strip()]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def points(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return `method`, `lam`, `prior` and `seed` of every agent that the settings ask for.

    A method that fixes λ or its prior stands for itself, whatever the lists; λ = 0 reads no prior,
    so that it is there once.

    Raises:
        ConfigError: for an unknown method, an empty list, or a value that no method takes.
    """
    given = {name: listed(settings.get(name, _DEFAULTS[name])) for name in AXES}
    given["lam"] = [convert("lam", value, "float") for value in given["lam"]]
    for name, values in given.items():
        if not values:
            raise ConfigError(f"{name} is an empty list, but a population needs at least one value")
    for method in given["method"]:
        check_choice("method", method, tuple(METHODS))
    seeds = _seeds(settings)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for method in given["method"]:
        lams, priors = (_values(name, given, settings, method) for name in ("lam", "prior"))
        for lam, prior, seed in product(lams, priors, seeds):
            reads_prior = lam != 0 or _reads_prior(method, settings)
            identity = (method, lam, prior if reads_prior else None, seed)
            found.setdefault(identity, {"method": method, "lam": lam, "prior": prior, "seed": seed})
    return list(found.values())


def _values(
    name: str, given: Mapping[str, list[Any]], settings: Mapping[str, Any], method: str
) -> Iterable[Any]:
    """Return the values of one axis for one method: its own, if it fixes them."""
    fixed = METHODS[method].settings.get(name)
    if fixed is None:
        return given[name]
    takes = any(name not in METHODS[other].settings for other in given["method"])
    # Checked later, against what the method fixes, with a sentence that says so.
    return given[name] if name in settings and not takes else [fixed]


def _reads_prior(method: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a method reads a prior where λ is 0: it fixes one, or Eq. (34) weighs it."""
    given = settings.get("cross_entropy_coef", 0.0)
    cross_entropy = convert("cross_entropy_coef", given, "float")
    return "prior" in METHODS[method].settings or cross_entropy > 0


def _seeds(settings: Mapping[str, Any]) -> list[int]:
    seed, count = (
        convert(name, settings.get(name, default), "int")
        for name, default in (("seed", 0), ("seeds", 1))
    )
    return [seed + index for index in range(max(count, 1))]  # fewer than 1: refused later
