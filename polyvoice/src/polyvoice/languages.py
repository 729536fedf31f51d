"""How languages are named: codes such as `zh`."""

from __future__ import annotations

import re

from polyvoice.errors import InputError

_CODE = re.compile(r"[a-z]{2,3}")


def is_language(code: str) -> bool:
    """Whether `code` is one of two or three small letters."""
    return _CODE.fullmatch(code) is not None


def check_language(code: str) -> None:
    """Raise InputError unless `code` is one of two or three small letters."""
    if not is_language(code):
        raise InputError(f"language {code!r} is not a code of two or three small letters such as 'zh'")
