"""What ``enricher tail`` shows of a record: opened, chosen, masked, and put as text, table or JSON.

Invariants: without ``show_ids`` no customer's id is in what is returned: it is replaced by a mask, which is the same
for the same customer within one run and tells nothing else; nor is a record's key or value, or what other programs say
in words. Nothing here does I/O.
"""

import base64
import hashlib
import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from rich.text import Text

from enricher.cli.rendering import enriched_lines, instant
from enricher.codec import Decoder, OutputReader
from enricher.model import Enriched, Record, Rejected
from enricher.redrive.letters import Letter, read_letter

DEAD_LETTER = "dead-letter"
SHORTEST = 4
"""Characters of a customer's id that is looked for also within other texts."""

MOST_VALUE = 500
"""Characters of a dead letter's value that are shown as text."""


class Shown(NamedTuple):
    """A record, opened: an enriched event, a dead letter, or neither, and then why; and whose it is, if known."""

    record: Record
    enriched: Enriched | None = None
    letter: Letter | None = None
    customer: str | None = None
    problem: str = ""

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.record.topic}[{self.record.partition}]@{self.record.offset}"


def opened(record: Record, outputs: OutputReader, decoder: Decoder) -> Shown:
    """What a record is; the decoder reads the events in dead letters."""
    try:
        enriched = outputs.decode(record.value, record.headers, record.timestamp)
    except ValueError as error:
        problem = str(error)
    else:
        return Shown(record, enriched, customer=enriched.contact.customer_id)
    letter = read_letter(record.headers)
    if letter is None:
        return Shown(record, problem=problem)
    customer: str | None
    try:
        customer = decoder.decode(record).customer_id
    except Rejected:
        customer = None if record.key is None else record.key.decode("utf-8", "backslashreplace")
    return Shown(record, letter=letter, customer=customer)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen: all that passes every condition that is there.

    Attributes:
        customers: ids; of a dead letter that cannot be read, the key counts as one.
        outcomes: an event's status, an offer's outcome, ``dead-letter``, or a dead letter's stage or cause.
        since, until: the first timestamp that is chosen, and the first that is not any more; milliseconds.
    """

    customers: Collection[str] = ()
    outcomes: Collection[str] = ()
    since: int | None = None
    until: int | None = None

    @property
    def looks_inside(self) -> bool:
        """Whether what cannot be opened is passed over, as nobody can say whose it is."""
        return bool(self.customers or self.outcomes)

    def covers(self, record: Record) -> bool:
        """Whether its time is chosen."""
        at = record.timestamp
        return (self.since is None or at >= self.since) and (self.until is None or -1 < at < self.until)

    def wants(self, shown: Shown) -> bool:
        """Whether it is chosen."""
        if self.outcomes and not {_plain(name) for name in self.outcomes} & set(_outcomes(shown)):
            return False
        return not self.customers or shown.customer in self.customers


def _outcomes(shown: Shown) -> Iterator[str]:
    if shown.enriched is not None:
        yield _plain(shown.enriched.enrichment.status)
        for offer in shown.enriched.offer_history.offers:
            yield _plain(offer.outcome)
    elif shown.letter is not None:
        yield from (DEAD_LETTER, _plain(shown.letter.stage), _plain(shown.letter.cause))
        yield _plain(shown.letter.cause.rpartition(".")[2])


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")


class View:
    """How things are put.

    Args:
        show_ids: whether customers' ids are shown.
        offers: how many of each event are shown as text.
    """

    def __init__(self, *, show_ids: bool, offers: int) -> None:
        self._show_ids = show_ids
        self._offers = offers
        self._salt = secrets.token_bytes(16)

    def mask(self, text: str) -> str:
        """What stands for a customer's id."""
        if self._show_ids:
            return text
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4, salt=self._salt)
        return f"~{digest.hexdigest()}"

    def masked(self, enriched: Enriched) -> Enriched:
        """The event with masks in place of its customer's id, wherever in the contact and the history it stands."""
        if self._show_ids:
            return enriched
        ids = {enriched.contact.customer_id, enriched.offer_history.customer_id} - {""}
        plain: dict[str, Any] = msgspec.to_builtins(enriched)
        for name in ("contact", "offerHistory"):
            plain[name] = self._without(plain[name], ids)
        return msgspec.convert(plain, Enriched)

    def _without(self, value: Any, ids: set[str]) -> Any:
        if isinstance(value, dict):
            return {name: self._without(inner, ids) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._without(inner, ids) for inner in value]
        if isinstance(value, str):
            for one in ids:
                if value == one or len(one) >= SHORTEST:
                    value = value.replace(one, self.mask(one))
        return value

    def json(self, shown: Shown) -> bytes | None:
        """One JSON object; None for what is neither an enriched event nor a dead letter."""
        if shown.enriched is not None:
            return msgspec.json.encode(self.masked(shown.enriched))
        if shown.letter is None:
            return None
        record, letter = shown.record, shown.letter
        source = letter.source
        told: dict[str, Any] = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "source": source and {"topic": source.topic, "partition": source.partition, "offset": letter.offset},
            "stage": letter.stage,
            "cause": letter.cause,
            "message": self._message(letter),
            "attempts": letter.attempts,
            "times": letter.times,
            "redrives": letter.redrives,
            "causeBefore": letter.before,
        }
        answer: dict[str, Any] = {"deadLetter": told, "key": self._key(record)}
        if self._show_ids:
            answer |= _value(record.value)
        return msgspec.json.encode(answer)

    def lines(self, shown: Shown) -> Iterable[Text]:
        """A few lines of text."""
        if shown.enriched is not None:
            return enriched_lines(self.masked(shown.enriched), self._offers)
        return self._letter_lines(shown, shown.letter) if shown.letter is not None else ()

    def _letter_lines(self, shown: Shown, letter: Letter) -> Iterator[Text]:
        yield Text.assemble((f"{shown.place}  ", "bold"), (f"dead letter, {letter.stage}: {letter.cause}", "bold red"))
        yield Text(f"  {instant(shown.record.timestamp)}  key {self._key(shown.record) or '-'}")
        source = "an unknown place" if letter.source is None else f"{letter.source.topic}[{letter.source.partition}]"
        at = f"@{letter.offset}" if letter.source is not None else ""
        tries = f", {letter.attempts} attempts" if letter.attempts else ""
        again = f", sent back {letter.redrives} times" if letter.redrives else ""
        yield Text(f"  from {source}{at}{tries}{again}", style="dim")
        yield Text(f"  {self._message(letter) or '(the message is shown with --show-ids)'}")
        if letter.before:
            yield Text(f"  before: {letter.before}", style="dim")
        if self._show_ids and shown.record.value is not None:
            yield Text(f"  {shown.record.value.decode('utf-8', 'replace')[:MOST_VALUE]}")

    def row(self, shown: Shown) -> tuple[str, str, str, str, str, str] | None:
        """The cells of one line: time, place, outcome, customer, offers, and the event's id, or why it is none."""
        record, at = shown.record, instant(None if shown.record.timestamp < 0 else shown.record.timestamp)
        place = f"{record.partition}@{record.offset}"
        if shown.enriched is not None:
            enriched = self.masked(shown.enriched)
            outcome, contact = _plain(enriched.enrichment.status), enriched.contact
            return at, place, outcome, contact.customer_id, str(len(enriched.offer_history.offers)), contact.event_id
        if shown.letter is None:
            return None
        outcome = shown.letter.cause.rpartition(".")[2]
        told = " ".join(f"{shown.letter.stage}: {self._message(shown.letter) or '-'}".split())
        return at, place, outcome, "-" if shown.customer is None else self.mask(shown.customer), "-", told

    def _key(self, record: Record) -> str | None:
        return None if record.key is None else self.mask(record.key.decode("utf-8", "backslashreplace"))

    def _message(self, letter: Letter) -> str | None:
        return None if letter.foreign and not self._show_ids else letter.message


def _value(value: bytes | None) -> dict[str, str | None]:
    """The value as text, or in base64 where it is none."""
    try:
        return {"value": None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {"valueBase64": base64.b64encode(value or b"").decode()}
