"""The values that flow through the worker: frozen, typed, without behaviour of their own.

Invariants: nothing here does I/O or knows a clock. The names of the encoded fields (camelCase) are those of the
Avro schemas in ``avro/``, so that one value serves the code, the Avro encoder and JSON; a test holds the two together.
Instants are milliseconds since the Unix epoch (UTC), as Kafka and Avro's ``timestamp-millis`` have them.
"""

from enum import StrEnum
from typing import NamedTuple, TypeAlias

from msgspec import Struct

Headers: TypeAlias = list[tuple[str, bytes | None]]
"""Record headers in their order; names may repeat."""


REPLAY_HEADER = "enricher-replay"
"""The header of every output and dead letter of a replay: its name."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Position(NamedTuple):
    """Where a group stands in a partition: the next offset to read, and the commit's metadata."""

    offset: int
    metadata: str = ""


class Stage(StrEnum):
    """Where in the worker something happened."""

    DECODE = "decode"
    LOOKUP = "lookup"
    ENCODE = "encode"
    PRODUCE = "produce"


class Record(Struct, frozen=True, gc=False):
    """A Kafka record as it was read. ``timestamp`` is -1 where the record has none."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def source(self) -> TopicPartition:
        """The partition that the record was read from."""
        return TopicPartition(self.topic, self.partition)

    @property
    def size(self) -> int:
        """Bytes that the record holds: key, value and headers."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size


class Outgoing(Struct, frozen=True, gc=False):
    """A record to be written: an enriched event or a dead letter. ``timestamp`` is -1 for the time of writing."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


class Event(Struct, frozen=True, gc=False, rename="camel"):
    """A customer contact (Avro ``CustomerContact``).

    ``attributes`` keeps every input field that the schema does not name, so that nothing of the input is lost.
    """

    event_id: str
    customer_id: str
    contact_time: int
    channel: str | None = None
    direction: str | None = None
    reason: str | None = None
    agent_id: str | None = None
    attributes: dict[str, str] = {}


class Offer(Struct, frozen=True, gc=False, rename="camel"):
    """One past offer (Avro ``Offer``). A string that the service left out is empty; a number or time is null.

    ``bundle`` holds the offers of a negotiation record; they have the same shape, with most fields left out.
    """

    name: str = ""
    issue: str = ""
    group: str = ""
    channel: str = ""
    direction: str = ""
    interaction_id: int | None = None
    external_id: str | None = None
    outcome_time: int | None = None
    outcome: str = ""
    behaviour: str = ""
    identifier: str = ""
    bundle: tuple["Offer", ...] = ()


class OfferHistory(Struct, frozen=True, gc=False, rename="camel"):
    """A customer's offers as the service answered (Avro ``OfferHistory``).

    ``looked_up_at`` is when the answer came; ``as_of`` the instant that the history describes.
    """

    customer_id: str
    looked_up_at: int
    as_of: int
    offers: tuple[Offer, ...] = ()


class Status(StrEnum):
    """How the enrichment went (Avro ``EnrichmentStatus``). *No history* and *no answer* are different values."""

    ENRICHED = "ENRICHED"
    NO_HISTORY = "NO_HISTORY"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN = "UNKNOWN"


class Enrichment(Struct, frozen=True, gc=False, rename="camel"):
    """How an output came about (Avro ``Enrichment``): the source record, the program, and the look-up."""

    topic: str
    partition: int
    offset: int
    version: str
    attempts: int
    status: Status


class Enriched(Struct, frozen=True, gc=False, rename="camel"):
    """The output (Avro ``EnrichedContact``): the contact, its offer history, and how it came about."""

    contact: Event
    offer_history: OfferHistory
    enrichment: Enrichment


class Rejected(Exception):  # noqa: N818  what the dead letter calls it; it is an outcome rather than an error
    """A record that cannot be enriched: it becomes a dead letter.

    Attributes:
        stage: where it was rejected.
        cause: a stable, low-cardinality name, such as ``InvalidJson``; it goes into headers and metrics.
        message: what is wrong and what to do, for a person; it never holds a customer's id, value or history.
    """

    def __init__(self, stage: Stage, cause: str, message: str) -> None:
        super().__init__(f"{stage}: {cause}: {message}")
        self.stage = stage
        self.cause = cause
        self.message = message


class NotSelected(Exception):  # noqa: N818  an outcome, as ``Rejected``
    """A record that this run is not to process: it is resolved without an output."""


class FailureKind(StrEnum):
    """Every way in which one look-up can fail; the values are the names in logs, metrics and dead letters."""

    CONNECTION = "ConnectionFailed"  # refused, reset, DNS, TLS, closed in the middle
    TIMEOUT = "Timeout"  # the whole response did not come within service.timeout
    BAD_REQUEST = "BadRequest"  # 400: the event's fault
    UNAUTHORIZED = "Unauthorized"  # 401
    NO_TOKEN = "NoToken"  # noqa: S105  what is missing: the token endpoint gave none
    FORBIDDEN = "Forbidden"  # 403
    NOT_FOUND = "NotFound"  # 404: the URL is wrong (an unknown customer is an empty history)
    REQUEST_TIMEOUT = "RequestTimeout"  # 408
    REQUEST_TOO_LARGE = "RequestTooLarge"  # 413
    TOO_EARLY = "TooEarly"  # 425
    TOO_MANY_REQUESTS = "TooManyRequests"  # 429
    SERVER_ERROR = "ServerError"  # 500
    BAD_GATEWAY = "BadGateway"  # 502
    UNAVAILABLE = "ServiceUnavailable"  # 503
    GATEWAY_TIMEOUT = "GatewayTimeout"  # 504
    REDIRECT = "Redirect"  # 3xx: never followed
    UNEXPECTED_STATUS = "UnexpectedStatus"  # any other
    RESPONSE_TOO_LARGE = "ResponseTooLarge"  # over service.max_response
    NOT_JSON = "NotJson"  # another content type, such as a gateway's HTML page
    INVALID_JSON = "InvalidJson"  # truncated or malformed
    CONTRACT_VIOLATION = "ContractViolation"  # JSON, but a value that cannot be typed


class LookupFailure(Exception):  # noqa: N818  the field's word for a look-up that did not succeed
    """One attempt of a look-up failed.

    Attributes:
        kind: what happened.
        message: for a person; without the customer's id and without the body.
        retry_after: seconds that the service asked to wait (Retry-After), if it did.
        status: the HTTP status, if there was one.
    """

    def __init__(
        self, kind: FailureKind, message: str, *, retry_after: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
        self.status = status
