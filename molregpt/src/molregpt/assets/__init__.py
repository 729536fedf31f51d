"""Files that ship with the package: the example database, sample questions, a vocabulary, a WordNet extract, an editor.

Each file's origin, licence and the changes made to it are stated in the `*.LICENSE.*` file of the same name beside it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def asset(name: str) -> Traversable:
    """The shipped file `name`; it need not be a real path (the package may be imported from a zip file)."""
    return files(__name__).joinpath(name)
