"""What a replay selects, and how its plan is kept."""

import pytest

from enricher.completed import Range
from enricher.model import Event, NotSelected, Position, Record, Rejected, Stage, TopicPartition
from enricher.replay.plan import BadPlan, Plan, Terms, progress_group, range_group, read_plan
from enricher.replay.selection import Filler, SelectingDecoder, Selection, digest, parse_customers
from enricher.replay.where import parse_where


class _Plain:
    """The value is the customer's id; ``broken`` is rejected."""

    def decode(self, record: Record) -> Event:
        """Bytes to an event."""
        if record.value == b"broken":
            raise Rejected(Stage.DECODE, "InvalidJson", "it is broken")
        return Event("E", (record.value or b"").decode(), 0, channel="Web")


def record(value: bytes = b"A", timestamp: int = 100) -> Record:
    """A record of customer A."""
    return Record("t", 0, 0, timestamp, None, value, [])


def selects(selection: Selection, one: Record) -> bool:
    """Whether the record is decoded."""
    try:
        return SelectingDecoder(_Plain(), selection).decode(one).event_id == "E"
    except NotSelected:
        return False


def test_time_is_that_of_the_record() -> None:
    """The first instant belongs to the range, the last does not; without a timestamp there is no time to be in."""
    both = Selection(since=100, until=200)
    assert [selects(both, record(timestamp=t)) for t in (-1, 99, 100, 199, 200)] == [False, False, True, True, False]
    assert [selects(Selection(until=200), record(timestamp=t)) for t in (-1, 0, 200)] == [False, True, False]
    assert [selects(Selection(since=0), record(timestamp=t)) for t in (-1, 0)] == [False, True]


def test_events_are_chosen_by_customer_and_expression() -> None:
    """Both have to pass."""
    web = parse_where("channel = 'Web'")
    phone = parse_where("channel = 'Phone'")
    assert selects(Selection(customers=frozenset({"A"})), record())
    assert not selects(Selection(customers=frozenset({"B"})), record())
    assert selects(Selection(customers=frozenset({"A"}), where=web), record())
    assert not selects(Selection(where=phone), record())


def test_what_cannot_be_decoded_is_rejected_only_where_no_filter_looks_inside() -> None:
    """A dead letter in the live run is one in the replay of all; it is nobody's in the replay of one customer."""
    with pytest.raises(Rejected):
        selects(Selection(), record(b"broken"))
    assert not selects(Selection(customers=frozenset({"A"})), record(b"broken"))
    assert not selects(Selection(where=parse_where("channel != 'x'")), record(b"broken"))


def test_a_filler_is_never_selected() -> None:
    """It is no record."""
    assert not selects(Selection(), Filler("t", 0, 9, 100, None, b"A", []))


def test_customers_are_one_a_line() -> None:
    """Spaces around them and empty lines do not count; a digest does not depend on their order."""
    assert parse_customers(" A \r\n\nB\n") == {"A", "B"}
    assert digest(["A", "B"]) == digest(["B", "A"]) != digest(["A"])


P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)
TERMS = Terms("from x", since=1, where="channel = 'Web'")
PLAN = Plan(TERMS, {P1: Range(5, 9), P0: Range(2, 2)})


def test_a_plan_is_read_back() -> None:
    """Ends are offsets, the rest stands in the metadata."""
    positions = PLAN.positions()
    assert {partition: at.offset for partition, at in positions.items()} == PLAN.ends() == {P0: 2, P1: 9}
    assert read_plan(positions) == PLAN
    assert (PLAN.offsets, PLAN.topics) == (4, ["t"])
    assert PLAN.starts() == {P0: Position(2), P1: Position(5)}
    assert read_plan({}) is None


def test_what_is_no_plan_is_refused() -> None:
    """Another program's commits, a newer plan, half a plan, terms that do not fit."""
    positions = PLAN.positions()
    for wrong in ({P0: Position(3)}, {P0: Position(3, '{"v":2,"start":1}')}, {P1: positions[P1]}):
        with pytest.raises(BadPlan):
            read_plan(wrong)
    with pytest.raises(BadPlan, match="too long"):
        Plan(Terms("x", where="é" * 2_000), {P0: Range(0, 1)}).positions()


def test_the_groups_of_a_replay_are_its_own() -> None:
    """Neither is the live one, and no replay's progress is called as another one's range."""
    assert progress_group("g", "a") == "g-replay-a"
    assert range_group("g", "a") == "g-replay-a.range"
