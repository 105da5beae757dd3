"""What dead letters say, which are chosen, what goes back in their place, and what is kept of that."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.completed import Range
from enricher.deadletter import ATTEMPTS, COUNT, PREFIX, dead_letter
from enricher.model import Headers, Position, Record, Rejected, Stage, TopicPartition
from enricher.redrive.done import Done, TooManyGaps
from enricher.redrive.letters import (
    CAUSE,
    MAX_CAUSE,
    ORIGIN,
    REDRIVES,
    UNKNOWN,
    Letter,
    headers_back,
    read_letter,
)
from enricher.redrive.selection import MOST, OTHERS, Kinds, Selection, selection
from tests.strategies import headers, records

REFUSED = Rejected(Stage.LOOKUP, "BadRequest", "the service calls it a bad request")
SPRING: Headers = [
    ("trace", b"1"),
    ("kafka_dlt-original-topic", b"orders"),
    ("kafka_dlt-original-partition", (3).to_bytes(4, "big")),
    ("kafka_dlt-original-offset", (2**40).to_bytes(8, "big")),
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
    ("kafka_dlt-exception-message", b"customer 4711 is odd"),
    ("kafka_dlt-exception-stacktrace", b"at ..."),
]


def dead(headers: Headers, *, offset: int = 7, timestamp: int = 1_000, key: bytes | None = b"k") -> Record:
    """A dead letter as it is read."""
    return Record("contacts.dlq", 1, offset, timestamp, key, b"v", headers)


def died(record: Record, rejected: Rejected = REFUSED, attempts: int = 2) -> Record:
    """The dead letter of a record."""
    letter = dead_letter(record, rejected, "contacts.dlq", attempts=attempts)
    return dead(letter.headers, key=letter.key)


def back(letter: Record) -> Record:
    """The record that goes back in place of a dead letter."""
    said = read_letter(letter.headers)
    assert said is not None
    return Record("contacts", 0, 99, letter.timestamp, letter.key, letter.value, headers_back(letter, said))


# ---- letters -------------------------------------------------------------------------------------------------------


def test_what_goes_back_counts_and_tells_where_it_comes_from() -> None:
    """The record's own headers, then ours; no cause of a dead letter is left."""
    letter = died(Record("contacts", 3, 42, 1_000, b"k", b"v", [("trace", b"1"), ("enricher-replay", b"r")]))
    assert back(letter).headers == [
        ("trace", b"1"),
        ("enricher-redrives", b"1"),
        ("enricher-redriven-from", b"contacts.dlq[1]@7"),
        ("enricher-redrive-cause", b"lookup: BadRequest: the service calls it a bad request"),
        ("enricher.attempts", b"2"),
        ("enricher.dead-letter.count", b"1"),
    ]


@given(record=records, rounds=st.integers(1, 4))
def test_headers_do_not_grow(record: Record, rounds: int) -> None:
    """However often a record goes round, it has its own headers, the last two causes, and all its counts."""
    letter = died(record)
    size = len(letter.headers)
    for _ in range(rounds):
        letter = died(back(letter), Rejected(Stage.DECODE, "InvalidJson", "it is cut off"))
    assert len(letter.headers) == size + 3
    said = read_letter(letter.headers)
    assert said is not None
    assert (said.redrives, said.times, said.attempts) == (rounds, rounds + 1, 2 * (rounds + 1))
    assert (said.stage, said.cause, said.foreign) == ("decode", "InvalidJson", False)
    earlier = (
        "lookup: BadRequest: the service calls it a bad request"
        if rounds == 1
        else "decode: InvalidJson: it is cut off"
    )
    assert said.before == earlier


def test_the_earlier_cause_is_cut() -> None:
    """A message of any length."""
    letter = died(dead([]), Rejected(Stage.DECODE, "InvalidJson", "x" * 5_000))
    cause = dict(back(letter).headers)[CAUSE]
    assert cause is not None
    assert len(cause) == MAX_CAUSE


def test_a_dead_letter_of_spring_is_read() -> None:
    """Its numbers are binary; its message may hold anything, so it does not go on into the record's headers."""
    assert read_letter(SPRING) == Letter(
        TopicPartition("orders", 3),
        2**40,
        UNKNOWN,
        "java.lang.IllegalStateException",
        "customer 4711 is odd",
        foreign=True,
    )
    assert dict(back(dead(SPRING)).headers) == {
        "trace": b"1",
        REDRIVES: b"1",
        ORIGIN: b"contacts.dlq[1]@7",
        CAUSE: b"unknown: java.lang.IllegalStateException",
        ATTEMPTS: b"0",
        COUNT: b"1",
    }


def test_a_dead_letter_of_spring_without_a_source_is_read() -> None:
    """What it lacks is unknown."""
    said = read_letter([("kafka_dlt-original-topic", b"orders"), ("kafka_dlt-original-partition", b"1")])
    assert said == Letter(None, -1, UNKNOWN, UNKNOWN, "", foreign=True)


def test_a_dead_letter_of_kafka_connect_is_read() -> None:
    """It has a source, and no count of ours."""
    said = read_letter([(PREFIX + "topic", b"orders"), (PREFIX + "partition", b"0"), (PREFIX + "offset", b"9")])
    assert said == Letter(TopicPartition("orders", 0), 9, UNKNOWN, UNKNOWN, "", foreign=True)


@pytest.mark.parametrize("count", [b"many", b"-1", b"9" * 50, b"99999999"])
def test_a_count_that_cannot_be_is_above_every_limit(count: bytes) -> None:
    """Such a record would go round for ever."""
    said = read_letter([*SPRING, (REDRIVES, count)])
    assert said is not None
    assert said.redrives == 1_000_000


@given(found=headers)
def test_other_records_are_no_dead_letters(found: Headers) -> None:
    """Whatever their headers hold."""
    assert read_letter(found) is None


# ---- selection -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (selection(), True),
        (selection(stages=["Lookup"]), True),
        (selection(stages=["decode", "lookup"], causes=["badrequest"]), True),
        (selection(stages=["decode"]), False),
        (selection(causes=["Timeout"]), False),
        (selection(keys=["k", "other"]), True),
        (selection(keys=["other"]), False),
        (selection(since=1_000, until=1_001), True),
        (selection(since=1_001), False),
        (selection(until=1_000), False),
        (selection(starts={1: 7}, ends={1: 8}), True),
        (selection(starts={1: 8}), False),
        (selection(starts={0: 0}), False),
        (selection(ends={1: 7}), False),
        (selection(ends={0: 9}), False),
    ],
)
def test_what_is_chosen(wanted: Selection, chosen: bool) -> None:  # noqa: FBT001  a parameter of the test
    """Every condition that is there has to hold."""
    letter = died(Record("contacts", 3, 42, 1_000, b"k", b"v", []))
    assert wanted.wants(letter, read_letter(letter.headers)) is chosen


def test_a_class_is_chosen_by_its_name_alone() -> None:
    """Nobody writes packages."""
    assert selection(causes=["IllegalStateException"]).wants(dead(SPRING), read_letter(SPRING))
    assert not selection(causes=["Exception"]).wants(dead(SPRING), read_letter(SPRING))


def test_a_record_without_a_cause_or_time() -> None:
    """It is chosen where nothing is asked of these."""
    assert selection().wants(dead([]), None)
    assert not selection(stages=["lookup"]).wants(dead([]), None)
    assert not selection(until=5).wants(dead([], timestamp=-1), None)


def test_kinds() -> None:
    """Counted by stage and cause; an example without the key, and without words of other programs."""
    kinds = Kinds()
    first = died(Record("contacts", 3, 42, 1_000, b"k", b"v", []))
    for record in (first, died(back(first)), dead(SPRING, timestamp=5), dead(SPRING, timestamp=-1), dead(SPRING)):
        kinds.add(record, read_letter(record.headers))
    kinds.add(dead([], timestamp=-1), None)
    spring, ours, none = kinds.ordered()
    assert (spring.cause, spring.count, spring.oldest, spring.newest, spring.message) == (
        "java.lang.IllegalStateException",
        3,
        5,
        1_000,
        None,
    )
    assert (ours.stage, ours.cause, ours.count, ours.redriven) == ("lookup", "BadRequest", 2, 1)
    assert (ours.example, ours.message) == ("contacts.dlq[1]@7", "the service calls it a bad request")
    assert (none.stage, none.cause, none.count, none.oldest) == ("", "", 1, -1)


def test_kinds_are_bounded() -> None:
    """Anyone may write headers."""
    kinds = Kinds()
    for number in range(MOST + 50):
        kinds.add(dead([]), Letter(None, -1, "lookup", f"cause {number}", ""))
    assert len(kinds.found) == MOST + 1
    assert kinds.found[OTHERS, OTHERS].count == 50


# ---- done ----------------------------------------------------------------------------------------------------------


@given(
    runs=st.lists(st.sets(st.integers(0, 60)), min_size=1, max_size=4),
    holes=st.sets(st.integers(0, 60)),
    stops=st.lists(st.integers(0, 61), min_size=4, max_size=4),
    low=st.integers(0, 20),
)
def test_each_goes_back_once_whatever_is_chosen(
    runs: list[set[int]], holes: set[int], stops: list[int], low: int
) -> None:
    """Run after run with another choice, each ending anywhere, over a log with holes whose beginning goes away."""
    position: Position | None = None
    gone: set[int] = set()
    for number, (chosen, stop) in enumerate(zip(runs, stops, strict=False)):
        log = Range(low if number else 0, 61)
        done = Done(position, log)
        assert not done.void
        read = [offset for offset in range(done.start, 61) if offset >= log.start and offset not in holes]
        assert {offset for offset in range(log.start, done.start) if offset not in holes} <= gone
        for offset in read:
            if offset >= stop:
                break
            assert done.went(offset) == (offset in gone)
            if offset not in gone:
                done.decide(offset, back=offset in chosen)
                gone |= {offset} & chosen
        position = done.copy().position()
        assert position == done.position()


def test_a_position_of_another_topic_or_program_does_not_count() -> None:
    """The topic was made anew, or someone else commits in this group: it is told, and nothing is taken for gone."""
    for position in (Position(50), Position(3, "someone's")):
        done = Done(position, Range(2, 40))
        assert (done.void, done.start, done.went(2)) == (True, 2, False)
    assert not Done(None, Range(2, 40)).void
    assert not Done(Position(40), Range(2, 40)).void


def test_a_copy_is_decided_on_its_own() -> None:
    """A transaction that is not committed leaves nothing behind."""
    done = Done(None, Range(0, 9))
    done.decide(0, back=False)
    twin = done.copy()
    for offset, back_ in ((1, True), (2, False), (3, True)):
        twin.decide(offset, back=back_)
    assert (done.position().offset, done.position().metadata) == (0, "")
    again = Done(twin.position(), Range(0, 9))
    assert [offset for offset in range(9) if again.went(offset)] == [1, 3]


def test_progress_of_several_runs_is_put_together() -> None:
    """What went earlier stays known, whether it lies behind, beside or beyond what is decided now."""
    first = Done(None, Range(0, 20))
    for offset in range(12):
        first.decide(offset, back=offset in {2, 5, 6, 9})
    assert first.position().offset == 0
    second = Done(first.position(), Range(0, 20))
    for offset in (0, 1, 3, 4):
        assert not second.went(offset)
        second.decide(offset, back=True)
    assert second.position().offset == 7  # 2 lies behind, and 5 and 6 begin where the decided ones end
    third = Done(first.position(), Range(0, 20))
    for offset in (0, 1, 3, 4):
        third.decide(offset, back=offset == 4)
    again = Done(third.position(), Range(0, 20))
    assert [offset for offset in range(20) if again.went(offset)] == [2, 4, 5, 6, 9]
    assert Done(first.position(), Range(5, 20)).start == 7  # the log begins in the middle of what has gone


def test_progress_that_does_not_fit_is_refused() -> None:
    """To cut it would send dead letters back twice."""
    rng = Random(3)
    done, offset = Done(None, Range(0, 10**12)), 0
    for number in range(10_000):
        offset += rng.randrange(1, 5_000)
        done.decide(offset, back=number % 2 == 1)
    with pytest.raises(TooManyGaps):
        done.position()
