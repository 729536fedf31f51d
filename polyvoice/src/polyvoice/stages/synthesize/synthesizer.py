"""Both trained synthesis models together: units and a voice in, codes of all levels out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polyvoice.errors import InputError
from polyvoice.stages.synthesize.data import Rates, Speech, VoiceExample
from polyvoice.stages.synthesize.first_level import FirstLevelModel, VoiceQuery
from polyvoice.stages.synthesize.other_levels import OtherLevelsModel
from speechunits.codecs.protocol import Codes, SoftCodes
from speechunits.runs import Units
from unitlm.sampling import Sampling

FirstLevel = Literal["drawn", "mean"]
OtherLevels = Literal["none", "best", "mean"]


@dataclass(frozen=True)
class SynthesisOptions:
    """How the codes of level 0 are chosen.

    Attributes:
        temperature: of drawing; 0 takes the most probable code.
        top_p: draw from the smallest set of this probability only.
        repetition_window: how many of the last codes repetition-aware sampling looks at; 0 for none.
        repetition_ratio: a drawn code that makes up more than this share of the window is drawn again from all
            (VALL-E 2, arXiv 2406.05370, section 4.3.1).
        best_of: draws of which the one with the largest mean log-probability is taken.
        first_level: drawn: the codes that were drawn; mean: each code counts as much as it was probable after those
            drawn before it. What a draw has hit by chance is smoothed away then.
        other_levels: best: the most probable codes of the other levels; mean: each code counts as much as it is
            probable (`speechunits.codecs.protocol.SoftCodec`); none: level 0 is all there is.
    """

    temperature: float = 0.8
    top_p: float = 0.9
    repetition_window: int = 10
    repetition_ratio: float = 0.1
    best_of: int = 1
    first_level: FirstLevel = "drawn"
    other_levels: OtherLevels = "best"

    @property
    def sampling(self) -> Sampling:
        """How single codes are chosen."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            repetition_window=self.repetition_window,
            repetition_threshold=self.repetition_ratio,
        )


STANDARD = SynthesisOptions()


@dataclass(frozen=True, eq=False)
class Utterance:
    """What is to be said, and by whom.

    Attributes:
        prompt_units: units of the voice prompt, one a unit frame `[T1]`.
        prompt_codes: its codes of all levels `[K, T1']`.
        target_units: what is to be said, one a unit frame `[T2]`.
        prompt_language: such as `zh`.
        target_language: such as `en`.
    """

    prompt_units: Units
    prompt_codes: Codes
    target_units: Units
    prompt_language: str
    target_language: str


class Synthesizer:
    """Speaks units in the voice of a prompt.

    Attributes:
        rates: of its units and codes.
    """

    def __init__(self, first_level: FirstLevelModel, other_levels: OtherLevelsModel | None) -> None:
        """Put both models together.

        Args:
            first_level: writes level 0.
            other_levels: writes the others; None for a codec that has no others, or when none are wanted.

        Raises:
            InputError: they were trained on other units or codes.
        """
        card = first_level.card
        if card.codes is None:
            raise InputError("synthesize: the model of the first level does not say what its codes are")
        if other_levels is not None and (other_levels.card.units, other_levels.card.codes) != (card.units, card.codes):
            raise InputError("synthesize: the two models were trained on other units or codes")
        self._first_level, self._other_levels, self._codes = first_level, other_levels, card.codes
        self.rates = Rates(card.units.frame_rate_hz, card.codes.frame_rate_hz)

    @classmethod
    def load(cls, first_level: Path, other_levels: Path | None, device: str = "cpu") -> Synthesizer:
        """Read two finished stages.

        Args:
            first_level: folder of the model of level 0.
            other_levels: folder of the model of the others; None for a codec of one level, or when none are wanted.
            device: where they run.

        Raises:
            InputError: a folder holds no such stage, or they do not go together.
            unitlm.errors.InputError: a file is damaged.
        """
        others = None if other_levels is None else OtherLevelsModel.load(other_levels, device)
        return cls(FirstLevelModel.load(first_level, device), others)

    def synthesize(
        self,
        prompt_units: Units,
        prompt_codes: Codes,
        target_units: Units,
        prompt_language: str,
        target_language: str,
        *,
        options: SynthesisOptions = STANDARD,
        seed: int = 0,
    ) -> SoftCodes:
        """Speak one utterance.

        Args:
            prompt_units: units of the voice prompt, one a unit frame `[T1]`.
            prompt_codes: its codes of all levels `[K, T1']`.
            target_units: what is to be said, one a unit frame `[T2]`.
            prompt_language: such as `zh`.
            target_language: such as `en`.
            options: how codes are chosen.
            seed: of the draws.

        Returns:
            Codes of all levels `[K, T2']`, or of level 0 `[1, T2']`, where T2' is T2 at the codec's frame rate,
            rounded.

        Raises:
            InputError: prompt or target are empty, or hold units, codes or languages that the models do not know; or
                the mean of level 0 is wanted, and other levels, which are made for the drawn codes.
        """
        utterance = Utterance(prompt_units, prompt_codes, target_units, prompt_language, target_language)
        return self.synthesize_batch([utterance], options=options, seed=seed)[0]

    def synthesize_batch(
        self, utterances: Sequence[Utterance], *, options: SynthesisOptions = STANDARD, seed: int = 0
    ) -> list[SoftCodes]:
        """Speak several utterances at once; see `synthesize`."""
        self.require_levels(options.other_levels)
        alone = self._other_levels is None or options.other_levels == "none"
        if options.first_level == "mean" and not alone:
            raise InputError(
                f"synthesize: other levels are made for drawn codes: with other_levels {options.other_levels}, "
                "first_level must be drawn, not mean"
            )
        queries = [self._query(utterance) for utterance in utterances]
        first = self._first_level.write(queries, sampling=options.sampling, best_of=options.best_of, seed=seed)
        if options.first_level == "mean":
            weights = (self._first_level.weigh(query, codes) for query, codes in zip(queries, first, strict=True))
            return [SoftCodes(chances.argmax(axis=-1)[None], chances[None]) for chances in weights]
        if self._other_levels is None or options.other_levels == "none":
            return [SoftCodes.certain(codes[None]) for codes in first]
        return self._other_levels.fill(
            [
                VoiceExample("", query.prompt, Speech(query.language, query.units, codes[None]))
                for query, codes in zip(queries, first, strict=True)
            ],
            soft=options.other_levels == "mean",
        )

    def require_levels(self, other_levels: OtherLevels) -> None:
        """Raise InputError if other levels are wanted, and there is no model of them."""
        if self._other_levels is None and self._codes.levels > 1 and other_levels != "none":
            levels = f"{self._codes.levels} levels, and there is no model of the others"
            raise InputError(f"synthesize: the codec has {levels}: other_levels must be none, not {other_levels}")

    def _query(self, utterance: Utterance) -> VoiceQuery:
        codes = utterance.prompt_codes
        if codes.ndim != 2 or len(codes) != self._codes.levels or not codes.size or not utterance.prompt_units.size:
            raise InputError(
                f"synthesize: the voice prompt has {utterance.prompt_units.size} units and codes {list(codes.shape)}, "
                f"expected at least one unit and codes [{self._codes.levels}, T]"
            )
        if not utterance.target_units.size:
            raise InputError("synthesize: there are no units to speak")
        frames = codes.shape[1]
        prompt = Speech(utterance.prompt_language, self.rates.stretch_units(utterance.prompt_units, frames), codes).cut(
            0, self._first_level.voice.prompt_frames
        )
        wanted = self.rates.codec_frames(utterance.target_units.size)
        units = self.rates.stretch_units(utterance.target_units, wanted)
        return VoiceQuery(prompt, units, utterance.target_language)
