"""Dead letters as they are read again, and the records that go back in their place.

The causes of this worker, of Kafka Connect and of Spring Kafka are read. Invariants: key, value, timestamp and foreign
headers of what goes back are the dead letter's; its headers do not grow however often it goes, as each that tells a
cause is replaced or taken out, and the one cause that is kept is cut at ``MAX_CAUSE``; reading never fails, whatever
the headers hold. Pure.
"""

from typing import Final, NamedTuple

from enricher.deadletter import ATTEMPTS, COUNT, bounded_number, is_cause, parse_dead_letter
from enricher.model import Headers, Record, TopicPartition

REDRIVES: Final = "enricher-redrives"
"""The header that counts how often a record was sent back."""

ORIGIN: Final = "enricher-redriven-from"
"""The header that tells which dead letter a record was."""

CAUSE: Final = "enricher-redrive-cause"
"""The header that tells why it was one."""

MAX_CAUSE: Final = 512
"""Characters of the earlier cause that are kept."""

UNKNOWN: Final = "unknown"
"""The stage, or the cause, of a dead letter that tells none."""

_OURS: Final = (REDRIVES, ORIGIN, CAUSE, "enricher-replay")  # the last names the replay that it died in
_SPRING: Final = "kafka_dlt-"
_OTHERS: Final = (_SPRING, "springDeserializerException", "retry_topic-")
_MOST: Final = 1_000_000


class Letter(NamedTuple):
    """What a dead letter says.

    Attributes:
        source: the partition that its record was read from, if it tells.
        offset: where in it; -1 if it does not tell.
        stage: where it was rejected.
        cause: the name of the cause.
        message: in words.
        attempts: look-ups that were made for it, all together.
        times: how often it has become a dead letter.
        redrives: how often it was sent back.
        before: the cause that it had when it was sent back the last time.
        foreign: another program has written it: the message may hold a customer's data.
    """

    source: TopicPartition | None
    offset: int
    stage: str
    cause: str
    message: str
    attempts: int = 0
    times: int = 1
    redrives: int = 0
    before: str | None = None
    foreign: bool = False


def read_letter(headers: Headers) -> Letter | None:
    """What the headers of a dead letter say; None where they tell of no cause."""
    texts = {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
    redrives, before = _redrives(texts), texts.get(CAUSE)
    found = parse_dead_letter(headers)
    if found is not None:
        return Letter(
            TopicPartition(found.topic, found.partition),
            found.offset,
            found.stage or UNKNOWN,
            found.cause or UNKNOWN,
            found.message,
            found.attempts,
            found.times,
            redrives,
            before,
            COUNT not in texts,
        )
    cause = next((texts[name] for name in _SPRING_CAUSES if texts.get(name)), UNKNOWN)
    if not any(name.startswith(_SPRING) for name in texts):
        return None
    raw = dict(headers)
    topic, partition = texts.get(_SPRING + "original-topic"), _integer(raw.get(_SPRING + "original-partition"), 4)
    return Letter(
        TopicPartition(topic, partition) if topic and partition >= 0 else None,
        _integer(raw.get(_SPRING + "original-offset"), 8),
        UNKNOWN,
        cause,
        texts.get(_SPRING + "exception-message", ""),
        redrives=redrives,
        before=before,
        foreign=True,
    )


_SPRING_CAUSES: Final = tuple(
    _SPRING + name for name in ("exception-cause-fqcn", "exception-fqcn", "key-exception-fqcn")
)


def headers_back(record: Record, letter: Letter) -> Headers:
    """The headers of what goes back in place of a dead letter."""
    kept = [(name, value) for name, value in record.headers if not _told(name)]
    message = "" if letter.foreign or not letter.message else f": {letter.message}"
    told = {
        REDRIVES: str(letter.redrives + 1),
        ORIGIN: f"{record.topic}[{record.partition}]@{record.offset}",
        CAUSE: f"{letter.stage}: {letter.cause}{message}"[:MAX_CAUSE],
        ATTEMPTS: str(letter.attempts),
        COUNT: str(letter.times),
    }
    return kept + [(name, text.encode("utf-8", "backslashreplace")) for name, text in told.items()]


def _told(name: str) -> bool:
    """Whether a header tells of a dead letter, a redrive or a replay, and not of the record."""
    return is_cause(name) or name in _OURS or name.startswith(_OTHERS)


def _redrives(texts: dict[str, str]) -> int:
    """A count that cannot be read is one that nobody should go on counting from: such a record stays."""
    try:
        count = bounded_number(texts.get(REDRIVES, "0"))
    except ValueError:
        return _MOST
    return count if 0 <= count < _MOST else _MOST


def _integer(value: bytes | None, size: int) -> int:
    """A big-endian integer of Java's; -1 where there is none."""
    return int.from_bytes(value, "big", signed=True) if value is not None and len(value) == size else -1
