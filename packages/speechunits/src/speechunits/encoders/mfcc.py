"""MFCC: features without a model, whose clusters are the first labels of HuBERT's pre-training (arXiv 2106.07447, 4.1).

As fairseq's `dump_mfcc_feature.py` makes them: 13 coefficients of Kaldi's kind every 10 ms, with first and second
differences over five frames. Of these every second frame is kept, as its labels at 100 Hz are read for frames at 50 Hz.
"""

import torch
from torch import Tensor

from speechunits.encoders.batched import BatchedEncoder
from speechunits.encoders.geometry import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from speechunits.torchaudio_import import import_torchaudio

_COEFFICIENTS = 13


class MfccEncoder(BatchedEncoder):
    """A `SpeechEncoder` of 39 dimensions with the frames of HuBERT. There is nothing to load."""

    def __init__(self) -> None:
        super().__init__(batch_frames=6_000)
        import_torchaudio()  # before anything else tries to, and fails
        from torchaudio.compliance import kaldi
        from torchaudio.functional import compute_deltas

        self._mfcc = kaldi.mfcc
        self._deltas = compute_deltas
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.frame_rate_hz = SAMPLE_RATE_HZ / HOP_SAMPLES
        self.dimension = 3 * _COEFFICIENTS
        self.shortest_samples = WINDOW_SAMPLES
        self.identity = "mfcc-39 kaldi"

    def _normalise(self, samples: Tensor) -> Tensor:
        return samples

    def _convolve(self, samples: Tensor) -> Tensor:
        coefficients = self._mfcc(samples[None], sample_frequency=SAMPLE_RATE_HZ, use_energy=False).T  # [13, 2 T]
        first = self._deltas(coefficients)
        return torch.cat([coefficients, first, self._deltas(first)]).T[::2]  # [T, 39]

    def _transform(self, frames: Tensor, padding: Tensor | None) -> Tensor:  # noqa: ARG002  (each frame stands for itself)
        return frames
