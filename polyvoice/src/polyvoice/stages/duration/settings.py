"""Settings of the duration model: light to import, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from polyvoice.errors import InputError
from polyvoice.stages.course import Course
from polyvoice.stages.presets import PRESETS, Preset

if TYPE_CHECKING:
    from unitlm.model import ModelConfig


@dataclass(frozen=True)
class DurationLayout:
    """How examples are laid out.

    Attributes:
        layout: aligned: each step carries its unit and the run length before it; line: the paper's, all units and then
            all lengths, one after the other.
        longest_run: longest run length that can be written, in frames; longer ones are cut.
        lookahead: how many units ahead are seen (aligned only).
        learn_source: whether the source's run lengths are learned too, as more examples of speech (aligned only).

    Raises:
        InputError: a value is out of range.
    """

    layout: Literal["aligned", "line"] = "aligned"
    longest_run: int = 100
    lookahead: int = 1
    learn_source: bool = True

    def __post_init__(self) -> None:
        if self.longest_run < 1 or self.lookahead < 0:
            raise InputError("duration: longest_run must be at least 1, and lookahead must not be negative")


@dataclass(frozen=True)
class DurationSettings:
    """Everything about the training of a duration model but its data.

    Attributes:
        preset: size of the model.
        dropout: of the residual branches; the preset's when not given.
        directions: such as zh-en; those of the manifest and their opposites when not given.
        layout: how examples are laid out.
        course: steps and rates.
    """

    preset: Preset = "small"
    dropout: float | None = None
    directions: tuple[str, ...] = ()
    layout: DurationLayout = field(default_factory=DurationLayout)
    course: Course = field(default_factory=Course)

    def model_config(self, vocabulary_size: int, languages: int) -> ModelConfig:
        """The shape of the model, for so many ids and languages."""
        conditions = languages if self.layout.layout == "aligned" else 0
        size = PRESETS[self.preset]["duration"]
        return size.model_config(vocabulary_size, conditions=conditions, dropout=self.dropout)
