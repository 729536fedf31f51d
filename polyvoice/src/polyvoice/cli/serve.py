"""`polyvoice serve`: translation over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from polyvoice.errors import InputError
from polyvoice.pipeline.settings import PipelineOptions
from polyvoice.serving.address import Address
from polyvoice.serving.settings import ServerLimits


@dataclass(frozen=True)
class Serve:
    """Translate over HTTP, by an interface in the manner of OpenAI's.

    POST /v1/audio/translations takes a multipart form (file, target_language, source_language, response_format wav or
    flac, stream true or false, seed) and answers with audio; GET /v1/models, /health and /metrics tell about it.
    SIGTERM lets it finish what it has taken.
    """

    bundle: Path | None = None
    """Folder of models of `polyvoice bundle`; the one that ships with this package by default."""
    address: Annotated[Address, arg(name="")] = field(default_factory=Address)
    """Where."""
    limits: Annotated[ServerLimits, arg(name="")] = field(default_factory=ServerLimits)
    """For whom."""
    options: Annotated[PipelineOptions, arg(name="")] = field(default_factory=PipelineOptions)
    """How."""
    device: str = "cpu"
    """torch device."""

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            from polyvoice.serving.run import serve
        except ImportError as error:
            raise InputError(f"serving needs {error.name}: pip install 'polyvoice-s2st[serve]'") from error
        from polyvoice.bundle import load
        from polyvoice.bundle.shipped import shipped_bundle
        from polyvoice.pipeline.translator import SpeechTranslator
        from polyvoice.serving.app import Model

        bundle = load(self.bundle or shipped_bundle(), self.device)
        translator = SpeechTranslator(bundle, self.options)
        translator.warm_up()
        directions = tuple(str(direction) for direction in bundle.manifest.directions)
        serve(Model(bundle.manifest.name, directions, translator), self.address, self.limits)
