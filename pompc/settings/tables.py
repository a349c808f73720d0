"""The settings as tables of Markdown, which book/api/settings.md prints."""

from typing import Any

from pompc.settings.field_types import defaults_of, settings_of
from pompc.settings.fields import PRESETS, Fields

# Heading of a table -> its first setting. Settings stand in the order of `Fields`.
GROUPS = {
    "The run": "task",
    "Networks": "encoder_dim",
    "The planner": "horizon",
    "Optimisers": "batch_size",
    "Losses of model and values": "discount",
    "Loss of the policy": "entropy_coef",
    "Targets and scales": "target_rate",
    "Replay and reanalysis": "clone_std_factor",
    "The machine": "matmul_precision",
}
_HEAD = "| setting | meaning | default | laptop | in the paper |\n|---|---|---|---|---|\n"


def settings_table() -> str:
    """Return every setting as Markdown: a heading and a table for each group."""
    headings = {first: heading for heading, first in GROUPS.items()}
    lines = []
    for name, default in defaults_of(Fields).items():
        if name in headings:
            lines.append(f"\n### {headings[name]}\n\n{_HEAD}")
        lines.append(_row(name, default))
    return "".join(lines).lstrip()


def _row(name: str, default: Any) -> str:
    about, laptop = settings_of(Fields)[name], PRESETS["laptop"]
    changed = _text(laptop[name]) if name in laptop else ""
    cells = (f"`{name}`", about.meaning, _text(default), changed, about.paper)
    return f"| {' | '.join(cells)} |\n"


def _text(value: Any) -> str:
    """Return a value as text, thousands apart."""
    if value is None:
        return "by the task"
    thousands = isinstance(value, int) and value > 9999
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}") if thousands else str(value)
