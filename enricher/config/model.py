"""The settings: one tree of frozen values, each with its type, default and meaning.

The documentation (``docs/settings.md``), the JSON Schema and the help are made of this file. Invariants: a setting
that is accepted has an effect; what is checked of one setting alone is checked by its type
(``enricher.config.values``), what concerns several in ``enricher.config.rules``.
"""

import warnings
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from enricher.as_of import AsOf
from enricher.config.privacy import Privacy
from enricher.config.registry import SchemaRegistry, Schemas
from enricher.config.tracing import Tracing
from enricher.config.transport import Auth, Http2, Proxy, Tls
from enricher.config.units import Duration, OptionalDuration, Size
from enricher.config.values import (
    MIB,
    Brokers,
    Count,
    InstanceId,
    Listen,
    Path,
    Properties,
    Rate,
    Section,
    Topic,
    Topics,
    Url,
)
from enricher.limiter import LimiterKind
from enricher.retry import OnUnavailable
from enricher.scheduler import Order
from enricher.sharing import OnEmpty

_PROPERTIES = WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}})
_KafkaProperties = Annotated[Properties, _PROPERTIES]


class Kafka(Section):
    """The connection to Kafka."""

    bootstrap_servers: Brokers = Field(description="Brokers to connect to first, host:port each.")
    group_id: Annotated[str, Field(min_length=1)] = Field(
        default="enricher", description="The consumer group of the workers."
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic",
        description="How the group shares its partitions: classic (cooperative-sticky unless the property "
        "partition.assignment.strategy says otherwise) or consumer (KIP-848, the broker decides; Kafka 4.0 or newer).",
    )
    group_instance_id: InstanceId = Field(
        default="",
        description="This worker's own name in the group (static membership): a restart within session.timeout.ms "
        "moves no partition. It must differ between workers, as a StatefulSet's pod names do. None by default.",
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
        member = {"group.id": self.group_id, "group.protocol": self.group_protocol}
        if self.group_instance_id:
            member["group.instance.id"] = self.group_instance_id
        return {**self.client_properties(), **self.consumer, **member}

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


with warnings.catch_warnings():
    # It has the name of a method of pydantic's that is deprecated, and used by nobody here.
    warnings.filterwarnings("ignore", 'Field name "schema" in "Output" shadows')

    class Output(Section):
        """What is written."""

        topic: Topic = Field(description="Topic of the enriched events.")
        schema: Literal["contact", "derived"] = Field(  # type: ignore[assignment]  # see above
            default="contact",
            description="What the enriched events are: contact (an EnrichedContact, whatever the input's shape) or "
            "derived (the input's own Avro record with the field `offerHistory` added).",
        )
        format: Literal["avro", "json"] = Field(
            default="avro",
            description="Encoding of the enriched events: avro or json (the names are the same).",
        )
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
    limiter: LimiterKind = Field(
        default=LimiterKind.ADAPTIVE,
        description="adaptive (as many look-ups in flight, up to the cap, as the service bears, by its latency and "
        "failures) or fixed (up to the cap).",
    )
    max_rate: Rate = Field(
        default=0.0, description="Cap on requests per second of one worker, retries and probes included; 0 for none."
    )
    timeout: Duration = Field(default=5.0, description="For one attempt, until the whole response is there.")
    deadline: Duration = Field(default=30.0, description="For all attempts of one event; at least `service.timeout`.")
    max_response: Size = Field(default=MIB, description="Responses that are larger are given up while being read.")
    backoff: Backoff = Field(default_factory=Backoff)
    http2: Http2 = Field(default="auto", description="HTTP/2: auto (where the service offers it, over TLS) or never.")
    auth: Auth = Field(default_factory=Auth)
    tls: Tls = Field(default_factory=Tls)
    proxy: Proxy = Field(default_factory=Proxy)


class Cache(Section):
    """Answers that are kept and serve later events of the customer."""

    ttl: OptionalDuration = Field(
        default=0.0, description="How old an answer may be, from its request on; 0s keeps none. Outputs tell its time."
    )
    max_bytes: Size = Field(default=64 * MIB, description="Most bytes of answers kept, by estimate.")


class History(Section):
    """What an output holds of the customer's offer history, and how often it is asked for."""

    as_of: AsOf = Field(
        default=AsOf.NOW,
        description="now (all that the service tells) or event (only outcomes up to the event's time, to the "
        "millisecond; offers whose outcome has no time are left out).",
    )
    coalesce: bool = Field(
        default=True,
        description="Events of one customer share an answer, if its request began after they were received; of one "
        "customer at most one request is under way.",
    )
    cache: Cache = Field(default_factory=Cache)
    on_empty: OnEmpty = Field(
        default=OnEmpty.ACCEPT, description="An empty history is an answer: accept it, or retry (ask again) at first."
    )
    empty_delay: Duration = Field(
        default=5.0, description="Under `history.on_empty: retry`, the wait before an empty history is asked for again."
    )
    empty_attempts: Count = Field(
        default=3,
        description="Under `history.on_empty: retry`, how often it is asked for again, before it is accepted.",
    )


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

    on_unavailable: OnUnavailable = Field(
        default=OnUnavailable.WAIT,
        description="While the service is down: wait for it, dead-letter what it cannot answer, or pass-through "
        "(publish that with an empty history and the status UNAVAILABLE).",
    )


class Buffer(Section):
    """What the worker holds of records that are not resolved; past it partitions are paused."""

    max_records: Count = Field(default=10_000, description="Most records held.")
    max_bytes: Size = Field(
        default=64 * MIB, description="Most bytes held, of records, events and outputs; at least `input.max_record`."
    )


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


class Http(Section):
    """What the worker tells of itself: health, metrics, and a page for people."""

    listen: Listen = Field(
        default="0.0.0.0:8080",
        description="Address of /livez, /readyz, /startupz, /metrics and the status page; port 0 is any free one, "
        "off is none.",
    )


class Settings(Section):
    """All settings of the worker. Made by ``enricher.config.load``, which also checks what concerns several."""

    kafka: Kafka
    input: Input
    output: Output
    service: Service
    history: History = Field(default_factory=History)
    schema_registry: SchemaRegistry = Field(default_factory=SchemaRegistry)
    schemas: Schemas = Field(default_factory=Schemas)
    privacy: Privacy = Field(default_factory=Privacy)
    delivery: Delivery = Field(default_factory=Delivery)
    failures: Failures = Field(default_factory=Failures)
    buffer: Buffer = Field(default_factory=Buffer)
    shutdown: Shutdown = Field(default_factory=Shutdown)
    http: Http = Field(default_factory=Http)
    logging: Logging = Field(default_factory=Logging)
    tracing: Tracing = Field(default_factory=Tracing)
