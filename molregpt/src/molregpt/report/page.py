"""From a template and its values to one self-contained HTML file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from molregpt.files import write_atomically

if TYPE_CHECKING:
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


def write_page(path: Path, template: str, values: dict[str, object]) -> None:
    """Render a template and write it atomically.

    Args:
        path: The HTML file.
        template: Name of a file under `templates/`.
        values: What the template shows; text is escaped, `Markup` is not.

    Raises:
        InputError: The folder cannot be written.
    """
    from markupsafe import Markup

    style = (files("molregpt") / _TEMPLATES / "style.css").read_text("utf-8")
    # The style sheet is ours, so it goes into the page as it is.
    page = _environment().get_template(template).render(values, style=Markup(style))  # noqa: S704
    write_atomically(path, page)
