"""Training examples of the translation model: each pass shows a pair in some of the tasks that it is fit for.

Every draw depends on the seed, the pass, the row and the direction alone: shards can be written in any order, and
again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from polyvoice.corpus.manifest import PairRow
from polyvoice.errors import InputError
from polyvoice.spoken import Side, SpokenPair
from polyvoice.stages.translate.memory import Recalled, TranslationMemory
from polyvoice.stages.translate.settings import CorpusSettings
from polyvoice.tasks import (
    TEXT,
    UNITS,
    Direction,
    build_translation_vocabulary,
    languages_of,
    recognize_speech,
    speak_text,
    translate_speech,
    translate_speech_by_text,
    translate_speech_to_text,
    translate_text,
)
from speechunits.progress import show_progress
from speechunits.runs import Units, deduplicate
from unitlm.alphabet import Alphabet, Bytes, Content, Pieces
from unitlm.shards import Example, deal, write_shards
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

Values = dict[str, Content]


@dataclass(frozen=True)
class Exercise:
    """One task as a pair can show it.

    Attributes:
        share: name of the setting that says how often.
        task: its line, for a direction.
        read: the content of its slots, from a pair; None where the pair lacks some of it.
    """

    share: str
    task: Callable[[Direction], Task]
    read: Callable[[SpokenPair], Mapping[str, Content | None]]


EXERCISES = (
    Exercise(
        "s2st_share",
        lambda way: translate_speech(way.source, way.target),
        lambda pair: {"src": _units(pair.source), "tgt": _units(pair.target)},
    ),
    Exercise(
        "asr_share",
        lambda way: recognize_speech(way.source),
        lambda pair: {"speech": _units(pair.source), "text": pair.source.text},
    ),
    Exercise(
        "mt_share",
        lambda way: translate_text(way.source, way.target),
        lambda pair: {"src": pair.source.text, "tgt": pair.target.text},
    ),
    Exercise(
        "tts_share",
        lambda way: speak_text(way.target),
        lambda pair: {"text": pair.target.text, "speech": _units(pair.target)},
    ),
    Exercise(
        "st_share",
        lambda way: translate_speech_to_text(way.source, way.target),
        lambda pair: {"src": _units(pair.source), "tgt": pair.target.text},
    ),
    Exercise(
        "chain_share",
        lambda way: translate_speech_by_text(way.source, way.target),
        lambda pair: {
            "src": _units(pair.source),
            "heard": pair.source.text,
            "said": pair.target.text,
            "tgt": _units(pair.target),
        },
    ),
)
"""All that a pair can show. Their order is part of the draws."""

_NOISED = {"asr_share": "speech", "s2st_share": "src", "st_share": "src", "chain_share": "src"}
"""The slot of source units that may be disturbed; text is where it is translated, and what is learned never is."""


_SHOWN = 0.8
"""How often each of a sentence's neighbours may be shown in training."""


@dataclass(frozen=True, slots=True)
class _Block:
    """What one shard is made of: some rows of one pass."""

    number: int
    rows: Sequence[int]


def build_vocabulary(
    rows: Iterable[PairRow], directions: Sequence[Direction], clusters: int, settings: CorpusSettings
) -> Vocabulary:
    """Units, and an alphabet for the text of each language that has some in the split train."""
    texts: dict[str, list[str]] = {language: [] for language in languages_of(directions)}
    for row in rows:
        for language, text in ((row.source_lang, row.source_text), (row.target_lang, row.target_text)):
            if row.split == "train" and text is not None and language in texts:
                texts[language].append(text)
    alphabets: list[Alphabet] = []
    for language, lines in texts.items():
        if settings.text == "bytes" and lines:
            alphabets.append(Bytes(language + TEXT))
        elif settings.text == "pieces" and lines:
            alphabets.append(Pieces.train(language + TEXT, lines, settings.pieces))
    return build_translation_vocabulary(directions, clusters, alphabets)


def digest_vocabulary(vocabulary: Vocabulary) -> str:
    """A short digest, for provenance."""
    return hashlib.sha256(json.dumps(vocabulary.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def learned_lines(directions: Sequence[Direction], vocabulary: Vocabulary, settings: CorpusSettings) -> tuple[str, ...]:
    """The lines of all tasks that are learned: their share is not 0, and the vocabulary can write them."""
    tasks = (
        exercise.task(way) for exercise in EXERCISES if getattr(settings, exercise.share) > 0 for way in directions
    )
    return tuple(dict.fromkeys(task.line for task in tasks if can_write(task, vocabulary)))


def write_pair_shards(
    folder: Path,
    pairs: Sequence[SpokenPair],
    vocabulary: Vocabulary,
    settings: CorpusSettings,
    *,
    memory: TranslationMemory,
    longest: int,
    provenance: str,
    nearest: bool = False,
) -> int:
    """Write the examples of all passes; shards that are there already are kept.

    Args:
        folder: where they go.
        pairs: in the directions that are learned.
        vocabulary: gives the ids.
        settings: how.
        memory: what texts are shown neighbours of.
        longest: the most ids of an example; longer ones are left out.
        provenance: names what the pairs are and all settings.
        nearest: whether each text is shown its nearest neighbours, and not a draw of them.

    Returns:
        How many examples were too long; those of shards that were there already do not count.

    Raises:
        InputError: no pair can show any of the tasks that are learned.
    """
    # A stretch of pairs that can show nothing, such as text where no text is learned, would be a shard of no examples.
    pairs = [pair for pair in pairs if can_show(pair, vocabulary, settings)]
    if not pairs:
        raise InputError("translate: no pair can show any of the tasks that are learned; see the shares and --text")
    blocks = [
        _Block(number, rows)
        for number in range(settings.passes)
        for rows in deal(len(pairs), settings.rows_per_shard, [settings.corpus_seed, number])
    ]
    too_long = 0
    recalled = _recall(pairs, memory, settings)
    letters = _collect_letters(pairs) if settings.text_noise_rate else {}

    def examples(block: _Block) -> Iterator[Example]:
        nonlocal too_long
        for row in block.rows:
            for example in make_examples(
                pairs[row], vocabulary, settings, block.number, row, recalled[row], letters, longest, nearest
            ):
                if len(example.ids) <= longest:
                    yield example
                else:
                    too_long += 1

    write_shards(folder, blocks, examples, provenance=f"{provenance} dealt{' nearest' if nearest else ''}")
    return too_long


def can_show(pair: SpokenPair, vocabulary: Vocabulary, settings: CorpusSettings) -> bool:
    """Whether a pair has what one of the tasks that are learned needs."""
    return any(
        getattr(settings, exercise.share) > 0 and _pose(exercise, pair, vocabulary) is not None
        for exercise in EXERCISES
    )


def _pose(exercise: Exercise, pair: SpokenPair, vocabulary: Vocabulary) -> tuple[Task, Values] | None:
    """An exercise's task with the content of its slots; None where the pair or the vocabulary lacks something."""
    task = exercise.task(Direction(pair.source.language, pair.target.language))
    values = complete(exercise.read(pair)) if can_write(task, vocabulary) else None
    return None if values is None else (task, values)


def make_examples(
    pair: SpokenPair,
    vocabulary: Vocabulary,
    settings: CorpusSettings,
    number: int,
    row: int,
    recalled: Sequence[Recalled] = (),
    letters: Mapping[str, str] | None = None,
    longest: int = 1 << 30,
    nearest: bool = False,
) -> Iterator[Example]:
    """The tasks that one pair shows in pass `number`.

    Args:
        pair: the pair.
        vocabulary: gives the ids.
        settings: how.
        number: of the pass.
        row: number of the pair.
        recalled: its neighbours, the nearest first, of which some are shown where text is translated.
        letters: of each language, of which any replace those that are disturbed.
        longest: the most ids that an example may have with neighbours.
        nearest: whether the nearest neighbours are shown, and not a draw of them.
    """
    chance = np.random.default_rng([settings.corpus_seed, number, row])
    draws = chance.random((len(EXERCISES), 2))  # for all tasks, so that one that cannot be shown moves no other
    for exercise, (show, disturb) in zip(EXERCISES, draws, strict=True):
        posed = _pose(exercise, pair, vocabulary) if show < getattr(settings, exercise.share) else None
        if posed is None:
            continue
        task, values = posed
        slot = _NOISED.get(exercise.share)
        if slot is not None and disturb < settings.noise_share:
            clusters = vocabulary.alphabets[UNITS].size
            units = np.asarray(values[slot], dtype=np.int64)
            values[slot] = disturb_units(units, clusters, settings.noise_rate, chance).tolist()
        shown: list[Values] = []
        if exercise.share == "mt_share":
            if letters and disturb < settings.noise_share:
                known = letters[pair.source.language]
                values["src"] = disturb_text(str(values["src"]), known, settings.text_noise_rate, chance)
            if nearest:
                shown = as_examples(recalled[: settings.neighbours])
            else:
                shown = choose_neighbours(recalled, settings.neighbours, chance)
        compiled = task.compile_within(values, vocabulary, shown, longest) or task.compile(values, vocabulary)
        yield Example.of(f"{pair.id} {task.line}", compiled)


def choose_neighbours(recalled: Sequence[Recalled], most: int, chance: np.random.Generator) -> list[Values]:
    """Some of a sentence's neighbours, as examples, the nearest last; none of them always, but the nearest mostly.

    A model that always sees the very nearest learns to trust them more than it may when a sentence has no such.
    """
    count = int(chance.integers(most + 1))
    kept = [one for one, fate in zip(recalled, chance.random(len(recalled)), strict=True) if fate < _SHOWN]
    return as_examples(kept[:count])


def as_examples(recalled: Sequence[Recalled]) -> list[Values]:
    """Neighbours, the nearest first, as examples of `translate_text`: the nearest last, beside what it is like."""
    return [{"src": one.source, "tgt": one.target} for one in reversed(recalled)]


def disturb_text(text: str, letters: str, rate: float, chance: np.random.Generator) -> str:
    """Drop or replace some letters, as a transcript would; half of those that are disturbed are dropped.

    Args:
        text: something.
        letters: those that may stand instead, each as often as it is likely.
        rate: part that is disturbed.
        chance: source of randomness.
    """
    fate = chance.random(len(text))
    others = chance.integers(len(letters), size=len(text))
    kept = [
        letters[other] if one < rate else letter
        for letter, one, other in zip(text, fate, others, strict=True)
        if one >= rate / 2
    ]
    return "".join(kept) or text[:1]


def _recall(pairs: Sequence[SpokenPair], memory: TranslationMemory, settings: CorpusSettings) -> list[list[Recalled]]:
    """The neighbours of each pair's source text, none that says the same; twice as many as are shown."""
    recalled: list[list[Recalled]] = [[] for _ in pairs]
    if not settings.neighbours:
        return recalled
    texts: dict[Direction, dict[str, list[int]]] = {}
    for row, pair in enumerate(pairs):
        if pair.source.text and pair.target.text:
            way = Direction(pair.source.language, pair.target.language)
            texts.setdefault(way, {}).setdefault(pair.source.text, []).append(row)
    for way, rows in texts.items():
        found = memory.recall_all(list(rows), way, 2 * settings.neighbours)
        with show_progress(f"neighbours of {way.source}-{way.target}", len(rows)) as advance:
            for same, near in zip(rows.values(), found, strict=True):
                for row in same:
                    recalled[row] = near
                advance(1)
    return recalled


def _collect_letters(pairs: Sequence[SpokenPair]) -> dict[str, str]:
    """All that is written in each language, one text behind the other."""
    texts: dict[str, list[str]] = {}
    for side in (side for pair in pairs for side in (pair.source, pair.target)):
        if side.text:
            texts.setdefault(side.language, []).append(side.text)
    return {language: "".join(lines) for language, lines in texts.items()}


def disturb_units(units: Units, clusters: int, rate: float, chance: np.random.Generator) -> Units:
    """Drop or replace some units, as other voices and rooms would; neighbours that became equal are merged.

    Args:
        units: `[S]`, without repeats.
        clusters: how many units there are.
        rate: part that is disturbed; half of it is dropped.
        chance: source of randomness.

    Returns:
        `[S']` with S' <= S, without repeats, at least one unit of a sequence that had some.
    """
    fate = chance.random(units.size)
    disturbed = np.where(fate < rate, chance.integers(clusters, size=units.size), units)
    kept = disturbed[fate >= rate / 2]
    if not kept.size:
        return units[:1]
    return deduplicate(kept).units


def without_chance(settings: CorpusSettings) -> CorpusSettings:
    """The same tasks for held-out pairs: each pair once, in every task that is learned, undisturbed."""
    shares = {exercise.share: float(getattr(settings, exercise.share) > 0) for exercise in EXERCISES}
    return replace(settings, passes=1, noise_share=0.0, **shares)  # type: ignore[arg-type]


def complete(values: Mapping[str, Content | None]) -> Values | None:
    """The content of all slots; None when some of it is lacking."""
    given = {name: value for name, value in values.items() if value is not None}
    return given if len(given) == len(values) else None


def can_write(task: Task, vocabulary: Vocabulary) -> bool:
    """Whether the vocabulary has the alphabets of all slots, and the words."""
    return all(slot.alphabet in vocabulary.alphabets for slot in task.slots) and set(task.words) <= set(
        vocabulary.words
    )


def _units(side: Side) -> list[int] | None:
    return None if side.runs is None or not len(side.runs) else side.runs.units.tolist()
