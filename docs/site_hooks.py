"""For the site alone: links that lead out of docs/, as into tests/, are shown as text; the site has no such page."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!docs/)(?:tests|shared|packages|polyvoice|molregpt|bench)/[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with each page's source."""
    return _OUTSIDE.sub(lambda link: "<br>".join(f"`{part}`" for part in link[1].split("::")), markdown)
