"""Input fields that the schema does not name, as a map of texts, without loss.

A string stays as it is, and any other value is its JSON text. A string that could itself be taken for a JSON text is
quoted, so that ``attribute_value`` finds the value again: what parses as JSON is JSON, all else is the string itself.
A number keeps its digits, however many, and an object its keys in their order, those given twice included.

Invariant: what counts as JSON is decided by the grammar that the input itself was read with, and not by what fits a
Python number, so that a number too large for a float and a string of the same letters are never taken for each other.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

MAX_DEPTH = 100
"""Objects and lists within each other. Stated, because what the interpreter's stack allows differs by version."""

_string = msgspec.json.Decoder(str).decode
_check = msgspec.json.Decoder(msgspec.Raw).decode
_BEGINS_JSON = frozenset('-0123456789"{[tfn \t\n\r')


def attribute(raw: bytes) -> str:
    """The text that stands for a JSON value, whose nesting is at most ``MAX_DEPTH``.

    Raises:
        ValueError: it is not valid JSON.
    """
    if raw[:1] != b'"':
        return msgspec.json.format(raw, indent=-1).decode()
    text = _string(raw)
    if text and text[0] in _BEGINS_JSON and _must_be_quoted(text):
        return msgspec.json.encode(text).decode()
    return text


def attribute_value(text: str) -> Any:
    """The value that an attribute's text stands for: the inverse of ``attribute``.

    Numbers are exact: an int, a float where its shortest form is the number that was written, or else a Decimal. One
    that not even a Decimal can hold is its text.
    """
    if not text or text[0] not in _BEGINS_JSON:
        return text
    try:
        _check(text)
        return _decode(text)
    except msgspec.ValidationError:  # an integer of thousands of digits
        return json.loads(text, parse_int=Decimal, parse_float=_number)
    except (ValueError, RecursionError):  # no JSON, or deeper than ``attribute`` lets through
        return text


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


def _must_be_quoted(text: str) -> bool:
    """Whether the string would be taken for JSON. Yes costs no more than two quotes, so it is said in doubt, too."""
    if text.count("[") + text.count("{") > MAX_DEPTH:
        return True
    try:
        _check(text)
    except msgspec.DecodeError:
        return False
    return True


def _number(text: str) -> float | Decimal | str:
    """A number with a fraction or an exponent."""
    try:
        exact = Decimal(text)
    except ArithmeticError:  # an exponent of 19 digits
        return text
    short = float(text)
    return short if Decimal(repr(short)) == exact else exact


_decode = msgspec.json.Decoder(float_hook=_number).decode
