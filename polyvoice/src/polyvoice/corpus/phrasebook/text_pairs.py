"""Phrases as pairs of texts, which the translation model learns from beside spoken pairs."""

from collections.abc import Iterable

from polyvoice.corpus.manifest import PairRow
from polyvoice.corpus.phrasebook.grammar import Phrase

_PAIRS = (("zh", "en"), ("es", "en"))
"""As `polyvoice corpus speak` pairs the languages of a phrasebook."""


def text_pairs(phrases: Iterable[Phrase]) -> list[PairRow]:
    """English with each other language, as rows of a manifest without audio; a text is nobody's, so without speaker."""
    return [
        PairRow(
            id=f"{phrase.key}.text.{source}-{target}",
            source_audio=None,
            source_lang=source,
            source_text=getattr(phrase, source),
            target_audio=None,
            target_lang=target,
            target_text=getattr(phrase, target),
            speaker=None,
            split=phrase.split,
        )
        for phrase in phrases
        for source, target in _PAIRS
    ]
