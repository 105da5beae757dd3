"""How a range of topics is written, and the offsets that it means."""

import pytest

from enricher.cli.ranges import At, Edge, NothingInRange, parse_point, resolve
from enricher.completed import Range
from enricher.model import Position, TopicPartition

P0, P1 = TopicPartition("contacts", 0), TopicPartition("contacts", 1)
LOGS = {P0: Range(5, 50), P1: Range(0, 20)}
POSITIONS = {P0: Position(30)}
NOW = 1_769_860_800_000  # 2026-01-31T12:00Z


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("beginning", Edge.BEGINNING),
        ("end", Edge.END),
        ("committed", Edge.COMMITTED),
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31T12:00", 1_769_860_800_000),
        ("2026-01-31T13:00:00.250+01:00", 1_769_860_800_250),
        ("2026-01-31", 1_769_817_600_000),
        ("12h ago", 1_769_817_600_000),
        ("90 s ago", 1_769_860_710_000),
        ("2w ago", 1_768_651_200_000),
        ("99999999w ago", 0),
        ("0@1500,3@99", (At(None, 0, 1500), At(None, 3, 99))),
        ("contacts.v1[12]@7", (At("contacts.v1", 12, 7),)),
    ],
)
def test_points_are_read(text: str, point: object) -> None:
    """Words, times and offsets."""
    assert parse_point(text, NOW) == point


@pytest.mark.parametrize(
    "text",
    ["", "start", "1500", "@5", "0@", "0@x", "0@1,", "a[b]@1", "2026-13-01", "-1@5", "0@-5", "2h", "-2h ago", "2y ago"],
)
def test_what_is_no_point_is_refused_with_what_would_be(text: str) -> None:
    """The message shows the mistake and the three ways to write one."""
    with pytest.raises(ValueError, match="no point in the topics: write beginning, end, committed, a time") as caught:
        parse_point(text, NOW)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("start", "end", "spans"),
    [
        ("beginning", "end", {P0: (5, 50), P1: (0, 20)}),
        ("beginning", "committed", {P0: (5, 30), P1: (0, 0)}),
        ("committed", "end", {P0: (30, 50), P1: (0, 20)}),
        ("end", "beginning", {P0: (50, 50), P1: (20, 20)}),
        ("0@10", "end", {P0: (10, 50)}),
        ("0@1,1@99", "1@100,0@40", {P0: (5, 40), P1: (20, 20)}),
        ("contacts[1]@3", "0@10,1@7", {P1: (3, 7)}),
        ("2026-01-31", "end", {P0: (17, 50), P1: (18, 20)}),
    ],
)
def test_points_are_offsets_within_the_log(start: str, end: str, spans: dict[TopicPartition, tuple[int, int]]) -> None:
    """Cut to the log; partitions that only one side names are left out; an end before the start is an empty range."""

    def first_since(milliseconds: int) -> dict[TopicPartition, int]:
        assert milliseconds == 1_769_817_600_000
        return {P0: 17, P1: 18}

    assert resolve(parse_point(start, NOW), parse_point(end, NOW), LOGS, POSITIONS, first_since) == spans


@pytest.mark.parametrize(("start", "end"), [("7@1", "end"), ("other[0]@1", "end"), ("0@1", "1@1")])
def test_a_range_without_partitions_is_a_mistake(start: str, end: str) -> None:
    """To find nothing wrong with nothing would be no answer."""
    with pytest.raises(NothingInRange):
        resolve(parse_point(start, NOW), parse_point(end, NOW), LOGS, POSITIONS, lambda _: {})
