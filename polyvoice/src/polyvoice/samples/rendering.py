"""From a template and its values to one HTML page that needs nothing beside it but sounds and pictures."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

_TEMPLATES = "samples/templates"


def render_page(template: str, values: Mapping[str, object]) -> str:
    """Render a template of the folder `templates`; all values are escaped."""
    from markupsafe import Markup

    folder = files("polyvoice") / _TEMPLATES
    # Style and script are ours, so they go into the page as they are; everything else is escaped.
    style, script = (Markup((folder / name).read_text("utf-8")) for name in ("style.css", "players.js"))  # noqa: S704
    return _environment().get_template(template).render(values, style=style, script=script)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("polyvoice", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
