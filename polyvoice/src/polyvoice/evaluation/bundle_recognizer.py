"""A bundle's own translation model as a recogniser: for languages that no other one at hand knows.

It is small, and it is heard by what it made: read its scores beside its error rate on the reference speech, and never
as an independent opinion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyvoice.evaluation.normalization import language_family
from polyvoice.evaluation.unit_encoder import ClusteredUnits

if TYPE_CHECKING:
    from polyvoice.bundle.loading import Bundle
    from speechunits.audio import Waveform


class BundleRecognizer:
    """Speech to units to text, by the encoder, the centroids and the translation model of a bundle."""

    versions: dict[str, str] = {}  # noqa: RUF012 - the name says which bundle, and the package's version is always told

    def __init__(self, language: str, bundle: Bundle, name: str) -> None:
        """Recognise `language` with `bundle`, under `name`."""
        self.language = language
        self.name = name
        self._units = ClusteredUnits(bundle.encoder, bundle.kmeans)
        self._translator = bundle.translator

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[str]:
        """The text of each waveform; none where it is shorter than a frame.

        Raises:
            InputError: the bundle does not know the language.
        """
        family = language_family(self.language)
        heard = self._units.encode(waveforms)
        return [self._translator.recognize(runs.units, family) if len(runs) else "" for runs in heard]


def load_bundle_recognizer(language: str, folder: Path, device: str = "cpu") -> BundleRecognizer:
    """Load a bundle as a recogniser.

    Raises:
        InputError: the folder is no bundle.
    """
    from polyvoice.bundle import load

    bundle = load(folder, device)
    return BundleRecognizer(language, bundle, f"bundle {bundle.manifest.name}")
