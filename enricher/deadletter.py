"""Dead letters: a record that could not be enriched, with its bytes untouched and the cause in its headers.

The headers are named as Kafka Connect names them (KIP-298), all values text, so that the tools that people have read
them. Invariants: key, value, timestamp and foreign headers are the record's; a record that was a dead letter before has
its old cause replaced and its counts carried on, so that headers do not pile up; no header grows beyond
``MAX_MESSAGE``. Pure.
"""

from typing import NamedTuple

from enricher.model import Headers, Outgoing, Record, Rejected

PREFIX = "__connect.errors."
COUNT = "enricher.dead-letter.count"
ATTEMPTS = "enricher.attempts"
MAX_MESSAGE = 1_024
"""Characters of the message that are kept."""

_LONGEST_NUMBER = 20
_HIGHEST_COUNT = 10**9


class DeadLetterCause(NamedTuple):
    """Why, and from where, a record came to the dead letters.

    Attributes:
        topic, partition, offset: where it was read.
        stage: where it was rejected.
        cause: the name of the cause.
        message: in words.
        attempts: look-ups that were made for it, each time that it became one.
        times: how many times it has become a dead letter.
    """

    topic: str
    partition: int
    offset: int
    stage: str
    cause: str
    message: str
    attempts: int
    times: int


def dead_letter(record: Record, rejected: Rejected, topic: str, *, attempts: int = 0) -> Outgoing:
    """The dead letter of a record.

    Args:
        record: as it was read.
        rejected: why.
        topic: of the dead letters.
        attempts: look-ups that were made for it.
    """
    headers = [(name, value) for name, value in record.headers if not is_cause(name)]
    causes = {
        PREFIX + "topic": record.topic,
        PREFIX + "partition": str(record.partition),
        PREFIX + "offset": str(record.offset),
        PREFIX + "stage": rejected.stage.value,
        PREFIX + "exception.class.name": rejected.cause,
        PREFIX + "exception.message": rejected.message[:MAX_MESSAGE],
        ATTEMPTS: str(attempts + _carried(record.headers, ATTEMPTS)),
        COUNT: str(1 + _carried(record.headers, COUNT)),
    }
    headers += [(name, text.encode("utf-8", "backslashreplace")) for name, text in causes.items()]
    return Outgoing(topic, record.key, record.value, headers, record.timestamp)


def parse_dead_letter(headers: Headers) -> DeadLetterCause | None:
    """The cause in a dead letter's headers; None where there is none that can be read."""
    found = {name: (value or b"").decode("utf-8", "replace") for name, value in headers if is_cause(name)}
    try:
        return DeadLetterCause(
            found[PREFIX + "topic"],
            bounded_number(found[PREFIX + "partition"]),
            bounded_number(found[PREFIX + "offset"]),
            found.get(PREFIX + "stage", ""),
            found.get(PREFIX + "exception.class.name", ""),
            found.get(PREFIX + "exception.message", ""),
            bounded_number(found.get(ATTEMPTS, "0")),
            bounded_number(found.get(COUNT, "1")),
        )
    except (KeyError, ValueError):
        return None


def bounded_number(text: str) -> int:
    """A number of at most 64 bits or so: anyone may write headers, and str() refuses numbers of thousands of digits.

    Raises:
        ValueError: it is none, or a longer one.
    """
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("too long for a number")
    return int(text)


def _carried(headers: Headers, name: str) -> int:
    """What a record counts that was a dead letter before; 0 where that cannot be read."""
    try:
        return min(max(0, bounded_number((dict(headers).get(name) or b"0").decode("ascii"))), _HIGHEST_COUNT)
    except ValueError:
        return 0


def is_cause(name: str) -> bool:
    """Whether a header is one of those that a dead letter gets."""
    return name.startswith(PREFIX) or name in (COUNT, ATTEMPTS)
