"""The way of a recording through a bundle: every step of a translation, in order, each timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast

import numpy as np

from polyvoice.bundle.loading import Bundle
from polyvoice.errors import InputError
from polyvoice.pipeline.protocol import Translated
from polyvoice.pipeline.settings import TEXT_BEAMS, PipelineOptions
from polyvoice.pipeline.timing import Stopwatch
from polyvoice.pipeline.views import views_of
from polyvoice.pipeline.whole import put_together
from polyvoice.stages.synthesize.synthesizer import FirstLevel, OtherLevels, SynthesisOptions, Synthesizer
from polyvoice.stages.translate.decoding import TranslateOptions, Translation
from speechunits.audio import Waveform, resample
from speechunits.codecs.protocol import Codes, SpokenBy, ToldCodec, decode_softly, told_of
from speechunits.runs import Runs, Units, deduplicate, expand
from speechunits.segments import Segment, cut_at_pauses, cut_out


@dataclass(frozen=True, eq=False, slots=True)
class Voice:
    """A voice prompt: somebody's speech, as the synthesiser reads it.

    Attributes:
        units: one a unit frame, `[T]`.
        codes: of all levels, `[K, T']`.
        language: what is spoken.
        seconds: compute seconds of each stage that read it.
    """

    units: Units
    codes: Codes
    language: str
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """One piece of a recording, translated.

    Attributes:
        segment: where it was.
        source: its units and their lengths.
        translation: what the translation model wrote.
        runs: the units of the translation and their lengths.
        waveform: the speech; None when the translation is empty.
        seconds: compute seconds of each stage; of a recording's first piece also what it took to find the pieces and
            to hear the voice.
    """

    segment: Segment
    source: Runs
    translation: Translation
    runs: Runs
    waveform: Waveform | None
    seconds: Mapping[str, float]


class SpeechTranslator:
    """Translates speech with the models of a bundle; a `polyvoice.pipeline.protocol.Translator`."""

    def __init__(self, bundle: Bundle, options: PipelineOptions | None = None) -> None:
        """Translate with `bundle`; its parts are read when they are first needed, or by `warm_up`."""
        self._bundle, self._options = bundle, options or PipelineOptions()

    @property
    def identity(self) -> str:
        """The bundle by all its parts, and the options."""
        used = asdict(self._options) | {"first_level": self._first_level, "other_levels": self._other_levels}
        options = ", ".join(f"{name} {value}" for name, value in sorted(used.items()))
        return f"{self._bundle.manifest.name} ({self._bundle.digest}): {options}"

    @property
    def rate_hz(self) -> int:
        """Sample rate of what is said."""
        return self._bundle.codec.sample_rate_hz

    def warm_up(self) -> None:
        """Read all parts now, so that the first translation takes no longer than the others.

        Raises:
            InputError: a part cannot be read, or is not the one that it should be; so do the other packages' errors.
        """
        bundle = self._bundle
        lengths = bundle.duration if self._options.durations == "model" else bundle.mean_durations
        bundle.translator.warm_up()
        _ = (bundle.encoder, bundle.kmeans, bundle.codec, bundle.translator, lengths)
        _ = self._first_level == "none" or self._synthesizer

    @property
    def _first_level(self) -> Literal["none"] | FirstLevel:
        """What the codec's decoder gets of level 0."""
        asked, told = self._options.first_level, told_of(self._bundle.codec) is not None
        if asked == "none" and not told:
            raise InputError("the codec's decoder is told nothing, so that it needs codes: first_level cannot be none")
        if asked != "auto":
            return asked
        if self._other_levels != "none":
            return "drawn"
        return "none" if told else "mean"

    @property
    def _other_levels(self) -> OtherLevels:
        """What the codec's decoder gets beside level 0."""
        asked = self._options.other_levels
        if asked == "auto":
            alone = told_of(self._bundle.codec) is not None or self._options.first_level in ("none", "mean")
            return "none" if alone else "best"
        return asked

    @property
    def _synthesizer(self) -> Synthesizer:
        """Units to codes; what writes levels that nobody wants is not even read."""
        if self._other_levels == "none":
            return self._bundle.first_level_synthesizer
        self._bundle.synthesizer.require_levels(self._other_levels)
        return self._bundle.synthesizer

    def source_of(self, target: str, source: str | None = None) -> str:
        """The language to translate from: the one given, or the only one that can be translated into `target`.

        Raises:
            InputError: the bundle does not translate so, or from several languages and none is given.
        """
        ways = self._bundle.manifest.directions
        listed = ", ".join(f"{way.source} to {way.target}" for way in ways)
        found = [way.source for way in ways if way.target == target and source in (None, way.source)]
        if not found:
            asked = f"to {target!r}" if source is None else f"{source!r} to {target!r}"
            raise InputError(f"the bundle does not translate {asked}; it translates {listed}")
        if len(found) > 1:
            raise InputError(f"{target} can be translated from {' and '.join(found)}: say which (--from)")
        return found[0]

    def hear_voice(self, waveform: Waveform, language: str) -> Voice:
        """Make a voice prompt of a recording, as `pieces` makes one of what it translates.

        Raises:
            InputError: there is no speech in it.
        """
        watch = Stopwatch()
        with watch.time("cut"):
            cuts = self._cut(waveform)
        if not cuts:
            raise InputError("no speech in it to take a voice from")
        return self._hear(waveform, cuts, language, watch)

    def pieces(
        self, waveform: Waveform, source: str, target: str, *, seed: int = 0, voice: Voice | None = None
    ) -> Iterator[Piece]:
        """Translate piece by piece; each is ready to be heard while the next is translated.

        Args:
            waveform: the recording; silence has no pieces.
            source: what is spoken.
            target: the language to translate into.
            seed: of all draws.
            voice: who shall speak; the recording's own longest piece when not given, the same for all pieces.

        Raises:
            InputError: the bundle does not translate so.
        """
        self.source_of(target, source)
        watch = Stopwatch()  # what is done once counts to the first piece
        with watch.time("cut"):
            cuts = self._cut(waveform)
        if not cuts:
            return
        if voice is None:
            voice = self._hear(waveform, cuts, source, Stopwatch())
        watch.add(voice.seconds)
        for number, cut in enumerate(cuts):
            yield self._translate_piece(cut_out(waveform, cut), cut, source, target, voice, seed + number, watch)
            watch = Stopwatch()

    def translate(
        self, waveform: Waveform, source_lang: str, target_lang: str, *, seed: int, voice: Voice | None = None
    ) -> Translated:
        """Translate a recording; see `pieces`."""
        pieces = self.pieces(waveform, source_lang, target_lang, seed=seed, voice=voice)
        whole = put_together(pieces, self.rate_hz)
        return Translated(whole.waveform, whole.said, whole.text_said, whole.seconds, whole.first_audio_s)

    def _translate_piece(
        self,
        waveform: Waveform,
        segment: Segment,
        source: str,
        target: str,
        voice: Voice,
        seed: int,
        watch: Stopwatch,
    ) -> Piece:
        """All stages, for one piece."""
        bundle, options = self._bundle, self._options
        with watch.time("encode"):
            views = [deduplicate(units) for units in self._units(waveform, options.views)]
        heard = views[0]
        with watch.time("translate"):
            route = bundle.manifest.choose_route(source, target) if options.route == "auto" else options.route
            how = TranslateOptions(
                route=route,
                beams=options.beams or (TEXT_BEAMS if route == "chain" else 1),
                hypotheses=options.hypotheses,
                neighbours=options.neighbours,
                candidates=options.candidates,
            )
            units = [view.units for view in views]
            translation = bundle.translator.translate_views(units, source, target, options=how, seed=seed)
        if not translation.units.size:
            nothing = Runs(np.empty(0, np.int64), np.empty(0, np.int64))
            return Piece(segment, heard, translation, nothing, None, watch.seconds)
        with watch.time("duration"):
            if options.durations == "model":
                lengths = bundle.duration.predict(heard, translation.units, source, target)
            else:
                lengths = bundle.mean_durations.predict(heard, translation.units)
        runs = Runs(translation.units, lengths)
        spoken = self._speak(expand(runs), voice, target, seed, watch)
        return Piece(segment, heard, translation, runs, spoken, watch.seconds)

    def _speak(self, said: Units, voice: Voice, language: str, seed: int, watch: Stopwatch) -> Waveform:
        """Units, one a frame, in a voice."""
        codec, options, first_level = self._bundle.codec, self._options, self._first_level
        if first_level == "none":
            with watch.time("decode"):  # `_first_level` would have refused another codec
                return cast("ToldCodec", codec).say(SpokenBy(said, voice.codes))
        with watch.time("synthesize"):
            how = SynthesisOptions(
                temperature=options.temperature,
                top_p=options.top_p,
                best_of=options.best_of,
                first_level=first_level,
                other_levels=self._other_levels,
            )
            codes = self._synthesizer.synthesize(
                voice.units, voice.codes, said, voice.language, language, options=how, seed=seed
            )
        with watch.time("decode"):
            told = self._synthesizer.rates.stretch_units(said, codes.codes.shape[1])
            return decode_softly(codec, codes, SpokenBy(told, voice.codes))

    def _units(self, waveform: Waveform, views: int = 1) -> list[Units]:
        """Units of speech, one a frame, of each view that is long enough; the first is the speech as it is."""
        encoder = self._bundle.encoder
        heard = resample(waveform, encoder.sample_rate_hz)
        if heard.samples.size < encoder.shortest_samples:
            raise InputError(f"{heard.duration_s:.3f} s of speech are shorter than one frame of the encoder")
        long_enough = [each for each in views_of(heard, views) if each.samples.size >= encoder.shortest_samples]
        return [self._bundle.kmeans.assign(features) for features in encoder.encode(long_enough)]

    def _cut(self, waveform: Waveform) -> Sequence[Segment]:
        """Where a recording speaks, in pieces that can be translated."""
        return cut_at_pauses(waveform, longest_s=self._options.longest_piece_s, pause_s=self._options.pause_s)

    def _hear(self, waveform: Waveform, cuts: Sequence[Segment], language: str, watch: Stopwatch) -> Voice:
        """The voice of a recording's longest piece, or of as much of it as a prompt may have."""
        longest = max(cuts, key=lambda cut: cut.duration_s)
        stop_s = min(longest.stop_s, longest.start_s + self._options.longest_voice_s)
        prompt = cut_out(waveform, Segment(longest.start_s, stop_s))
        with watch.time("voice"):
            units, codes = self._units(prompt)[0], self._bundle.codec.encode(prompt)
        return Voice(units, codes, language, watch.seconds)
