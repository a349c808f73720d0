"""How many numbers an environment returns and takes."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import gymnasium
from gymnasium.spaces import flatdim


def flat_sizes(environment: gymnasium.Env[Any, Any]) -> tuple[int, int]:
    """Return the numbers of observations and actions of an environment, and close it."""
    with closing(environment):
        return flatdim(environment.observation_space), flatdim(environment.action_space)
