"""Makes the records that are written: an enriched event of an answer, a dead letter of a rejection.

Invariants: the output's key, headers and timestamp are the input's; what identifies it is derived from the input
alone. Pure.
"""

from typing import Protocol

from enricher import __version__
from enricher.deadletter import dead_letter
from enricher.model import Enriched, Enrichment, OfferHistory, Outgoing, Rejected, Status
from enricher.protocols import Answer
from enricher.work import Work


class Encoder(Protocol):
    """An enriched event to bytes."""

    def encode(self, enriched: Enriched) -> bytes:
        """Raises ``Rejected``."""
        ...


class Outputs:
    """Makes the records for two topics.

    Args:
        encoder: enriched events to bytes.
        topic: of the enriched events.
        dead_letter_topic: of the dead letters.
    """

    def __init__(self, encoder: Encoder, topic: str, dead_letter_topic: str) -> None:
        self._encoder = encoder
        self._topic = topic
        self._dead_letter_topic = dead_letter_topic

    def enriched(self, work: Work, answer: Answer) -> Outgoing:
        """The enriched event.

        Raises:
            Rejected: at stage encode.
        """
        record = work.record
        enriched = Enriched(
            work.event,
            OfferHistory(work.event.customer_id, answer.looked_up_at, answer.looked_up_at, answer.offers),
            Enrichment(
                record.topic,
                record.partition,
                record.offset,
                __version__,
                work.attempts,
                Status.ENRICHED if answer.offers else Status.NO_HISTORY,
            ),
        )
        return Outgoing(self._topic, record.key, self._encoder.encode(enriched), record.headers, record.timestamp)

    def dead_letter(self, work: Work, rejected: Rejected) -> Outgoing:
        """The dead letter."""
        return dead_letter(work.record, rejected, self._dead_letter_topic, attempts=work.attempts)
