"""Durations without a model: the mean length of each unit. What the duration model has to beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from polyvoice.errors import InputError
from polyvoice.stages.duration.totals import scale_lengths
from speechunits.runs import Runs, Units
from unitlm.files import read_json, write_json

FILE = "mean_durations.json"


@dataclass(frozen=True, eq=False)
class MeanDurations:
    """Mean run length of each unit in training, at the tempo of the source.

    Attributes:
        means: frames `[K]` of each unit; of units that never occurred, the mean of all.
    """

    means: NDArray[np.float64]

    @classmethod
    def fit(cls, runs: Iterable[Runs], clusters: int) -> MeanDurations:
        """Average over utterances.

        Raises:
            InputError: there is no unit.
        """
        frames, counts = np.zeros(clusters), np.zeros(clusters)
        for each in runs:
            np.add.at(frames, each.units, each.lengths)
            np.add.at(counts, each.units, 1)
        if not counts.any():
            raise InputError("mean durations: there are no units to average over")
        return cls(np.where(counts > 0, frames / np.maximum(counts, 1), frames.sum() / counts.sum()))

    def predict(self, source: Runs, target_units: Units) -> Units:
        """Run lengths `[S]` of the target, each at least 1.

        The means are scaled by how long the source lasts beside what its own units would let expect.

        Raises:
            InputError: there is no source, or a unit that the means do not know.
        """
        if not len(source):
            raise InputError("mean durations: the source has no units")
        for units in (source.units, target_units):
            if units.size and not 0 <= int(units.min()) <= int(units.max()) < self.means.size:
                raise InputError(f"mean durations: units lie in 0 to {self.means.size - 1}, not up to {units.max()}")
        tempo = source.lengths.sum() / self.means[source.units].sum()
        expected = self.means[target_units] * tempo
        return scale_lengths(expected, round(float(expected.sum())))

    def save(self, folder: Path) -> None:
        """Write the means into a stage's folder."""
        write_json(folder / FILE, {"means": self.means.tolist()})

    @classmethod
    def load(cls, folder: Path) -> MeanDurations:
        """Read the means from a stage's folder.

        Raises:
            unitlm.errors.InputError: they are not there.
            InputError: the file holds something else.
        """
        means = read_json(folder / FILE).get("means")
        if not isinstance(means, list) or not all(isinstance(mean, int | float) and mean > 0 for mean in means):
            raise InputError(f"{folder / FILE}: holds no list of positive means")
        return cls(np.array(cast("list[float]", means), np.float64))
