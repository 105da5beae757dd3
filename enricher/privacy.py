"""Keeps named fields of outputs from those downstream: they are dropped, hashed with a key, or masked. Pure.

Invariants: what is changed is derived from the value and the key alone, so an output is the same on a re-run, and equal
values stay equal under a hash; a field that is not there stays so; offers within bundles are changed as offers are. An
attribute is treated by its value, so that a text and an attribute of the same text have the same hash; what is inside
of one, in objects and lists, is reached by a longer path, and all else of it stays as it is written.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from enricher.codec.attributes import attribute
from enricher.model import Enriched, Event, Offer, OfferHistory
from enricher.reader.building import MAX_LEVELS

T = TypeVar("T", Event, Offer, OfferHistory)

Change: TypeAlias = Callable[[str], str | None]

KEPT: Final = 4
"""Characters at the end of a text that a mask leaves."""

_SHORT: Final = 8
_STARS: Final = "***"


class Action(StrEnum):
    """What becomes of a field."""

    DROP = "drop"
    HASH = "hash"
    MASK = "mask"


class _Kind(StrEnum):
    TEXT = "a text that the schema requires"
    OPTIONAL = "a text or null"
    NUMBER = "a number or null"
    MAP = "a map"


class _Field(NamedTuple):
    record: type
    attribute: str
    kind: _Kind


_ATTRIBUTES: Final = "contact.attributes"

EVENT: Final = "event."
"""Where paths of a derived output's own event begin; ``enricher.codec.rewriting`` keeps these back."""


def _known() -> Iterator[tuple[str, _Field]]:
    for name in ("eventId", "customerId"):
        yield f"contact.{name}", _Field(Event, _snake(name), _Kind.TEXT)
    for name in ("channel", "direction", "reason", "agentId"):
        yield f"contact.{name}", _Field(Event, _snake(name), _Kind.OPTIONAL)
    yield _ATTRIBUTES, _Field(Event, "attributes", _Kind.MAP)
    yield "offerHistory.customerId", _Field(OfferHistory, "customer_id", _Kind.TEXT)
    for name in ("name", "issue", "group", "channel", "direction", "outcome", "behaviour", "identifier"):
        yield f"offerHistory.offers.{name}", _Field(Offer, name, _Kind.TEXT)
    yield "offerHistory.offers.externalId", _Field(Offer, "external_id", _Kind.OPTIONAL)
    for name in ("interactionId", "outcomeTime"):
        yield f"offerHistory.offers.{name}", _Field(Offer, _snake(name), _Kind.NUMBER)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


_FIELDS: Final = dict(_known())

_BLANKS: Final = " \t\n\r"
_encode: Final = msgspec.json.Encoder().encode
_string: Final = msgspec.json.Decoder(str).decode
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def why_not(path: str, action: Action) -> str | None:
    """Why a field cannot be treated so, for a person; None if it can."""
    if path.startswith(f"{_ATTRIBUTES}.") and path != f"{_ATTRIBUTES}.":
        return None
    if path.startswith(EVENT) and all(path.split(".")):
        return None  # its type tells the event's schema only
    field = _FIELDS.get(path)
    if field is None:
        known = f"{', '.join(_FIELDS)} and {_ATTRIBUTES}.NAME; of derived outputs, {EVENT}NAME"
        return f"names no field that can be kept back; there are {known}"
    if action is Action.DROP and field.kind is _Kind.TEXT:
        return f"is {field.kind}: it can be hashed or masked, but not dropped"
    if action is not Action.DROP and field.kind in (_Kind.NUMBER, _Kind.MAP):
        return f"is {field.kind}: it can only be dropped"
    return None


class Privacy:
    """Changes outputs.

    Args:
        rules: by path, what becomes of a field; each as ``why_not`` allows.
        key: of the hashes.

    Attributes:
        event: by path in a derived output's event, what is done to it, and how to texts.
    """

    def __init__(self, rules: Mapping[str, Action], key: bytes) -> None:
        self.event: dict[str, tuple[Action, Change]] = {}
        self._key = key
        self._attributes: dict[str, Change] = {}
        self._changes: dict[type, dict[str, Change]] = {Event: {}, OfferHistory: {}, Offer: {}}
        self._without_attributes = False
        for path, action in rules.items():
            change = {Action.DROP: _drop, Action.HASH: self._hash, Action.MASK: mask}[action]
            field = _FIELDS.get(path)
            if path.startswith(EVENT):
                self.event[path.removeprefix(EVENT)] = (action, change)
            elif field is None:
                self._attributes[path.removeprefix(f"{_ATTRIBUTES}.")] = change
            elif field.kind is _Kind.MAP:
                self._without_attributes = True
            else:
                self._changes[field.record][field.attribute] = change

    def apply(self, enriched: Enriched) -> Enriched:
        """The output as it may be published."""
        contact, history = self._changed(enriched.contact), self._changed(enriched.offer_history)
        if self._without_attributes:
            contact = msgspec.structs.replace(contact, attributes={})
        elif self._attributes:
            contact = msgspec.structs.replace(contact, attributes=self._of_attributes(contact.attributes))
        if self._changes[Offer]:
            history = msgspec.structs.replace(history, offers=tuple(self._offers(history.offers, 1)))
        return msgspec.structs.replace(enriched, contact=contact, offer_history=history)

    def _offers(self, offers: Iterable[Offer], level: int) -> Iterator[Offer]:
        for offer in offers:
            changed = self._changed(offer)
            if offer.bundle and level <= MAX_LEVELS:  # what goes deeper is not published anyway
                changed = msgspec.structs.replace(changed, bundle=tuple(self._offers(offer.bundle, level + 1)))
            yield changed

    def _of_attributes(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """Those that may be published. One whose name was taken has slashes before it, and is the same field."""
        changed = ((name, self._of_attribute(name.lstrip("/"), text)) for name, text in attributes.items())
        return {name: text for name, text in changed if text is not None}

    def _of_attribute(self, name: str, text: str) -> str | None:
        kept: str | None = text
        for path, change in self._attributes.items():
            if kept is None:
                break
            if path == name:
                kept = _attribute(kept, change)
            elif path.startswith(f"{name}."):
                kept = _inside_of(kept, path[len(name) + 1 :], change)
        return kept

    def _changed(self, record: T) -> T:
        changes = {
            name: change(value)
            for name, change in self._changes[type(record)].items()
            if (value := getattr(record, name)) is not None and value != ""
        }
        return msgspec.structs.replace(record, **changes) if changes else record

    def _hash(self, text: str) -> str:
        """HMAC-SHA-256, in hexadecimal."""
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def _drop(_value: object) -> None:
    return None


def _attribute(text: str, change: Change) -> str | None:
    """An attribute, changed; None if it is dropped."""
    inner = text.strip(_BLANKS)
    if inner in ("", "null"):
        return None if change is _drop else text
    with suppress(msgspec.DecodeError, UnicodeEncodeError):  # no JSON, so the text is itself
        text = _string(inner)
    changed = change(text)
    if changed is None or not changed.isalnum():  # a mask begins with stars, and is no JSON
        return changed
    return attribute(f'"{changed}"'.encode())


def _inside_of(text: str, path: str, change: Change) -> str | None:
    """An attribute with what is inside of it changed, if it is an object or a list."""
    inner = text.strip(_BLANKS)
    if inner[:1] not in ("{", "["):
        return text
    try:
        return _within(inner.encode(), path, change).decode()
    except (msgspec.DecodeError, UnicodeEncodeError):  # no JSON
        return text
    except RecursionError:  # deeper than anybody reads, so nobody knows what is in there
        return None


def _within(raw: bytes, path: str, change: Change) -> bytes:
    """A JSON value, changed in a place; of a list, in each of its elements."""
    if raw[:1] == b"[":
        return _encode([msgspec.Raw(_within(bytes(item), path, change)) for item in _items(raw)])
    if raw[:1] != b"{":
        return raw
    kept: dict[str, msgspec.Raw] = {}
    for name, value in _fields(raw).items():
        inner: bytes | None = bytes(value)
        if name == path:
            inner = _value(bytes(value), change)
        elif path.startswith(f"{name}."):
            inner = _within(bytes(value), path[len(name) + 1 :], change)
        if inner is not None:
            kept[name] = msgspec.Raw(inner)
    return _encode(kept)


def _value(raw: bytes, change: Change) -> bytes | None:
    """A JSON value, changed; None if it is dropped."""
    text = _string(raw) if raw[:1] == b'"' else raw.decode()
    if text == "" or raw == b"null":
        return None if change is _drop else raw
    changed = change(text)
    return None if changed is None else _encode(changed)


def mask(text: str) -> str:
    """Stars, and the last characters; of a short text stars alone. How long it was is not told."""
    return _STARS if len(text) <= _SHORT else _STARS + text[-KEPT:]
