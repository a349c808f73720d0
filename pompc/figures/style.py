"""How an agent looks in every figure, and how figures are made and saved.

The method gives the colour, for PO-MPC λ does; the prior gives the dash. Colours differ for readers
with any common colour blindness and have a contrast of 3 to the background. It is opaque: a figure
looks the same in a dark theme and in a light one.
"""

import io
import math
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

INK, MUTED = "#222222", "#767676"
_METHODS = {  # method -> name in a legend, colour
    "pompc_budget": ("PO-MPC, λ from a budget", "#D1495B"),
    "pompc_imagined": ("PO-MPC, imagined values", "#8F6BB3"),
    "tdmpc2": ("TD-MPC2", "#444444"),
    "bmpc": ("BMPC", "#D55E00"),
    "bmpc_jax": ("BMPC (JAX port)", "#A69153"),
    "bmpc_v3": ("BMPC, Variant 3", "#7A0201"),
    "tdmpc_square": ("TD-M(PC)²", "#6C6707"),
    "tdmpbc": ("TD-MPBC", "#2F6B6B"),
    "boom": ("BOOM", "#0D0592"),
}
# PO-MPC by the KL term's share λ / (1 + λ) of the objective, so that any λ has a colour.
_SHARES = (0.0, 0.1 / 1.1, 0.5, 0.9, 1.0)
_COLORS = ("#7C4DFF", "#3398C8", "#0B62A8", "#00916A", "#C2478D")
_PRIORS = {  # prior -> words in a legend, dash, marker, how much darker the colour is
    "reverse_kl": ("", "-", "o", 0.0),
    "replay": ("replayed planner", (0, (4, 1.5)), "s", 0.35),
    "forward_kl": ("forward KL", (0, (5, 1.5, 1, 1.5)), "^", 0.5),
    "mixture": ("mixture prior", (0, (1, 1)), "v", 0.2),
}
# Of agents with other settings than the first of their name.
_CHANGED = ("#8C510A", "#5E3C99", "#01665E", "#B2182B", "#4D4D4D", "#2166AC")
WIDTH = 7.2  # inches of a figure: a page's text, so that letters keep their size
_PLAIN = {"Date": None, "Creator": None}  # else an SVG has both
NO_VERSION = {"Software": None}  # of Matplotlib, which it writes into a PNG
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib: the same letters on every machine
    "axes.titlesize": 9.5,
    **dict.fromkeys(["font.size", "axes.labelsize", "legend.fontsize"], 9.0),
    **dict.fromkeys(["xtick.labelsize", "ytick.labelsize"], 8.0),
    **dict.fromkeys(["axes.spines.top", "axes.spines.right", "legend.frameon"], False),
    "axes.edgecolor": MUTED,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    **dict.fromkeys(["axes.labelcolor", "text.color", "xtick.color", "ytick.color"], INK),
    **dict.fromkeys(["figure.facecolor", "savefig.facecolor", "axes.facecolor"], "#ffffff"),
    **dict.fromkeys(["figure.dpi", "savefig.dpi"], 150.0),
    "svg.hashsalt": "pompc",  # ids of clip paths: the same in every process
    "svg.fonttype": "path",
}


class Drawing(Figure):
    """A figure that a notebook shows by itself, sharp at any size; no part of pyplot."""

    def _repr_svg_(self) -> str:
        buffer = io.StringIO()
        with settings():
            self.savefig(buffer, format="svg", metadata=_PLAIN)
        return buffer.getvalue()


class Look(NamedTuple):
    """How one agent is drawn."""

    label: str
    color: str
    dash: Any
    marker: str


def name(method: str, lam: float, prior: str, changes: str = "") -> str:
    """Return an agent's label for a list, where λ without a name is PO-MPC's."""
    return look(method, lam, prior, changes).label.removeprefix("PO-MPC, ")


def look(method: str, lam: float, prior: str, changes: str = "") -> Look:
    """Return how an agent is drawn in every figure; one with `changes` has a colour of its own."""
    if changes:
        label, _, dash, marker = look(method, lam, prior)
        color = _CHANGED[zlib.crc32(changes.encode()) % len(_CHANGED)]
        return Look(f"{label}, {changes}", color, dash, marker)
    if method in _METHODS:
        return Look(*_METHODS[method], "-", "D")
    words, dash, marker, darker = _PRIORS[prior if lam > 0 else "reverse_kl"]
    label = f"PO-MPC, λ = {lam:g}".replace("inf", "∞") + (f", {words}" if words else "")
    color = to_hex((1.0 - darker) * np.array(to_rgb(_weight_color(lam))))
    return Look(label, color, dash, marker)


def _weight_color(lam: float) -> str:
    channels = zip(*map(to_rgb, _COLORS), strict=True)
    red, green, blue = (float(np.interp(share_of(lam), _SHARES, one)) for one in channels)
    return to_hex((red, green, blue))


def share_of(lam: float) -> float:
    """Return the KL term's share of the objective, λ / (1 + λ)."""
    return 1.0 if math.isinf(lam) else lam / (1.0 + lam)


@contextmanager
def settings() -> Iterator[None]:
    """Draw and save with the settings of this project, whatever the reader's own are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        base: dict[Any, Any] = sns.plotting_context("paper") | sns.axes_style("whitegrid")
        mpl.rcParams.update(base | _SETTINGS)
        yield


Panels = tuple[Figure, np.ndarray]  # a figure and its axes, `[rows, columns]`


def grid(count: int, height: float = 1.9, columns: int = 0, **shared: Any) -> Panels:
    """Return a figure of `count` panels as wide as a page, and its axes `[rows, columns]`.

    Axes that are left over are hidden. The height is a panel's, in inches; columns are by default
    as few as keep a panel readable on a phone; `shared` axes are as in Matplotlib's `subplots`.
    """
    columns = columns or (min(count, 2) if count <= 6 else 3)
    rows = math.ceil(count / columns)
    height *= 1.3 if columns == 1 else 1.0
    figure, axes = panels(rows, columns, WIDTH / columns, height, **shared)
    for panel in axes.flat[count:]:
        panel.set_visible(False)
    return figure, axes


def panels(rows: int, columns: int, width: float, height: float, **shared: Any) -> Panels:
    """Return a figure and its axes `[rows, columns]`; sizes of a panel in inches."""
    size = width * columns, height * rows + 0.5  # half an inch for the legend
    figure = Drawing(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def stacked(rows: Sequence[int], row: float) -> Panels:
    """Return a figure of panels below each other, each of so many rows of `row` inches."""
    height = row * sum(rows) / len(rows) + 0.4  # title and ticks
    return panels(len(rows), 1, WIDTH, height, gridspec_kw={"height_ratios": rows})


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Name the rows of a panel that were drawn at 0, 1, ..., from top to bottom."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)


def row_of_seeds(axes: Axes, place: float, seeds: Any, middle: float, color: str) -> None:
    """Draw the numbers of seeds as points and a bar at their middle, in a row of a panel."""
    axes.plot(seeds, [place] * len(seeds), "o", color=color, markersize=4.5, alpha=0.7,
              markeredgewidth=0)  # fmt: skip
    axes.plot(middle, place, "|", color=color, markersize=9, markeredgewidth=2)


def wrap(axes: Axes, text: str, letters_an_inch: float = 11.0) -> list[str]:
    """Break text, such as a title, into lines that are not wider than a panel's place."""
    grid = axes.get_gridspec()
    inches = axes.get_figure(root=True).get_figwidth() / (grid.ncols if grid else 1)  # pyright: ignore
    return textwrap.wrap(text, int(letters_an_inch * inches))


def remark(axes: Axes, text: str) -> None:
    """Write a remark between a panel's title and its curves, on as many lines as it needs."""
    lines = wrap(axes, text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"), 15)
    axes.text(0.5, 1.02, "\n".join(lines), transform=axes.transAxes, ha="center", va="bottom",
              color=MUTED, style="italic", fontsize=7)  # fmt: skip
    axes.set_title(axes.get_title(), pad=4 + 9 * len(lines))


def legend(figure: Figure) -> None:
    """Put one legend below all panels, each label once, in as many columns as are wide enough."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        wide = 0.75 + 0.07 * max(map(len, handles))  # inches, at this size of letters
        columns = min(max(int(figure.get_figwidth() / wide), 1), 4)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def save(figure: Figure, path: Path) -> list[Path]:
    """Save a figure as SVG and PNG, the same bytes each time; return the two files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {path.with_suffix(".svg"): _PLAIN, path.with_suffix(".png"): NO_VERSION}
    with settings():
        for file, metadata in files.items():
            figure.savefig(file, metadata=metadata)
    return list(files)
