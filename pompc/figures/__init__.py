"""Figures and tables: one function each, from a tidy table; nothing here trains or imports JAX.

`python -m pompc.figures` draws all figures into `figures/`.
"""

from pompc.figures.captions import Folded as Folded
from pompc.figures.captions import notice as notice
from pompc.figures.first_figure import figure_1 as figure_1
from pompc.figures.learning import episode_rewards as episode_rewards
from pompc.figures.learning import learning_curve as learning_curve
from pompc.figures.overview import returns_by_seed as returns_by_seed
from pompc.figures.public_code import returns_beside as returns_beside
from pompc.figures.registry import draw as draw
from pompc.figures.registry import show as show
from pompc.figures.sample_efficiency import steps_table as steps_table
from pompc.figures.seed_statistics import aggregates as aggregates
from pompc.figures.seed_statistics import improvements as improvements
from pompc.figures.seed_statistics import timing as timing
from pompc.figures.tables import final_returns as final_returns
from pompc.figures.tables import table_1 as table_1
from pompc.figures.tables import table_2 as table_2
from pompc.figures.tables import table_3 as table_3
from pompc.figures.verdicts import answer as answer
from pompc.results import published

read_published = published.read
