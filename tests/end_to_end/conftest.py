"""What the end-to-end tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def index_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the whole session, so that the shipped pool is indexed once."""
    return tmp_path_factory.mktemp("molregpt-cache")
