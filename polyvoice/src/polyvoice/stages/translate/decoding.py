"""The trained translation model: units in, units or text out, directly or by way of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from polyvoice.errors import InputError
from polyvoice.stages.stage_folder import VOCABULARY, StageCard, read_stage
from polyvoice.stages.translate.data import as_examples
from polyvoice.stages.translate.memory import FILE as MEMORY
from polyvoice.stages.translate.memory import TranslationMemory
from polyvoice.stages.translate.opposite import choose_explaining, choose_recognizable
from polyvoice.tasks import (
    TEXT,
    UNITS,
    Direction,
    recognize_speech,
    speak_text,
    translate_speech,
    translate_speech_by_text,
    translate_speech_to_text,
    translate_text,
)
from speechunits.runs import Units
from unitlm.alphabet import Content
from unitlm.beam import beam_search
from unitlm.checkpoint import load_model
from unitlm.generate import Continuation, generate
from unitlm.language_model import LanguageModel, Precision, pack_decoder
from unitlm.sampling import GREEDY, Choices, Sampling
from unitlm.task import Slot, Task
from unitlm.vocabulary import Vocabulary

# Of ordinary speech in 50 Hz units without repeats; a piece is about a word, a byte much less than one.
_UNITS_A_PIECE = 12
# Room for a translation beside its neighbours, for each piece that is translated.
_ANSWER = 2
_CANDIDATES = Sampling(temperature=0.5)


@dataclass(frozen=True)
class TranslateOptions:
    """How a translation is searched for.

    Attributes:
        route: `direct` from units to units, or `chain` by way of the text of both languages.
        beams: hypotheses of a beam search; 1 takes the most probable unit after the other. The units at the end of a
            chain are never searched for, nor do they depend on more than the first view.
        hypotheses: transcripts of speech and translations of text are searched for with so many beams at least, and
            the one is taken that also explains what was given: after which the model, speaking, finds its units
            probable, or, translating back, its words.
        candidates: at the end of a chain so many sequences of units are written: the most probable one, and others by
            drawing. The one is taken in which the model itself, listening, best recognises the text that it wanted to
            say.
        neighbours: text is translated beside so many sentences like it, with their translations, where the model has
            learned that; 0 shows none.
        length_penalty: of the beam search; 0 ranks by probability, 1 by mean log-probability a unit.
        longest_ratio: the most units or pieces written for each one that is read.
        longest_extra: and so many more, for short inputs.

    Raises:
        InputError: a value is out of range.
    """

    route: Literal["direct", "chain"] = "direct"
    beams: int = 1
    hypotheses: int = 1
    candidates: int = 1
    neighbours: int = 3
    length_penalty: float = 1.0
    longest_ratio: float = 2.5
    longest_extra: int = 30

    def __post_init__(self) -> None:
        for name in ("beams", "hypotheses", "candidates"):
            if getattr(self, name) < 1:
                raise InputError(f"translate: {name} must be at least 1, got {getattr(self, name)}")
        for name in ("neighbours", "longest_ratio", "longest_extra"):
            if getattr(self, name) < 0:
                raise InputError(f"translate: {name} must not be negative, got {getattr(self, name)}")

    def limit(self, read: int) -> int:
        """The most units that are written for `read` units or pieces."""
        return int(self.longest_ratio * read) + self.longest_extra


STANDARD = TranslateOptions()


@dataclass(frozen=True, eq=False)
class Translation:
    """A translated utterance.

    Attributes:
        units: of the target language, `[S]` int64, without run lengths.
        text_heard: what the model understood; None on the direct route.
        text_said: what it says; None on the direct route.
        log_probability: of all that it wrote, in nats.
        units_log_probability: of the units alone.
        ended: whether it ended by itself everywhere, not at a limit.
    """

    units: Units
    text_heard: str | None
    text_said: str | None
    log_probability: float
    units_log_probability: float
    ended: bool


@dataclass
class _Row:
    """A case whose slots are being filled.

    Attributes:
        views: what is given, in each of its views: mostly there is one.
        written: the slots that are filled.
        log_probability: of all of them, in nats.
        last_log_probability: of the last one.
        ended: whether all ended by themselves.
    """

    views: Sequence[Content]
    written: dict[str, Content] = field(default_factory=dict)
    log_probability: float = 0.0
    last_log_probability: float = 0.0
    ended: bool = True

    def text(self, slot: Slot) -> str:
        """What a slot of text says that is given, or was written before."""
        return str(self.written.get(slot.name, self.views[0]))


@dataclass(frozen=True)
class _Asked:
    """What the next slot of each row is asked with.

    Attributes:
        prompts: one for each view of what is given, of each row; or one, and one that shows neighbours.
        prefixes: how much of each prompt a prefix LM sees both ways.
        limits: the most that each row may write.
    """

    prompts: Sequence[Sequence[Sequence[int]]]
    prefixes: Sequence[Sequence[int]]
    limits: Sequence[int]

    def times(self, count: int) -> _Asked:
        """Each row so many times, one copy behind the other."""
        copies = [row for row in range(len(self.limits)) for _ in range(count)]
        return _Asked(
            [self.prompts[row] for row in copies],
            [self.prefixes[row] for row in copies],
            [self.limits[row] for row in copies],
        )


class UnitTranslator:
    """Answers every task that the model was trained for.

    Attributes:
        card: what the model is and was trained on.
    """

    def __init__(
        self, model: LanguageModel, vocabulary: Vocabulary, card: StageCard, memory: TranslationMemory | None = None
    ) -> None:
        """Put the parts of a stage together; `load` reads them."""
        self._model, self._vocabulary, self._memory, self.card = model, vocabulary, memory, card
        self._lines = set(cast("list[str]", card.settings["tasks"]))
        corpus, course = (cast("dict[str, int]", card.settings.get(name, {})) for name in ("corpus", "course"))
        self._shown, self._longest = corpus.get("neighbours", 0), course.get("sequence_length", 0)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", precision: Precision = "int8") -> UnitTranslator:
        """Read a finished stage; on a CPU the weights are packed in a precision, elsewhere they keep their type.

        Raises:
            InputError: the folder holds no finished translation model.
            unitlm.errors.InputError: a file of it is missing or damaged.
        """
        card = read_stage(folder, "translate")
        if "tasks" not in card.settings:
            raise InputError(f"{folder}: its stage.json does not say which tasks were learned")
        decoder = load_model(folder, device=device)
        model = pack_decoder(decoder.float(), precision) if device == "cpu" else decoder
        memory = TranslationMemory.load(folder / MEMORY) if (folder / MEMORY).exists() else None
        return cls(model, Vocabulary.load(folder / VOCABULARY), card, memory)

    def warm_up(self) -> None:
        """Make what the first translation would have to wait for."""
        if self._memory is not None:
            self._memory.prepare()

    def can(self, task: Task) -> bool:
        """Whether the model was trained for a task."""
        return task.line in self._lines

    def translate(
        self, units: Units, source: str, target: str, *, options: TranslateOptions = STANDARD, seed: int = 0
    ) -> Translation:
        """S2ST of one utterance.

        Args:
            units: of the source language, `[S]`, without repeats.
            source: the source language.
            target: the target language.
            options: how.
            seed: of drawing candidates; the same seed gives the same units.

        Raises:
            InputError: there are no units, or the model was not trained for this.
        """
        return self.translate_views([units], source, target, options=options, seed=seed)

    def translate_views(
        self,
        views: Sequence[Units],
        source: str,
        target: str,
        *,
        options: TranslateOptions = STANDARD,
        seed: int = 0,
    ) -> Translation:
        """S2ST of one utterance that was encoded several times, as after small changes of its sound.

        What changes from view to view is not what was said: averaged over them, less is misheard.

        Args:
            views: units `[S]` of each view; the rest is as for `translate`.
            source: the source language.
            target: the target language.
            options: how.
            seed: of drawing candidates.

        Raises:
            InputError: as for `translate`.
        """
        return self._translate([views], source, target, options, seed)[0]

    def translate_batch(
        self,
        batch: Sequence[Units],
        source: str,
        target: str,
        *,
        options: TranslateOptions = STANDARD,
        seed: int = 0,
    ) -> list[Translation]:
        """S2ST of several utterances at once; but for candidates that are drawn each gets what it would get alone."""
        return self._translate([[units] for units in batch], source, target, options, seed)

    def recognize(self, units: Units, language: str, *, options: TranslateOptions = STANDARD) -> str:
        """ASR: the text of units `[S]`; errors as for `translate`."""
        task = recognize_speech(language)
        return str(self._fill(task, [[units.tolist()]], options, spoken=language)[0].written["text"])

    def translate_text(self, text: str, source: str, target: str, *, options: TranslateOptions = STANDARD) -> str:
        """MT: text to text; errors as for `translate`."""
        return str(self._fill(translate_text(source, target), [[text]], options)[0].written["tgt"])

    def speak_text(self, text: str, language: str, *, options: TranslateOptions = STANDARD) -> Units:
        """TTS, as far as units `[S]`; errors as for `translate`."""
        row = self._fill(speak_text(language), [[text]], options)[0]
        return np.array(row.written["speech"], dtype=np.int64)

    def translate_to_text(self, units: Units, source: str, target: str, *, options: TranslateOptions = STANDARD) -> str:
        """ST: units `[S]` to text of the target language; errors as for `translate`."""
        task = translate_speech_to_text(source, target)
        return str(self._fill(task, [[units.tolist()]], options)[0].written["tgt"])

    def _translate(
        self, batch: Sequence[Sequence[Units]], source: str, target: str, options: TranslateOptions, seed: int
    ) -> list[Translation]:
        chain = options.route == "chain"
        task = translate_speech_by_text(source, target) if chain else translate_speech(source, target)
        cases = [[units.tolist() for units in views] for views in batch]
        return [
            Translation(
                units=np.array(row.written["tgt"], dtype=np.int64),
                text_heard=str(row.written["heard"]) if chain else None,
                text_said=str(row.written["said"]) if chain else None,
                log_probability=row.log_probability,
                units_log_probability=row.last_log_probability,
                ended=row.ended,
            )
            for row in self._fill(task, cases, options, seed=seed, spoken=source)
        ]

    def _fill(
        self,
        task: Task,
        cases: Sequence[Sequence[Content]],
        options: TranslateOptions,
        *,
        seed: int = 0,
        spoken: str | None = None,
    ) -> list[_Row]:
        """Fill in the open slots of a task line, one link of a chain after the other.

        A case is what is given, in each of its views: speech, where its language is told, of which there may be a
        transcript to fill in.
        """
        if not self.can(task):
            raise InputError(f"the model was not trained to '{task.line}', but to: {'; '.join(sorted(self._lines))}")
        given = task.slots[0]
        if not all(views and all(views) for views in cases):
            raise InputError(f"task '{task.line}': there is nothing to read, {given.name!r} is empty")
        if not cases:
            return []
        rows = [_Row(views) for views in cases]
        read = [len(self._vocabulary.encode(given.alphabet, row.views[0])) for row in rows]
        # In training a prefix LM sees both ways only what comes before the first slot that it fills.
        prefixes = [[len(ids) for ids in self._prompts(task, row)] for row in rows]
        generator = torch.Generator(self._model.embedding.weight.device).manual_seed(seed)
        for slot in task.slots:
            if not slot.generated:
                continue
            is_last_of_chain = slot.alphabet == UNITS and bool(rows[0].written)
            if is_last_of_chain:
                # The texts have decided what is said; how is not worth a search, which would take most of the time.
                options = replace(options, beams=1)
                for row in rows:
                    row.views = row.views[:1]
            speaks = slot.alphabet == UNITS and given.alphabet != UNITS
            limits = [options.limit(length * _UNITS_A_PIECE if speaks else length) for length in read]
            before = _text_before(task, slot)
            prompts, seen = [], []
            for row, both_ways in zip(rows, prefixes, strict=True):
                own, beside = self._prompts(task, row), self._recalling(slot, before, row, options)
                # What was heard is settled: beside the neighbours one view has its say, whatever their number.
                own = own[:1] if beside else own
                prompts.append([*own, *beside])
                seen.append([*both_ways[: len(own)], *map(len, beside)])
            asked = _Asked(prompts, seen, limits)
            channel = self._channel(slot, before, spoken) if options.hypotheses > 1 else None
            if channel is not None:
                explained = [row.views if before is None else [row.text(before)] for row in rows]
                written = self._write_explaining(asked, slot, explained, channel, options)
            else:
                written = self._write(asked, slot, options)
            if is_last_of_chain and options.candidates > 1:
                text = next(each for each in reversed(task.slots) if each.name in rows[0].written)
                said = text.alphabet.removesuffix(TEXT)
                # Where the model has not learned to listen, its most probable units are the best it has.
                if self.can(recognize_speech(said)):
                    texts = [str(row.written[text.name]) for row in rows]
                    written = self._propose_units(written, asked, slot, texts, said, options, generator)
            for row, continuation in zip(rows, written, strict=True):
                row.written[slot.name] = self._vocabulary.decode(slot.alphabet, continuation.ids)
                row.last_log_probability = continuation.log_probability
                row.log_probability += continuation.log_probability
                row.ended &= continuation.ended
        return rows

    def _channel(self, slot: Slot, before: Slot | None, spoken: str | None) -> Task | None:
        """The opposite of how a text comes about: the task from it to what it was transcribed or translated from.

        None where the model has not learned that, and the most probable text is the best it has.
        """
        if before is not None:
            opposite = translate_text(slot.alphabet.removesuffix(TEXT), before.alphabet.removesuffix(TEXT))
        elif spoken is not None and slot.alphabet == speak_text(spoken).slots[0].alphabet:
            opposite = speak_text(spoken)
        else:
            return None
        return opposite if self.can(opposite) else None

    def _write_explaining(
        self,
        asked: _Asked,
        slot: Slot,
        given: Sequence[Sequence[Content]],
        channel: Task,
        options: TranslateOptions,
    ) -> list[Continuation]:
        """The text of each row that best explains what it was transcribed or translated from."""
        found = self._search(asked, slot, replace(options, beams=max(options.beams, options.hypotheses)))
        return [
            choose_explaining(self._model, self._vocabulary, hypotheses, views, channel)
            for hypotheses, views in zip(found, given, strict=True)
        ]

    def _propose_units(
        self,
        written: Sequence[Continuation],
        asked: _Asked,
        slot: Slot,
        texts: Sequence[str],
        language: str,
        options: TranslateOptions,
        generator: torch.Generator,
    ) -> list[Continuation]:
        """Of the units that were written for each text, and of others that are drawn, those that say it best."""
        more = options.candidates - 1
        drawn = self._generate(asked.times(more), slot, _CANDIDATES, generator)
        return [
            choose_recognizable(
                self._model, self._vocabulary, [first, *drawn[n * more : (n + 1) * more]], text, language
            )
            for n, (first, text) in enumerate(zip(written, texts, strict=True))
        ]

    def _prompts(self, task: Task, row: _Row) -> list[Sequence[int]]:
        """What asks for a row's next slot, one for each view of what is given."""
        given = task.slots[0].name
        return [task.prompt({given: view, **row.written}, self._vocabulary).ids for view in row.views]

    def _recalling(self, slot: Slot, before: Slot | None, row: _Row, options: TranslateOptions) -> list[Sequence[int]]:
        """What asks for a translation beside sentences like the one that is translated, if there is a memory.

        No more of them are shown, and no more ids, than the model has seen in training.
        """
        if self._memory is None or before is None:
            return []
        way = Direction(*(each.alphabet.removesuffix(TEXT) for each in (before, slot)))
        ask = translate_text(way.source, way.target)
        count = min(options.neighbours, self._shown)
        if not (count and self.can(ask)):
            return []
        text = row.text(before)
        shown = as_examples(self._memory.recall(text, way, count))
        answer = _ANSWER * len(self._vocabulary.encode(before.alphabet, text))
        for first in range(len(shown)):
            ids = ask.prompt({"src": text}, self._vocabulary, shown[first:]).ids
            if len(ids) + answer <= self._longest:
                return [ids]
        return []

    def _write(self, asked: _Asked, slot: Slot, options: TranslateOptions) -> list[Continuation]:
        """Write the next slot of each row, whose prompts are views of one another."""
        if options.beams > 1 or any(len(views) > 1 for views in asked.prompts):
            return [best for best, *_ in self._search(asked, slot, options)]
        return self._generate(asked, slot)

    def _generate(
        self, asked: _Asked, slot: Slot, sampling: Sampling = GREEDY, generator: torch.Generator | None = None
    ) -> list[Continuation]:
        """Write the next slot of each row, which has one prompt, one unit after the other."""
        written = generate(
            self._model,
            [only for [only] in asked.prompts],
            Choices.of(self._vocabulary, slot.alphabet),
            limit=max(asked.limits),
            prefixes=[first for first, *_ in asked.prefixes],
            sampling=sampling,
            generator=generator,
        )
        return [_cut(continuation, limit) for continuation, limit in zip(written, asked.limits, strict=True)]

    def _search(self, asked: _Asked, slot: Slot, options: TranslateOptions) -> list[list[Continuation]]:
        """Hypotheses of the next slot of each row, the best first."""
        choices = Choices.of(self._vocabulary, slot.alphabet)
        return [
            beam_search(
                self._model,
                views,
                choices,
                beams=options.beams,
                limit=limit,
                length_penalty=options.length_penalty,
                prefixes=both_ways,
            )
            for views, both_ways, limit in zip(asked.prompts, asked.prefixes, asked.limits, strict=True)
        ]


def _text_before(task: Task, slot: Slot) -> Slot | None:
    """The text that a slot translates, if it is one of text that comes behind another."""
    first, *others = [one for one in task.slots if one.alphabet.endswith(TEXT)] or [slot]
    return first if slot in others else None


def _cut(continuation: Continuation, limit: int) -> Continuation:
    """A row of a batch gets no more than it would get alone, where its own limit holds."""
    if len(continuation.ids) <= limit:
        return continuation
    return Continuation(continuation.ids[:limit], continuation.log_probability, ended=False)
