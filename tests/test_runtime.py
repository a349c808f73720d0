"""What JAX is told whatever the environment says, and where compiled programs are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pompc import runtime

SCRIPT = """
import jax
from pompc import runtime

runtime.configure("float32")
numbers = jax.jit(lambda key: jax.random.normal(key, (2,)) * 1)(jax.random.PRNGKey(1))
print(numbers.dtype, numbers, jax.numpy.float32(1) + jax.numpy.arange(2))
"""


def _said(**variables):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False,
        env=os.environ | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_variables_of_jax_change_nothing():
    asked = {
        "JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_ENABLE_CUSTOM_PRNG": "1",
        "JAX_LEGACY_PRNG_KEY": "error", "JAX_DISABLE_JIT": "1",
    }  # fmt: skip
    usual = _said()
    assert usual.startswith("float32")
    assert _said(**asked) == usual


@pytest.fixture
def no_cache(monkeypatch):
    """Let the folder of compiled programs be the home's, and found anew."""
    monkeypatch.delenv("POMPC_CACHE")
    return runtime._cache.__wrapped__


def test_without_a_home_nothing_is_kept_and_it_is_said(no_cache, monkeypatch, tmp_path, capsys):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "home", homeless)  # no HOME, and a user without an entry
        assert no_cache() is None
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # one that cannot be written to
    assert no_cache() is None
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("compiled programs are not kept (Could not determine home directory")
    assert "Not a directory" in said[1]
    assert all(line.endswith("set POMPC_CACHE to a folder") for line in said)


def test_compiled_programs_are_kept_at_home(no_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert no_cache() == str(tmp_path / ".cache" / "pompc" / "jax")
    assert (tmp_path / ".cache" / "pompc" / "jax").is_dir()
