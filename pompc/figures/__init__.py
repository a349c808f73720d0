"""Figures and tables: one function each, from a tidy table; nothing here trains or imports JAX.

`python -m pompc.figures` draws all figures into `figures/`, and again only those that changed.
"""

from pompc.figures.beside_public_code import public_code, returns_beside
from pompc.figures.captions import notice
from pompc.figures.first_figure import figure_1
from pompc.figures.forest_plot import claims_forest
from pompc.figures.learning import episode_rewards, learning_curve
from pompc.figures.paper import figure_2, figure_3, figure_4, figure_5, figure_6, figure_7, figure_8
from pompc.figures.registry import draw, show
from pompc.figures.reviewers import aggregates, iqm_curves, performance_profiles, timing, wall_clock
from pompc.figures.seed_returns import last_returns, returns_by_seed
from pompc.figures.speed import decisions_per_second
from pompc.figures.tables import final_returns, table_1, table_2, table_3
from pompc.results.published import read as read_published

__all__ = [
    "aggregates",
    "claims_forest",
    "decisions_per_second",
    "draw",
    "episode_rewards",
    "figure_1",
    "figure_2",
    "figure_3",
    "figure_4",
    "figure_5",
    "figure_6",
    "figure_7",
    "figure_8",
    "final_returns",
    "iqm_curves",
    "last_returns",
    "learning_curve",
    "notice",
    "performance_profiles",
    "public_code",
    "read_published",
    "returns_beside",
    "returns_by_seed",
    "show",
    "table_1",
    "table_2",
    "table_3",
    "timing",
    "wall_clock",
]
