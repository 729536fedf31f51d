"""EnCodec at 48 kHz (arXiv 2210.13438): stereo, 3 to 24 kbps, 1024 codes a level, in chunks of one second.

This model is not causal and normalises over time, so it hears chunks of one second that begin every 0.99 s, each
brought to the same loudness. Decoding needs the loudness of each chunk back. The codec protocol knows only codes, and a
language model writes only codes, so loudness is one: before the 150 frames of a chunk stands one more frame, whose
code, the same on every level, is the loudness in steps of 0.1 dB (at most 0.6 % off in amplitude; from -96 dB to 6.2 dB
relative to full scale, code 0 is silence). So chunks are read off by counting, the first levels are still enough, and
any codes can be decoded; the price is that 151 frames stand for 0.99 s and that every 151st is of another kind.

The model is stereo: both of its channels hear the one channel of a waveform, and what it says is mixed down.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from speechunits.audio import Waveform, resample
from speechunits.codecs.checks import require_codes
from speechunits.codecs.encodec_model import count_levels, load_encodec_model, name_model
from speechunits.codecs.protocol import Codes
from speechunits.errors import InputError

if TYPE_CHECKING:
    from encodec.model import EncodecModel

_STEP_DB = 0.1
_QUIETEST_DB = -96.0  # of code 1; 16-bit audio ends there
_SILENCE = 1e-8  # the scale that encodec gives to silence
_CHUNKS_PER_BATCH = 60


def load_encodec_48khz(
    weights: Path | None = None, *, bandwidth_kbps: float = 6.0, device: str = "cpu"
) -> "Encodec48khz":
    """Load EnCodec for 48 kHz; nothing in the weights file is executed.

    Args:
        weights: see `load_encodec_model`.
        bandwidth_kbps: 3, 6, 12 or 24, for 2, 4, 8 or 16 levels.
        device: torch device.

    Raises:
        InputError: the bandwidth is another one, the weights are missing or do not fit, or the device cannot be used.
    """
    return Encodec48khz(load_encodec_model("48khz", weights, bandwidth_kbps, device))


class Encodec48khz:
    """A `Codec`; made by `load_encodec_48khz`."""

    def __init__(self, model: "EncodecModel") -> None:
        self._model = model
        self._chunk: int = model.segment_length or 0
        self._stride: int = model.segment_stride or 0
        self._frames_per_chunk = self._chunk // model.encoder.hop_length + 1  # with the one for loudness
        self.sample_rate_hz: int = model.sample_rate
        self.frame_rate_hz: float = self._frames_per_chunk * model.sample_rate / self._stride
        self.levels: int = count_levels(model)
        self.codebook_size: int = model.quantizer.bins
        self.identity: str = name_model("48khz", model)

    def encode(self, waveform: Waveform) -> Codes:
        """Return codes `[K, T]` int64: of each chunk its loudness, then its frames.

        Up to 10 ms of silence are added where a chunk before the last would be incomplete.
        """
        return self.encode_batch([waveform])[0]

    def decode(self, codes: Codes) -> Waveform:
        """Return the waveform of codes `[K', T]` at 48 kHz; the first K' of K levels are enough.

        A language model that writes codes of a given length may begin one more chunk at the end, with its loudness and
        at most one frame. That lies wholly under the overlap of the chunk before and is not heard.

        Raises:
            InputError: the codes are not integers `[K', T]` with 1 <= K' <= K and T >= 2, within the codebook.
        """
        return self.decode_batch([codes])[0]

    @torch.inference_mode()
    def encode_batch(self, waveforms: Sequence[Waveform]) -> list[Codes]:
        """Return what `encode` returns for each, up to the rounding of batched arithmetic."""
        rows = [[*self._cut(waveform)] for waveform in waveforms]
        # Only equal lengths run together: padding would change the loudness and every normalisation.
        by_length: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for row, chunks in enumerate(rows):
            for position, chunk in enumerate(chunks):
                by_length[chunk.numel()].append((row, position))
        encoded: list[list[Codes]] = [[np.empty((0, 0), np.int64)] * len(chunks) for chunks in rows]
        for places in by_length.values():
            for start in range(0, len(places), _CHUNKS_PER_BATCH):
                batch = places[start : start + _CHUNKS_PER_BATCH]
                codes = self._encode_chunks(torch.stack([rows[row][position] for row, position in batch]))
                for (row, position), values in zip(batch, codes, strict=True):
                    encoded[row][position] = values
        return [np.concatenate(chunks, axis=1) for chunks in encoded]

    @torch.inference_mode()
    def decode_batch(self, codes: Sequence[Codes]) -> list[Waveform]:
        """Return what `decode` returns for each.

        Raises:
            InputError: as `decode`.
        """
        return [self._decode(require_codes(values, self.levels, self.codebook_size)) for values in codes]

    def _cut(self, waveform: Waveform) -> Iterator[Tensor]:
        """Yield the chunks `[samples]` that encodec cuts; all but the last are of full length."""
        samples = torch.tensor(resample(waveform, self.sample_rate_hz).samples)
        starts = range(0, samples.numel(), self._stride)
        if len(starts) > 1:
            # Without this the last two chunks might both be incomplete, and nobody could tell where one ends.
            missing = starts[-2] + self._chunk - samples.numel()
            samples = torch.nn.functional.pad(samples, (0, max(missing, 0)))
        for start in starts:
            yield samples[start : start + self._chunk]

    def _encode_chunks(self, chunks: Tensor) -> list[Codes]:
        """Encode chunks `[B, samples]` into codes `[K, 1 + frames]` each."""
        stereo = chunks[:, None].expand(-1, 2, -1).to(self._device())  # [B, 2, samples]
        # encodec's own step for one chunk; its `encode` would cut a full chunk once more.
        codes, scales = self._model._encode_frame(stereo)  # [B, K, frames], [B, 1]
        assert scales is not None  # noqa: S101  (this model normalises)
        loudness = torch.from_numpy(quantise_scale(scales.cpu().numpy()[:, 0]))
        leading = loudness[:, None, None].expand(-1, codes.shape[1], 1)  # [B, K, 1]
        return [*torch.cat((leading, codes.cpu()), dim=2).numpy()]

    def _decode(self, codes: Codes) -> Waveform:
        if codes.shape[1] < 2:
            raise InputError("codes of EnCodec 48khz have at least two frames, loudness and sound")
        chunks: list[tuple[Tensor, Tensor | None]] = []
        for start in range(0, max(codes.shape[1] - 2, 1), self._frames_per_chunk):
            chunk = torch.from_numpy(codes[None, :, start : start + self._frames_per_chunk])
            scale = torch.tensor(restore_scale(codes[:1, start]), dtype=torch.float32)
            chunks.append((chunk[:, :, 1:].to(self._device()), scale[:, None].to(self._device())))
        sound = self._model.decode(chunks)[0].mean(dim=0)  # [samples]
        return Waveform(sound.cpu().numpy().astype(np.float32), self.sample_rate_hz)

    def _device(self) -> torch.device:
        return next(self._model.parameters()).device


def quantise_scale(scales: np.ndarray) -> Codes:
    """Return the codes 0 to 1023 of scales (root mean squares) `[N]`; see the head of this module."""
    decibels = 20.0 * np.log10(np.maximum(scales.astype(np.float64), _SILENCE))
    codes: Codes = np.clip(np.rint((decibels - _QUIETEST_DB) / _STEP_DB) + 1, 0, 1023).astype(np.int64)
    return codes


def restore_scale(codes: Codes) -> np.ndarray:
    """Return the scales of codes `[N]`, float64: the inverse of `quantise_scale` but for its rounding."""
    decibels = _QUIETEST_DB + _STEP_DB * (codes - 1)
    return np.where(codes == 0, _SILENCE, 10.0 ** (decibels / 20.0))
