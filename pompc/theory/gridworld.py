"""A slippery grid with a goal and a pit: a small MDP for the tutorials."""

from __future__ import annotations

import numpy as np

from pompc.errors import ConfigError
from pompc.theory.tabular import MDP

MOVES = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])  # up, right, down, left: row, column


def gridworld(rows: int = 4, columns: int = 4, slip: float = 0.1, discount: float = 0.9) -> MDP:
    """Return a grid whose last cell is the goal, reward 1, and the cell above it the pit, -1.

    State `row * columns + column`; actions as in `MOVES`. With probability `slip` the move is a
    random one of the four; a move into a wall stays. The reward is the expected one of the
    transition, and an episode ends at goal and pit: both absorb and pay no more.

    Raises:
        ConfigError: if the grid has fewer than two rows or columns, or `slip` is no probability.
    """
    if min(rows, columns) < 2 or not 0.0 <= slip <= 1.0:
        raise ConfigError(
            f"a grid of {rows} by {columns} with slip {slip!r}: both sides must be at least 2, "
            "slip between 0 and 1"
        )
    cells = np.stack(np.divmod(np.arange(rows * columns), columns), axis=-1)
    targets = np.clip(cells[:, None] + MOVES, 0, np.array([rows - 1, columns - 1]))  # [S, A, 2]
    landing = targets[..., 0] * columns + targets[..., 1]
    moves = np.eye(rows * columns)[landing]  # [S, A, S], without slip
    transitions = (1.0 - slip) * moves + slip * moves.mean(axis=1, keepdims=True)
    goal, pit = terminal_cells(rows, columns)
    gain = np.zeros(rows * columns)
    gain[goal], gain[pit] = 1.0, -1.0
    rewards = transitions @ gain
    for end in (goal, pit):
        transitions[end], rewards[end] = np.eye(rows * columns)[end], 0.0
    return MDP(transitions, rewards, discount)


def terminal_cells(rows: int = 4, columns: int = 4) -> tuple[int, int]:
    """Return the states of goal and pit."""
    return rows * columns - 1, (rows - 1) * columns - 1
