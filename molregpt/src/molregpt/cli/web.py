"""`molregpt web`: a page to draw into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import arg

from molregpt.backends.options import BackendOptions
from molregpt.errors import InputError
from molregpt.retrieval.options import RetrievalOptions
from molregpt.web.settings import Address, Limits


@dataclass(frozen=True, slots=True)
class Web:
    """Show a page in the browser: draw or type a molecule, or describe one; see neighbours, prompt, answer and checks.

    Only this machine can reach it unless --host says otherwise. SIGTERM ends it.

    Attributes:
        backend: neighbour (copy the best), local (the model that ships), the folder of a model of `molregpt train` or
            `molregpt adapt`, or the URL of an OpenAI-compatible server.
        shots: Examples to show at first; visitors may choose others.
        address: Where.
        limits: For whom.
        retrieval: Where examples come from.
        settings: How the back end is used.
    """

    backend: str = "neighbour"
    shots: int = 10
    address: Annotated[Address, arg(name="")] = field(default_factory=Address)
    limits: Annotated[Limits, arg(name="")] = field(default_factory=Limits)
    retrieval: Annotated[RetrievalOptions, arg(name="")] = field(default_factory=RetrievalOptions)
    settings: Annotated[BackendOptions, arg(name="")] = field(default_factory=BackendOptions)

    def run(self) -> None:
        """Show the page until told to stop."""
        try:
            from molregpt.web.page import open_page
        except ImportError as error:
            raise InputError(f"the page needs {error.name}: pip install 'molregpt[web]'") from error
        from molregpt.web.asked import Desk

        desk = Desk(self.backend, self.retrieval, self.settings, self.limits, self.shots)
        desk.warm_up()
        open_page(desk, self.address, self.limits)
