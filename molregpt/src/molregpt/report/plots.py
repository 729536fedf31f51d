"""Plots as inline SVG that follow the page's light or dark theme."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Drawn in colours that occur nowhere else, which are then handed to the page's variables.
_COLOURS = {
    "#010203": "--text",
    "#010204": "--faint",
    "#010205": "--line",
    "#010206": "--accent",
    "#010207": "--muted-mark",
}
_TEXT, _FAINT, _LINE, _ACCENT, _MUTED = _COLOURS
_MOST_POINTS = 1500
_BINS = 10


def plot_similarity(
    similarities: Sequence[float], scores: Sequence[float], baseline: Sequence[float], *, x_label: str, y_label: str
) -> str:
    """How the score of a row depends on how near its neighbour is.

    Args:
        similarities: Similarity of the nearest neighbour, one per row.
        scores: Score of the answer, one per row.
        baseline: Score of copying the neighbour, one per row.
        x_label: Names the similarity.
        y_label: Names the score.

    Returns:
        An `<svg>` element: a point for each answer, and the means of answers and of copies in ten bins that hold
        equally many rows.
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    import numpy as np
    from matplotlib.figure import Figure

    x, y, copied = (np.asarray(values, dtype=np.float64) for values in (similarities, scores, baseline))
    # Ids in the file come from a fixed salt and text stays text: the same rows give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "molregpt", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(8.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        # Thousands of points only blacken the page; the bins below are computed from all of them.
        step = -(-len(x) // _MOST_POINTS)
        axes.scatter(x[::step], y[::step], s=9, color=_ACCENT, alpha=0.18 if len(x) > 500 else 0.3, linewidths=0)
        order = np.argsort(x, kind="stable")
        bins = [rows for rows in np.array_split(order, min(_BINS, len(order))) if len(rows)]
        centres = [float(x[rows].mean()) for rows in bins]
        axes.plot(centres, [float(copied[rows].mean()) for rows in bins], "o--", color=_MUTED, markersize=4,
                  label="copying the neighbour (mean)")  # fmt: skip
        axes.plot(centres, [float(y[rows].mean()) for rows in bins], "o-", color=_ACCENT, markersize=4,
                  label="answers (mean)")  # fmt: skip
        axes.set_xlabel(x_label, color=_TEXT)
        axes.set_ylabel(y_label, color=_TEXT)
        axes.set_ylim(-0.03, 1.03)
        axes.tick_params(colors=_FAINT)
        axes.grid(color=_LINE, linewidth=0.7)
        axes.set_axisbelow(True)
        for name, spine in axes.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(_LINE)
        figure.legend(frameon=False, labelcolor=_TEXT, loc="outside upper center", ncols=2, fontsize=9)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _shape_for_page(file.getvalue(), f"{y_label} against {x_label}")


def _shape_for_page(svg: str, label: str) -> str:
    """Drop what belongs to a file of its own, hand the colours to the page's theme, and name the picture."""
    from html import escape

    svg = svg[svg.index("<svg") :].replace("xlink:href", "href")
    # The style sheet inside would apply to the whole page, and the fonts are the page's affair.
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    size = re.search(r'viewBox="[^"]*"', svg)
    view_box = size[0] if size else ""
    svg = re.sub(r"<svg[^>]*>", f'<svg role="img" aria-label="{escape(label)}" {view_box}>', svg, count=1)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.strip()
