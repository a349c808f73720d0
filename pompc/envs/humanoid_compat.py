"""The one place that knows HumanoidBench's insides, and what it lacks to run beside current JAX.

HumanoidBench pins MuJoCo 3.1.6 and torch. Installed without its pins it runs on current MuJoCo
after three changes, made in memory when it is imported; its files stay as they are:

- Its copy of dm_control's named indexing lists fields that newer MuJoCo no longer has: dropped.
- Its hierarchical policies import torch and JAX, which no other task needs: a placeholder instead.
- It draws goals from NumPy's global state: seeded for each episode (`seeded_draws`).
"""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from pompc.envs.physics import opengl
from pompc.errors import ConfigError

PACKAGE = "humanoid_bench"
COMMIT = "791405f5eacf879adbc99105adb3fee73f5a49fc"
TESTED = f"0.2 (commit {COMMIT[:7]}) with MuJoCo 3.17.0 and dm-control 1.0.50"
_POLICIES = f"{PACKAGE}.mjx.flax_to_torch"


class Scene(NamedTuple):
    """What there is to store and to see of one environment."""

    model: Any
    data: Any
    camera: str  # the task's own
    goal: np.ndarray | None  # `[3]`, a point in space to reach, where the task has one


def installed() -> bool:
    """Return whether HumanoidBench can be found, without importing it."""
    return PACKAGE in sys.modules or importlib.util.find_spec(PACKAGE) is not None


def installed_version(package: str = PACKAGE) -> str:
    """Return the version of a package, `unknown` where it is not installed as one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@functools.cache
def load(render: bool = False) -> None:
    """Import HumanoidBench, changed so that it runs on the MuJoCo that is here.

    Only the first import of MuJoCo in a process chooses its OpenGL back end. It is a ConfigError if
    HumanoidBench is not installed, or is not what the changes are for.
    """
    if not installed():
        raise ConfigError(
            "HumanoidBench is not installed, which the tasks h1hand-* and h1-* need: run "
            "`make humanoid` (book/environments.md has the command for other set-ups)"
        )
    policies = ModuleType(_POLICIES)
    vars(policies).update(TorchModel=_NoPolicy, TorchPolicy=_NoPolicy)
    sys.modules.setdefault(_POLICIES, policies)
    with opengl(render):
        try:
            import mujoco

            importlib.import_module(PACKAGE)
            sizes = importlib.import_module(f"{PACKAGE}.dmc_deps.dmc_sizes").array_sizes
            _drop_missing_fields(sizes, mujoco)
        except (ImportError, AttributeError, KeyError, TypeError) as error:
            _refuse(error)


class _NoPolicy:
    """Stands for HumanoidBench's low-level policies, which no task here uses."""

    def __init__(self, *_: Any) -> None:
        raise ConfigError("HumanoidBench's hierarchical policies are not supported")


def _drop_missing_fields(sizes: dict[str, dict[str, Any]], mujoco: Any) -> None:
    """Forget the fields of MuJoCo's structures that this MuJoCo does not have."""
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    for name, structure in (("mjmodel", model), ("mjdata", mujoco.MjData(model))):
        for field in list(sizes[name]):
            if not hasattr(structure, field):
                del sizes[name][field]


def _refuse(error: Exception) -> NoReturn:
    """Raise ConfigError with the versions that are here, and those that were tested."""
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    mujoco, control = installed_version("mujoco"), installed_version("dm-control")
    raise ConfigError(
        f"HumanoidBench {installed_version()} is not supported with MuJoCo {mujoco} and "
        f"dm-control {control}, tested: {TESTED} ({cause})"
    ) from error


def task_names() -> list[str]:
    """Return every task that HumanoidBench registers, such as `h1hand-push`, sorted."""
    load()
    ids = (name for name, spec in gymnasium.registry.items() if is_ours(spec))
    return sorted(name.removesuffix("-v0") for name in ids)


def is_ours(spec: EnvSpec) -> bool:
    """Return whether HumanoidBench registered an id."""
    return isinstance(spec.entry_point, str) and spec.entry_point.startswith(f"{PACKAGE}.")


def make(task: str, render: bool = False) -> gymnasium.Env[Any, Any]:
    """Make HumanoidBench's own environment, truncated at its time limit, without a viewer.

    `task` is robot and task as HumanoidBench registers them, without the ending `-v0`; one without
    a model for this robot is a ConfigError. `render` needs OpenGL to be at hand.
    """
    load(render)
    try:
        # Its own default, rgb_array, opens a viewer in each environment.
        return gymnasium.make(f"{task}-v0", render_mode=None, disable_env_checker=True)
    except (OSError, ValueError, gymnasium.error.Error) as error:
        cause = " ".join(str(error).split())
        raise ConfigError(f"task {task!r} cannot be made with HumanoidBench: {cause}") from error
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        _refuse(error)


def scene(environment: gymnasium.Env[Any, Any]) -> Scene:
    """Return model, data, camera and goal of an environment that `make` returned."""
    own: Any = environment.unwrapped
    goal: Any = getattr(own.task, "goal", ())
    return Scene(own.model, own.data, own.camera_name, goal if np.shape(goal) == (3,) else None)


@contextmanager
def seeded_draws(seed: int) -> Iterator[None]:
    """Seed NumPy's global state inside the block, and restore it afterwards.

    `reach`, `sit_hard` and some tasks beyond the paper's draw from it at each reset; without this,
    environments that share a process would change each other's episodes.
    """
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
