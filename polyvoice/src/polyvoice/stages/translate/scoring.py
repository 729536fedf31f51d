"""How well a translation model does on held-out pairs: errors in what it writes, on both routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from polyvoice.spoken import SpokenPair
from polyvoice.stages.translate.decoding import TranslateOptions, Translation, UnitTranslator
from polyvoice.tasks import translate_speech, translate_speech_by_text

_BATCH = 16


def score_pairs(folder: Path, pairs: Sequence[SpokenPair], device: str, *, most: int = 64) -> dict[str, float]:
    """Translate held-out pairs greedily and count edits.

    Args:
        folder: a finished translation model.
        pairs: in the directions that it knows; those without speech on both sides do not count.
        device: where it runs.
        most: pairs of each direction that are looked at.

    Returns:
        Edits per symbol of the reference, over all pairs: `unit_error_rate` and `unit_error_rate_chain` of the target
        units on both routes; `heard_error_rate` and `said_error_rate` of the chain's texts, in characters. What the
        model was not trained for is not in it.
    """
    translator = UnitTranslator.load(folder, device)
    counts: dict[str, list[tuple[int, int]]] = {}
    for way in translator.card.directions:
        ours = (pair for pair in pairs if (pair.source.language, pair.target.language) == (way.source, way.target))
        chosen = list(islice((pair for pair in ours if pair.source.runs and pair.target.runs), most))
        for route, task in (("direct", translate_speech), ("chain", translate_speech_by_text)):
            if not translator.can(task(way.source, way.target)):
                continue
            options = TranslateOptions(route=route)  # type: ignore[arg-type]
            for start in range(0, len(chosen), _BATCH):
                batch = chosen[start : start + _BATCH]
                units = [pair.source.runs.units for pair in batch if pair.source.runs]
                answers = translator.translate_batch(units, way.source, way.target, options=options)
                for name, edits, length in _compare(batch, answers):
                    counts.setdefault(name, []).append((edits, length))
    return {
        name: sum(edits for edits, _ in found) / max(1, sum(length for _, length in found))
        for name, found in counts.items()
    }


def _compare(pairs: Iterable[SpokenPair], answers: Iterable[Translation]) -> Iterable[tuple[str, int, int]]:
    for pair, answer in zip(pairs, answers, strict=True):
        if pair.target.runs is not None:
            name = "unit_error_rate" if answer.text_said is None else "unit_error_rate_chain"
            reference = pair.target.runs.units.tolist()
            yield name, Levenshtein.distance(answer.units.tolist(), reference), len(reference)
        texts = (("heard", answer.text_heard, pair.source.text), ("said", answer.text_said, pair.target.text))
        for what, text, expected in texts:
            if text is not None and expected is not None:
                yield f"{what}_error_rate", Levenshtein.distance(text, expected), len(expected)
