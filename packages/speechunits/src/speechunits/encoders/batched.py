"""What convolutional transformers (HuBERT, wav2vec2, WavLM) share, whoever's model does the work.

The convolutions run on each waveform by itself, because base models normalise over time (group norm) and would count
padding as sound. Only the transformer runs on padded batches, under a mask of whole frames. So a batch gives what
single calls give, up to the rounding of batched arithmetic.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechunits.audio import Waveform, resample
from speechunits.batching import batches_by_length
from speechunits.errors import InputError
from speechunits.kmeans import Features

# Where fairseq's dump_hubert_feature.py cuts long audio (at 16 kHz), so long files get the published labels too.
LONGEST_PIECE_S = 100.0

# A GPU wants large batches. A processor computes padding as slowly as sound and gains little from a second row, so only
# short pieces are put together: recordings of 1 to 30 s take a small HuBERT half the time that they take it at 6,000.
_FRAMES_ON_GPU, _FRAMES_ON_CPU = 6_000, 500


def most_frames(device: str) -> int:
    """How many frames a padded batch should have at most; 6,000 are two minutes at 50 Hz."""
    return _FRAMES_ON_CPU if device == "cpu" else _FRAMES_ON_GPU


class BatchedEncoder(ABC):
    """A `SpeechEncoder` whose model is a subclass's business.

    Attributes:
        sample_rate_hz, frame_rate_hz, dimension, shortest_samples, identity: see `SpeechEncoder`.
    """

    sample_rate_hz: int
    frame_rate_hz: float
    dimension: int
    shortest_samples: int
    identity: str

    def __init__(self, batch_frames: int) -> None:
        """Take the most frames that one padded batch may have."""
        self._batch_frames = batch_frames

    @abstractmethod
    def _normalise(self, samples: Tensor) -> Tensor:
        """Return a whole waveform `[T]` as the model was trained to hear it."""

    @abstractmethod
    def _convolve(self, samples: Tensor) -> Tensor:
        """Return the transformer's input `[frames, D]` for samples `[T]`, on the model's device."""

    @abstractmethod
    def _transform(self, frames: Tensor, padding: Tensor | None) -> Tensor:
        """Return the features `[B, frames, D]` of frames `[B, frames, D]`; `padding` `[B, frames]` is true there."""

    def encode(self, waveforms: Sequence[Waveform]) -> list[Features]:
        """Return `[T, D]` float32 per waveform, in the order given.

        Waveforms of other rates are resampled. Audio over 100 s is cut there, as fairseq's scripts cut it.

        Raises:
            InputError: a waveform is shorter than one frame (25 ms for published models).
        """
        pieces: list[tuple[int, Tensor]] = []  # (index of the waveform, samples [T])
        for index, waveform in enumerate(waveforms):
            pieces.extend((index, piece) for piece in self._cut(waveform))
        features: list[Tensor] = [torch.empty(0)] * len(pieces)
        budget = int(self._batch_frames * self.sample_rate_hz / self.frame_rate_hz)
        for batch in batches_by_length([piece.numel() for _, piece in pieces], budget):
            encoded = self._encode_batch([pieces[position][1] for position in batch])
            for position, values in zip(batch, encoded, strict=True):
                features[position] = values
        joined: list[list[Tensor]] = [[] for _ in waveforms]
        for (index, _), values in zip(pieces, features, strict=True):
            joined[index].append(values)
        return [torch.cat(parts).numpy() for parts in joined]

    def hear(self, samples: Tensor) -> Tensor:
        """Return features `[B, T, D]` of equally long samples `[B, N]`, with a gradient: for training what makes them.

        Args:
            samples: at `sample_rate_hz`, on the encoder's device, at least one frame long; they are not cut.
        """
        return self._transform(torch.stack([self._convolve(self._normalise(row)) for row in samples]), None)

    def _cut(self, waveform: Waveform) -> Iterator[Tensor]:
        """Yield the pieces that are encoded by themselves; a last piece below one frame has no feature."""
        samples = torch.tensor(resample(waveform, self.sample_rate_hz).samples)
        if samples.numel() < self.shortest_samples:
            raise InputError(
                f"a waveform of {waveform.duration_s:.4f} s is shorter than one frame"
                f" ({self.shortest_samples / self.sample_rate_hz:.4f} s)"
            )
        for piece in torch.split(self._normalise(samples), int(LONGEST_PIECE_S * self.sample_rate_hz)):
            if piece.numel() >= self.shortest_samples:
                yield piece

    @torch.inference_mode()
    def _encode_batch(self, pieces: list[Tensor]) -> list[Tensor]:
        """Encode pieces `[T]`, about equally long, into features `[frames, D]` on the CPU."""
        frames = [self._convolve(piece) for piece in pieces]  # each [frames, D]
        lengths = torch.tensor([len(piece) for piece in frames], device=frames[0].device)
        padded = pad_sequence(frames, batch_first=True)  # [B, frames, D]
        padding = torch.arange(padded.shape[1], device=padded.device) >= lengths[:, None]  # [B, frames]
        # Without a mask, attention takes a quicker way.
        encoded = self._transform(padded, padding if padding.any() else None)
        return [row[: len(piece)].float().cpu() for row, piece in zip(encoded, frames, strict=True)]
