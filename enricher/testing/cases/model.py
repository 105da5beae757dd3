"""What may stand in a file of cases.

Invariants: a ``Case`` has an expectation for each input; an input has one value, an answer one body, an expectation one
outcome. A wrong value raises what ``enricher.config`` raises for settings.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from enricher.config.problems import bad_value
from enricher.config.units import Duration

ANY = "*"
"""In place of a customer's id: all those that are not named."""


def parse_instant(value: Any) -> int:
    """Milliseconds since the epoch, also of a time in ISO 8601.

    Raises:
        PydanticCustomError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise bad_value("is no time", "write milliseconds, or as in 2026-05-01T12:00:00.000Z") from None
    if instant.tzinfo is None:
        raise bad_value("has no time zone", "write it as in 2026-05-01T12:00:00Z")
    return round((instant - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000)


def _check_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise bad_value("is no base64") from None
    return text


def _listed(value: Any) -> Any:
    """One thing in place of a list of one."""
    return [value] if isinstance(value, Mapping) else value


def _as_text(value: Any) -> Any:
    """A number in place of text: YAML takes many an id for one. It is written as YAML's reader understood it."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Instant = Annotated[int, BeforeValidator(parse_instant)]
Text = Annotated[str, BeforeValidator(_as_text)]
Base64 = Annotated[str, AfterValidator(_check_base64)]
Status = Annotated[int, Field(ge=100, le=599)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Given(_Part):
    """An input record. Its value is one of ``value`` (JSON), ``raw`` (text) and ``base64``."""

    topic: str = ""
    partition: int = Field(default=0, ge=0, le=99)
    key: Text | None = None
    value: Any = None
    raw: str = ""
    base64: Base64 = ""
    headers: dict[str, Text | None] = {}
    timestamp: Instant = -1

    @model_validator(mode="after")
    def _one_value(self) -> "Given":
        given = self.model_fields_set & {"value", "raw", "base64"}
        if len(given) != 1:
            raise bad_value("needs exactly one of value, raw and base64", "value: null is a record without a value")
        return self

    @property
    def data(self) -> bytes | None:
        """The record's value."""
        if "raw" in self.model_fields_set:
            return self.raw.encode("utf-8", "surrogatepass")
        if "base64" in self.model_fields_set:
            return base64.b64decode(self.base64)
        return None if self.value is None else json.dumps(self.value, ensure_ascii=False).encode()


class Answer(_Part):
    """One answer of the service, or how it fails.

    A status other than 200 has a body only if one is given.
    """

    offers: list[dict[str, Any]] = []
    status: Status = 200
    body: str | None = None
    content_type: str = "application/json"
    retry_after: Text | None = None
    fails: Literal["connection", "timeout"] | None = None
    after: Duration = 0.0
    times: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _one_body(self) -> "Answer":
        if len(self.model_fields_set & {"offers", "body", "fails"}) > 1:
            raise bad_value("has more than one of offers, body and fails", "keep one of them")
        return self

    @property
    def content(self) -> bytes:
        """The body."""
        if self.body is not None:
            return self.body.encode()
        return json.dumps({"OfferHistory": self.offers}).encode() if self.status == 200 else b""  # noqa: PLR2004


Answers = dict[str, Annotated[tuple[Answer, ...], BeforeValidator(_listed), Field(min_length=1)]]


class DeadLetter(_Part):
    """What a dead letter must be; ``message`` has to be part of its message."""

    stage: Literal["decode", "lookup", "encode", "produce"] | None = None
    cause: str | None = None
    message: str | None = None
    attempts: int | None = None


class Expected(_Part):
    """What must come of one input: an output, a dead letter, or nothing, as it waits for the service."""

    output: dict[str, Any] | None = None
    dead_letter: DeadLetter | None = None
    waits: Literal[True] | None = None
    key: Text | None = None
    headers: dict[str, Text | None] = {}
    timestamp: Instant | None = None

    @model_validator(mode="after")
    def _one_outcome(self) -> "Expected":
        if len(self.model_fields_set & {"output", "dead_letter", "waits"}) != 1:
            raise bad_value("needs exactly one of output, dead_letter and waits", "output: {} takes any output")
        return self


class Case(_Part):
    """One test. Its clock begins at ``now``: without that, at the newest timestamp of its input, or with 2026."""

    name: str = Field(min_length=1)
    settings: dict[str, Any] = {}
    now: Instant = 0
    within: Duration = 600.0
    input: Annotated[tuple[Given, ...], BeforeValidator(_listed), Field(min_length=1)]
    answers: Answers = {}
    expect: Annotated[tuple[Expected, ...], BeforeValidator(_listed), Field(min_length=1)]

    @model_validator(mode="after")
    def _as_many(self) -> "Case":
        if len(self.expect) != len(self.input):
            message = f"has {len(self.input)} in input and {len(self.expect)} in expect"
            raise bad_value(message, "write one expectation for each input, in the same order")
        return self

    @property
    def begin(self) -> int:
        """When the clock begins, milliseconds since the epoch."""
        newest = max(given.timestamp for given in self.input)
        return self.now if "now" in self.model_fields_set else newest if newest >= 0 else _YEAR_2026


_YEAR_2026 = 1_767_225_600_000


class File(_Part):
    """A whole file. ``answers`` are for all its tests; a test's own are before them, customer by customer."""

    config: str = ""
    settings: dict[str, Any] = {}
    answers: Answers = {}
    tests: Annotated[tuple[Case, ...], Field(min_length=1)]


FIELDS = tuple(
    dict.fromkeys(name for part in (File, Case, Given, Answer, Expected, DeadLetter) for name in part.model_fields)
)
"""The names of all fields, for hints."""
