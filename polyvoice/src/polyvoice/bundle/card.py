"""The card of a bundle: its README.md, with what it was trained on, learning curves and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from polyvoice.bundle.manifest import BundleManifest
from polyvoice.stages.translate.memory import FILE as MEMORY
from unitlm.files import Json, replacing, write_text

Rows = Sequence[Mapping[str, float]]


def write_card(
    folder: Path, manifest: BundleManifest, sizes: Mapping[str, int], *, with_curves: bool, about: str = ""
) -> None:
    """Write `README.md`.

    Args:
        folder: the bundle's.
        manifest: what it is.
        sizes: bytes of each part.
        with_curves: whether `curves.svg` is there.
        about: what its maker says of it, in Markdown.
    """
    directions = ", ".join(f"{way.source} to {way.target}" for way in manifest.directions)
    units, codes = manifest.units, manifest.codes
    lines = [
        f"# {manifest.name}",
        "",
        f"Speech-to-speech translation: {directions}. Use it with",
        "",
        f"    polyvoice translate SOURCE.wav TARGET.wav "
        f"--from {manifest.directions[0].source} --to {manifest.directions[0].target} --bundle .",
        "",
        f"{units.clusters:,} units at {units.frame_rate_hz:g} Hz from {units.encoder}; "
        f"codec {codes.codec}: {codes.levels} levels of {codes.codebook_size:,} codes at {codes.frame_rate_hz:g} Hz.",
        "",
        *_say_routes(manifest),
        "## Models",
        "",
        "| stage | parameters | MB | trained on | pairs | steps | loss held out |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for stage, part in manifest.stages.items():
        data, loss = part.trained_on, part.trained_on.held_out_loss
        lines.append(
            f"| {stage} | {part.parameters / 1e6:.1f} M | {sizes[stage] / 1e6:.1f} | {data.manifest} ({data.digest}) "
            f"| {data.pairs:,} | {data.step:,} | {'-' if loss is None else f'{loss:.3f}'} |"
        )
    if (folder / "translate" / MEMORY).exists():
        lines += [
            "",
            "The translation model's memory (`memory.parquet`) holds sentences of its training as they are.",
        ]
    others = {name: size for name, size in sizes.items() if name not in manifest.stages}
    lines += ["", "Also inside: " + ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size in others.items()) + "."]
    if with_curves:
        lines += ["", "![Loss of each stage by training step](curves.svg)"]
    if about.strip():
        lines += ["", about.strip()]
    if manifest.scores:
        lines += ["", "## Scores", "", *_list_scores(manifest.scores)]
    write_text(folder / "README.md", "\n".join(lines) + "\n")


def _say_routes(manifest: BundleManifest) -> list[str]:
    if not manifest.chained:
        return []
    return [f"By way of text, unless --route says otherwise: {', '.join(map(str, manifest.chained))}.", ""]


def draw_curves(metrics: Mapping[str, Rows], path: Path) -> bool:
    """Draw the losses of all stages side by side, as SVG.

    Args:
        metrics: the rows of each stage's `metrics.jsonl`; may be empty.
        path: the file to write.

    Returns:
        Whether there was something to draw.
    """
    if not metrics:
        return False
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(metrics), 2.6), layout="constrained")
    for place, (stage, rows) in enumerate(metrics.items(), start=1):
        axes = figure.add_subplot(1, len(metrics), place)
        for key, label in (("loss", "training"), ("held_out_loss", "held out")):
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                # A single point, such as one evaluation at the end, has no line to be seen by.
                axes.plot(*zip(*points, strict=True), label=label, marker="o" if len(points) == 1 else "")
        axes.set(title=stage, xlabel="step", ylabel="nats" if place == 1 else "")
        axes.legend(frameon=False)
    # Without a date and with names from a fixed salt, equal runs give equal files.
    with replacing(path) as temporary, mpl.rc_context({"svg.hashsalt": "polyvoice"}):
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    return True


def _list_scores(scores: Mapping[str, Json], depth: int = 0) -> list[str]:
    """Nested figures as a nested list, each score with its interval on one line."""
    lines = []
    for name, value in scores.items():
        begin = f"{'  ' * depth}- {name}:"
        if isinstance(value, Mapping) and "value" in value:
            lines.append(f"{begin} {_show(value['value'])}{_show_interval(value)}")
        elif isinstance(value, Mapping):
            lines += [begin, *_list_scores(value, depth + 1)]
        else:
            lines.append(f"{begin} {_show(value)}")
    return lines


def _show(value: Json) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _show_interval(score: Mapping[str, Json]) -> str:
    """What is known of a score beside its value."""
    parts = [f"{_show(score['low'])} to {_show(score['high'])}"] if "low" in score and "high" in score else []
    parts += [f"{name} {_show(value)}" for name, value in score.items() if name not in ("value", "low", "high")]
    return f" ({', '.join(parts)})" if parts else ""
