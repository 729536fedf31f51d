"""Whether the voice is kept: cosine of d-vectors of the output and the source (Resemblyzer).

The vector is that of Wan et al., arXiv 1710.10467 (GE2E). For scale: one speaker in two languages reaches about 0.7,
in one language 0.83 to 0.87, two people 0.38 to 0.64.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from polyvoice.evaluation.missing import find_versions, need
from speechunits.audio import resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechunits.audio import Waveform

_RATE_HZ = 16_000

Embedding: TypeAlias = "NDArray[np.float32]"
"""A voice as a vector of length 1, `[256]`."""


class VoiceJudge:
    """Embeds voices; loads its model once."""

    def __init__(self, device: str = "cpu") -> None:
        """Load the model that lies in the package.

        Raises:
            MissingError: a package is not installed.
        """
        with warnings.catch_warnings():
            # Its import goes through a namespace of SciPy that is on its way out, and webrtcvad's through another's.
            warnings.simplefilter("ignore")
            [self._package] = need("speaker_similarity", "resemblyzer")
            self._encoder = self._package.VoiceEncoder(device, verbose=False)
        self.versions = find_versions("resemblyzer", "librosa", "webrtcvad-wheels")

    def embed(self, waveform: Waveform) -> Embedding | None:
        """The voice; None where no speech is found in the waveform."""
        samples = resample(waveform, _RATE_HZ).samples
        if not np.any(samples):
            return None
        # Resampling may overshoot, and the voice detector works on 16-bit samples, which would wrap around.
        speech = self._package.preprocess_wav(np.clip(samples, -1.0, 1.0))
        if len(speech) == 0:
            return None
        vector: Embedding = self._encoder.embed_utterance(speech)
        return vector


def cosine(left: Embedding, right: Embedding) -> float:
    """How alike two voices are, -1 to 1."""
    return float(left @ right)
