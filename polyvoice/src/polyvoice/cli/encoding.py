"""What `units` and `kmeans` have in common: audio files and the encoder that hears them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from polyvoice.errors import InputError

if TYPE_CHECKING:
    from speechunits.encoders.protocol import SpeechEncoder


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Options of commands that turn speech into features."""

    audio: Annotated[tuple[Path, ...], Positional]
    """Audio files, of any rate, channels and format that libsndfile reads."""
    encoder: str
    """fairseq HuBERT checkpoint (*.pt; nothing in it is executed), or a folder or hub name of transformers."""
    layer: int
    """Transformer layer whose features are used, counted from 1."""
    device: str = "cpu"
    """torch device."""
    json: bool = False
    """Print one JSON object."""

    def load_encoder(self) -> SpeechEncoder:
        """Load the encoder, after the cheap checks."""
        from speechunits.encoders.load import load_encoder

        if not self.audio:
            raise InputError("no audio file is given")
        return load_encoder(self.encoder, self.layer, self.device)
