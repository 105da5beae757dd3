"""Makes the records that are written: an enriched event of an answer, a dead letter of a rejection.

Invariants: the output's key, headers and timestamp are the input's, but for a header that tells the value's schema;
what identifies it is derived from the input alone. Pure.
"""

from typing import Protocol

from enricher import __version__
from enricher.as_of import AsOf, offers_until
from enricher.deadletter import dead_letter
from enricher.model import Enriched, Enrichment, Headers, Offer, OfferHistory, Outgoing, Record, Rejected, Status
from enricher.protocols import Answer
from enricher.work import Work


class Encoder(Protocol):
    """An enriched event to bytes."""

    def encode(self, enriched: Enriched, record: Record, /) -> bytes:
        """The value of the output for a record. Raises ``Rejected``."""
        ...

    def headers(self, record: Record, /) -> Headers:
        """Its headers: the record's, as far as they go with that value, and what tells its schema."""
        ...


class Outputs:
    """Makes the records for two topics.

    Args:
        encoder: enriched events to bytes.
        topic: of the enriched events.
        dead_letter_topic: of the dead letters.
        as_of: which instant the histories describe.
        added_headers: of every record, after the input's.
    """

    def __init__(
        self,
        encoder: Encoder,
        topic: str,
        dead_letter_topic: str,
        as_of: AsOf = AsOf.NOW,
        added_headers: Headers | None = None,
    ) -> None:
        self._encoder = encoder
        self._topic = topic
        self._dead_letter_topic = dead_letter_topic
        self._whole = as_of is AsOf.NOW
        self._as_of = as_of
        self._added = list(added_headers or ())

    def enriched(self, work: Work, answer: Answer) -> Outgoing:
        """The enriched event.

        Raises:
            Rejected: at stage encode.
        """
        instant, offers = answer.looked_up_at, answer.offers
        if not self._whole:
            instant = self._as_of.instant(work.event.contact_time, instant)
            offers = offers_until(offers, instant)
        status = Status.ENRICHED if offers else Status.NO_HISTORY
        return self._output(work, answer.looked_up_at, instant, offers, status)

    def unavailable(self, work: Work, now: int) -> Outgoing:
        """The event without a history, since the service did not answer; given up at ``now`` (milliseconds).

        Raises:
            Rejected: at stage encode.
        """
        instant = self._as_of.instant(work.event.contact_time, now)
        return self._output(work, now, instant, (), Status.UNAVAILABLE)

    def _output(
        self, work: Work, looked_up_at: int, instant: int, offers: tuple[Offer, ...], status: Status
    ) -> Outgoing:
        record, event = work.record, work.event
        enriched = Enriched(
            event,
            OfferHistory(event.customer_id, looked_up_at, instant, offers),
            Enrichment(record.topic, record.partition, record.offset, __version__, work.attempts, status),
        )
        value, headers = self._encoder.encode(enriched, record), self._encoder.headers(record)
        if self._added:
            headers = [*headers, *self._added]
        return Outgoing(self._topic, record.key, value, headers, record.timestamp)

    def dead_letter(self, work: Work, rejected: Rejected) -> Outgoing:
        """The dead letter."""
        letter = dead_letter(work.record, rejected, self._dead_letter_topic, attempts=work.attempts)
        letter.headers.extend(self._added)
        return letter
