"""For all tests: speed is no verdict here, so no example of a property has a deadline."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums over several threads round differently from run to run."""
    import torch  # not every package has it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
