"""Frozen dataclasses from JSON: every key known, every value of the declared type."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from unitlm.errors import InputError

Settings = TypeVar("Settings")


def parse_settings(kind: type[Settings], values: Mapping[str, object], where: str) -> Settings:
    """Build the dataclass `kind` from `values`.

    Fields may be `bool`, `int`, `float`, `str`, a `Literal`, a tuple of these, or one of these or `None`.

    Args:
        kind: A dataclass; its own checks run on construction.
        values: Key to value, as read from JSON.
        where: What is being read, for messages.

    Raises:
        InputError: A key is unknown or missing, a value has the wrong type, or the dataclass refuses it.
    """
    hints = get_type_hints(kind)
    declared = fields(kind)  # type: ignore[arg-type]
    names = [field.name for field in declared]
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            raise InputError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    for field in declared:
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}: key {field.name!r} is missing")
    converted = {key: _convert(value, hints[key], f"{where}: {key}") for key, value in values.items()}
    try:
        return kind(**converted)
    except ValueError as error:  # the dataclass knows what is wrong, but not where it stands
        raise InputError(f"{where}: {error}") from error


def _convert(value: object, hint: Any, where: str) -> object:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _convert(value, hint, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} must be one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} must be a list, got {value!r}")
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(items) != len(value):
            raise InputError(f"{where} must have {len(items)} items, got {len(value)}")
        return tuple(_convert(item, kind, where) for item, kind in zip(value, items, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # A bool is an int to Python; `layers: true` is a mistake to everyone else.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{where} must be {hint.__name__}, got {value!r}")
    return value
