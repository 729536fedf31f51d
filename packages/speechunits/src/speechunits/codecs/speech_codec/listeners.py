"""Who listens to decoded speech in training: one who knows what is said, and one who knows the voice."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from speechunits.codecs.speech_codec.losses import heard_loss, speaker_loss
from speechunits.codecs.speech_codec.settings import CodecTraining
from speechunits.encoders.batched import BatchedEncoder
from speechunits.encoders.load import load_encoder
from speechunits.errors import InputError
from speechunits.speakers.encoder import SAMPLE_RATE_HZ, SpeakerEncoder, load_speaker_encoder


@dataclass(frozen=True)
class Listeners:
    """Those that a run's settings name.

    Attributes:
        settings: of the run: how much each one counts, and how many crops it hears.
        content: hears what is said; None where nobody does.
        speaker: hears who speaks; None where nobody does.
    """

    settings: CodecTraining
    content: BatchedEncoder | None = None
    speaker: SpeakerEncoder | None = None

    @classmethod
    def load(cls, settings: CodecTraining, device: str) -> "Listeners":
        """Load them.

        Raises:
            InputError: one cannot be loaded, or hears speech at another rate than the codec's.
        """
        content, speaker = None, None
        if settings.listener:
            content = load_encoder(settings.listener, settings.listener_layer, device)
            _require_rate(settings.listener, content.sample_rate_hz, settings)
        if settings.speaker_encoder:
            _require_rate(settings.speaker_encoder, SAMPLE_RATE_HZ, settings)
            speaker = load_speaker_encoder(Path(settings.speaker_encoder), device)
        return cls(settings, content, speaker)

    @property
    def identities(self) -> dict[str, str]:
        """What they are, by their keys in a run's record; empty where nobody listens."""
        both = {"heard_by": self.content, "voices_heard_by": self.speaker}
        return {key: "" if listener is None else listener.identity for key, listener in both.items()}

    def listen(self, decoded: Tensor, samples: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        """How far decoded speech is from the original, as they hear it.

        Args:
            decoded: `[B, N]`, carries the gradient. The first crops are heard for what is said, the last ones for who
                speaks.
            samples: the original, `[B, N]`.

        Returns:
            The weighted sum of the losses, None where nobody listens; and each loss.
        """
        settings, losses = self.settings, dict[str, Tensor]()
        total: Tensor | None = None
        if self.content is not None:
            first = slice(settings.listener_crops)
            with torch.no_grad():
                right = self.content.hear(samples[first])
            losses["heard"] = heard_loss(self.content.hear(decoded[first]), right)
            total = settings.listener_weight * losses["heard"]
        if self.speaker is not None:
            last = slice(-settings.speaker_crops, None)
            with torch.no_grad():
                right = self.speaker.embed(samples[last])
            losses["speaker"] = speaker_loss(self.speaker.embed(decoded[last]), right)
            asked = settings.speaker_weight * losses["speaker"]
            total = asked if total is None else total + asked
        return total, losses


def _require_rate(name: str, rate_hz: int, settings: CodecTraining) -> None:
    if rate_hz != settings.codec.sample_rate_hz:
        raise InputError(f"{name}: hears speech at {rate_hz} Hz, not the codec's {settings.codec.sample_rate_hz}")
