"""In which settings agents of one method, λ and prior differ."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from pompc.runs.folder import IDENTITY
from pompc.settings.config import Config, preset_values, retired_values
from pompc.settings.field_types import options_of
from pompc.settings.methods import METHODS

REPEATED = {*IDENTITY, "seeds", "steps"}  # settings in which the curves of a cell may differ


def settings_of(agent: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that make an agent of config.json another, complete."""
    values = options_of(Config) | retired_values(agent["task"]) | agent
    return {name: value for name, value in values.items() if name not in REPEATED}


def key_of(settings: dict[str, Any]) -> str:
    """Return a short key that agents with the same settings share."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def words(agents: Sequence[dict[str, Any]], method: str) -> list[str]:
    """Return what tells each agent from the others, or "": its preset, and what differs from it."""
    differing = {name for one in agents for name in one if one[name] != agents[0].get(name)}
    own = dict(METHODS[method].settings) if method in METHODS else {}
    found = list[str]()
    for agent in agents:
        usual = preset_values(agent["preset"]) | own | {"preset": None}
        changed = [name for name in agent if name in differing and agent[name] != usual.get(name)]
        found.append(", ".join(f"{name} = {agent[name]}" for name in changed))
    return found
