"""The codec's network: log-mel spectra -> ConvNeXt -> latent, and latent -> ConvNeXt -> spectra -> waveform.

Everything runs on spectra, a hundred a second, not on samples; the decoder's end is Vocos' (arXiv 2306.00814, section
3): a log-magnitude and a phase for each bin, and an inverse Fourier transform; with a source (`source.py`) they are
filters of its spectra. Sequences are `[B, T, D]` throughout.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechunits.codecs.speech_codec.features import hann, log_mel, overlap_add
from speechunits.codecs.speech_codec.guide import Guidance, Guide
from speechunits.codecs.speech_codec.layers import ConvNeXtBlock, TimeConv
from speechunits.codecs.speech_codec.quantizer import ResidualQuantizer, Whitening
from speechunits.codecs.speech_codec.settings import CodecSettings
from speechunits.codecs.speech_codec.source import Pitch, Source
from speechunits.errors import InputError
from speechunits.extracted import UnitsInfo

# Speech stays below e^5 in a spectrum of 640 samples; without a ceiling one step astray overflows the exponential.
_HIGHEST_LOG_MAGNITUDE = 7.0


class CodecModel(nn.Module):
    """Encoder, whitening, quantiser and decoder.

    Waveforms `[B, N]` have whole code frames: N is a multiple of `settings.frame_samples`, and T below is their
    number. Batches of unequal lengths carry a mask `[B, T]` of true frames, and what lies outside of it changes
    nothing inside.
    """

    def __init__(self, settings: CodecSettings, told: UnitsInfo | None = None) -> None:
        """Make a model with fresh weights.

        Args:
            settings: its shape.
            told: what the units are that its decoder may be told; None when it can be told nothing.

        Raises:
            InputError: they are not as many as the decoder's.
        """
        super().__init__()
        if settings.decoder_units != (told.clusters if told else 0):
            said = "no units are named that its decoder may be told" if told is None else f"there are {told.clusters}"
            raise InputError(f"codec: decoder_units is {settings.decoder_units}, but {said}")
        self.settings, self.told = settings, told
        self.encoder = Encoder(settings)
        self.whitening = Whitening(settings.latent_width)
        self.quantizer = ResidualQuantizer(settings.levels, settings.codebook_size, settings.latent_width)
        self.decoder = Decoder(settings)

    def encode(self, samples: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return codes `[K, B, T]`."""
        return self.quantizer.encode(self.whitening(self.encoder(samples, mask)))

    def decode(self, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return waveforms `[B, N]` of codes `[K', B, T]`, the first K' of K levels."""
        return self.decoder(self.quantizer.decode(codes), mask)  # type: ignore[no-any-return]

    def freeze_codes(self) -> None:
        """Take encoder, whitening and quantiser out of training, and round them as they will be stored.

        From then on their codes are those of every codec that is stored later.
        """
        for part in (self.encoder, self.whitening, self.quantizer):
            part.eval().requires_grad_(False)
            for tensor in part.state_dict().values():
                tensor.copy_(tensor.half())


class Encoder(nn.Module):
    """Waveform `[B, N]` to latent `[B, T, D]`, not yet whitened."""

    def __init__(self, settings: CodecSettings) -> None:
        super().__init__()
        self._settings = settings
        width, blocks = settings.encoder_width, settings.encoder_blocks + 1
        self.start = TimeConv(settings.mel_bands, width)
        self.start_norm = nn.LayerNorm(width)
        self.fine = ConvNeXtBlock(width, settings.expansion, 1.0 / blocks)
        self.stride = nn.Linear(2 * width, width)  # a convolution of kernel 2 and stride 2
        self.coarse = nn.ModuleList(
            ConvNeXtBlock(width, settings.expansion, 1.0 / blocks) for _ in range(settings.encoder_blocks)
        )
        self.end_norm = nn.LayerNorm(width)
        self.end = nn.Linear(width, settings.latent_width)

    def forward(self, samples: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the latent `[B, T, D]` of `[B, N]`."""
        settings = self._settings
        fine_mask = None if mask is None else mask.repeat_interleave(2, dim=1)  # [B, 2 T]
        mels = log_mel(samples, settings.sample_rate_hz, settings.window, settings.hop, settings.mel_bands)
        # Speech lies around -4 with a spread of about 3 in these units.
        hidden = self.start_norm(self.start((mels + 4.0) / 3.0, fine_mask))
        hidden = self.fine(hidden, fine_mask)
        rows, spectra, width = hidden.shape
        hidden = self.stride(hidden.reshape(rows, spectra // 2, 2 * width))  # [B, T, W]
        for block in self.coarse:
            hidden = block(hidden, mask)
        return self.end(self.end_norm(hidden))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Latent `[B, T, D]`, and what else is known, to waveform `[B, N]`."""

    def __init__(self, settings: CodecSettings) -> None:
        super().__init__()
        self._settings = settings
        width, blocks = settings.decoder_width, settings.decoder_blocks + settings.spectrum_blocks
        self.start = TimeConv(settings.latent_width, width)
        self.start_norm = nn.LayerNorm(width)
        self.coarse = nn.ModuleList(
            ConvNeXtBlock(width, settings.expansion, 1.0 / blocks) for _ in range(settings.decoder_blocks)
        )
        self.widen = nn.Linear(width, 2 * width)  # a transposed convolution of kernel 2 and stride 2
        self.fine = nn.ModuleList(
            ConvNeXtBlock(width, settings.expansion, 1.0 / blocks) for _ in range(settings.spectrum_blocks)
        )
        self.end_norm = nn.LayerNorm(width)
        bins = settings.window // 2 + 1
        self.source = Source(settings) if settings.decoder_source else None
        # With a source: how loud its pulses are, how they are shifted, and how loud its noise is.
        self.end = nn.Linear(width, (3 if settings.decoder_source else 2) * bins)
        if settings.decoder_source:
            with torch.no_grad():  # about as loud as speech
                self.end.bias.view(3, bins).copy_(torch.tensor([[-2.0], [0.0], [-3.0]]))
        self.guide = Guide(settings, blocks) if settings.decoder_units else None

    def forward(self, latent: Tensor, mask: Tensor | None = None, guidance: Guidance | None = None) -> Tensor:
        """Return the waveform `[B, N]`, float32; a decoder that can be told nothing heeds no guidance."""
        return self.speak(latent, mask, guidance)[0]

    def speak(
        self,
        latent: Tensor,
        mask: Tensor | None = None,
        guidance: Guidance | None = None,
        pitch: Pitch | None = None,
        noise_from: Tensor | None = None,
    ) -> tuple[Tensor, Pitch | None]:
        """Decode, maybe at a given pitch.

        Args:
            latent: `[B, T, D]`.
            mask: true frames `[B, T]`; None when all are.
            guidance: what else is known.
            pitch: what its source follows, `[B, 2 T]`, rather than what is foretold; without a source it is not heeded.
            noise_from: where in its noise each row begins, `[B]`; all at its beginning when there is none.

        Returns:
            The waveform `[B, N]`, float32, and the foretold pitch; None without a source.
        """
        fine_mask = None if mask is None else mask.repeat_interleave(2, dim=1)  # [B, 2 T]
        hidden = self.start_norm(self.start(latent, mask))
        split = len(self.coarse)
        styles: Sequence[Tensor | None] = [None] * (split + len(self.fine))
        if self.guide is not None:
            hidden, styles = self.guide(hidden, mask, guidance or Guidance.nothing(latent))
        for block, style in zip(self.coarse, styles[:split], strict=True):
            hidden = block(hidden, mask, style)
        rows, frames, width = hidden.shape
        hidden = self.widen(hidden).view(rows, 2 * frames, width)  # [B, 2 T, W]
        foretold, sources = None, None
        if self.source is not None:
            foretold = self.source.foretell(hidden, fine_mask)
            sung = pitch or foretold.decided(fine_mask)
            hidden = hidden + self.source.tell(sung)
            sources = self.source(sung, fine_mask, noise_from)
        for block, style in zip(self.fine, styles[split:], strict=True):
            hidden = block(hidden, fine_mask, style)
        values = self.end(self.end_norm(hidden)).float()
        if sources is None:
            spectra = _filter(*values.chunk(2, dim=-1))  # each [B, 2 T, bins]
        else:
            pulses, noise = sources
            loud, phase, breath = values.chunk(3, dim=-1)
            spectra = _filter(loud, phase) * pulses + breath.clamp(max=_HIGHEST_LOG_MAGNITUDE).exp() * noise
        return _synthesize(spectra, self._settings.window, self._settings.hop, fine_mask), foretold


def _filter(log_magnitude: Tensor, phase: Tensor) -> Tensor:
    return torch.polar(log_magnitude.clamp(max=_HIGHEST_LOG_MAGNITUDE).exp(), phase)


def _synthesize(spectra: Tensor, window: int, hop: int, mask: Tensor | None) -> Tensor:
    """Inverse short-time Fourier transform: `[B, 2 T, bins]` to `[B, 2 T * hop]`; masked spectra are left out."""
    shape = hann(window, spectra.device)
    present = spectra.new_ones(1, spectra.shape[1], dtype=shape.dtype) if mask is None else mask.to(shape.dtype)
    frames = torch.fft.irfft(spectra, n=window) * shape
    if mask is not None:
        frames = frames * present[..., None]
    envelope = overlap_add(present[..., None] * shape.square(), hop)
    return overlap_add(frames, hop) / envelope.clamp(min=1e-6)
