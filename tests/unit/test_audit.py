"""The audit against a naive model that keeps everything, and an example of each finding."""

from collections import Counter
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.audit import Audit, Report
from enricher.completed import Range, encode_completed
from enricher.deadletter import dead_letter
from enricher.model import Headers, Position, Record, Rejected, Stage, TopicPartition
from enricher.scheduler import Order

CONTACTS = TopicPartition("contacts", 0)
OTHER = TopicPartition("contacts", 1)
SPANS = {CONTACTS: Range(10, 30), OTHER: Range(0, 20)}
LOGS = {CONTACTS: Range(5, 40), OTHER: Range(0, 20)}
HEADERS: Headers = [("trace", b"1"), ("trace", None)]


def given_input(offset: int, key: bytes | None = b"k", partition: TopicPartition = CONTACTS) -> Record:
    """An input record."""
    return Record(*partition, offset, 1_700_000_000_000 + offset, key, b"v%d" % offset, HEADERS)


def output_of(record: Record, at: int = 0, partition: int = 0) -> Record:
    """A record of the output topic with what has to pass; the audit does not look at its value."""
    return Record("enriched", partition, at, record.timestamp, record.key, b"...", record.headers)


def dead_letter_of(record: Record, at: int = 0) -> Record:
    """A record of the dead-letter topic."""
    letter = dead_letter(record, Rejected(Stage.DECODE, "InvalidJson", "no JSON"), "dead")
    return Record("dead", 0, at, letter.timestamp, letter.key, letter.value, letter.headers)


def audited(
    inputs: list[Record],
    outputs: list[tuple[Record, Record]],
    letters: list[tuple[Record, Record]] | None = None,
    positions: dict[TopicPartition, Position] | None = None,
    audit: Audit | None = None,
) -> Report:
    """The report of an audit of these; outputs and letters come with the input that they name."""
    audit = audit or Audit(SPANS)
    for record in inputs:
        audit.input(record)
    for source, record in letters or ():
        audit.dead_letter(source.source, source.offset, record)
    for source, record in outputs:
        audit.output(source.source, source.offset, record)
    return audit.report(positions or {}, LOGS)


def found(report: Report) -> dict[str, list[str]]:
    """The findings in words, without those of which there are none."""
    names = ("missing", "repeated", "out_of_order", "changed", "commits")
    return {name: [str(e) for e in getattr(report, name).examples] for name in names if getattr(report, name).count}


def test_all_is_well() -> None:
    """Every input has an output or a dead letter; gaps in the offsets are no mistake."""
    inputs = [given_input(offset) for offset in (10, 11, 15, 29)]
    pairs = [(record, output_of(record, at)) for at, record in enumerate(inputs[:3])]
    report = audited(inputs, pairs, [(inputs[3], dead_letter_of(inputs[3]))], {CONTACTS: Position(30)})
    assert found(report) == {}
    assert (report.inputs, report.outputs, report.dead_letters) == (4, 3, 1)
    assert report.wrong(once=True) == []
    assert [(span.start, span.end, span.committed) for span in report.spans] == [(10, 30, 30), (0, 20, None)]


def test_missing_inputs_are_told_apart_by_what_is_committed() -> None:
    """One that the group calls resolved is lost; another may still come."""
    inputs = [given_input(offset) for offset in (10, 12, 14, 16)]
    position = Position(12, encode_completed(12, [Range(13, 14), Range(16, 17)]))
    report = audited(inputs, [], positions={CONTACTS: position})
    assert found(report) == {
        "missing": [
            "contacts[0]@10: committed as resolved, and nowhere",
            "contacts[0]@12: not committed yet",
            "contacts[0]@14: not committed yet",
            "contacts[0]@16: committed as resolved, and nowhere",
        ]
    }
    assert report.not_committed == 2
    assert audited(inputs, []).not_committed == 4, "nothing is committed at all"


def test_repeats_count_once_each_and_are_wrong_only_where_promised() -> None:
    """Two outputs, or an output and a dead letter, however many more come."""
    inputs = [given_input(offset) for offset in (10, 11, 12)]
    pairs = [(inputs[0], output_of(inputs[0], at)) for at in range(300)]
    pairs.append((inputs[1], output_of(inputs[1], 300)))
    letters = [(inputs[1], dead_letter_of(inputs[1], 7)), (inputs[2], dead_letter_of(inputs[2], 8))]
    report = audited(inputs, pairs, letters)
    assert found(report) == {
        "repeated": ["contacts[0]@10: again at enriched[0]@1", "contacts[0]@11: again at enriched[0]@300"]
    }
    assert (report.outputs, report.dead_letters) == (301, 2)
    assert (report.wrong(once=False), report.wrong(once=True)) == ([], ["repeated"])


def test_what_was_dead_lettered_first_is_not_out_of_order() -> None:
    """A worker dead-letters 10, publishes 11, and is killed; the next one does both again, and publishes 10 this time.

    Where 10 stands hides nothing of others: 12 is behind 13.
    """
    inputs = [given_input(offset) for offset in (10, 11, 12, 13)]
    pairs = [(inputs[i], output_of(inputs[i], at)) for at, i in enumerate((1, 0, 1, 3, 2))]
    report = audited(inputs, pairs, [(inputs[0], dead_letter_of(inputs[0]))])
    assert found(report) == {
        "repeated": ["contacts[0]@10: again at enriched[0]@1", "contacts[0]@11: again at enriched[0]@2"],
        "out_of_order": ["contacts[0]@12: enriched[0]@4 is behind the output of offset 13"],
    }


@pytest.mark.parametrize(
    ("order", "keys", "wrong"),
    [
        (Order.KEY, (b"a", b"a"), True),
        (Order.KEY, (b"a", b"b"), False),
        (Order.KEY, (None, None), False),
        (Order.KEY, (b"", b""), True),
        (Order.PARTITION, (b"a", b"b"), True),
        (Order.PARTITION, (None, None), True),
        (Order.NONE, (b"a", b"a"), False),
    ],
)
def test_order_is_that_which_was_asked_for(
    order: Order, keys: tuple[bytes | None, bytes | None], *, wrong: bool
) -> None:
    """Of a key, of a partition, or none; a record without a key waits for nobody."""
    earlier, later = given_input(10, keys[0]), given_input(11, keys[1])
    audit = Audit(SPANS, order=order)
    report = audited([earlier, later], [(later, output_of(later, 0)), (earlier, output_of(earlier, 1))], audit=audit)
    assert found(report) == (
        {"out_of_order": ["contacts[0]@10: enriched[0]@1 is behind the output of offset 11"]} if wrong else {}
    )


def test_order_is_looked_at_within_a_partition_on_both_sides() -> None:
    """Nobody can tell the order of two output partitions, nor that of two input partitions."""
    earlier, later, other = given_input(10), given_input(11), given_input(3, partition=OTHER)
    pairs = [(later, output_of(later, 0)), (earlier, output_of(earlier, 1, partition=1)), (other, output_of(other, 1))]
    assert found(audited([earlier, later, other], pairs)) == {}


def test_repeats_do_not_break_the_order() -> None:
    """A worker that is killed does a stretch again: each event's first output is what counts."""
    inputs = [given_input(offset) for offset in (10, 11, 12)]
    pairs = [(inputs[i], output_of(inputs[i], at)) for at, i in enumerate((0, 1, 0, 1, 2))]
    assert list(found(audited(inputs, pairs))) == ["repeated"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"key": b"x"}, "key"),
        ({"key": None}, "key"),
        ({"timestamp": 5}, "timestamp"),
        ({"headers": []}, "headers"),
        ({"headers": [("trace", None), ("trace", b"1")]}, "headers"),
        ({"headers": [("trace", b""), ("trace", None)]}, "headers"),
        ({"headers": [("trac", b"e1"), ("trace", None)]}, "headers"),
        ({"key": b"x", "headers": [("trace", b"1")], "timestamp": -1}, "key, headers, timestamp"),
    ],
    ids=str,
)
def test_what_has_to_pass_is_compared(change: dict[str, object], what: str) -> None:
    """Key, headers and timestamp of outputs and dead letters are the input's."""
    record = given_input(10)
    for partner, out, name in (("outputs", output_of(record), "enriched"), ("letters", dead_letter_of(record), "dead")):
        changed = msgspec.structs.replace(out, **change)
        pairs = [(record, changed)]
        report = audited([record], pairs) if partner == "outputs" else audited([record], [], pairs)
        assert found(report) == {"changed": [f"contacts[0]@10: {name}[0]@0 has another {what}"]}


def test_a_dead_letter_keeps_its_value() -> None:
    """An output has a value of its own; a dead letter has the input's, and an empty one is not none."""
    record = msgspec.structs.replace(given_input(10), value=b"")
    changed = msgspec.structs.replace(dead_letter_of(record), value=None)
    assert list(found(audited([record], [], [(record, changed)]))) == ["changed"]
    assert found(audited([record], [], [(record, dead_letter_of(record))])) == {}


def test_headers_that_are_added_or_move_are_no_change() -> None:
    """A cause of an earlier dead letter, a trace context, and what a worker adds behind the input's headers."""
    old_cause = dead_letter_of(given_input(3)).headers
    record = msgspec.structs.replace(given_input(10), headers=[("traceparent", b"00-1"), *old_cause])
    out = msgspec.structs.replace(output_of(record), headers=[*HEADERS, ("traceparent", b"00-2"), ("schema", b"7")])
    assert found(audited([record], [(record, out)], [(record, dead_letter_of(record))])) == {
        "repeated": ["contacts[0]@10: again at enriched[0]@0"]
    }


def test_times_are_not_compared_where_there_are_none_to_compare() -> None:
    """A topic that stamps records itself, and an input without a timestamp."""
    record = given_input(10)
    out = msgspec.structs.replace(output_of(record), timestamp=99)
    assert found(audited([record], [(record, out)], audit=Audit(SPANS, untimed=["enriched"]))) == {}
    record = msgspec.structs.replace(record, timestamp=-1)
    assert found(audited([record], [(record, out)])) == {}


def test_what_is_no_subject_of_the_audit_is_counted() -> None:
    """Outputs of input outside the range, of other topics, of offsets without a record, and what cannot be read."""
    audit = Audit(SPANS)
    record = given_input(10)
    for offset in (9, 10, 30):
        audit.input(given_input(offset))
    audit.input(given_input(0, partition=TopicPartition("contacts", 9)))
    audit.output(CONTACTS, 10, output_of(record))
    for source, offset in (
        (CONTACTS, 9),
        (CONTACTS, 30),
        (TopicPartition("contacts", 9), 0),
        (TopicPartition("contact", 0), 10),
        (CONTACTS, 12),
    ):
        audit.output(source, offset, output_of(record))
    audit.foreign()
    audit.unreadable()
    report = audit.report({}, LOGS, ["a note"])
    assert (report.inputs, report.outputs, found(report)) == (1, 1, {})
    others = report.others
    assert (others.outside, others.foreign, others.without_input, others.unreadable) == (3, 2, 1, 1)
    assert report.notes == ["a note"]


@pytest.mark.parametrize(
    ("position", "wrong"),
    [
        (Position(5), None),
        (Position(40), None),
        (Position(38, encode_completed(38, [Range(39, 40)])), None),
        (Position(38, "another program's"), None),
        (Position(4), "the committed offset is outside the log, 5 to 40"),
        (Position(41), "the committed offset is outside the log, 5 to 40"),
        (
            Position(38, encode_completed(38, [Range(39, 41)])),
            "the commit's metadata calls offsets up to 41 resolved, which is outside the log, 5 to 40",
        ),
    ],
)
def test_commits_lie_within_the_log(position: Position, wrong: str | None) -> None:
    """The offset, and what the metadata calls resolved."""
    report = audited([], [], positions={CONTACTS: position})
    expected = {} if wrong is None else {"commits": [f"contacts[0]@{position.offset}: {wrong}"]}
    assert found(report) == expected


def test_examples_are_bounded_and_counts_are_not() -> None:
    """However much is wrong, the report stays small."""
    report = audited([given_input(offset) for offset in range(10, 30)], [], audit=Audit(SPANS, most=3))
    assert (report.missing.count, len(report.missing.examples)) == (20, 3)


# ---- against a naive model -------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """A record of the output topic (``dead`` false) or the dead-letter topic, in the order of reading."""

    dead: bool
    source: int
    at: int
    key: bytes | None
    partition: int


keys = st.sampled_from((None, b"", b"a", b"b"))
inputs_drawn = st.dictionaries(st.integers(8, 24), keys, max_size=14)
found_drawn = st.lists(
    st.tuples(st.booleans(), st.integers(7, 26), st.none() | keys, st.integers(0, 1)).map(lambda drawn: drawn),
    max_size=30,
)


@given(inputs=inputs_drawn, drawn=found_drawn, committed=st.integers(8, 26))
def test_it_finds_what_a_naive_model_finds(
    inputs: dict[int, bytes | None], drawn: list[tuple[bool, int, bytes | None, int]], committed: int
) -> None:
    """Whatever was written, in whatever order: the same counts as a model that keeps everything in dicts."""
    span = Range(10, 22)
    audit = Audit({CONTACTS: span}, most=1_000)
    for offset, key in sorted(inputs.items()):
        audit.input(given_input(offset, key))
    written = [Found(dead, source, at, key, part) for at, (dead, source, key, part) in enumerate(drawn)]
    for one in sorted(written, key=lambda one: not one.dead):  # dead letters first, as the program reads them
        key = inputs.get(one.source, b"") if one.key is None else one.key
        record = msgspec.structs.replace(given_input(one.source, inputs.get(one.source)), key=key)
        if one.dead:
            audit.dead_letter(CONTACTS, one.source, dead_letter_of(record, one.at))
        else:
            audit.output(CONTACTS, one.source, output_of(record, one.at, one.partition))
    report = audit.report({CONTACTS: Position(committed)}, {CONTACTS: Range(0, 30)})

    audited_ones = {offset: key for offset, key in inputs.items() if span.start <= offset < span.end}
    counted = [one for one in written if one.source in audited_ones]
    counts = Counter(one.source for one in counted)
    missing = set(audited_ones) - set(counts)
    assert report.inputs == len(audited_ones)
    assert (report.outputs, report.dead_letters) == (
        sum(not one.dead for one in counted),
        sum(one.dead for one in counted),
    )
    assert {example.offset for example in report.missing.examples} == missing
    assert report.not_committed == sum(offset >= committed for offset in missing)
    assert {example.offset for example in report.repeated.examples} == {s for s, count in counts.items() if count > 1}
    assert report.changed.count == sum(one.key is not None and one.key != audited_ones[one.source] for one in counted)
    assert report.out_of_order.count == _overtaken(counted, audited_ones)
    assert report.others.outside + report.others.without_input == len(written) - len(counted)


def _overtaken(counted: list[Found], inputs: dict[int, bytes | None]) -> int:
    """First outputs that stand behind a first output of a higher offset, of their key, in one output partition."""
    firsts: list[tuple[int, bytes | None, int]] = []
    seen = {one.source for one in counted if one.dead}
    for one in counted:
        if not one.dead and one.source not in seen:
            seen.add(one.source)
            firsts.append((one.source, inputs[one.source] if one.key is None else one.key, one.partition))
    return sum(
        any(source > offset and (other, place) == (key, partition) for source, other, place in firsts[:index])
        for index, (offset, key, partition) in enumerate(firsts)
        if key is not None
    )
