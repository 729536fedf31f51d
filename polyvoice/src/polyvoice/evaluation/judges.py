"""All judges of a run together: who hears, who compares voices, who rates, who counts units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from polyvoice.errors import InputError
from polyvoice.evaluation.missing import MissingError, find_versions, need
from polyvoice.evaluation.normalization import NORMALIZER, language_family, normalize_text
from polyvoice.evaluation.quality import DistillMos, DnsMos
from polyvoice.evaluation.recognizers import Recognizer, create_recognizer
from polyvoice.evaluation.rows import Judgement, Transcript, UnitRuns
from polyvoice.evaluation.sequences import count_edits, is_empty
from polyvoice.evaluation.text_scores import match_texts
from polyvoice.evaluation.voices import Embedding, VoiceJudge, cosine

if TYPE_CHECKING:
    from polyvoice.evaluation.unit_encoder import UnitEncoder
    from speechunits.audio import Waveform


LOADED = ("asr_bleu", "speaker_similarity", "mos", "dnsmos")
"""Metrics that need a model of their own, and can be left out."""

Judge = TypeVar("Judge")


class OpinionJudge(Protocol):
    """Predicts a mean opinion score."""

    @property
    def metric(self) -> str:
        """Its key in scores.json."""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages behind it."""

    def judge(self, waveform: Waveform) -> float:
        """The score, 1 to 5."""


class _Versioned(Protocol):
    @property
    def versions(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class Reference:
    """What the speech of a row is compared with, made once for the output and the reference speech.

    Attributes:
        voice: that of the source speech, `[256]`; None where nobody compares voices, or none is found in it.
        text: the reference text, if there is any.
        language: the target language.
        units: deduplicated units of the reference speech, if they are known.
    """

    voice: Embedding | None
    text: str | None
    language: str
    units: UnitRuns | None


@dataclass(frozen=True)
class Judges:
    """Whoever could be loaded.

    Attributes:
        recognizers: in the order of their importance; each row is heard by those of its target language.
        voice: compares voices.
        opinions: rate naturalness.
        units: hears units.
        missing: metrics that cannot be computed here, each with what to do about it.
    """

    recognizers: tuple[Recognizer, ...] = ()
    voice: VoiceJudge | None = None
    opinions: tuple[OpinionJudge, ...] = ()
    units: UnitEncoder | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, str]:
        """Everything that the judgement of a row depends on."""
        names = {f"recognizer {judge.language} {place}": judge.name for place, judge in enumerate(self.recognizers)}
        units = {"units": self.units.identity} if self.units else {}
        return names | units | {"normalizer": NORMALIZER} | self.versions

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages behind all judges."""
        judges: list[_Versioned] = [*self.recognizers, *self.opinions, *([self.voice] if self.voice else [])]
        text = ("sacrebleu", "rapidfuzz", "num2words", "cn2an") if self.recognizers else ()
        versions = find_versions(*text)
        for judge in judges:
            versions |= judge.versions
        return versions

    def hear_units(self, waveforms: Sequence[Waveform | None]) -> list[UnitRuns | None]:
        """The units of each waveform; None where there is no waveform, or no unit encoder."""
        encoder = self.units
        if encoder is None:
            return [None] * len(waveforms)
        heard = iter(encoder.encode([waveform for waveform in waveforms if waveform is not None]))
        return [None if waveform is None else UnitRuns.of(next(heard)) for waveform in waveforms]

    def refer(self, source: Waveform, text: str | None, language: str, units: UnitRuns | None) -> Reference:
        """What a row's speech is compared with: the voice of its source, text, language and units of its reference."""
        return Reference(self.voice.embed(source) if self.voice else None, text, language, units)

    def judge(self, speech: Waveform | None, units: UnitRuns | None, reference: Reference) -> Judgement:
        """Measure all that can be measured on one piece of speech.

        Args:
            speech: the output, or the reference speech in its place; None when nothing was said.
            units: what `hear_units` says of it.
            reference: what it is compared with.
        """
        empty = is_empty(speech)
        audible = None if empty else speech
        compared = reference.units is not None and self.units is not None
        said = units.units if units is not None else ()
        return Judgement(
            duration_s=speech.duration_s if speech else 0.0,
            empty=empty,
            transcripts=self._transcribe(audible, reference),
            speaker_similarity=self._compare_voices(audible, reference.voice),
            opinions={judge.metric: judge.judge(audible) for judge in self.opinions} if audible else {},
            units=units,
            unit_edits=count_edits(said, reference.units.units) if compared and reference.units else None,
            reference_units=len(reference.units.units) if compared and reference.units else None,
        )

    def _transcribe(self, speech: Waveform | None, reference: Reference) -> tuple[Transcript, ...]:
        family = language_family(reference.language)
        transcripts = []
        for recognizer in self.recognizers:
            if language_family(recognizer.language) != family:
                continue
            # A recogniser that hears silence invents words, which would be the system's in the scores.
            text = recognizer.transcribe([speech])[0] if speech else ""
            match = None
            if reference.text is not None:
                ours, theirs = (normalize_text(line, reference.language) for line in (text, reference.text))
                match = match_texts(ours, theirs, reference.language)
            transcripts.append(Transcript(recognizer.name, text, match))
        return tuple(transcripts)

    def _compare_voices(self, speech: Waveform | None, source: Embedding | None) -> float | None:
        if self.voice is None or speech is None or source is None:
            return None
        ours = self.voice.embed(speech)
        return None if ours is None else cosine(ours, source)


def load_judges(
    recognizers: Sequence[str],
    languages: Sequence[str],
    *,
    units: UnitEncoder | None = None,
    skip: Sequence[str] = (),
    device: str = "cpu",
) -> Judges:
    """Load every judge whose packages are installed.

    Args:
        recognizers: descriptions as `create_recognizer` takes them.
        languages: target languages; recognisers of other languages are not loaded.
        units: hears units, if there is an encoder.
        skip: metrics of `LOADED` that are not wanted.
        device: torch device.

    Raises:
        InputError: a recogniser is described wrongly, or its model is not there.
    """
    missing: dict[str, str] = {}

    def load(metric: str, make: Callable[[], Judge]) -> list[Judge]:
        if metric in skip:
            return []
        try:
            return [make()]
        except MissingError as error:
            missing[metric] = str(error)
            return []

    heard: list[Recognizer] = []
    families = {language_family(language) for language in languages}
    if "asr_bleu" not in skip and load(
        "asr_bleu", lambda: need("text", "sacrebleu", "rapidfuzz", "num2words", "cn2an")
    ):
        for description in recognizers:
            language, separator, model = description.partition("=")
            if not separator or language_family(language) in families:
                make = partial(create_recognizer, description, device=device)
                heard += load(f"asr_bleu by {model}", make)
        names = Counter((language_family(judge.language), judge.name) for judge in heard)
        for (family, name), times in names.items():
            if times > 1:
                raise InputError(f"{times} recognisers of {family} are called {name}: give one at a time")
        for family in sorted(families - {language_family(recognizer.language) for recognizer in heard}):
            example = f"--recognizers {family}=openai/whisper-small"
            missing[f"asr_bleu in {family}"] = f"no recogniser of {family} is loaded; give one, such as {example}"
    voices = load("speaker_similarity", lambda: VoiceJudge(device))
    opinions: list[OpinionJudge] = [*load("mos", lambda: DistillMos(device)), *load("dnsmos", DnsMos)]
    if units is None:
        missing["unit_error_rate"] = "no unit encoder; give --bundle, or --encoder, --layer and --kmeans"
    return Judges(tuple(heard), voices[0] if voices else None, tuple(opinions), units, missing)
