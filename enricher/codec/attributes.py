"""Input fields that the schema does not name, as a map of texts, without loss.

A string stays as it is, and any other value is its JSON text. A string that could itself be taken for a JSON text is
quoted, so that ``attribute_value`` finds the value again: what parses as JSON is JSON, all else is the string itself.
A number keeps its digits, however many.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

_string = msgspec.json.Decoder(str).decode
_BEGINS_JSON = frozenset('-0123456789"{[tfn \t\n\r')


def attribute(raw: bytes) -> str:
    """The text that stands for a JSON value.

    Raises:
        ValueError: it is not valid JSON.
        RecursionError: it is nested too deeply.
    """
    if raw[:1] != b'"':
        return msgspec.json.format(raw, indent=-1).decode()
    text = _string(raw)
    if text and text[0] in _BEGINS_JSON and _is_json(text):
        return msgspec.json.encode(text).decode()
    return text


def attribute_value(text: str) -> Any:
    """The value that an attribute's text stands for."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    except RecursionError:
        return True
    return True


def merge(own: Mapping[str, str], unknown: Mapping[str, str]) -> dict[str, str]:
    """The input's own attributes, and its unknown fields.

    An unknown field whose name an own attribute has is kept under that name with a slash before it (or several).
    """
    merged = dict(own)
    for name, text in unknown.items():
        free = name
        while free in merged or (free != name and free in unknown):
            free = f"/{free}"
        merged[free] = text
    return merged
