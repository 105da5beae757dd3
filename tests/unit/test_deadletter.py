"""Dead letters: the record as it was, and why."""

from hypothesis import given
from hypothesis import strategies as st

from enricher.deadletter import ATTEMPTS, COUNT, MAX_MESSAGE, PREFIX, DeadLetterCause, dead_letter, parse_dead_letter
from enricher.model import Headers, Outgoing, Record, Rejected, Stage
from tests.strategies import headers, names, records, texts

rejections = st.builds(Rejected, st.sampled_from(Stage), names, texts)


def read_again(letter: Outgoing, partition: int = 0, offset: int = 7) -> Record:
    """The dead letter as it is read from its topic."""
    return Record(letter.topic, partition, offset, letter.timestamp, letter.key, letter.value, letter.headers)


def test_the_headers() -> None:
    """As Kafka Connect names them, behind the record's own; all values are text."""
    record = Record("contacts", 3, 42, 1_790_000_000_000, b"k", b"\xff", [("trace", b"1"), ("trace", None)])
    rejected = Rejected(Stage.DECODE, "InvalidUtf8", "the value is not in UTF-8")
    assert dead_letter(record, rejected, "contacts.dlq", attempts=2) == Outgoing(
        "contacts.dlq",
        b"k",
        b"\xff",
        [
            ("trace", b"1"),
            ("trace", None),
            ("__connect.errors.topic", b"contacts"),
            ("__connect.errors.partition", b"3"),
            ("__connect.errors.offset", b"42"),
            ("__connect.errors.stage", b"decode"),
            ("__connect.errors.exception.class.name", b"InvalidUtf8"),
            ("__connect.errors.exception.message", b"the value is not in UTF-8"),
            ("enricher.attempts", b"2"),
            ("enricher.dead-letter.count", b"1"),
        ],
        1_790_000_000_000,
    )


@given(record=records, rejected=rejections, topic=names, attempts=st.integers(0, 100))
def test_the_record_is_untouched_and_the_cause_comes_back(
    record: Record, rejected: Rejected, topic: str, attempts: int
) -> None:
    """Key, value, timestamp and headers as they were; the cause is parsed to what it was."""
    letter = dead_letter(record, rejected, topic, attempts=attempts)
    assert (letter.topic, letter.key, letter.value, letter.timestamp) == (
        topic,
        record.key,
        record.value,
        record.timestamp,
    )
    assert letter.headers[: len(record.headers)] == record.headers
    assert parse_dead_letter(letter.headers) == DeadLetterCause(
        record.topic,
        record.partition,
        record.offset,
        rejected.stage,
        rejected.cause,
        rejected.message,
        attempts,
        1,
    )


def test_what_tells_the_schemas_of_key_and_value_stays() -> None:
    """Of a dead letter it is true: the bytes are the input's. Without it nobody could read them."""
    told: Headers = [("__key_schema_id", b"\x01" + bytes(16)), ("__value_schema_id", b"\x01" + bytes(range(16)))]
    letter = dead_letter(Record("t", 0, 0, 0, b"k", b"v", told), Rejected(Stage.LOOKUP, "Timeout", "late"), "dlq")
    assert letter.headers[:2] == told


@given(record=records, rejected=rejections, times=st.integers(2, 5))
def test_dead_letters_of_dead_letters_do_not_pile_up(record: Record, rejected: Rejected, times: int) -> None:
    """However often one comes back, it has one cause, the last, and says how often it was."""
    letter = dead_letter(record, rejected, "dlq")
    count = len(letter.headers)
    for _ in range(times - 1):
        letter = dead_letter(read_again(letter), rejected, "dlq")
    assert len(letter.headers) == count
    assert letter.headers[: len(record.headers)] == record.headers
    cause = parse_dead_letter(letter.headers)
    assert cause is not None
    assert (cause.topic, cause.offset, cause.times) == ("dlq", 7, times)


@given(
    found=headers
    | st.lists(st.tuples(st.sampled_from([PREFIX + "topic", PREFIX + "offset", COUNT]), st.none() | st.binary()))
)
def test_other_headers_are_no_cause(found: Headers) -> None:
    """Whatever they hold, nothing is raised."""
    assert parse_dead_letter(found) is None


def test_a_cause_of_kafka_connect_is_read() -> None:
    """It has no attempts and no count; headers of its own that are not ours are passed over."""
    found: Headers = [
        (PREFIX + "topic", b"orders"),
        (PREFIX + "partition", b"0"),
        (PREFIX + "offset", b"9"),
        (PREFIX + "connector.name", b"sink"),
        (PREFIX + "exception.stacktrace", b"\xff"),
    ]
    assert parse_dead_letter(found) == DeadLetterCause("orders", 0, 9, "", "", "", 0, 1)
    letter = dead_letter(Record("t", 0, 1, -1, None, None, found), Rejected(Stage.LOOKUP, "BadRequest", "no"), "dlq")
    assert [name for name, _ in letter.headers].count(PREFIX + "topic") == 1
    assert PREFIX + "connector.name" not in dict(letter.headers)


def test_a_cause_whose_numbers_are_none() -> None:
    """It cannot be read, and does not keep the record from becoming a dead letter."""
    broken: Headers = [(PREFIX + "topic", b"t"), (PREFIX + "partition", b"x"), (PREFIX + "offset", None)]
    assert parse_dead_letter(broken) is None
    letter = dead_letter(Record("t", 0, 1, -1, None, None, broken), Rejected(Stage.DECODE, "EmptyValue", "no"), "dlq")
    assert parse_dead_letter(letter.headers) == DeadLetterCause("t", 0, 1, "decode", "EmptyValue", "no", 0, 1)


@given(text=st.text(st.characters(), max_size=2 * MAX_MESSAGE) | st.text(st.characters(categories=["Cs"])))
def test_any_message_can_be_written(text: str) -> None:
    """Also a long one, and one that UTF-8 has no bytes for; the header stays within bounds."""
    record = Record("t", 0, 1, -1, None, None, [])
    letter = dead_letter(record, Rejected(Stage.PRODUCE, "RecordTooLarge", text), "dlq")
    message = dict(letter.headers)[PREFIX + "exception.message"]
    assert message is not None
    assert len(message) <= 6 * MAX_MESSAGE  # a surrogate takes the most: \\ud800
    kept = text[:MAX_MESSAGE].encode("utf-8", "backslashreplace").decode()
    cause = parse_dead_letter(letter.headers)
    assert cause is not None
    assert cause.message == kept


def test_a_long_message_is_cut() -> None:
    """A broker takes no headers of megabytes."""
    record = Record("t", 0, 1, -1, None, None, [])
    letter = dead_letter(record, Rejected(Stage.DECODE, "InvalidJson", "x" * 1_000_000), "dlq")
    assert dict(letter.headers)[PREFIX + "exception.message"] == b"x" * 1_024


def test_names_are_those_that_are_documented() -> None:
    """Tools and people rely on them."""
    assert (PREFIX, ATTEMPTS, COUNT) == ("__connect.errors.", "enricher.attempts", "enricher.dead-letter.count")


def test_numbers_of_thousands_of_digits_do_not_stop_the_worker() -> None:
    """Anyone may write headers: the record becomes a dead letter as if it had not been one."""
    hostile: Headers = [
        (PREFIX + "topic", b"t"),
        (PREFIX + "partition", b"0"),
        (PREFIX + "offset", b"0"),
        (COUNT, b"9" * 4_300),
    ]
    assert parse_dead_letter(hostile) is None
    letter = dead_letter(Record("t", 0, 1, -1, None, None, hostile), Rejected(Stage.DECODE, "EmptyValue", "no"), "dlq")
    assert dict(letter.headers)[COUNT] == b"1"
