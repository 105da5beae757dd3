"""What ``enricher tail`` finds, chooses, masks and shows."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from enricher.cli.app import app
from enricher.cli.ranges import At, Edge, Point
from enricher.cli.reading import Bounds, TopicReader
from enricher.cli.tail import Output, _printer
from enricher.cli.tail_view import Choice, Shown, View, opened
from enricher.cli.tailing import Finder
from enricher.codec import Decoder, Encoder, OutputReader
from enricher.deadletter import dead_letter
from enricher.model import Enriched, Enrichment, Event, Headers, Offer, OfferHistory, Record, Rejected, Stage, Status

CUSTOMER = "CUST-SECRET"
READER = OutputReader()
DECODER = Decoder()


def enriched(customer: str = CUSTOMER, status: Status = Status.ENRICHED) -> Enriched:
    """An enriched event whose customer stands in many places."""
    offer = Offer(name="Phone", outcome="Accepted", outcome_time=5, external_id=f"S-{customer}")
    return Enriched(
        Event(f"E-{customer}-1", customer, 1_790_000_000_000, attributes={"also": customer, "other": "x"}),
        OfferHistory(customer, 6, 6, (offer,)),
        Enrichment("contacts", 3, 42, "1", 1, status),
    )


def output(event: Enriched, offset: int = 0, partition: int = 0, timestamp: int = 1_000) -> Record:
    """It, as a record."""
    return Record("enriched", partition, offset, timestamp, b"k", Encoder().encode(event), [])


def letter(value: bytes = b'{"customerId": "CUST-SECRET"}', headers: Headers | None = None) -> Record:
    """A dead letter."""
    record = Record("contacts", 3, 42, 1_000, CUSTOMER.encode(), value, headers or [])
    made = dead_letter(record, Rejected(Stage.LOOKUP, "BadRequest", "it is bad"), "contacts.dlq", attempts=2)
    return Record("contacts.dlq", 0, 7, 1_000, made.key, made.value, made.headers)


_SPRING: Headers = [("kafka_dlt-exception-fqcn", b"a.b.Odd"), ("kafka_dlt-exception-message", CUSTOMER.encode())]
FOREIGN = Record("DLT", 0, 1, -1, None, b"\xff", _SPRING)
NEITHER = Record("enriched", 0, 0, 1_000, b"k", b"none of ours", [])


# ---- choice --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "customers", "outcomes", "chosen"),
    [
        (output(enriched()), [], [], True),
        (output(enriched()), ["CUST-SECRET"], ["ENRICHED"], True),
        (output(enriched()), ["CUST-OTHER"], [], False),
        (output(enriched()), [], ["accepted"], True),
        (output(enriched()), [], ["Rejected"], False),
        (output(enriched(status=Status.NO_HISTORY)), [], ["no-history"], True),
        (output(enriched()), [], ["dead-letter"], False),
        (letter(), [], ["dead-letter"], True),
        (letter(), [], ["badrequest", "other"], True),
        (letter(), [], ["lookup"], True),
        (letter(), [], ["enriched"], False),
        (letter(), ["CUST-SECRET"], [], True),
        (letter(), ["CUST-OTHER"], [], False),
        (letter(b"broken"), ["CUST-SECRET"], [], True),  # by its key, as nothing else is left
        (FOREIGN, [], ["odd"], True),
        (NEITHER, [], [], True),
        (NEITHER, ["CUST-SECRET"], [], False),
        (NEITHER, [], ["dead-letter"], False),
    ],
)
def test_what_is_chosen(record: Record, customers: list[str], outcomes: list[str], chosen: bool) -> None:  # noqa: FBT001  a parameter
    """By customer and by outcome, of events and dead letters."""
    assert Choice(customers, outcomes).wants(opened(record, READER, DECODER)) is chosen


def test_times_are_chosen() -> None:
    """From the first on, and before the last."""
    choice = Choice(since=1_000, until=2_000)
    assert [choice.covers(output(enriched(), timestamp=at)) for at in (999, 1_000, 1_999, 2_000, -1)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert Choice().covers(FOREIGN)


# ---- view ----------------------------------------------------------------------------------------------------------


def everything_shown(view: View, record: Record) -> str:
    """All forms of one record."""
    shown = opened(record, READER, DECODER)
    return "\n".join([str(view.json(shown)), *(str(line) for line in view.lines(shown)), str(view.row(shown))])


@pytest.mark.parametrize("record", [output(enriched()), letter(), FOREIGN], ids=["event", "dead letter", "foreign"])
def test_ids_are_shown_only_if_that_is_asked_for(record: Record) -> None:
    """In no form, and wherever they stand."""
    assert CUSTOMER not in everything_shown(View(show_ids=False, offers=5), record)
    assert CUSTOMER in everything_shown(View(show_ids=True, offers=5), record)


def test_a_mask_is_the_same_for_one_customer_and_another_in_another_run() -> None:
    """So that events of one customer can be told, and nobody can try out ids."""
    view = View(show_ids=False, offers=5)
    assert view.mask("a") == view.mask("a") != view.mask("b")
    assert view.mask("a") != View(show_ids=False, offers=5).mask("a")
    assert view.masked(enriched()).contact.event_id == f"E-{view.mask(CUSTOMER)}-1"


def test_a_short_id_is_masked_where_it_stands_alone() -> None:
    """Or else every 1 in all texts would be one."""
    view = View(show_ids=False, offers=5)
    masked = view.masked(enriched("1"))
    assert (masked.contact.customer_id, masked.contact.attributes["also"]) == (view.mask("1"), view.mask("1"))
    assert masked.contact.event_id == "E-1-1"


def test_an_event_as_json_is_the_event() -> None:
    """With ids, it is what the value holds."""
    shown = opened(output(enriched()), READER, DECODER)
    assert View(show_ids=True, offers=5).json(shown) == msgspec.json.encode(enriched())


def test_a_dead_letter_as_json() -> None:
    """Its place, where it came from and why; with ids also its key and value, in base64 where that is no text."""
    view = View(show_ids=False, offers=5)
    told = json.loads(view.json(opened(letter(), READER, DECODER)) or b"")
    assert told == {
        "deadLetter": {
            "topic": "contacts.dlq",
            "partition": 0,
            "offset": 7,
            "timestamp": 1_000,
            "source": {"topic": "contacts", "partition": 3, "offset": 42},
            "stage": "lookup",
            "cause": "BadRequest",
            "message": "it is bad",
            "attempts": 2,
            "times": 1,
            "redrives": 0,
            "causeBefore": None,
        },
        "key": view.mask(CUSTOMER),
    }
    shows = View(show_ids=True, offers=5)
    told = json.loads(shows.json(opened(letter(), READER, DECODER)) or b"")
    assert (told["key"], told["value"]) == (CUSTOMER, '{"customerId": "CUST-SECRET"}')
    told = json.loads(shows.json(opened(FOREIGN, READER, DECODER)) or b"")
    assert (told["deadLetter"]["message"], told["key"], told["valueBase64"]) == (CUSTOMER, None, "/w==")


def test_a_dead_letter_as_text_and_in_a_table() -> None:
    """A few lines, or one."""
    again = letter(headers=[("enricher-redrives", b"2"), ("enricher-redrive-cause", b"decode: InvalidJson")])
    view = View(show_ids=False, offers=5)
    lines = [str(line) for line in view.lines(opened(again, READER, DECODER))]
    assert lines[0] == "contacts.dlq[0]@7  dead letter, lookup: BadRequest"
    assert lines[2:] == [
        "  from contacts[3]@42, 2 attempts, sent back 2 times",
        "  it is bad",
        "  before: decode: InvalidJson",
    ]
    assert view.row(opened(again, READER, DECODER)) == (
        "1970-01-01 00:00:01",
        "0@7",
        "BadRequest",
        view.mask(CUSTOMER),
        "-",
        "lookup: it is bad",
    )
    foreign = "\n".join(str(line) for line in view.lines(opened(FOREIGN, READER, DECODER)))
    assert "an unknown place" in foreign
    assert "--show-ids" in foreign


@pytest.mark.parametrize("width", [80, 120, None])
def test_a_table_fits_its_terminal(
    width: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is longer than a terminal is wide; a narrow one loses the year; without a terminal nothing is cut."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: width is not None)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((width or 0, 24)))
    made = dead_letter(
        Record("contacts", 3, 42, 1_000, b"k", b"v", []),
        Rejected(Stage.DECODE, "InvalidEventTime", "so much is wrong " * 9),
        "contacts.dlq",
    )
    told = Record("contacts.dlq", 0, 7, 1_000, made.key, made.value, made.headers)
    table = _printer(Output.TABLE, View(show_ids=False, offers=5))
    assert all(table.show(opened(record, READER, DECODER)) for record in (output(enriched()), told))
    head, event, dead = capsys.readouterr().out.splitlines()
    assert [line.index(word) for line, word in ((head, "EVENT"), (event, "E-~"), (dead, "decode: "))] == 3 * [
        head.index("EVENT")
    ]
    assert event.startswith("01-01 00:00:01 " if width == 80 else "1970-01-01 00:00:01 ")
    if width is None:
        assert dead.endswith("is wrong")
    else:
        assert (len(dead), dead[-1], len(event) <= width) == (width, "…", True)


def test_what_is_neither_is_not_shown() -> None:
    """It has a problem, which is told instead."""
    view = View(show_ids=True, offers=5)
    shown = opened(NEITHER, READER, DECODER)
    assert (view.json(shown), list(view.lines(shown)), view.row(shown)) == (None, [], None)
    assert shown.problem
    assert shown.place == "enriched[0]@0"


# ---- finding -------------------------------------------------------------------------------------------------------


class FakeReader:
    """A topic in memory; counts what is read of it."""

    topic = "enriched"

    def __init__(self, records: list[Record], highs: Mapping[int, int]) -> None:
        self._records = records
        self._highs = highs
        self.read_records = 0

    def bounds(self) -> dict[int, Bounds]:
        """All partitions, from 0."""
        return {p: Bounds(0, high) for p, high in self._highs.items()}

    def first_since(self, milliseconds: int) -> dict[int, int]:
        """As a broker answers."""
        return {
            p: next((one.offset for one in self._records if one.partition == p and one.timestamp >= milliseconds), high)
            for p, high in self._highs.items()
        }

    def read(self, starts: Mapping[int, int], ends: Mapping[int, int] | None) -> Iterator[Record | None]:
        """In order."""
        yield None
        for one in self._records:
            if one.partition in starts and starts[one.partition] <= one.offset < (ends or self._highs)[one.partition]:
                self.read_records += 1
                yield one


def finder(reader: FakeReader, choice: Choice, start: Point | None = None, end: Point | None = None) -> Finder:
    """Of a topic in memory."""
    return Finder(cast("TopicReader", reader), READER, DECODER, choice, start, end)


MINE, OTHER = Encoder().encode(enriched("CUST-MINE")), Encoder().encode(enriched("CUST-OTHER"))


@given(
    partitions=st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=400), min_size=1, max_size=3),
    last=st.integers(0, 6),
    since=st.none() | st.integers(0, 50),
    until=st.none() | st.integers(0, 50),
    low=st.none() | st.integers(0, 400),
)
def test_the_newest_are_those_of_a_full_scan(
    partitions: list[list[tuple[bool, int]]], last: int, since: int | None, until: int | None, low: int | None
) -> None:
    """Whatever the times, and wherever those that are chosen stand."""
    records = [
        Record("enriched", p, offset, at, None, MINE if mine else OTHER, [])
        for p, contents in enumerate(partitions)
        for offset, (mine, at) in enumerate(contents)
    ]
    reader = FakeReader(records, {p: len(contents) for p, contents in enumerate(partitions)})
    start: Point | None = since if low is None else (At(None, 0, low),)
    choice = Choice(["CUST-MINE"], since=since, until=until)
    wanted = [
        one
        for one in records
        if one.value == MINE
        and (since is None or one.timestamp >= since)
        and (until is None or one.timestamp < until)
        and (low is None or (one.partition == 0 and one.offset >= low))
    ]
    found = [shown.record for shown in finder(reader, choice, start).newest(last)]
    newest = []
    for partition in range(len(partitions)):
        here = [one for one in wanted if one.partition == partition]
        newest += here[max(0, len(here) - last) :]
    newest.sort(key=lambda one: (one.timestamp, one.partition, one.offset))
    assert found == newest[max(0, len(newest) - last) :]
    assert [shown.record for shown in finder(reader, choice, start).everything()] == wanted


def test_the_newest_are_found_without_reading_all() -> None:
    """From the end backwards."""
    records = [output(enriched(), offset) for offset in range(5_000)]
    reader = FakeReader(records, {0: 5_000})
    assert [shown.record.offset for shown in finder(reader, Choice()).newest(3)] == [4_997, 4_998, 4_999]
    assert reader.read_records == 50


def test_points_bound_what_is_found() -> None:
    """Offsets of partitions leave the others out; the end of the log is a start, and its beginning an end."""
    records = [output(enriched(), offset, partition) for partition in (0, 1) for offset in range(5)]
    reader = FakeReader(records, {0: 5, 1: 5})

    def places(start: Point | None, end: Point | None) -> list[tuple[int, int]]:
        found: Iterator[Shown] = finder(reader, Choice(), start, end).everything()
        return [(shown.record.partition, shown.record.offset) for shown in found]

    assert places((At(None, 1, 3),), None) == [(1, 3), (1, 4)]
    assert places(None, (At("enriched", 0, 2),)) == [(0, 0), (0, 1)]
    assert places((At("other", 0, 2),), None) == []
    assert places((At(None, 0, 9),), (At(None, 0, 2),)) == []
    assert places(Edge.END, None) == places(None, Edge.BEGINNING) == []
    assert len(places(Edge.BEGINNING, Edge.END)) == 10
    assert len(list(finder(reader, Choice(), Edge.END).coming())) == 0


# ---- usage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--output=raw"], "--show-ids"),
        (["--json", "--output=table"], "exclude"),
        (["--all", "-n3"], "--all"),
        (["--all", "--from=2026-01-01"], "--all"),
        (["--follow", "--to=2026-01-01"], "--to"),
        (["--from=yesterday"], "yesterday"),
        (["--from=committed"], "committed"),
        (["--from=2026-01-02", "--to=2026-01-01"], "is not before"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], word: str) -> None:
    """With 2, in a line on standard error."""
    told = CliRunner().invoke(app, ["tail", "t", "-b", "127.0.0.1:1", *arguments])
    assert (told.exit_code, told.stdout) == (2, "")
    assert word in told.stderr
