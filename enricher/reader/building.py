"""Makes the typed values of the plain ones that Avro and JSON give.

Invariant: fields that a newer version has besides are left out, fields that an older one has not get their defaults.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from enricher.avroschema.derived import FIELD
from enricher.reader.values import (
    CustomerContact,
    EnrichedContact,
    EnrichedEvent,
    Enrichment,
    EnrichmentStatus,
    Offer,
    OfferHistory,
)

MAX_LEVELS: Final = 16
"""Levels of offers: bundles within bundles. The worker writes no more."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STATUSES: Final = {status.value: status for status in EnrichmentStatus}

T = TypeVar("T")
Convert = Callable[[Any], Any]


def build(plain: Mapping[str, Any]) -> EnrichedContact:
    """The typed value.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, AttributeError: the plain one is none of an enriched contact.
    """
    return _made(EnrichedContact, plain, _CONVERT)


def build_event(name: str, plain: Mapping[str, Any]) -> EnrichedEvent:
    """The typed value of a derived output, whose record has this name; raises as ``build`` does."""
    event = dict(plain)
    history = event.pop(FIELD)
    return EnrichedEvent(name, event, build_history(history), _enrichment(history["enrichment"]))


def build_history(plain: Mapping[str, Any]) -> OfferHistory:
    """The history alone; raises as ``build`` does."""
    return _made(OfferHistory, plain, _HISTORY)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _made(kind: type[T], plain: Mapping[str, Any], convert: Mapping[str, Convert]) -> T:
    given = {}
    for name, spelled in _NAMES[kind]:
        if spelled in plain:
            value = plain[spelled]
            change = convert.get(name)
            given[name] = value if change is None or value is None else change(value)
    return kind(**given)


def _instant(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _offers(level: int) -> Convert:
    def convert(plain: list[Mapping[str, Any]]) -> tuple[Offer, ...]:
        if level > MAX_LEVELS and plain:
            raise ValueError(f"bundles go deeper than {MAX_LEVELS} levels")
        inner = {"outcome_time": _instant, "bundle": _offers(level + 1)}
        return tuple(_made(Offer, offer, inner) for offer in plain)

    return convert


def _enrichment(plain: Mapping[str, Any]) -> Enrichment:
    return _made(Enrichment, plain, {"status": _status})


def _status(symbol: str) -> EnrichmentStatus:
    return _STATUSES.get(symbol, EnrichmentStatus.UNKNOWN)


_NAMES: Final[Mapping[type, list[tuple[str, str]]]] = {
    kind: [(field.name, _camel(field.name)) for field in fields(kind)]
    for kind in (EnrichedContact, CustomerContact, OfferHistory, Offer, Enrichment)
}
_HISTORY: Final[Mapping[str, Convert]] = {"looked_up_at": _instant, "as_of": _instant, "offers": _offers(1)}
_CONVERT: Final[Mapping[str, Convert]] = {
    "contact": lambda plain: _made(CustomerContact, plain, {"contact_time": _instant}),
    "offer_history": build_history,
    "enrichment": _enrichment,
}
