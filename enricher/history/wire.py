"""The service's JSON to typed offers, in one pass. Pure.

Liberal where the contract is: fields may be missing, null counts as missing, unknown fields are skipped. Strict
everywhere else: what is present but cannot be typed fails the whole answer, as does a field that stands twice in one
object, of which nobody can tell which one is meant; nothing is guessed. An answer without the list itself is no empty
history: an error object that a gateway sends with status 200 must never look like a customer without offers.

No failure raised here holds a byte of the body: it names the place and what was expected there. Library errors are
not chained either, as those of Unicode carry the whole input.
"""

import json
import re
from datetime import date
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct, field
from msgspec.structs import astuple

from enricher.model import FailureKind, LookupFailure, Offer

MAX_OFFERS: Final = 10_000
"""Offers of one answer, those inside bundles included."""

MAX_DEPTH: Final = 8
"""Levels of offers: a plain offer is one, an offer of a bundle is the second. The documentation shows two."""

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_INTEGER: Final = re.compile(r"[+-]?0*[0-9]{1,19}", re.ASCII)

_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_TIME_LENGTH: Final = len("20160225T125501.526 GMT")
# Whatever is no key of these is no time of day. Look-ups are several times faster than strptime, and as exact.
_MINUTES: Final = {f"T{m // 60:02}{m % 60:02}": m * 60_000 for m in range(24 * 60)}
_SECONDS: Final = {f"{s:02}.": s * 1_000 for s in range(60)}
_MILLIS: Final = {f"{ms:03} GMT": ms for ms in range(1_000)}


class _WireOffer(Struct, gc=False):
    """An offer as the service writes it."""

    name: str | None = field(name="Name", default=None)
    issue: str | None = field(name="Issue", default=None)
    group: str | None = field(name="Group", default=None)
    channel: str | None = field(name="Channel", default=None)
    direction: str | None = field(name="Direction", default=None)
    interaction_id: int | str | None = field(name="InteractionID", default=None)
    external_id: str | None = field(name="ExternalID", default=None)
    outcome_time: str | None = field(name="OutcomeTime", default=None)
    outcome: str | None = field(name="Outcome", default=None)
    behaviour: str | None = field(name="Behaviour", default=None)
    identifier: str | None = field(name="Identifier", default=None)
    bundle: list["_WireOffer"] | None = field(name="OfferHistory", default=None)


class _WireHistory(Struct, gc=False):
    """The whole answer; the list is required here, unlike everything inside it."""

    offers: list[_WireOffer] = field(name="OfferHistory")


_KNOWN: Final = frozenset(struct_field.encode_name for struct_field in msgspec.structs.fields(_WireOffer))
_NAMES: Final = tuple(f'"{name}"'.encode() for name in _KNOWN)
_FIELDS: Final = len(_KNOWN)

_decoder: Final = msgspec.json.Decoder(_WireHistory)


def decode_history(body: bytes, *, max_offers: int = MAX_OFFERS, max_depth: int = MAX_DEPTH) -> tuple[Offer, ...]:
    """Decode the body of a 200.

    Args:
        body: UTF-8 JSON, ``{"OfferHistory": [offer, ...]}``.
        max_offers: how many offers an answer may hold, those inside bundles included.
        max_depth: how many levels of offers there may be.

    Returns:
        The offers in their order; empty for a customer that the service does not know.

    Raises:
        LookupFailure: ``INVALID_JSON`` for what is no JSON, ``CONTRACT_VIOLATION`` for JSON of another shape.
    """
    failure: LookupFailure
    try:
        wire = _decoder.decode(body)
        conversion = _Conversion(max_offers, max_depth)
        offers = conversion.offers(wire.offers, "$.OfferHistory", 1)
        _check_repeated(body, conversion.fields)
        return offers  # noqa: TRY300  the checks above belong to it
    except msgspec.ValidationError as error:  # its text is a type and a path, never a value
        failure = _violation(str(error))
    except msgspec.DecodeError as error:  # its text is a position, never a value
        failure = LookupFailure(FailureKind.INVALID_JSON, f"the answer is no JSON: {error}")
    except UnicodeDecodeError:
        failure = LookupFailure(FailureKind.INVALID_JSON, "the answer is no JSON: it is not UTF-8")
    except RecursionError:
        failure = _violation("it is nested too deeply")
    except _Untypable as error:
        failure = _violation(str(error))
    raise failure  # outside of the handlers, so that no library error (with its input) hangs on to it


def parse_outcome_time(text: str) -> int:
    """Milliseconds since the epoch of ``yyyyMMdd'T'HHmmss.SSS 'GMT'``, such as ``20160225T125501.526 GMT``.

    Raises:
        ValueError: any other form, or a date or time of day that does not exist; the text is not in the message.
    """
    if len(text) == _TIME_LENGTH:
        try:
            return _day(text[:8]) + _MINUTES[text[8:13]] + _SECONDS[text[13:16]] + _MILLIS[text[16:]]
        except (KeyError, ValueError):
            pass
    raise ValueError("OutcomeTime is not a time of the form yyyyMMdd'T'HHmmss.SSS 'GMT'")


def parse_interaction_id(value: int | str) -> int:
    """A signed 64-bit integer from its decimal text; a JSON number of that size is taken as well.

    Raises:
        ValueError: no decimal integer, or out of range; the text is not in the message.
    """
    if isinstance(value, str):
        # int() alone would also take underscores, spaces and the digits of other scripts
        if not _INTEGER.fullmatch(value):
            raise ValueError("InteractionID is not a signed 64-bit integer")
        value = int(value)
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise ValueError("InteractionID is not a signed 64-bit integer")
    return value


@lru_cache(maxsize=8_192)
def _day(text: str) -> int:
    """Milliseconds since the epoch at the start of the day ``yyyyMMdd``."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not a date")
    return (date(int(text[:4]), int(text[4:6]), int(text[6:])).toordinal() - _EPOCH) * _DAY_MS


class _Untypable(Exception):  # noqa: N818  what the value is; it never leaves this module
    """A value that cannot be typed; the text names its place and what was expected."""


def _violation(what: str) -> LookupFailure:
    return LookupFailure(FailureKind.CONTRACT_VIOLATION, f"the answer breaks the service's contract: {what}")


def _check_repeated(body: bytes, fields: int) -> None:
    """Refuse an answer in which a known field stands twice in one object. The decoder takes the last one silently.

    ``fields`` is how many known fields have a value. There are as many colons as fields, and more within texts, in
    unknown fields and before null; so where there are only ``fields`` of them, none stands twice. That is so for
    nearly all answers, and costs a microsecond. Otherwise the names are counted, and if that does not settle it, each
    object is looked at.
    """
    if body.count(b":") == fields or (b"\\u" not in body and sum(map(body.count, _NAMES)) == fields):
        return
    json.loads(body, object_pairs_hook=_refuse_repeated, parse_int=len, parse_float=len, parse_constant=len)


def _refuse_repeated(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs if name in _KNOWN]
    if len(names) > len(set(names)):
        repeated = next(name for name in names if names.count(name) > 1)
        raise _Untypable(f"`{repeated}` stands twice in one object")


class _Conversion:
    """Turns the offers of one answer into values, and counts them and their fields, the one of the list included."""

    __slots__ = ("_left", "_max_depth", "fields")

    def __init__(self, max_offers: int, max_depth: int) -> None:
        self._left = max_offers
        self._max_depth = max_depth
        self.fields = 1

    def offers(self, wire: list[_WireOffer], path: str, depth: int) -> tuple[Offer, ...]:
        """The typed offers of one list, in their order."""
        self._left -= len(wire)
        if self._left < 0:
            raise _Untypable(f"more offers than the limit - at `{path}`")
        if depth > self._max_depth:
            raise _Untypable(f"bundles within bundles beyond {self._max_depth} levels - at `{path}`")
        offers = []
        self.fields += _FIELDS * len(wire)
        for index, offer in enumerate(wire):
            self.fields -= astuple(offer).count(None)
            interaction_id = offer.interaction_id
            outcome_time = offer.outcome_time
            try:
                if interaction_id is not None:
                    interaction_id = parse_interaction_id(interaction_id)
                instant = None if outcome_time is None else parse_outcome_time(outcome_time)
            except ValueError as error:
                raise _Untypable(f"{error} - at `{path}[{index}]`") from None
            bundle = offer.bundle
            offers.append(
                Offer(  # by position: keywords cost a third more
                    offer.name or "",
                    offer.issue or "",
                    offer.group or "",
                    offer.channel or "",
                    offer.direction or "",
                    interaction_id,
                    offer.external_id or None,
                    instant,
                    offer.outcome or "",
                    offer.behaviour or "",
                    offer.identifier or "",
                    self.offers(bundle, f"{path}[{index}].OfferHistory", depth + 1) if bundle else (),
                )
            )
        return tuple(offers)
