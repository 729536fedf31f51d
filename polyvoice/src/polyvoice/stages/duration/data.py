"""Pairs of utterances as examples of durations, in both layouts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyvoice.corpus.copies import is_copy
from polyvoice.errors import InputError
from polyvoice.spoken import SpokenPair
from polyvoice.stages.aligned import AlignedLayout, Stretch, aligned_alphabets
from polyvoice.stages.duration.settings import DurationLayout
from polyvoice.stages.material import Material
from polyvoice.tasks import DURATIONS, UNITS, Direction, predict_durations
from speechunits.runs import Runs, Units
from unitlm.aligned import AlignedLine
from unitlm.alphabet import Units as UnitAlphabet
from unitlm.shards import Example, deal, write_shards
from unitlm.task import Task
from unitlm.vocabulary import Vocabulary

_PAIRS_A_SHARD = 4_096


@dataclass(frozen=True, eq=False)
class DurationQuery:
    """What durations are asked for.

    Attributes:
        source: units of the source and their lengths.
        target_units: units of the translation, without repeats, `[S]`.
        source_language: such as `zh`.
        target_language: such as `en`.
    """

    source: Runs
    target_units: Units
    source_language: str
    target_language: str


@dataclass(frozen=True)
class DurationWriter:
    """Writes queries in the ids of a model.

    Attributes:
        vocabulary: gives the ids.
        languages: in the order of their condition ids.
        settings: the layout.
    """

    vocabulary: Vocabulary
    languages: tuple[str, ...]
    settings: DurationLayout

    @property
    def aligned(self) -> AlignedLayout:
        """The aligned layout."""
        return AlignedLayout(self.vocabulary, DURATIONS, self.languages, self.settings.lookahead)

    @property
    def codebooks(self) -> int:
        """Ids that a step carries."""
        return self.aligned.codebooks if self.settings.layout == "aligned" else 1

    def example(self, key: str, query: DurationQuery, lengths: Units, *, clean_source: bool = True) -> Example:
        """A query with its answer, run lengths `[S]` of the target; only of clean sources are lengths learned too."""
        lengths = self._cut(lengths)
        if self.settings.layout == "aligned":
            target = Stretch(query.target_units, lengths, query.target_language, learned=True)
            source = self._source(query, learned=clean_source and self.settings.learn_source)
            return self.aligned.example(key, [source, target])
        values = {**self._values(query), "tgt_lengths": lengths.tolist()}
        return Example.of(key, self._task(query).compile(values, self.vocabulary))

    def line(self, query: DurationQuery) -> AlignedLine:
        """A query in the aligned layout."""
        target = Stretch(query.target_units, None, query.target_language)
        return self.aligned.line([self._source(query, learned=False), target])

    def prompt(self, query: DurationQuery) -> tuple[int, ...]:
        """A query in the paper's layout."""
        return self._task(query).prompt(self._values(query), self.vocabulary).ids

    def _source(self, query: DurationQuery, *, learned: bool) -> Stretch:
        lengths = self._cut(query.source.lengths)
        return Stretch(query.source.units, lengths, query.source_language, learned=learned)

    def _values(self, query: DurationQuery) -> dict[str, list[int]]:
        return {
            "src": query.source.units.tolist(),
            "tgt": query.target_units.tolist(),
            "src_lengths": self._cut(query.source.lengths).tolist(),
        }

    def _task(self, query: DurationQuery) -> Task:
        return predict_durations(query.source_language, query.target_language)

    def _cut(self, lengths: Units) -> Units:
        return np.minimum(lengths, self.settings.longest_run)


def build_vocabulary(directions: Sequence[Direction], clusters: int, settings: DurationLayout) -> Vocabulary:
    """Units, and run lengths in frames; a length is its own id."""
    lengths = UnitAlphabet(DURATIONS, settings.longest_run + 1)
    if settings.layout == "aligned":
        return Vocabulary([*aligned_alphabets(clusters, settings.lookahead), lengths])
    tasks = [predict_durations(way.source, way.target) for way in directions]
    return Vocabulary.build([UnitAlphabet(UNITS, clusters), lengths], tasks)


def write_duration_shards(out: Path, material: Material, writer: DurationWriter, *, longest: int) -> None:
    """Write `out`/shards and, where there are held-out pairs, `out`/held_out.

    Args:
        out: the run's folder.
        material: pairs in the directions that are learned; those without speech on both sides are left out.
        writer: makes examples.
        longest: the most steps of an example; longer ones are left out.

    Raises:
        InputError: no pair is left to learn.
    """
    for folder, pairs in ((out / "shards", material.pairs), (out / "held_out", material.held_out)):
        spoken = [pair for pair in pairs if has_units(pair)]
        examples = [example for pair in spoken if len((example := _example(pair, writer)).ids) <= longest]
        if len(examples) < len(spoken):
            left_out = len(spoken) - len(examples)
            print(f"{folder}: {left_out} examples of more than {longest} steps left out", file=sys.stderr)
        if not examples and folder.name == "shards":
            raise InputError(f"{folder}: no pair has units on both sides and fits into a row of {longest} steps")
        if examples:
            blocks = [[examples[row] for row in rows] for rows in deal(len(examples), _PAIRS_A_SHARD, 0)]
            provenance = f"{material.provenance} dealt"
            write_shards(folder, blocks, lambda block: block, codebooks=writer.codebooks, provenance=provenance)


def has_units(pair: SpokenPair) -> bool:
    """Whether both sides are spoken."""
    return all(side.runs is not None and len(side.runs) > 0 for side in (pair.source, pair.target))


def to_query(pair: SpokenPair) -> tuple[DurationQuery, Units]:
    """A pair as a query, and its answer: run lengths `[S]` of the target.

    Raises:
        InputError: a side has no units.
    """
    if pair.source.runs is None or pair.target.runs is None:
        raise InputError(f"pair {pair.id}: durations need units on both sides")
    query = DurationQuery(pair.source.runs, pair.target.runs.units, pair.source.language, pair.target.language)
    return query, pair.target.runs.lengths


def iterate_runs(pairs: Sequence[SpokenPair]) -> Iterator[Runs]:
    """The runs of all targets."""
    return (pair.target.runs for pair in pairs if pair.target.runs is not None)


def _example(pair: SpokenPair, writer: DurationWriter) -> Example:
    return writer.example(pair.id, *to_query(pair), clean_source=not is_copy(pair.id))
