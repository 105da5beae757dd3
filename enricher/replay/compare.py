"""What would change of an output: field by field, counted, with examples that show no customer's id.

Not compared is what differs on every run: the time of the look-up (and the instant that the history is as of, where
that is the same), the attempts, the version of the program, and the headers of traces.

Invariants: two outputs that differ in nothing but these have no difference; memory is bounded by the number of kinds of
changes, which is capped. Pure.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from enricher.model import REPLAY_HEADER, Enriched, Headers, Offer

LONGEST = 60
"""Characters of a value in an example."""

MOST_KINDS = 200
"""Kinds of changes that are told apart; attributes may have any name."""

OTHER = "(other fields)"

_SCHEMA = "__value_schema_id"
_MOVING = frozenset({REPLAY_HEADER, "traceparent", "tracestate", _SCHEMA})
"""Headers that differ on every run; that of the schema is a field of its own."""


class Output(NamedTuple):
    """An enriched event as a record: what stands in the output topic, or would."""

    key: bytes | None
    headers: Headers
    timestamp: int
    schema: str
    enriched: Enriched


class Change(NamedTuple):
    """One difference: the field, what it was, what it would be."""

    field: str
    old: Any
    new: Any


class Example(msgspec.Struct, frozen=True):
    """A change of one event, for a person."""

    event: str
    old: str
    new: str


def schema_of(value: bytes, headers: Headers) -> str:
    """Which schema an output says that it is in: in its first bytes, or in a header."""
    for name, told in headers:
        if name == _SCHEMA:
            return f"header {(told or b'').hex()}"
    if value[:1] == b"\x00":
        return f"id {int.from_bytes(value[1:5], 'big')}"
    return value[2:10].hex()


def changes(old: Output, new: Output) -> Iterator[Change]:
    """What differs between the output that is there and the one that would be."""
    yield from _field("record.key", old.key, new.key)
    yield from _field("record.timestamp", old.timestamp, new.timestamp)
    yield from _field("record.headers", _own(old.headers), _own(new.headers))
    yield from _field("record.schema", old.schema, new.schema)
    before, after = old.enriched, new.enriched
    for name, was in msgspec.to_builtins(before.contact).items():
        if name != "attributes":
            yield from _field(f"contact.{name}", was, msgspec.to_builtins(after.contact)[name])
    for name in sorted({*before.contact.attributes, *after.contact.attributes}):
        was, now = before.contact.attributes.get(name), after.contact.attributes.get(name)
        yield from _field(f"contact.attributes.{name}", was, now)
    yield from _field("enrichment.status", before.enrichment.status.value, after.enrichment.status.value)
    first, second = before.offer_history, after.offer_history
    if (first.as_of, second.as_of) != (first.looked_up_at, second.looked_up_at):
        yield from _field("offerHistory.asOf", first.as_of, second.as_of)
    yield from _offers("offerHistory.offers[]", first.offers, second.offers)


def _own(headers: Headers) -> Headers:
    return [header for header in headers if header[0] not in _MOVING]


def _field(name: str, old: Any, new: Any) -> Iterator[Change]:
    if old != new:
        yield Change(name, old, new)


def _offers(path: str, old: Sequence[Offer], new: Sequence[Offer]) -> Iterator[Change]:
    """Offers are held against each other by what identifies them, however they are ordered."""
    if list(old) == list(new):
        return
    gone, come = list(old), list(new)
    pairs = 0
    for identity in (_itself, _interaction, _proposition):
        for offer in tuple(gone):
            twin = next((other for other in come if identity(other) == identity(offer)), None)
            if twin is not None:
                gone.remove(offer)
                come.remove(twin)
                pairs += identity is _itself
                yield from _inside(path, offer, twin)
    if pairs == len(old) == len(new):
        yield Change(f"{path} (order)", _names(old), _names(new))
    for offer in gone:
        yield Change(f"{path} (gone)", _name(offer), None)
    for offer in come:
        yield Change(f"{path} (new)", None, _name(offer))


def _itself(offer: Offer) -> Any:
    return offer


def _interaction(offer: Offer) -> Any:
    return (offer.interaction_id, offer.identifier, offer.name)


def _proposition(offer: Offer) -> Any:
    return (offer.identifier, offer.name, offer.outcome_time)


def _inside(path: str, old: Offer, new: Offer) -> Iterator[Change]:
    after = msgspec.to_builtins(new)
    for name, was in msgspec.to_builtins(old).items():
        if name != "bundle" and was != after[name]:
            yield Change(f"{path}.{name}", f"{was} ({_name(old)})", f"{after[name]} ({_name(new)})")
    yield from _offers(f"{path}.bundle[]", old.bundle, new.bundle)


def _name(offer: Offer) -> str:
    return offer.identifier or offer.name


def _names(offers: Sequence[Offer]) -> str:
    return ", ".join(map(_name, offers))


class Comparison(msgspec.Struct):
    """What came of all events.

    Attributes:
        same: outputs that would be the same.
        changed: outputs that would not.
        new: events that have no output, and would have one.
        dead: events that have an output, and would become dead letters.
        dead_before: events that have no output, and would become dead letters.
        unreadable: outputs that are there and cannot be read.
        fields: how many outputs would change in each field.
        examples: of each.
        causes: of the events in ``dead``.
        versions: of the program that wrote the outputs that are there.
        most: examples that are kept of each kind.
    """

    same: int = 0
    changed: int = 0
    new: int = 0
    dead: int = 0
    dead_before: int = 0
    unreadable: int = 0
    fields: Counter[str] = msgspec.field(default_factory=Counter)
    examples: dict[str, list[Example]] = msgspec.field(default_factory=dict)
    causes: Counter[str] = msgspec.field(default_factory=Counter)
    versions: Counter[str] = msgspec.field(default_factory=Counter)
    most: int = 3

    @property
    def different(self) -> bool:
        """Whether anything would change."""
        return bool(self.changed or self.new or self.dead or self.unreadable)

    def compare(self, old: Output | None, new: Output) -> None:
        """An event would have this output; ``old`` is there now."""
        place = new.enriched.enrichment
        event = f"{place.topic}[{place.partition}]@{place.offset}"
        if old is None:
            self.new += 1
            self._example("(no output)", event, "", "")
            return
        self.versions[old.enriched.enrichment.version] += 1
        found = list(changes(old, new))
        if not found:
            self.same += 1
            return
        self.changed += 1
        ids = {old.enriched.contact.customer_id, new.enriched.contact.customer_id} - {""}
        told: set[str] = set()
        for change in found:
            field = change.field
            if field not in self.fields and len(self.fields) >= MOST_KINDS:
                field = OTHER
            self.fields[field] += field not in told
            told.add(field)
            self._example(field, event, _shown(change.old, ids), _shown(change.new, ids))

    def rejected(self, event: str, cause: str, *, was_published: bool) -> None:
        """An event would become a dead letter."""
        if was_published:
            self.dead += 1
            self.causes[cause] += 1
            self._example("(dead letter)", event, "an output", cause)
        else:
            self.dead_before += 1

    def _example(self, field: str, event: str, old: str, new: str) -> None:
        kept = self.examples.setdefault(field, [])
        if len(kept) < self.most:
            kept.append(Example(event, old, new))


def _shown(value: Any, ids: set[str]) -> str:
    """A value in an example, without the customer's id, wherever it stands."""
    text = "-" if value is None else value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    for customer in ids:
        text = text.replace(customer, "***")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
