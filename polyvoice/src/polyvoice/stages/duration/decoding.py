"""The trained duration model: units in, run lengths out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from polyvoice.errors import InputError
from polyvoice.stages.duration.data import DurationQuery, DurationWriter
from polyvoice.stages.duration.settings import DurationLayout
from polyvoice.stages.stage_folder import FILE, VOCABULARY, StageCard, read_stage
from polyvoice.tasks import DURATIONS, languages_of
from speechunits.runs import Runs, Units
from unitlm.aligned import generate_aligned
from unitlm.checkpoint import load_model
from unitlm.files import Json
from unitlm.generate import generate
from unitlm.language_model import LanguageModel, Precision, pack_decoder
from unitlm.sampling import Choices
from unitlm.settings import parse_settings
from unitlm.vocabulary import Vocabulary


class DurationModel:
    """Predicts how many frames each unit of a translation lasts.

    Attributes:
        card: what the stage is.
    """

    def __init__(self, model: LanguageModel, writer: DurationWriter, card: StageCard) -> None:
        self._model, self._writer, self.card = model, writer, card

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", precision: Precision = "int8") -> DurationModel:
        """Read a finished stage; on a CPU the weights are packed in a precision.

        Raises:
            InputError: the folder holds no finished duration model.
            unitlm.errors.InputError: a file of it is damaged.
        """
        card = read_stage(folder, "duration")
        layout = parse_settings(
            DurationLayout, cast("dict[str, Json]", card.settings["layout"]), f"{folder / FILE}: layout"
        )
        writer = DurationWriter(Vocabulary.load(folder / VOCABULARY), languages_of(card.directions), layout)
        return cls(pack_decoder(load_model(folder, device=device).float(), precision), writer, card)

    def predict(
        self,
        source: Runs,
        target_units: Units,
        source_language: str,
        target_language: str,
    ) -> Units:
        """Predict the run lengths of one translation: of each unit the most probable.

        Args:
            source: units of the source and their lengths.
            target_units: units of the translation, without repeats, `[S]`.
            source_language: such as `zh`.
            target_language: such as `en`.

        Returns:
            Frames `[S]` int64, each at least 1.

        Raises:
            InputError: there are no units on a side, or units or languages that the model does not know.
        """
        query = DurationQuery(source, target_units, source_language, target_language)
        return self.predict_batch([query])[0]

    def predict_batch(self, queries: Sequence[DurationQuery]) -> list[Units]:
        """Predict the run lengths of several translations at once; see `predict`."""
        for query in queries:
            if not len(query.source) or not query.target_units.size:
                raise InputError("durations need at least one unit of the source and one of the target")
        start, stop = self._writer.vocabulary.span(DURATIONS)
        choices = Choices(start + 1, stop, end=None)  # a run of no frames is no run
        if self._writer.settings.layout == "aligned":
            lines = [self._writer.line(query) for query in queries]
            written = generate_aligned(self._model, lines, choices)
        else:
            prompts = [self._writer.prompt(query) for query in queries]
            wanted = [query.target_units.size for query in queries]
            written = generate(self._model, prompts, choices, lengths=wanted)
        return [np.array(row.ids, np.int64) - start for row in written]
