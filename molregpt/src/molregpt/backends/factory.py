"""From what a user writes after `--backend` to a back end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from molregpt.backends.neighbour import NeighbourBackend
from molregpt.backends.options import BackendOptions
from molregpt.database import open_database
from molregpt.errors import InputError
from molregpt.local.shipped import SHIPPED_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from molregpt.backends.protocol import Backend
    from molregpt.database import Database

CHOICES = (
    "local, neighbour, the folder of a model that `molregpt train` or `molregpt adapt` made, or the URL of an "
    "OpenAI-compatible server such as http://localhost:11434/v1"
)


def create_backend(
    spec: str, options: BackendOptions | None = None, pool: Callable[[], Database] = open_database
) -> Backend:
    """Make the back end that `spec` names.

    Args:
        spec: `local`, `neighbour`, the folder of a model of ours, or the URL of an OpenAI-compatible server.
        options: Settings; each back end reads its own part.
        pool: Opens the pool that the examples come from, if the back end looks for molecules in it; the shipped one by
            default.

    Raises:
        InputError: An unknown name (the message lists the choices), or settings that the back end cannot work with.
    """
    options = options or BackendOptions()
    if spec in ("neighbour", SHIPPED_NAME) and (model := options.server.model):
        # Else another's text would pass for the model's.
        raise InputError(f"model {model!r} needs a server, and the back end is {spec}: give --backend URL")
    if spec == "neighbour":
        return NeighbourBackend()
    if spec.lower().startswith(("http://", "https://")):
        # The HTTP client takes 0.1 s to import, and the neighbour needs none.
        from molregpt.backends.chat import ChatBackend
        from molregpt.backends.client import ChatClient

        return ChatBackend(ChatClient(spec, options.server), options)
    if spec == SHIPPED_NAME or (spec and Path(spec).is_dir()):
        # torch takes a second or more to import, and the others do not need it.
        from molregpt.backends.local import LocalBackend
        from molregpt.data.shipped import digest_structures
        from molregpt.local.model import find_model, load_local_model
        from molregpt.relatives.structures import Structures

        local = load_local_model(find_model(spec))
        return LocalBackend(local, lambda: Structures.beside(pool()), digest=digest_structures())
    raise InputError(f"unknown back end {spec!r}; choose {CHOICES}")
