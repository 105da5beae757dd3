"""Which records of a range a replay processes: by time, customer, and an expression over the event's fields.

Invariants: what is not selected is resolved without an output, and never looked up; a record of which a filter would
have to see inside, and which cannot be decoded, is not selected, as nobody can say whose it is. Pure.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from enricher.model import Event, NotSelected, Record, Rejected
from enricher.replay.where import Test


class Filler(Record, frozen=True, gc=False):
    """Stands for the end of a range where the log has no record: nothing is to be done but to take note of it."""


class Decoder(Protocol):
    """Bytes to an event."""

    def decode(self, record: Record) -> Event:
        """Raises ``Rejected``."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """What is selected: all that passes every condition that is there.

    Attributes:
        since: the first record timestamp, ms.
        until: the first record timestamp that is not selected any more, ms.
        customers: their ids.
        where: a test of the event.
    """

    since: int | None = None
    until: int | None = None
    customers: frozenset[str] | None = None
    where: Test | None = None

    @property
    def looks_inside(self) -> bool:
        """Whether the event decides, and not the record alone."""
        return self.customers is not None or self.where is not None

    def covers(self, timestamp: int) -> bool:
        """Whether a record of this timestamp (ms; -1 for none) lies in the time that is selected."""
        return (self.since is None or timestamp >= self.since) and (self.until is None or -1 < timestamp < self.until)

    def wants(self, event: Event) -> bool:
        """Whether the event passes the filters."""
        return (self.customers is None or event.customer_id in self.customers) and (
            self.where is None or self.where(event)
        )


class SelectingDecoder:
    """Decodes what is selected; for the rest it raises ``NotSelected``.

    Args:
        decoder: reads the events.
        selection: what is selected.
    """

    def __init__(self, decoder: Decoder, selection: Selection) -> None:
        self._decoder = decoder
        self._selection = selection

    def decode(self, record: Record) -> Event:
        """The event in a record's value.

        Raises:
            Rejected: it is none.
            NotSelected: it is not selected.
        """
        selection = self._selection
        if isinstance(record, Filler) or not selection.covers(record.timestamp):
            raise NotSelected
        if not selection.looks_inside:
            return self._decoder.decode(record)
        try:
            event = self._decoder.decode(record)
        except Rejected:
            raise NotSelected from None
        if not selection.wants(event):
            raise NotSelected
        return event


def parse_customers(text: str) -> frozenset[str]:
    """The customer ids in a file: one a line; empty lines do not count."""
    return frozenset(line for line in (line.strip() for line in text.splitlines()) if line)


def digest(customers: Collection[str]) -> str:
    """What tells two lists of customers apart, without telling who is in them."""
    return hashlib.sha256("\n".join(sorted(customers)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
