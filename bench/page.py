"""The page of results: a table of all rows, how the ratios stand to their targets, how cost grows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.rows import Row
from bench.suite import tell_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OURS, _PEERS = "#1f5fa8", ("#c4511b", "#5a8f29", "#7a5195", "#8a6d00", "#0f8b8d")
_UNMET, _MET = "#c4511b", "#3d7a2a"


def write_page(folder: Path, rows: Sequence[Row]) -> None:
    """Write index.html and the plots beside it, as SVG and as PNG."""
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    shown = []
    if any(row.ratio_median is not None for row in rows):
        shown.append(save_figure(draw_ratios(rows), plots / "ratios", "Times as fast as each peer"))
    for job in sorted({row.job for row in rows}):
        measured = [row for row in rows if row.job == job and row.seconds_median is not None]
        if len({row.size for row in measured}) > 1:
            title = f"{measured[0].what}: seconds by size"
            shown.append(save_figure(draw_growth(measured), plots / job, title))
    text = render_page(rows, shown)
    half = folder / ".index.html.half"
    half.write_text(text, encoding="utf-8")
    half.replace(folder / "index.html")


def render_page(rows: Sequence[Row], plots: Sequence[tuple[str, str]] = ()) -> str:
    """The page as HTML.

    Args:
        rows: all of them are listed.
        plots: address and description of each image.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["seconds"] = tell_seconds
    template = environment.get_template("page.html.j2")
    return template.render(rows=rows, plots=plots, versions=collect_versions(rows))


def collect_versions(rows: Iterable[Row]) -> dict[str, str]:
    """Versions of all rows together; where rows disagree, all that occur."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(found[name])) for name in sorted(found)}


def save_figure(figure: Figure, path: Path, title: str) -> tuple[str, str]:
    """Save a figure as SVG and PNG; returns the address for the page, and the description."""
    # Without a date and with fixed identifiers, so that equal rows give equal files.
    figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None, "Title": title})
    figure.savefig(path.with_name(f"{path.name}.png"), dpi=120)
    return f"plots/{path.name}.svg", title


def _make_figure(width: float, height: float) -> Figure:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "bench"
    mpl.rcParams["svg.fonttype"] = "none"
    return Figure(figsize=(width, height), layout="constrained")


def draw_ratios(rows: Sequence[Row]) -> Figure:
    """Each ratio as a bar from 1, least to greatest as a line, the target as a mark; logarithmic."""
    compared = [(row, row.ratio_median, [row.ratio_min or nan, row.ratio_max or nan]) for row in rows[::-1]]
    bars = [(row, median, ends) for row, median, ends in compared if median is not None]
    figure = _make_figure(9, 0.6 + 0.28 * len(bars))
    axes = figure.add_subplot()
    for place, (row, median, ends) in enumerate(bars):
        colour = _OURS if row.met is None else _MET if row.met else _UNMET
        axes.barh(place, median - 1, left=1, color=colour, alpha=0.75, height=0.6)
        axes.plot(ends, [place, place], color="black", linewidth=1)
        if row.target is not None:
            axes.plot([row.target] * 2, [place - 0.4, place + 0.4], color="black", linewidth=2)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(bars)), [f"{row.name}, {row.peer}" for row, _, _ in bars], fontsize=8)
    axes.set_xlabel("times as fast as the peer; a thick mark is the target")
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_growth(rows: Sequence[Row]) -> Figure:
    """Seconds by size of one job, ours and each peer's, with the fitted exponents; both axes logarithmic."""
    figure = _make_figure(6.5, 4)
    axes = figure.add_subplot()
    mine: dict[float, float] = {row.size: row.seconds_median for row in rows if row.seconds_median is not None}
    power = next((f", size^{row.exponent:.2f}" for row in rows if row.exponent is not None), "")
    axes.plot(sorted(mine), [mine[size] for size in sorted(mine)], "o-", color=_OURS, label=f"ours{power}")
    for number, peer in enumerate(sorted({row.peer for row in rows if row.peer_seconds_median is not None})):
        beside = sorted((row for row in rows if row.peer == peer), key=lambda row: row.size)
        power = next((f", size^{row.peer_exponent:.2f}" for row in beside if row.peer_exponent is not None), "")
        seconds = [row.peer_seconds_median or nan for row in beside]
        colour = _PEERS[number % len(_PEERS)]
        axes.plot([row.size for row in beside], seconds, "s--", color=colour, label=f"{peer}{power}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(rows[0].unit)
    axes.set_ylabel(f"seconds a {rows[0].per}")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return figure
