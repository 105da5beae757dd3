"""What the history service is told to do wrong: a frozen, validated value, in JSON or in Python.

Invariants: a value that exists is valid. The rates of one behaviour exclude each other, so together they are at most
1: one request meets one fault. A customer's own behaviour stands in place of the general one, not on top of it.
"""

from collections.abc import Callable
from email.utils import formatdate
from enum import StrEnum
from typing import Literal, NamedTuple, TypeVar

import msgspec

from enricher.testing.latency import Latency, parse_duration

T = TypeVar("T")

MAX_OVERSIZE = 64 * 1024 * 1024
"""An oversize body is built in memory; more than this (bytes) is refused."""


class Kind(StrEnum):
    """What becomes of a request; the names are those of the rates and of the steps of a script."""

    OK = "ok"
    STATUS = "status"
    RESET = "reset"
    HANG = "hang"
    SLOW_BODY = "slow_body"
    TRUNCATED_JSON = "truncated_json"
    TRUNCATED_BODY = "truncated_body"
    HTML = "html"
    OVERSIZE = "oversize"
    WRONG_CONTENT_TYPE = "wrong_content_type"


RATED = tuple(kind for kind in Kind if kind not in {Kind.OK, Kind.STATUS})
"""The kinds that have a rate of their own name; those of statuses are in ``status``."""


class Outcome(NamedTuple):
    """What becomes of one request; ``status`` is 200 unless the kind is STATUS."""

    kind: Kind
    status: int = 200


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How requests are answered. Rates are shares of requests, from 0 to 1.

    Attributes:
        latency: time until the answer: ``20ms``, ``uniform:10ms,30ms``, ``normal:20ms,5ms``, ``lognormal:20ms,0.5``.
        status: rates of statuses, such as ``{"503": 0.01}``.
        retry_after: sent with those statuses: seconds (``5``) or a date that far ahead (``"date:5s"``).
        error_body: the body of those statuses: ``json``, or ``html`` as of a gateway.
        reset: the connection is reset (RST) in place of an answer.
        hang: no answer, ever.
        slow_body: the body drips at ``slow_body_speed`` bytes per second.
        truncated_json: half of the JSON, under a Content-Length that fits.
        truncated_body: half of the body that Content-Length announces, then the connection ends.
        html: an HTML page with status 200.
        oversize: a body of ``oversize_bytes`` bytes.
        wrong_content_type: the right body as ``text/plain``.
        script: what becomes of the first requests, in order, before rates apply: ``ok``, a status, or a rate's name.
    """

    latency: str = "0s"
    status: dict[str, float] = {}
    retry_after: int | str | None = None
    error_body: Literal["json", "html"] = "json"
    reset: float = 0.0
    hang: float = 0.0
    slow_body: float = 0.0
    slow_body_speed: int = 1024
    truncated_json: float = 0.0
    truncated_body: float = 0.0
    html: float = 0.0
    oversize: float = 0.0
    oversize_bytes: int = 10 * 1024 * 1024
    wrong_content_type: float = 0.0
    script: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what makes no sense, whether it came from JSON or from Python.

        Raises:
            ValueError: naming the field.
        """
        _named("latency", Latency.parse, self.latency)
        if self.retry_after is not None:
            _named("retry_after", _retry_after, self.retry_after)
        for step in self.script:
            _named("script", _outcome, step)
        total = 0.0
        for outcome, rate in self.rates():
            if not 0 <= rate <= 1:
                raise ValueError(f"the rate of {_name(outcome)} is {rate}: it must be from 0 to 1")
            total += rate
        if total > 1 + 1e-9:
            raise ValueError(f"the rates add up to {total:g}: one request meets one fault, so they must not exceed 1")
        if self.slow_body_speed < 1:
            raise ValueError("slow_body_speed must be at least 1 (bytes per second)")
        if not 1 <= self.oversize_bytes <= MAX_OVERSIZE:
            raise ValueError(f"oversize_bytes must be from 1 to {MAX_OVERSIZE}")

    def rates(self) -> list[tuple[Outcome, float]]:
        """Every outcome that has a rate, with it.

        Raises:
            ValueError: a status is none.
        """
        rates = [(_status(text), rate) for text, rate in self.status.items()]
        rates += [(Outcome(kind), getattr(self, kind)) for kind in RATED]
        return [(outcome, rate) for outcome, rate in rates if rate]

    def steps(self) -> list[Outcome]:
        """The script's outcomes."""
        return [_outcome(step) for step in self.script]

    def retry_after_header(self, now: float) -> str | None:
        """The value of Retry-After at ``now`` (seconds since the epoch), or None."""
        if self.retry_after is None:
            return None
        seconds, as_date = _retry_after(self.retry_after)
        return formatdate(now + seconds, usegmt=True) if as_date else str(round(seconds))


class Faults(Behaviour, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The behaviour towards all customers, exceptions for some, and the state of the service as a whole.

    Attributes:
        customers: behaviours by customer id, in place of the general one.
        capacity: requests served at once; more of them wait, first come first served, as for the pool of a Pega node.
        queue_limit: requests that may wait; one more is answered 503 at once.
        down: ``refuse`` (or true) closes the listening socket and every connection, ``reset`` resets every request.
        seed: of the random draws; they start anew whenever faults are set.
    """

    customers: dict[str, Behaviour] = {}
    capacity: int | None = None
    queue_limit: int | None = None
    down: bool | Literal["refuse", "reset"] = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ValueError: naming the field.
        """
        super().__post_init__()
        if self.capacity is not None and self.capacity < 1:
            raise ValueError("capacity must be at least 1 (requests at once)")
        if self.queue_limit is not None and (self.queue_limit < 0 or self.capacity is None):
            raise ValueError("queue_limit must be 0 or more (requests waiting), and needs a capacity")

    @classmethod
    def from_json(cls, data: bytes | str) -> "Faults":
        """Read faults from JSON.

        Raises:
            ValueError: saying what is wrong, and where.
        """
        try:
            return _DECODER.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"not valid faults: {error}") from error

    def to_json(self) -> bytes:
        """The faults as JSON, without what is at its default."""
        return msgspec.json.encode(self)

    @property
    def refuses(self) -> bool:
        """Whether connections are to be refused."""
        return self.down is True or self.down == "refuse"


def _named(name: str, parse: Callable[[T], object], value: T) -> None:
    try:
        parse(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _name(outcome: Outcome) -> str:
    return f"status {outcome.status}" if outcome.kind is Kind.STATUS else outcome.kind


def _status(text: str) -> Outcome:
    if len(text) != len("503") or not text.isascii() or not text.isdigit() or not 201 <= int(text) <= 599:  # noqa: PLR2004  the statuses that end an exchange, but for 200
        raise ValueError(f"{text!r} is not a status: write a number from 201 to 599")
    return Outcome(Kind.STATUS, int(text))


def _outcome(text: str) -> Outcome:
    if text.isdigit():
        return _status(text)
    if text not in RATED and text != Kind.OK:
        raise ValueError(f"{text!r} is not an outcome: write ok, a status, or one of {', '.join(RATED)}")
    return Outcome(Kind(text))


def _retry_after(value: int | str) -> tuple[float, bool]:
    """Seconds, and whether they are to be sent as a date."""
    if isinstance(value, int) or value.isdigit():
        seconds = int(value)
        if seconds < 0:
            raise ValueError("write seconds of 0 or more")
        return seconds, False
    form, colon, rest = value.partition(":")
    return (parse_duration(rest), True) if colon and form == "date" else (parse_duration(value), False)


_DECODER = msgspec.json.Decoder(Faults)
