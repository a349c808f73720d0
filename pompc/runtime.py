"""The one place that sets up JAX: compilation cache, matmul precision, GPU memory."""

import ctypes
import functools
import os
import platform
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before JAX starts: GPU memory grows with need, so that two runs can share a card.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax

_settings: Any = jax.config  # whose options its types do not know
_PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32"}
# What the programs rely on, whatever the environment's variables (JAX_ENABLE_X64, say) ask for.
_REQUIRED = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_enable_custom_prng": False,
    "jax_threefry_partitionable": True,
    "jax_legacy_prng_key": "allow",
    "jax_numpy_dtype_promotion": "standard",
    "jax_disable_jit": False,
}
_C_LIBRARY = ctypes.CDLL(None)
_M_ARENA_MAX = -8  # malloc.h of glibc
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "mujoco", "dm-control", "gymnasium")


def has_gpu() -> bool:
    """Return whether JAX sees a GPU."""
    return jax.default_backend() == "gpu"


def rounds_products() -> bool:
    """Return whether factors of matrix products are to be rounded here: TF32 without a GPU."""
    return _settings.jax_default_matmul_precision == _PRECISIONS["tf32"] and not has_gpu()


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def at_once(count: int, rows: int, width: int) -> int:
    """Return how many of `count` programs to batch, whose activations are `rows` by `width`.

    All on a GPU; on a CPU as many as its caches hold.
    """
    if has_gpu():
        return count
    activation = 4 * rows * width  # bytes
    return min(count, max(1, 2**20 // activation))


# Each core of a CPU is a device, so that the agents of a population are spread over them. A count
# in XLA_FLAGS is respected.
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    with suppress(RuntimeError):  # JAX has been used: too late
        jax.config.update("jax_num_cpu_devices", cores())
# Threads share one pool of memory: glibc gives each its own, left half empty.
with suppress(AttributeError):  # another C library
    _C_LIBRARY.mallopt(_M_ARENA_MAX, 1)


def trim_memory() -> None:
    """Return freed memory to the system: glibc keeps most of what compiling a program used."""
    with suppress(AttributeError):
        _C_LIBRARY.malloc_trim(0)


def device_bytes() -> int | None:
    """Return the memory of all local accelerators; None where that is the host's own."""
    statistics = [device.memory_stats() for device in jax.local_devices()]
    limits = [found["bytes_limit"] for found in statistics if found and "bytes_limit" in found]
    return sum(limits) if limits else None


def configure(matmul_precision: str) -> None:
    """Set everything of JAX that the programs rely on: types, random numbers, precision, cache.

    The precision is float32, tf32, or auto: TF32 on a GPU and float32 elsewhere.
    """
    if matmul_precision == "auto":
        matmul_precision = "tf32" if has_gpu() else "float32"
    for name, value in _REQUIRED.items():
        jax.config.update(name, value)
    jax.config.update("jax_default_matmul_precision", _PRECISIONS[matmul_precision])
    jax.config.update("jax_compilation_cache_dir", _cache())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@functools.cache
def _cache() -> str | None:
    """Make the folder of compiled programs, which POMPC_CACHE moves. Say once if there is none."""
    try:
        folder = Path(os.environ.get("POMPC_CACHE") or Path.home() / ".cache" / "pompc" / "jax")
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        print(f"compiled programs are not kept ({error}): set POMPC_CACHE to a folder", flush=True)
        return None
    return str(folder)


def describe() -> dict[str, str]:
    """Return device, memory policy, precision and versions, as provenance and first line need."""
    processor = f"{cores()} CPU core{'s' if cores() > 1 else ''}"
    grows = os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"].lower() == "false"
    memory = {"gpu_memory": "grows with need" if grows else "preallocated by JAX"}
    return {
        "device": jax.devices()[0].device_kind if has_gpu() else processor,
        **(memory if has_gpu() else {}),
        "matmul_precision": _settings.jax_default_matmul_precision,
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }
