"""Figures that a notebook stores in itself, and their captions."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure

from pompc.figures import style
from pompc.figures.captions import Markdown

_PAGE = 7.2  # inches: the width of a page's text
_PIXELS = 110  # of a page, for an inch


class Stored(Figure):
    """A figure as pixels, twice as many as it takes on a page; no part of pyplot.

    An SVG would be sharper, but tests compare a notebook's stored outputs, images apart, and the
    numbers in an SVG depend on the machine.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        buffer = io.BytesIO()
        with style.settings():
            self.savefig(buffer, format="png", dpi=2 * _PIXELS, metadata={"Software": None})
        return buffer.getvalue(), {"width": round(_PIXELS * self.get_figwidth())}


def panels(
    rows: int, columns: int, height: float, width: float = _PAGE, sharey: bool = False
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes `[rows, columns]`; the height of a row in inches."""
    figure = Stored(figsize=(width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=sharey)


def caption(text: str) -> Markdown:
    """Return the caption of the figure that is displayed before it: a line in italics.

    Where the figure is part of a page, the book makes it one with its image.
    """
    return Markdown(f"*{' '.join(text.split())}*")
