"""Import fairseq without what its import does to the importing program."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def logging_left_alone() -> Iterator[None]:
    """Keep fairseq from opening the root logger at level INFO while it is imported within the block.

    `logging.basicConfig`, which it calls, does nothing when there is a handler.
    """
    root = logging.getLogger()
    placeholder = logging.NullHandler()
    root.addHandler(placeholder)
    try:
        yield
    finally:
        root.removeHandler(placeholder)
