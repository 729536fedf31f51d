"""The codec as others use it: waveforms to codes and back, one or many."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from speechunits.audio import Waveform, resample
from speechunits.batching import batches_by_length
from speechunits.codecs.checks import require_chances, require_codes
from speechunits.codecs.protocol import Codes, SoftCodes, SpokenBy
from speechunits.codecs.speech_codec.guide import Guidance
from speechunits.codecs.speech_codec.model import CodecModel
from speechunits.codecs.speech_codec.storage import identify_codes
from speechunits.errors import InputError
from speechunits.extracted import UnitsInfo
from speechunits.runs import Units

_SECONDS_PER_BATCH = 120
_UNITS_MISSING = 2


class SpeechCodec:
    """A `Codec`; made by `load_speech_codec`.

    Attributes:
        sample_rate_hz: rate of decoded waveforms.
        frame_rate_hz: code frames per second.
        levels: K, codes per frame.
        codebook_size: codes of each level.
        told: what the units are that the decoder may be told (`SpokenBy`); None when it can be told nothing.
        identity: equal for two codecs when a waveform has the same codes in both; what the decoders sound like does
            not count. With fewer than all levels, `@` and their number follow.
    """

    def __init__(self, model: CodecModel, levels: int | None = None) -> None:
        """Wrap a model in evaluation mode.

        Args:
            model: the network.
            levels: how many levels `encode` gives; None gives all.

        Raises:
            InputError: the model has fewer levels.
        """
        settings = model.settings
        if levels is not None and not 1 <= levels <= settings.levels:
            raise InputError(f"the codec has 1 to {settings.levels} levels, not {levels}")
        self._model = model
        self.sample_rate_hz: int = settings.sample_rate_hz
        self.frame_rate_hz: float = settings.frame_rate_hz
        self.levels: int = levels or settings.levels
        self.codebook_size: int = settings.codebook_size
        # It learned voices from prompts of all levels.
        self.told: UnitsInfo | None = model.told if self.levels == settings.levels else None
        self.identity: str = identify_codes(model) + ("" if self.levels == settings.levels else f"@{self.levels}")
        self._hop = settings.frame_samples

    def encode(self, waveform: Waveform) -> Codes:
        """Return codes `[K, T]` int64; T is the length in frames, rounded up: the last one is filled with silence."""
        return self.encode_batch([waveform])[0]

    def decode(self, codes: Codes) -> Waveform:
        """Return the waveform of codes `[K', T]`, T frames long exactly; the first K' of K levels are enough.

        Raises:
            InputError: the codes are not integers `[K', T]` with 1 <= K' <= K and T >= 1, within the codebook.
        """
        return self.decode_batch([codes])[0]

    @torch.inference_mode()
    def encode_batch(self, waveforms: Sequence[Waveform]) -> list[Codes]:
        """Return what `encode` returns for each, up to the rounding of batched arithmetic."""
        rows = [self._fill_frames(resample(waveform, self.sample_rate_hz)) for waveform in waveforms]
        frames = [row.numel() // self._hop for row in rows]
        results: list[Codes] = [np.empty((0, 0), dtype=np.int64)] * len(rows)
        for batch in batches_by_length(frames, round(_SECONDS_PER_BATCH * self.frame_rate_hz)):
            padded = pad_sequence([rows[position] for position in batch], batch_first=True)  # [B, samples]
            codes = self._model.encode(padded.to(self._device()), self._mask([frames[position] for position in batch]))
            for row, position in enumerate(batch):
                results[position] = codes[: self.levels, row, : frames[position]].cpu().numpy()
        return results

    @torch.inference_mode()
    def decode_batch(self, codes: Sequence[Codes]) -> list[Waveform]:
        """Return what `decode` returns for each, up to the rounding of batched arithmetic.

        Raises:
            InputError: as `decode`, or the items differ in their number of levels.
        """
        rows = [self._checked(values) for values in codes]  # each [T, K']
        if len({row.shape[1] for row in rows}) > 1:
            raise InputError("the items of a batch have the same number of levels")
        frames = [row.shape[0] for row in rows]
        results: list[Waveform | None] = [None] * len(rows)
        for batch in batches_by_length(frames, round(_SECONDS_PER_BATCH * self.frame_rate_hz)):
            padded = pad_sequence([rows[position] for position in batch], batch_first=True)  # [B, T, K']
            mask = self._mask([frames[position] for position in batch])
            sound = self._model.decode(padded.permute(2, 0, 1).to(self._device()), mask).cpu()  # [B, samples]
            for row, position in enumerate(batch):
                samples = sound[row, : frames[position] * self._hop].numpy().copy()
                results[position] = Waveform(samples, self.sample_rate_hz)
        return [waveform for waveform in results if waveform is not None]

    @torch.inference_mode()
    def decode_soft(self, codes: SoftCodes) -> Waveform:
        """Return the waveform of the mean vector of every frame; see `SoftCodec`."""
        return self._decode_latent(self._mean_latent(codes), None)

    @torch.inference_mode()
    def decode_told(self, codes: SoftCodes, spoken: SpokenBy) -> Waveform:
        """Return the waveform of codes of which more is known; see `ToldCodec`."""
        latent = self._mean_latent(codes)
        return self._decode_latent(latent, self._guidance(spoken, len(latent)))

    @torch.inference_mode()
    def say(self, spoken: SpokenBy) -> Waveform:
        """Return the waveform of what is said in a voice, without any codes; see `ToldCodec`."""
        guidance = self._guidance(spoken, spoken.units.size)
        codebooks = self._model.quantizer.codebooks
        return self._decode_latent(codebooks.new_zeros(spoken.units.size, codebooks.shape[-1]), guidance)

    def _guidance(self, spoken: SpokenBy, frames: int) -> Guidance:
        """What the decoder is told of so many frames."""
        if self.told is None:
            raise InputError("the codec's decoder has not learned to be told units, or not with so few levels")
        if len(spoken.prompt) != self.levels:
            raise InputError(f"a voice is heard in codes of all {self.levels} levels, not of {len(spoken.prompt)}")
        units = _require_units(spoken.units, frames, self.told.clusters)
        prompt = self._model.quantizer.decode(self._on_device(self._checked(spoken.prompt)))  # [1, P, D]
        heard = torch.tensor([prompt.shape[1]], device=self._device())
        return Guidance(torch.from_numpy(units)[None].to(self._device()), prompt, heard)

    def _mean_latent(self, codes: SoftCodes) -> Tensor:
        """The mean vector of every frame, `[T, D]`."""
        rows, chances = self._checked(codes.codes), require_chances(codes, self.levels, self.codebook_size)
        known = len(codes.codes) - len(chances)
        codebooks = self._model.quantizer.codebooks
        latent = codebooks.new_zeros(len(rows), codebooks.shape[-1])
        if known:
            latent = self._model.quantizer.decode(self._on_device(rows[:, :known]))[0]
        for level, weights in enumerate(chances, start=known):
            latent = latent + torch.from_numpy(weights).to(self._device()) @ codebooks[level]
        return latent

    def _decode_latent(self, latent: Tensor, guidance: Guidance | None) -> Waveform:
        sound = self._model.decoder(latent[None], None, guidance)[0]
        return Waveform(sound.cpu().numpy().copy(), self.sample_rate_hz)

    def _on_device(self, rows: Tensor) -> Tensor:
        """Codes `[T, K']` as a batch of one, `[K', 1, T]`."""
        return rows.T[:, None].to(self._device())

    def _device(self) -> torch.device:
        return self._model.quantizer.codebooks.device

    def _fill_frames(self, waveform: Waveform) -> Tensor:
        samples = torch.tensor(waveform.samples)
        return F.pad(samples, (0, -samples.numel() % self._hop))

    def _mask(self, frames: Sequence[int]) -> Tensor | None:
        """True frames `[B, T]`, or None when all are."""
        if min(frames) == max(frames):
            return None
        return (torch.arange(max(frames)) < torch.tensor(frames)[:, None]).to(self._device())

    def _checked(self, codes: Codes) -> Tensor:
        """Codes as the model takes them, `[T, K']`."""
        return torch.from_numpy(require_codes(codes, self.levels, self.codebook_size).T.copy())


def _require_units(units: Units, frames: int, clusters: int) -> Units:
    """Units `[T]` int64 for so many frames; where encoders leave out the end, the last unit lasts."""
    missing = frames - units.size if units.ndim == 1 and units.size else frames
    if units.dtype.kind not in "iu" or not 0 <= missing <= _UNITS_MISSING:
        raise InputError(f"the decoder is told units [{frames}], whole numbers, not {units.dtype} {list(units.shape)}")
    if units.min() < 0 or units.max() >= clusters:
        raise InputError(f"the decoder is told units from 0 to {clusters - 1}, not {units.min()} to {units.max()}")
    return np.pad(units.astype(np.int64), (0, missing), mode="edge")
