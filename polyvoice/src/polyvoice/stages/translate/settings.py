"""Settings of the translation model: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from polyvoice.errors import InputError
from polyvoice.stages.course import Course
from polyvoice.stages.presets import PRESETS, Preset

if TYPE_CHECKING:
    from unitlm.model import ModelConfig

_BYTES = 256


@dataclass(frozen=True)
class CorpusSettings:
    """How examples are made of pairs.

    A task's share is the part of the pairs that show it in each pass, drawn anew each time; 0 leaves a task out. Tasks
    that need text are left out where a pair has none, and speech tasks where it has no speech.

    Attributes:
        text: how text is written: trained pieces, bytes, or none (unwritten languages: only speech is translated).
        pieces: the most pieces of each language.
        passes: how often each pair is used in each direction.
        s2st_share: units into units.
        asr_share: units into text of the same language.
        mt_share: text into text.
        tts_share: text into units of the same language.
        st_share: units into text of the other language.
        chain_share: units into text, text and units, one after the other.
        noise_share: part of the examples whose source units are disturbed.
        noise_rate: part of these units that is dropped or replaced by any other, half of each.
        neighbours: the most sentences like its own, with their translations, that a text is shown before it is
            translated; the finished model keeps all sentences for that (`memory.parquet`). 0: none.
        text_noise_rate: part of the letters of translated text that is disturbed, in as many examples as of units.
        rows_per_shard: pairs in one shard.
        corpus_seed: seed of all draws.

    Raises:
        InputError: a value is out of range.
    """

    text: Literal["pieces", "bytes", "none"] = "pieces"
    pieces: int = 1_000
    passes: int = 4
    s2st_share: float = 1.0
    asr_share: float = 0.5
    mt_share: float = 0.5
    tts_share: float = 0.5
    st_share: float = 0.5
    chain_share: float = 1.0
    noise_share: float = 0.3
    noise_rate: float = 0.1
    neighbours: int = 0
    text_noise_rate: float = 0.0
    rows_per_shard: int = 2_048
    corpus_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("passes", "rows_per_shard"):
            if getattr(self, name) < 1:
                raise InputError(f"translate: {name} must be at least 1, got {getattr(self, name)}")
        shares = ("s2st_share", "asr_share", "mt_share", "tts_share", "st_share", "chain_share")
        for name in (*shares, "noise_share", "noise_rate", "text_noise_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"translate: {name} must be in [0, 1], got {getattr(self, name)}")
        if self.neighbours < 0:
            raise InputError(f"translate: neighbours must not be negative, got {self.neighbours}")
        if self.neighbours and (self.text == "none" or not self.mt_share):
            raise InputError("translate: neighbours are shown where text is translated: give mt_share, and text")
        if self.pieces < _BYTES:
            raise InputError(f"translate: pieces must be at least the {_BYTES} bytes, got {self.pieces}")


@dataclass(frozen=True)
class TranslateSettings:
    """Everything about the training of a translation model but its data.

    Attributes:
        preset: size of the model.
        dropout: of the residual branches; the preset's when not given.
        prefix_lm: let what is given be seen both ways, and only what is written causally.
        directions: such as zh-en; those of the manifest and their opposites when not given.
        new_vocabulary: with `base`: learn new pieces of text, and maybe other languages, from the manifest. What both
            know keeps its weights, and a new piece begins as the mean of those that spelled it.
        corpus: how examples are made.
        course: steps and rates.

    Raises:
        InputError: there is a new vocabulary, and no base.
    """

    preset: Preset = "small"
    dropout: float | None = None
    prefix_lm: bool = False
    directions: tuple[str, ...] = ()
    new_vocabulary: bool = False
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    course: Course = field(default_factory=Course)

    def __post_init__(self) -> None:
        if self.new_vocabulary and not self.course.base:
            raise InputError("translate: new_vocabulary is for a model that begins with another (base)")

    def model_config(self, vocabulary_size: int) -> ModelConfig:
        """The shape of the model, for so many ids."""
        size = PRESETS[self.preset]["translate"]
        return size.model_config(vocabulary_size, prefix_lm=self.prefix_lm, dropout=self.dropout)
