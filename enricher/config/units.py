"""Durations and sizes as people write them, and as the code has them: seconds (float) and bytes (int).

Invariant: ``format_*`` of a parsed value parses to the same value. A bare number is no duration, as nobody can tell
whether it was meant in seconds or in milliseconds; as a size it is bytes.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from enricher.config.problems import bad_value

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"
SIZE_PATTERN = r"^[0-9]+(B|kB|KB|MB|GB|KiB|MiB|GiB)?$"

MAX_DURATION = 7 * 24 * 3600.0

_NOTHING = {"0s", "0ms", "0m", "0h"}
_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_BYTES = {
    "GiB": 1 << 30,
    "GB": 10**9,
    "MiB": 1 << 20,
    "MB": 10**6,
    "KiB": 1 << 10,
    "kB": 1000,
    "KB": 1000,
    "B": 1,
    "": 1,
}
_BINARY = ("GiB", "MiB", "KiB")
_DECIMAL = ("GB", "MB", "kB")


def parse_duration(value: Any) -> float:
    """Seconds of a duration such as ``250ms``, ``5s``, ``2m``, ``1h``.

    Raises:
        PydanticCustomError: it is none, it is not above 0, or it is longer than a week.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise bad_value("must be a duration", "such as 250ms, 5s, 2m or 1h")
    found = re.fullmatch(DURATION_PATTERN.strip("^$"), text)
    if found is None:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise bad_value("is a number without a unit", f"write {text}s for seconds or {text}ms for milliseconds")
        raise bad_value("is no duration", "write a number and ms, s, m or h, such as 250ms, 5s, 2m or 1h")
    unit = found[2]
    seconds = float(text.removesuffix(unit)) * _MILLISECONDS[unit] / 1000
    if seconds <= 0:
        raise bad_value("must be above 0", "such as 250ms or 5s")
    if seconds > MAX_DURATION:
        raise bad_value("is too long", f"at most {format_duration(MAX_DURATION)}")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest exact way to write it, such as ``100ms`` or ``2m``."""
    milliseconds = round(seconds * 1000, 6)
    if not milliseconds:
        return "0s"
    for unit, factor in _MILLISECONDS.items():
        if milliseconds % factor == 0:
            return f"{int(milliseconds // factor)}{unit}"
    return f"{milliseconds:.6f}".rstrip("0") + "ms"


def parse_size(value: Any) -> int:
    """Bytes of a size such as ``512B``, ``64KiB``, ``10MB``, or a bare number of bytes.

    Raises:
        PydanticCustomError: it is none, or it is not above 0.
    """
    right = "write bytes, or a number and B, kB, MB, GB, KiB, MiB or GiB, such as 64KiB or 1MiB"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise bad_value("is no size", right)
    text = str(value).strip()
    if re.fullmatch(SIZE_PATTERN.strip("^$"), text) is None:
        raise bad_value("is no size", right)
    digits = text.rstrip("BKMGki")
    size = int(digits) * _BYTES[text[len(digits) :]]
    if size <= 0:
        raise bad_value("must be above 0", "such as 64KiB or 1MiB")
    return size


def format_size(size: int) -> str:
    """The shortest exact way to write it, such as ``64KiB`` or ``10MB``."""
    for units in (_BINARY, _DECIMAL):
        for unit in units:
            if size % _BYTES[unit] == 0:
                return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}, mode="validation"),
]
"""Seconds, above 0; written as ``250ms``, ``5s``, ``2m``, ``1h``."""

OptionalDuration = Annotated[
    float,
    BeforeValidator(lambda value: 0.0 if str(value).strip() in _NOTHING else parse_duration(value)),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}, mode="validation"),
]
"""Seconds, or 0 where it is written as ``0s``: off."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", "minimum": 1}]}, mode="validation"
    ),
]
"""Bytes, above 0; written as ``64KiB``, ``1MiB``, ``10MB``, or as a number of bytes."""
