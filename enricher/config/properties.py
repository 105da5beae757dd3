"""Which librdkafka properties may be set: any that exists, but for those that the worker owns.

librdkafka itself is asked whether a property exists and whether its value can be one, without a client being made.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_AT_LEAST_ONCE = "the worker commits an offset when its record is resolved, and nothing else may"
_ORDER = "the worker never gives a record up for time: later records of its key would overtake"
_CALLBACK = "callbacks and objects belong to the program"

OWNED: Mapping[str, tuple[str, str]] = {
    "bootstrap.servers": ("belongs to another setting", "use kafka.bootstrap_servers"),
    "metadata.broker.list": ("belongs to another setting", "use kafka.bootstrap_servers"),
    "group.id": ("belongs to another setting", "use kafka.group_id"),
    "group.protocol": ("belongs to another setting", "use kafka.group_protocol"),
    "group.instance.id": ("belongs to another setting", "use kafka.group_instance_id"),
    "enable.auto.commit": (_AT_LEAST_ONCE, "leave it out"),
    "auto.commit.enable": (_AT_LEAST_ONCE, "leave it out"),
    "auto.commit.interval.ms": (_AT_LEAST_ONCE, "use delivery.commit_interval"),
    "enable.auto.offset.store": (_AT_LEAST_ONCE, "leave it out"),
    "enable.partition.eof": ("the worker does without, and sets it", "leave it out"),
    "transactional.id": ("the worker names its transactions itself", "leave it out"),
    "message.timeout.ms": (_ORDER, "leave it out"),
    "delivery.timeout.ms": (_ORDER, "leave it out"),
    "delivery.report.only.error": ("the worker needs to hear of every record that was written", "leave it out"),
    "on_delivery": (_CALLBACK, "leave it out"),
    "on_commit": (_CALLBACK, "leave it out"),
    "logger": (_CALLBACK, "leave it out"),
    "default.topic.config": ("librdkafka has given it up", "set the properties within it by themselves"),
    "plugin.library.paths": ("foreign code in the client may break every guarantee", "leave it out"),
}
"""Properties that are refused whatever their value: why, and what to do instead."""

_IDEMPOTENT = "the producer is idempotent, so that retries neither repeat nor reorder records"
_ONE_BY_ONE = "idempotent is one request at a time only: a broker may take one though it refused that before it"


def _is_true(value: Any) -> bool:
    return str(value).lower() in {"true", "t", "1"}


def _is_one(value: Any) -> bool:
    return not str(value).isdigit() or int(value) == 1  # what is no number, librdkafka refuses


BOUND: Mapping[str, tuple[Callable[[Any], bool], str, str]] = {
    "enable.idempotence": (_is_true, _IDEMPOTENT, "leave it out"),
    "acks": (lambda value: str(value) in {"all", "-1"}, _IDEMPOTENT, "leave it out, or write all"),
    "request.required.acks": (lambda value: str(value) in {"all", "-1"}, _IDEMPOTENT, "leave it out, or write all"),
    "max.in.flight": (_is_one, _ONE_BY_ONE, "leave it out, or write 1"),
    "max.in.flight.requests.per.connection": (_is_one, _ONE_BY_ONE, "leave it out, or write 1"),
    "retries": (lambda value: str(value) != "0", _IDEMPOTENT, "leave it out"),
    "message.send.max.retries": (lambda value: str(value) != "0", _IDEMPOTENT, "leave it out"),
    "queuing.strategy": (lambda value: str(value) == "fifo", _IDEMPOTENT, "leave it out"),
}
"""Properties of which only some values are accepted: whether this one is, why not, and what to do instead."""

_SENTINEL = "enricher.no.such.property"
_UNTEXT = re.compile("[\x00\ud800-\udfff]")  # C reads up to a NUL; a lone surrogate crashes confluent-kafka 2.16
_RENAMED = re.compile(r"[_-]")


def _refusal(name: str, value: Any) -> str | None:
    """What librdkafka says against a property; none if it would take it.

    Properties are set in order and the first bad one ends it, so that one which does not exist, set last, keeps the
    client from being made: no threads, no connections, no files read.
    """
    from confluent_kafka import Consumer, KafkaException  # noqa: PLC0415  70 ms that most commands do without

    try:
        Consumer({"group.id": "none", name: value, _SENTINEL: ""})
    except KafkaException as error:
        text: str = error.args[0].str().strip()
        return None if _SENTINEL in text else text
    raise AssertionError("librdkafka took a property that does not exist")


Wrong = tuple[str, str | None]
"""What is wrong with a property, and what would be right."""


def check(name: str, value: Any) -> Wrong | None:
    """What is wrong with a property, if anything is. The answer never holds the value, which may be secret."""
    if name in OWNED:
        return OWNED[name]
    if name.endswith("_cb"):
        return _CALLBACK, "leave it out"
    if name in BOUND and not BOUND[name][0](value):
        return BOUND[name][1:]
    if not isinstance(value, str | int | float):
        hint = "write the property's whole name as one key, such as security.protocol: SASL_SSL"
        return "must be text, a number, true or false", hint
    if _UNTEXT.search(f"{name}{value}"):
        return "holds what is no text", "use UTF-8 without NUL characters"
    refused = _refusal(name, value)
    return None if refused is None else _explain(name, value, refused)


def _explain(name: str, value: Any, refused: str) -> Wrong:
    if "No such configuration property" in refused:
        renamed = _RENAMED.sub(".", name)
        if renamed != name and _refusal(renamed, value) is None:
            return "is no property of librdkafka", f"did you mean {renamed}?"
        return "is no property of librdkafka", "its CONFIGURATION.md lists them all"
    allowed = re.search(r"outside allowed range (\S+)", refused)
    return "librdkafka refuses the value", f"allowed is {allowed[1]}" if allowed else "its CONFIGURATION.md says more"
