"""The aligned layout of a stage: each step carries its unit, and beside it what was written at the step before.

    unit       u0       u1  u2  u3       u4  u5         of the first stretch (the prompt), then of the second
    ahead      u2       u3  u4  u5       -   -          the unit that comes `lookahead` steps later
    written    <begin>  w0  w1  <begin>  w3  w4
    predicted  w0       w1  -   w3       w4  w5

A small model need not learn which unit a frame or a run length belongs to, and hears what comes before it writes. Each
stretch begins with `<begin>`, because what precedes it was said elsewhere; hence the last of a prompt is not learned.
The language of each step is its condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyvoice.errors import InputError
from polyvoice.tasks import UNITS
from speechunits.runs import Units
from unitlm.aligned import AlignedLine
from unitlm.alphabet import Units as UnitAlphabet
from unitlm.model import ABSENT
from unitlm.shards import Example
from unitlm.vocabulary import Vocabulary

AHEAD = "units.ahead"
"""The alphabet of the units that come later: a step has its own unit and this one, and must not mix them up."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """A part of a line.

    Attributes:
        units: guides `[S]`, one a step.
        written: what is written beside them `[S]`; None when that is to be found out.
        language: such as `zh`.
        shown: whether the model sees the units.
        learned: whether what is written is learned.
    """

    units: Units
    written: Units | None
    language: str
    shown: bool = True
    learned: bool = False


@dataclass(frozen=True)
class AlignedLayout:
    """How stretches become lines.

    Attributes:
        vocabulary: gives the ids.
        written: the alphabet of what is written.
        languages: in the order of their condition ids.
        lookahead: how many steps ahead the units are seen; 0 for none.
    """

    vocabulary: Vocabulary
    written: str
    languages: tuple[str, ...]
    lookahead: int

    @property
    def codebooks(self) -> int:
        """Ids that a step carries."""
        return 3 if self.lookahead else 2

    def example(self, key: str, stretches: Sequence[Stretch]) -> Example:
        """Stretches that are all written, as a training example: one more step than they have."""
        written = np.concatenate([self._write(stretch) for stretch in stretches])
        starts = np.cumsum([0, *(stretch.units.size for stretch in stretches)])
        ids = np.full((starts[-1] + 1, self.codebooks), ABSENT, np.int32)
        ids[:-1] = self._guide(stretches)
        ids[1:, -1] = written
        learned = np.repeat([stretch.learned for stretch in stretches], np.diff(starts))
        # The place of what a stretch's last step predicts is the first step of the next, where `<begin>` stands.
        learned[starts[1:-1] - 1] = False
        ids[starts[:-1], -1] = self.vocabulary.begin
        conditions = self._conditions(stretches)
        return Example(key, ids, np.append(False, learned), np.append(conditions, conditions[-1]).astype(np.int32))

    def line(self, stretches: Sequence[Stretch]) -> AlignedLine:
        """Stretches of which only the last is yet to be written, as a line for decoding."""
        *given, last = stretches
        steps = self._guide(stretches).astype(np.int64)
        start = 0
        for stretch in given:
            steps[start, -1] = self.vocabulary.begin
            steps[start + 1 : start + stretch.units.size, -1] = self._write(stretch)[:-1]
            start += stretch.units.size
        steps[start, -1] = self.vocabulary.begin
        return AlignedLine(steps, last.units.size, self._conditions(stretches))

    def _guide(self, stretches: Sequence[Stretch]) -> NDArray[np.int64]:
        """Ids of all steps, with nothing written: `[S, K]`."""
        parts = []
        for stretch in stretches:
            if not stretch.units.size:
                raise InputError("aligned: a stretch has no units")
            ids = to_ids(self.vocabulary, UNITS, stretch.units)
            parts.append(ids if stretch.shown else np.full_like(ids, ABSENT))
        guides = np.concatenate(parts)
        steps = np.full((guides.size, self.codebooks), ABSENT, np.int64)
        steps[:, 0] = guides
        if self.lookahead:
            shift = self.vocabulary.span(AHEAD)[0] - self.vocabulary.span(UNITS)[0]
            later = guides[self.lookahead :]
            steps[: later.size, 1] = np.where(later == ABSENT, ABSENT, later + shift)
        return steps

    def _write(self, stretch: Stretch) -> NDArray[np.int64]:
        if stretch.written is None or stretch.written.shape != stretch.units.shape:
            found = "nothing" if stretch.written is None else f"{list(stretch.written.shape)}"
            raise InputError(f"aligned: {found} is written beside units {list(stretch.units.shape)}")
        return to_ids(self.vocabulary, self.written, stretch.written)

    def _conditions(self, stretches: Sequence[Stretch]) -> NDArray[np.int64]:
        return np.concatenate(
            [np.full(stretch.units.size, language_id(self.languages, stretch.language)) for stretch in stretches]
        )


def aligned_alphabets(clusters: int, lookahead: int) -> list[UnitAlphabet]:
    """The alphabets of the guides."""
    names = [UNITS, AHEAD] if lookahead else [UNITS]
    return [UnitAlphabet(name, clusters) for name in names]


def to_ids(vocabulary: Vocabulary, alphabet: str, values: Units) -> NDArray[np.int64]:
    """Write integers of any shape in the ids of `alphabet`; InputError when one lies outside."""
    start, stop = vocabulary.span(alphabet)
    if values.size and not 0 <= int(values.min()) <= int(values.max()) < stop - start:
        found = f"{values.min()} to {values.max()}"
        raise InputError(f"{alphabet}: the model knows 0 to {stop - start - 1}, found {found}")
    return values.astype(np.int64) + start


def language_id(languages: Sequence[str], language: str) -> int:
    """The condition id of a language; InputError when the model does not know it."""
    if language not in languages:
        raise InputError(f"language {language!r} is not one the model was trained on: {', '.join(languages)}")
    return languages.index(language)
