"""Which part of an answer an event's output holds: all of it, or what had happened by the time of the event.

Invariants: under ``event`` no outcome after the instant is in the output, to the millisecond, and no offer whose
outcome has no time, as nobody can tell when that was; offers inside a bundle without a time of their own go with it.
Pure.
"""

from enum import StrEnum

import msgspec

from enricher.model import Offer


class AsOf(StrEnum):
    """The instant that a history describes (setting ``history.as_of``)."""

    NOW = "now"
    EVENT = "event"

    def instant(self, contact_time: int, looked_up_at: int) -> int:
        """What an output is as of: an answer cannot tell what happened after it was given."""
        return looked_up_at if self is AsOf.NOW else min(contact_time, looked_up_at)


def offers_until(offers: tuple[Offer, ...], instant: int) -> tuple[Offer, ...]:
    """The offers whose outcome was recorded at that instant (milliseconds) or before."""
    return tuple(
        _bundle_until(offer, instant)
        for offer in offers
        if offer.outcome_time is not None and offer.outcome_time <= instant
    )


def _bundle_until(offer: Offer, instant: int) -> Offer:
    if not offer.bundle:
        return offer
    kept = [
        _bundle_until(part, instant)
        for part in offer.bundle
        if part.outcome_time is None or part.outcome_time <= instant
    ]
    return msgspec.structs.replace(offer, bundle=tuple(kept))
