"""PO-MPC: KL-regularised learning to plan with adaptive priors, in JAX.

Names are imported on first use, so that simulator processes, which never need JAX, stay light.
"""

# ruff: noqa: F401  (the names that type checkers see are handed on)

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pompc.envs import make_env
    from pompc.errors import ConfigError
    from pompc.runs import load_episodes, load_metrics, load_runs, notebook_config
    from pompc.settings.config import Config
    from pompc.training.hooks import Stop
    from pompc.training.trained_agent import evaluate, export_agent, load_agent, record_video
    from pompc.training.trainer import train

__version__ = "0.1.0"

_NAMES = {
    "envs": ["make_env"],
    "errors": ["ConfigError"],
    "runs": ["load_episodes", "load_metrics", "load_runs", "notebook_config"],
    "settings.config": ["Config"],
    "training.hooks": ["Stop"],
    "training.trained_agent": ["evaluate", "export_agent", "load_agent", "record_video"],
    "training.trainer": ["train"],
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pompc' has no attribute {name!r}")
    return getattr(import_module(f"pompc.{_HOME[name]}"), name)
