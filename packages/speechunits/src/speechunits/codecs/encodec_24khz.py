"""EnCodec at 24 kHz (arXiv 2210.13438): 75 frames a second, 1.5 to 24 kbps, 1024 codes a level.

The model is causal and its convolutions are strided, so the end of a waveform needs care. encodec itself reflects the
last samples into an incomplete last frame, layer by layer, which no padded batch can imitate. Here a waveform is filled
up with silence to whole frames instead: the same for one as for many, and equal to encodec for whole frames.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechunits.audio import Waveform, resample
from speechunits.batching import batches_by_length
from speechunits.codecs.checks import require_chances, require_codes
from speechunits.codecs.encodec_model import count_levels, load_encodec_model, name_model
from speechunits.codecs.protocol import Codes, SoftCodes
from speechunits.errors import InputError

if TYPE_CHECKING:
    from encodec.model import EncodecModel

# Convolutions of kernel 7 on frames reflect the first 6 of them; with fewer, padding would be reflected instead.
_FEWEST_FRAMES_IN_BATCH = 7
_SAMPLES_PER_BATCH = 24_000 * 120


def load_encodec_24khz(
    weights: Path | None = None, *, bandwidth_kbps: float = 6.0, device: str = "cpu"
) -> "Encodec24khz":
    """Load EnCodec for 24 kHz mono; nothing in the weights file is executed.

    Args:
        weights: see `load_encodec_model`.
        bandwidth_kbps: 1.5, 3, 6, 12 or 24, for 2, 4, 8, 16 or 32 levels. VALL-E and PolyVoice use 6.
        device: torch device.

    Raises:
        InputError: the bandwidth is another one, the weights are missing or do not fit, or the device cannot be used.
    """
    return Encodec24khz(load_encodec_model("24khz", weights, bandwidth_kbps, device))


class Encodec24khz:
    """A `Codec`; made by `load_encodec_24khz`."""

    def __init__(self, model: "EncodecModel") -> None:
        self._model = model
        self.sample_rate_hz: int = model.sample_rate
        self.frame_rate_hz: float = float(model.frame_rate)
        self.levels: int = count_levels(model)
        self.codebook_size: int = model.quantizer.bins
        self.identity: str = name_model("24khz", model)
        self._hop = model.encoder.hop_length

    def encode(self, waveform: Waveform) -> Codes:
        """Return codes `[K, T]` int64; T is the length at 24 kHz over 320, rounded up."""
        return self.encode_batch([waveform])[0]

    def decode(self, codes: Codes) -> Waveform:
        """Return the waveform of codes `[K', T]`, 320 T samples at 24 kHz; the first K' of K levels are enough.

        Raises:
            InputError: the codes are not integers `[K', T]` with 1 <= K' <= K and T >= 1, within the codebook.
        """
        return self.decode_batch([codes])[0]

    @torch.inference_mode()
    def encode_batch(self, waveforms: Sequence[Waveform]) -> list[Codes]:
        """Return what `encode` returns for each, up to the rounding of batched arithmetic."""
        rows = [self._fill_frames(resample(waveform, self.sample_rate_hz)) for waveform in waveforms]
        results: list[Codes] = [np.empty((0, 0), dtype=np.int64)] * len(rows)
        for batch in self._batches([row.numel() // self._hop for row in rows]):
            padded = pad_sequence([rows[position] for position in batch], batch_first=True)  # [B, samples]
            [(codes, _)] = self._model.encode(padded[:, None].to(self._device()))  # [B, K, T]
            for position, values in zip(batch, codes.cpu(), strict=True):
                results[position] = values[:, : rows[position].numel() // self._hop].numpy().astype(np.int64)
        return results

    @torch.inference_mode()
    def decode_batch(self, codes: Sequence[Codes]) -> list[Waveform]:
        """Return what `decode` returns for each, up to the rounding of batched arithmetic.

        Raises:
            InputError: as `decode`, or the items differ in their number of levels.
        """
        checked = [require_codes(values, self.levels, self.codebook_size) for values in codes]
        rows = [torch.from_numpy(values.T.copy()) for values in checked]  # each [T, K']
        if len({row.shape[1] for row in rows}) > 1:
            raise InputError("the items of a batch have the same number of levels")
        results: list[Waveform | None] = [None] * len(rows)
        for batch in self._batches([row.shape[0] for row in rows]):
            padded = pad_sequence([rows[position] for position in batch], batch_first=True)  # [B, T, K']
            sound = self._model.decode([(padded.transpose(1, 2).to(self._device()), None)]).cpu()  # [B, 1, samples]
            for position, samples in zip(batch, sound[:, 0], strict=True):
                kept = samples[: rows[position].shape[0] * self._hop]
                results[position] = Waveform(kept.numpy().astype(np.float32), self.sample_rate_hz)
        return [waveform for waveform in results if waveform is not None]

    @torch.inference_mode()
    def decode_soft(self, codes: SoftCodes) -> Waveform:
        """Return the waveform of the mean vector of every frame; see `SoftCodec`."""
        chances = require_chances(codes, self.levels, self.codebook_size)
        known = len(codes.codes) - len(chances)
        checked = require_codes(codes.codes, self.levels, self.codebook_size)[:known]
        latent = self._model.quantizer.decode(torch.from_numpy(checked.copy())[:, None].to(self._device()))  # [1, D, T]
        for layer, weights in zip(self._model.quantizer.vq.layers[known:], chances, strict=False):
            latent = latent + layer.project_out(torch.from_numpy(weights).to(self._device()) @ layer.codebook).T[None]
        sound = self._model.decoder(latent)[0, 0, : checked.shape[1] * self._hop]
        return Waveform(sound.cpu().numpy().astype(np.float32), self.sample_rate_hz)

    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    def _fill_frames(self, waveform: Waveform) -> Tensor:
        samples = torch.tensor(waveform.samples)
        return torch.nn.functional.pad(samples, (0, -samples.numel() % self._hop))

    def _batches(self, frames: Sequence[int]) -> list[list[int]]:
        """Return positions to run together; very short items run alone (see _FEWEST_FRAMES_IN_BATCH)."""
        alone = [[position] for position, count in enumerate(frames) if count < _FEWEST_FRAMES_IN_BATCH]
        others = [position for position, count in enumerate(frames) if count >= _FEWEST_FRAMES_IN_BATCH]
        lengths = [frames[position] * self._hop for position in others]
        together = batches_by_length(lengths, _SAMPLES_PER_BATCH)
        return alone + [[others[index] for index in batch] for batch in together]
