"""From a template and its values to one self-contained HTML file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from unitlm.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jinja2 import Environment

_TEMPLATES = "report/templates"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Every value is escaped unless it is Markup: captions and SMILES come from tables and from models.
    return Environment(
        loader=PackageLoader("molregpt", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(template: str, values: Mapping[str, object]) -> str:
    """Render a template.

    Args:
        template: Name of a file under `templates/`.
        values: What the template shows; text is escaped, `Markup` is not.
    """
    from markupsafe import Markup

    style = (files("molregpt") / _TEMPLATES / "style.css").read_text("utf-8")
    # The style sheet is ours, so it goes into the page as it is.
    return _environment().get_template(template).render(values, style=Markup(style))  # noqa: S704


def write_page(path: Path, template: str, values: Mapping[str, object]) -> None:
    """Render a template, as `render_page` does, and write it atomically.

    Args:
        path: The HTML file.
        template: Name of a file under `templates/`.
        values: What the template shows.

    Raises:
        InputError: The folder cannot be written.
    """
    write_text(path, render_page(template, values))
