"""`polyvoice web`: a page to speak into and to listen to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from polyvoice.errors import InputError
from polyvoice.pipeline.settings import PipelineOptions
from polyvoice.serving.address import Address
from polyvoice.serving.settings import Limits


@dataclass(frozen=True)
class Web:
    """Show a page in the browser: record or upload speech, hear it in another language, see units and times.

    Only this machine can reach it unless --host says otherwise. SIGTERM ends it.
    """

    bundle: Path | None = None
    """Folder of models of `polyvoice bundle`; the one that ships with this package by default."""
    address: Annotated[Address, arg(name="")] = field(default_factory=Address)
    """Where."""
    limits: Annotated[Limits, arg(name="")] = field(default_factory=Limits)
    """For whom."""
    options: Annotated[PipelineOptions, arg(name="")] = field(default_factory=PipelineOptions)
    """How."""
    device: str = "cpu"
    """torch device."""

    def run(self) -> None:
        """Show the page until told to stop."""
        try:
            from polyvoice.web.page import open_page
        except ImportError as error:
            raise InputError(f"the page needs {error.name}: pip install 'polyvoice-s2st[web]'") from error
        from polyvoice.bundle import load
        from polyvoice.bundle.shipped import shipped_bundle
        from polyvoice.pipeline.translator import SpeechTranslator

        bundle = load(self.bundle or shipped_bundle(), self.device)
        translator = SpeechTranslator(bundle, self.options)
        translator.warm_up()
        open_page(translator, bundle.manifest.directions, bundle.manifest.name, self.address, self.limits)
