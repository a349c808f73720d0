"""Figures and tables: one function each, from a tidy table; nothing here trains or imports JAX.

`python -m pompc.figures` draws all figures into `figures/`.
"""

from pompc.figures.beside_public_code import returns_beside
from pompc.figures.captions import Folded, notice
from pompc.figures.evidence import answer
from pompc.figures.first_figure import figure_1
from pompc.figures.learning import episode_rewards, learning_curve
from pompc.figures.registry import draw, show
from pompc.figures.reviewers import aggregates, timing
from pompc.figures.seed_returns import returns_by_seed
from pompc.figures.tables import final_returns, table_1, table_2, table_3
from pompc.results.published import read as read_published

__all__ = [
    "Folded",
    "aggregates",
    "answer",
    "draw",
    "episode_rewards",
    "figure_1",
    "final_returns",
    "learning_curve",
    "notice",
    "read_published",
    "returns_beside",
    "returns_by_seed",
    "show",
    "table_1",
    "table_2",
    "table_3",
    "timing",
]
