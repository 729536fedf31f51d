"""Pairs of utterances as examples of voices: a prompt, and speech of the same person that is to be synthesised.

Everything here is at the codec's frame rate. Letters in shapes: T frame, K level.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from polyvoice.corpus.copies import is_copy
from polyvoice.errors import InputError
from polyvoice.spoken import Side, SpokenPair
from polyvoice.stages.material import Material
from polyvoice.stages.synthesize.settings import VoiceSettings
from speechunits.codecs.protocol import Codes
from speechunits.runs import Units, expand
from unitlm.shards import Example, deal, write_shards

# Half a second: encoders drop a frame or two at the edges; more means that units and codes are of different speech.
_DRIFT_S = 0.5
_SHORTEST_PIECE_S = 0.5


@dataclass(frozen=True)
class Rates:
    """Frames per second.

    Attributes:
        units_hz: of units.
        codes_hz: of codec codes.
    """

    units_hz: float
    codes_hz: float

    def codec_frames(self, unit_frames: int) -> int:
        """How many codec frames so many unit frames last; at least one."""
        return max(round(unit_frames * self.codes_hz / self.units_hz), 1)

    def stretch_units(self, units: Units, frames: int) -> Units:
        """Units `[T']`, one a unit frame, as one a codec frame `[T]`: each frame has the unit of its middle.

        Args:
            units: at least one.
            frames: T; beyond the last unit it is repeated.
        """
        middles = (np.arange(frames) + 0.5) * (self.units_hz / self.codes_hz)
        return units[np.minimum(middles.astype(np.int64), units.size - 1)]


@dataclass(frozen=True, eq=False)
class Speech:
    """Speech in one language.

    Attributes:
        language: such as `zh`.
        units: one a codec frame `[T]`.
        codes: `[K, T]`.
    """

    language: str
    units: Units
    codes: Codes

    @property
    def frames(self) -> int:
        """T."""
        return int(self.units.size)

    def cut(self, start: int, stop: int) -> Speech:
        """The frames from `start` to `stop`."""
        return replace(self, units=self.units[start:stop], codes=self.codes[:, start:stop])

    def crop(self, frames: int, chance: np.random.Generator) -> Speech:
        """At most so many frames, from a random place."""
        if self.frames <= frames:
            return self
        start = int(chance.integers(self.frames - frames + 1))
        return self.cut(start, start + frames)


@dataclass(frozen=True, eq=False)
class VoiceExample:
    """A voice prompt, and what the same person says.

    Attributes:
        key: where it comes from.
        prompt: someone's speech.
        target: speech to be synthesised.
        clean_prompt: whether the prompt, too, is speech as it should be synthesised; that of an augmented copy is not.
    """

    key: str
    prompt: Speech
    target: Speech
    clean_prompt: bool = True


def to_speech(side: Side, rates: Rates, where: str) -> Speech | None:
    """One side of a pair at the codec's frame rate; None when it is not spoken.

    Raises:
        InputError: units and codes do not last equally long.
    """
    if side.runs is None or side.codes is None or not len(side.runs) or not side.codes.size:
        return None
    units = expand(side.runs)
    frames = side.codes.shape[1]
    drift_s = units.size / rates.units_hz - frames / rates.codes_hz
    if abs(drift_s) > _DRIFT_S:
        raise InputError(
            f"{where}: units of {units.size / rates.units_hz:.2f} s, codes of {frames / rates.codes_hz:.2f} s"
        )
    return Speech(side.language, rates.stretch_units(units, frames), side.codes)


class VoiceCorpus:
    """Spoken pairs, and who else could lend a prompt."""

    def __init__(self, pairs: Sequence[SpokenPair], rates: Rates, settings: VoiceSettings) -> None:
        """Keep the pairs that are spoken on both sides; without a speaker, if the target is long enough to be split.

        Raises:
            InputError: units and codes of a pair do not last equally long.
        """
        self._rates, self._settings = rates, settings
        self._shortest = max(round(_SHORTEST_PIECE_S * rates.codes_hz), 1)
        self._pairs: list[tuple[SpokenPair, Speech, Speech]] = []
        self._partners: dict[tuple[str, str], list[int]] = {}
        for pair in pairs:
            source = to_speech(pair.source, rates, f"pair {pair.id}, {pair.source.language}")
            target = to_speech(pair.target, rates, f"pair {pair.id}, {pair.target.language}")
            if source is None or target is None:
                continue
            # Two people, as far as is known: from such a pair the model would learn to heed no prompt.
            if pair.speaker is None and target.frames < 2 * self._shortest:
                continue
            if pair.speaker is not None:
                self._partners.setdefault((pair.speaker, target.language), []).append(len(self._pairs))
            self._pairs.append((pair, source, target))

    def __len__(self) -> int:
        return len(self._pairs)

    def examples(self, row: int, number: int, longest: int) -> Iterator[VoiceExample]:
        """What one pair shows in pass `number`.

        Args:
            row: which pair.
            number: of the pass.
            longest: the most frames of prompt and target together; longer targets are cut at a random place.
        """
        settings = self._settings
        pair, source, target = self._pairs[row]
        chance = np.random.default_rng([settings.voice_seed, number, row])
        with_partner, with_split = chance.random(2) < (settings.partner_share, settings.split_share)
        key = f"{pair.id} {source.language}-{target.language}"
        same_voice = pair.speaker is not None
        if same_voice:
            yield replace(self._fit(key, source, target, longest, chance), clean_prompt=not is_copy(pair.id))
        partner = self._draw_partner(pair, target, row, chance)
        if with_partner and partner is not None:
            yield self._fit(f"{key} partner", partner, target, longest, chance)
        if (with_split or not same_voice) and target.frames >= 2 * self._shortest:
            middle = int(chance.integers(self._shortest, target.frames - self._shortest + 1))
            prompt = target.cut(max(middle - settings.prompt_frames, 0), middle)
            yield self._fit(f"{key} split", prompt, target.cut(middle, target.frames), longest, chance)

    def _draw_partner(self, pair: SpokenPair, target: Speech, row: int, chance: np.random.Generator) -> Speech | None:
        """Another utterance of the target's speaker and language."""
        rows = self._partners.get((pair.speaker, target.language), []) if pair.speaker is not None else []
        if len(rows) < 2:
            return None
        drawn = int(chance.integers(len(rows) - 1))
        partner = self._pairs[rows[drawn + (drawn >= bisect_left(rows, row))]][2]
        # One recording may be the target of several pairs; as a prompt of itself it would teach to copy.
        return None if np.array_equal(partner.codes, target.codes) else partner

    def _fit(self, key: str, prompt: Speech, target: Speech, longest: int, chance: np.random.Generator) -> VoiceExample:
        prompt = prompt.crop(self._settings.prompt_frames, chance)
        return VoiceExample(key, prompt, target.crop(longest - prompt.frames, chance))


def write_voice_shards(
    out: Path,
    material: Material,
    rates: Rates,
    settings: VoiceSettings,
    convert: Callable[[VoiceExample], Example],
    convert_held_out: Callable[[VoiceExample], Example],
    *,
    longest: int,
    codebooks: int,
) -> None:
    """Write `out`/shards and, where there are held-out pairs, `out`/held_out.

    Args:
        out: the run's folder.
        material: pairs in the directions that are learned; those not spoken on both sides are left out. Held-out pairs
            are shown once, the source as prompt, or without a speaker the target's beginning.
        rates: of units and codes.
        settings: how examples are made.
        convert: writes one in the model's ids.
        convert_held_out: the same for those that are watched, of which only the target is learned.
        longest: the most frames of prompt and target together.
        codebooks: ids that a step carries.

    Raises:
        InputError: no pair is spoken on both sides, units and codes do not fit each other, or a row has no room for
            more than the prompt.
    """
    if longest <= settings.prompt_frames:
        raise InputError(
            f"synthesize: a row has room for {longest} frames, which a prompt of {settings.prompt_frames} fills up; "
            "make sequence_length larger or prompt_frames smaller"
        )
    plain = replace(settings, passes=1, partner_share=0.0, split_share=0.0)
    for folder, pairs, how, write in (
        (out / "shards", material.pairs, settings, convert),
        (out / "held_out", material.held_out, plain, convert_held_out),
    ):
        corpus = VoiceCorpus(pairs, rates, how)
        if not len(corpus):
            if folder.name == "shards":
                raise InputError(
                    f"{folder}: no pair has units and codes on both sides, and a speaker or a target of a second"
                )
            continue
        if len(corpus) < len(pairs):
            why = "not spoken, or without a speaker and too short to be cut in two"
            print(f"{folder}: {len(pairs) - len(corpus)} pairs left out: {why}", file=sys.stderr)
        blocks = [
            (number, rows)
            for number in range(how.passes)
            for rows in deal(len(corpus), how.pairs_per_shard, [how.voice_seed, number])
        ]

        shown = partial(_show, corpus, write, longest)
        write_shards(folder, blocks, shown, codebooks=codebooks, provenance=f"{material.provenance} dealt, by speakers")


def _show(
    corpus: VoiceCorpus, convert: Callable[[VoiceExample], Example], longest: int, block: tuple[int, Sequence[int]]
) -> Iterator[Example]:
    """The examples of some rows in one pass."""
    number, rows = block
    for row in rows:
        yield from map(convert, corpus.examples(row, number, longest))
