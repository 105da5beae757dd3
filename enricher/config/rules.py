"""What concerns several settings: contradictions between them.

Each rule looks at what it needs by name and passes if one of these is missing or wrong in itself, so that all mistakes
are told at once.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from enricher.config.contradiction import Contradiction, Rule, Values
from enricher.config.model import Guarantee
from enricher.config.privacy import PRIVACY_RULES
from enricher.config.registry_rules import REGISTRY_RULES
from enricher.config.tracing import is_installed
from enricher.config.transport_rules import TRANSPORT_RULES
from enricher.config.units import format_duration, format_size

DEAD_LETTER_TOPIC = "output.dead_letter_topic"


def derived_defaults(values: Values) -> Iterator[tuple[str, str]]:
    """The defaults that depend on other settings, as they would be written."""
    if topics := values.get("input.topics"):
        yield DEAD_LETTER_TOPIC, f"{topics[0]}.dlq"
    if values.get("delivery.guarantee") is Guarantee.EXACTLY_ONCE:
        yield "delivery.commit_interval", "100ms"  # until then no reader sees an output


def _no_loops(values: Values) -> Iterator[Contradiction]:
    topics = values.get("input.topics", ())
    for name in ("output.topic", DEAD_LETTER_TOPIC):
        if values.get(name) in topics:
            message = "is an input topic too: the worker would read what it writes"
            yield Contradiction(name, message, "name another topic")


def _outputs_differ(values: Values) -> Iterator[Contradiction]:
    topic, dead = values.get("output.topic"), values.get(DEAD_LETTER_TOPIC)
    if topic is not None and topic == dead:
        message = "is the output topic too: enriched events and dead letters would mix"
        yield Contradiction(DEAD_LETTER_TOPIC, message, "name another topic")


def _derived_is_avro(values: Values) -> Iterator[Contradiction]:
    if values.get("output.schema") != "derived":
        return
    message = "is json, and output.schema: derived adds a field to the input's own Avro record"
    for name in ("input.format", "output.format"):
        if values.get(name) == "json":
            yield Contradiction(name, message, "write avro, or set output.schema to contact")


def _fields_apart(values: Values) -> Iterator[Contradiction]:
    paths = {name: values.get(f"input.fields.{name}", "") for name in ("customer_id", "event_id", "event_time")}
    for (first, path), (second, other) in combinations(paths.items(), 2):
        if path and other and (f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")):
            message = f"names the same place in the event as input.fields.{first}, or one inside it"
            yield Contradiction(f"input.fields.{second}", message, "name another field")


def _not_below(name: str, floor: str, form: Callable[[Any], str]) -> Rule:
    def rule(values: Values) -> Iterator[Contradiction]:
        value, least = values.get(name), values.get(floor)
        if value is not None and least is not None and value < least:
            message = f"is less than {floor}, which is {form(least)}"
            yield Contradiction(name, message, f"raise it to {form(least)} or more, or lower {floor}")

    return rule


def _tracing_installed(values: Values) -> Iterator[Contradiction]:
    if values.get("tracing.enabled") and not is_installed():
        message = "needs OpenTelemetry, which is not installed"
        yield Contradiction("tracing.enabled", message, "install enricher[tracing], or leave it out")


BROKER_DECIDES = (
    "group.protocol.type", "heartbeat.interval.ms", "partition.assignment.strategy", "session.timeout.ms",
)  # fmt: skip
"""Properties of the classic protocol that mean nothing under the other: there the broker's group settings hold."""


def _one_protocol(values: Values) -> Iterator[Contradiction]:
    protocol = values.get("kafka.group_protocol")
    foreign = BROKER_DECIDES if protocol == "consumer" else ("group.remote.assignor",)
    if protocol is None:
        return
    for section in ("kafka.properties", "kafka.consumer"):
        for name in foreign:
            if name in values.get(section, {}):
                message = f"has no effect while kafka.group_protocol is {protocol}"
                yield Contradiction(f"{section}.{name}", message, "leave it out, or choose the other protocol")


RULES: tuple[Rule, ...] = (
    _no_loops,
    _outputs_differ,
    _derived_is_avro,
    _fields_apart,
    _one_protocol,
    _not_below("service.deadline", "service.timeout", format_duration),
    _not_below("service.backoff.max", "service.backoff.initial", format_duration),
    _not_below("buffer.max_bytes", "input.max_record", format_size),
    _tracing_installed,
    *TRANSPORT_RULES,
    *REGISTRY_RULES,
    *PRIVACY_RULES,
)


def contradictions(values: Values) -> list[Contradiction]:
    """Every contradiction between settings that are right in themselves."""
    return [found for rule in RULES for found in rule(values)]
