"""Settings of both synthesis models: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from polyvoice.errors import InputError
from polyvoice.stages.course import Course
from polyvoice.stages.presets import PRESETS, Preset

if TYPE_CHECKING:
    from unitlm.model import ModelConfig

_LONG_ROWS = Course(sequence_length=1_024)  # 3 s of prompt and 10 s of speech at 75 codec frames a second


@dataclass(frozen=True)
class VoiceSettings:
    """How examples are made: someone's speech as the voice prompt, then speech of the same person to be synthesised.

    Each pass shows every pair (source as prompt, target to be said); the shares add other prompts for the same target.
    All crops and partners are drawn anew in each pass. A pair without a speaker is of two people, as far as is known:
    its target is shown cut in two alone, always.

    Attributes:
        passes: how often each pair is used in each direction.
        partner_share: part of the targets that are also shown after another utterance of the same speaker in the same
            language; where speakers are not known there are none.
        split_share: part of the targets that are also shown cut in two, the first piece as prompt of the second.
        prompt_frames: longest prompt in codec frames; longer ones are cut at a random place.
        prompt_units: whether the prompt's units are seen beside its codes.
        pairs_per_shard: pairs in one shard.
        voice_seed: seed of all draws.

    Raises:
        InputError: a value is out of range.
    """

    passes: int = 2
    partner_share: float = 0.5
    split_share: float = 0.25
    prompt_frames: int = 225
    prompt_units: bool = True
    pairs_per_shard: int = 1_024
    voice_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("passes", "prompt_frames", "pairs_per_shard"):
            if getattr(self, name) < 1:
                raise InputError(f"synthesize: {name} must be at least 1, got {getattr(self, name)}")
        for name in ("partner_share", "split_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"synthesize: {name} must be in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class FirstLevelLayout:
    """How examples of the first level are laid out.

    Attributes:
        layout: aligned: each step carries its unit and the code before it; line: the paper's, all units and then all
            codes, one after the other.
        lookahead: how many frames ahead the units are seen (aligned only).
        learn_prompt: whether the prompt's codes are learned too, as more examples of speech (aligned only).

    Raises:
        InputError: a value is out of range.
    """

    layout: Literal["aligned", "line"] = "aligned"
    lookahead: int = 3
    learn_prompt: bool = True

    def __post_init__(self) -> None:
        if self.lookahead < 0:
            raise InputError(f"synthesize: lookahead must not be negative, got {self.lookahead}")


@dataclass(frozen=True)
class FirstLevelSettings:
    """Everything about the training of the model of codec level 0 (autoregressive) but its data.

    Attributes:
        preset: size of the model.
        dropout: of the residual branches; the preset's when not given.
        directions: such as zh-en; those of the manifest and their opposites when not given.
        voice: how examples are made.
        layout: how they are laid out.
        course: steps and rates.
    """

    preset: Preset = "small"
    dropout: float | None = None
    directions: tuple[str, ...] = ()
    voice: VoiceSettings = field(default_factory=VoiceSettings)
    layout: FirstLevelLayout = field(default_factory=FirstLevelLayout)
    course: Course = _LONG_ROWS

    def model_config(self, vocabulary_size: int, languages: int) -> ModelConfig:
        """The shape of the model, for so many ids and languages."""
        conditions = languages if self.layout.layout == "aligned" else 0
        size = PRESETS[self.preset]["first_level"]
        return size.model_config(vocabulary_size, conditions=conditions, dropout=self.dropout)


@dataclass(frozen=True)
class OtherLevelsSettings:
    """Everything about the training of the model of the other levels (non-autoregressive) but its data.

    Attributes:
        preset: size of the model.
        dropout: of the residual branches; the preset's when not given.
        directions: such as zh-en; those of the manifest and their opposites when not given.
        voice: how examples are made.
        noise: part of the lower levels' codes that is replaced by any others in training, so that a wrong code of the
            first level does not spoil what comes above it.
        course: steps and rates.

    Raises:
        InputError: a value is out of range.
    """

    preset: Preset = "small"
    dropout: float | None = None
    directions: tuple[str, ...] = ()
    voice: VoiceSettings = field(default_factory=VoiceSettings)
    noise: float = 0.0
    course: Course = _LONG_ROWS

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise < 1.0:
            raise InputError(f"synthesize: noise must be in [0, 1), got {self.noise}")

    def model_config(self, vocabulary_size: int, languages: int, levels: int) -> ModelConfig:
        """The shape of the model, for so many ids, languages and levels of the codec."""
        size = PRESETS[self.preset]["other_levels"]
        return size.model_config(
            vocabulary_size, causal=False, stages=levels - 1, conditions=languages, dropout=self.dropout
        )
