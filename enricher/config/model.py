"""The settings: one tree of frozen values, each with its type, default and meaning.

The documentation (``docs/settings.md``), the JSON Schema and the help are made of this file. Invariants: a setting
that is accepted has an effect; what is checked of one setting alone is checked here, what concerns several in
``enricher.config.rules``.
"""

import json
import re
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from enricher.config.problems import bad_value
from enricher.config.units import Duration, Size
from enricher.retry import OnUnavailable
from enricher.scheduler import Order

MIB = 1 << 20
TOPIC_PATTERN = r"^[a-zA-Z0-9._-]{1,249}$"
URL_PATTERN = r"^https?://[^@/?#\s]+([/?][^#\s]*)?$"
PATH_PATTERN = r"^[^.\s]+(\.[^.\s]+)*$"

_MAX_PORT = 65_535


def _refuse_truth(value: Any) -> Any:
    if isinstance(value, bool):  # YAML's yes and no; Python takes them for 1 and 0
        raise bad_value("must be a whole number")
    return value


def _split(value: Any) -> Any:
    """A list, also from ``a,b`` or a JSON array, as the environment and the command line give it."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise bad_value("is no JSON list", 'write a,b or ["a", "b"]') from None
    return [item.strip() for item in value.split(",")]


def _check_topic(topic: str) -> str:
    if re.fullmatch(TOPIC_PATTERN.strip("^$"), topic) is None or topic in {".", ".."}:
        raise bad_value("is no name of a topic", "up to 249 letters, digits, dots, underscores and hyphens")
    return topic


def _check_distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    if not items:
        raise bad_value("is empty", "name at least one")
    if len(set(items)) < len(items):
        raise bad_value("names one twice", "name each once")
    return items


def _check_broker(address: str) -> str:
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    host = host if colon else port
    if not host or re.search(r"[\s/@?#]", host) or (colon and not (port.isdigit() and 0 < int(port) <= _MAX_PORT)):
        raise bad_value("holds what is no broker's address", "write host:port, or several with commas between")
    return address


def _check_url(url: str) -> str:
    right = "write the whole URL of CustomerOfferHistory, such as http://host:8080/prweb/.../V2/CustomerOfferHistory"
    if not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
        raise bad_value("is no URL: it must be ASCII without spaces", right)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise bad_value("is no URL", right) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise bad_value("is no URL of http or https", right)
    if "@" in parts.netloc:
        raise bad_value("must not hold credentials", "leave out what stands before the @")
    if parts.fragment:
        raise bad_value("must not hold a fragment", "leave out the # and what follows")
    return url


def _check_path(path: str) -> str:
    if re.fullmatch(PATH_PATTERN.strip("^$"), path) is None:
        raise bad_value("is no path into the event", "write names with dots between, such as customer.id")
    return path


def _later(value: str, instead: str) -> BeforeValidator:
    """Tell of a value that is planned and not there yet that it is so, rather than that it is unknown."""

    def check(given: Any) -> Any:
        if given == value:
            raise bad_value("is not available yet", f"use {instead}")
        return given

    return BeforeValidator(check)


Count = Annotated[int, Field(ge=1), BeforeValidator(_refuse_truth)]
Topic = Annotated[str, AfterValidator(_check_topic), WithJsonSchema({"type": "string", "pattern": TOPIC_PATTERN})]
Path = Annotated[str, AfterValidator(_check_path), WithJsonSchema({"type": "string", "pattern": PATH_PATTERN})]
Properties = dict[str, Any]  # ``enricher.config.properties`` checks each


def _listed(item: dict[str, Any]) -> WithJsonSchema:
    """A list, or text with commas."""
    several = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
    return WithJsonSchema({"anyOf": [several, {"type": "string", "minLength": 1}]})


Brokers = Annotated[
    tuple[Annotated[str, AfterValidator(_check_broker)], ...],
    BeforeValidator(_split),
    AfterValidator(_check_distinct),
    _listed({"type": "string", "minLength": 1}),
]
Topics = Annotated[
    tuple[Topic, ...],
    BeforeValidator(_split),
    AfterValidator(_check_distinct),
    _listed({"type": "string", "pattern": TOPIC_PATTERN}),
]
Url = Annotated[str, AfterValidator(_check_url), WithJsonSchema({"type": "string", "pattern": URL_PATTERN})]


class Section(BaseModel):
    """A branch of the tree."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_PROPERTIES = WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}})
_KafkaProperties = Annotated[Properties, _PROPERTIES]


class Kafka(Section):
    """The connection to Kafka."""

    bootstrap_servers: Brokers = Field(description="Brokers to connect to first, host:port each.")
    group_id: Annotated[str, Field(min_length=1)] = Field(
        default="enricher", description="The consumer group of the workers."
    )
    properties: _KafkaProperties = Field(
        default={}, repr=False, description="librdkafka properties of consumer and producer."
    )
    consumer: _KafkaProperties = Field(
        default={}, repr=False, description="librdkafka properties of the consumer alone; they win."
    )
    producer: _KafkaProperties = Field(
        default={}, repr=False, description="librdkafka properties of the producer alone; they win."
    )

    def client_properties(self) -> dict[str, Any]:
        """What librdkafka needs for a client of no special kind, such as an AdminClient."""
        return {**self.properties, "bootstrap.servers": ",".join(self.bootstrap_servers)}

    def consumer_properties(self) -> dict[str, Any]:
        """What librdkafka needs for the worker's consumer, but for what the worker fixes itself."""
        return {**self.client_properties(), **self.consumer, "group.id": self.group_id}

    def producer_properties(self) -> dict[str, Any]:
        """What librdkafka needs for the worker's producer, but for what the worker fixes itself."""
        return {**self.client_properties(), **self.producer}


class Fields(Section):
    """Where the fields that matter stand in an event."""

    event_id: Path = Field(default="eventId", description="Path of the event's id; derived from the record if missing.")
    customer_id: Path = Field(
        default="customerId", description="Path of the customer's id; the only field an event needs."
    )
    event_time: Path = Field(default="contactTime", description="Path of the event's time; the record's if missing.")


class Input(Section):
    """What is read."""

    topics: Topics = Field(description="Topics to read.")
    format: Literal["auto", "json", "avro"] = Field(
        default="auto", description="Encoding of the events: auto (told by the first bytes), json or avro."
    )
    fields: Fields = Field(default_factory=Fields)
    max_record: Size = Field(default=MIB, description="Records with a larger value become dead letters.")


class Output(Section):
    """What is written."""

    topic: Topic = Field(description="Topic of the enriched events.")
    dead_letter_topic: Topic = Field(
        default="", description="Topic of the dead letters. By default the first input topic's name and `.dlq`."
    )


class Backoff(Section):
    """How long to wait before a look-up is tried again."""

    initial: Duration = Field(
        default=0.1, description="Upper bound of the wait before the second attempt; doubled each time."
    )
    max: Duration = Field(default=5.0, description="Upper bound of the wait before any attempt.")


class Service(Section):
    """The CustomerOfferHistory service."""

    url: Url = Field(description="The whole URL of CustomerOfferHistory, http or https, without credentials.")
    method: Literal["post", "get"] = Field(default="post", description="How to ask: post or get.")
    engine: Literal["auto", "httpx", "pyreqwest"] = Field(
        default="auto", description="HTTP library: auto (the fastest that is installed), httpx or pyreqwest."
    )
    max_in_flight: Count = Field(default=64, description="Cap on look-ups in flight.")
    timeout: Duration = Field(default=5.0, description="For one attempt, until the whole response is there.")
    deadline: Duration = Field(default=30.0, description="For all attempts of one event; at least `service.timeout`.")
    max_response: Size = Field(default=MIB, description="Responses that are larger are given up while being read.")
    backoff: Backoff = Field(default_factory=Backoff)


class Guarantee(StrEnum):
    """What is promised of each event's output."""

    AT_LEAST_ONCE = "at-least-once"
    EXACTLY_ONCE = "exactly-once"


class Delivery(Section):
    """What is promised downstream."""

    guarantee: Guarantee = Field(
        default=Guarantee.AT_LEAST_ONCE,
        description="at-least-once (after a crash some outputs come twice) or exactly-once (in Kafka transactions: "
        "a read_committed reader sees each output once).",
    )
    order: Order = Field(
        default=Order.KEY, description="Which events keep their order: those of a key, of a partition, or none."
    )
    commit_interval: Duration = Field(
        default=1.0, description="How often resolved offsets are committed; 100ms under exactly-once."
    )


class Failures(Section):
    """What becomes of events that cannot be enriched."""

    on_unavailable: Annotated[OnUnavailable, _later("pass-through", "wait or dead-letter")] = Field(
        default=OnUnavailable.WAIT,
        description="While the service is down: wait for it, or dead-letter what it cannot answer.",
    )


class Buffer(Section):
    """What the worker holds of records that are not resolved; past it partitions are paused."""

    max_records: Count = Field(default=10_000, description="Most records held.")
    max_bytes: Size = Field(default=64 * MIB, description="Most bytes of records held; at least `input.max_record`.")


class Shutdown(Section):
    """How the worker stops."""

    deadline: Duration = Field(default=25.0, description="From SIGTERM until it ends, whatever is still in flight.")


class Logging(Section):
    """What is logged, to stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is shown."
    )
    format: Literal["json", "console"] = Field(
        default="json", description="json (one object a line) or console (for people)."
    )


class Settings(Section):
    """All settings of the worker. Made by ``enricher.config.load``, which also checks what concerns several."""

    kafka: Kafka
    input: Input
    output: Output
    service: Service
    delivery: Delivery = Field(default_factory=Delivery)
    failures: Failures = Field(default_factory=Failures)
    buffer: Buffer = Field(default_factory=Buffer)
    shutdown: Shutdown = Field(default_factory=Shutdown)
    logging: Logging = Field(default_factory=Logging)
