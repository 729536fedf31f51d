"""A bundle's own translation model as a recogniser: for languages that no other one at hand knows.

It is small, and it is heard by what it made: read its scores beside its error rate on the reference speech, and never
as an independent opinion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyvoice.errors import InputError
from polyvoice.evaluation.normalization import language_family
from polyvoice.evaluation.unit_encoder import ClusteredUnits
from polyvoice.tasks import recognize_speech

if TYPE_CHECKING:
    from polyvoice.bundle.loading import Bundle
    from speechunits.audio import Waveform


class BundleRecognizer:
    """Speech to units to text, by the encoder, the centroids and the translation model of a bundle."""

    def __init__(self, language: str, bundle: Bundle, name: str) -> None:
        """Recognise `language` with `bundle`, under `name`.

        Raises:
            InputError: the bundle has not learned to.
        """
        family = language_family(language)
        if not bundle.translator.can(recognize_speech(family)):
            raise InputError(f"{bundle.folder}: the translation model has not learned to recognise {family}")
        self.language = language
        self.name = name
        self.versions = {f"{language}={name}": bundle.digest}
        self._units = ClusteredUnits(bundle.encoder, bundle.kmeans)
        self._translator = bundle.translator

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[str]:
        """The text of each waveform; none where it is shorter than a frame."""
        family = language_family(self.language)
        heard = self._units.encode(waveforms)
        return [self._translator.recognize(runs.units, family) if len(runs) else "" for runs in heard]


def load_bundle_recognizer(language: str, folder: Path, device: str = "cpu") -> BundleRecognizer:
    """Load a bundle as a recogniser.

    Raises:
        InputError: the folder is no bundle, or it has not learned to recognise the language.
    """
    from polyvoice.bundle import load

    bundle = load(folder, device)
    return BundleRecognizer(language, bundle, f"bundle {bundle.manifest.name}")
