"""What would change of an output: field by field, and nothing of what differs on every run."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.model import REPLAY_HEADER, Enriched, Enrichment, Event, Headers, Offer, OfferHistory, Status
from enricher.replay import compare
from enricher.replay.compare import LONGEST, OTHER, Change, Comparison, Output, changes, schema_of

PART = Offer(name="Case", identifier="/Sales/Extras/Case")
OFFERS = (
    Offer(name="MI", identifier="/Sales/Handsets/MI", interaction_id=1, outcome="Accepted", outcome_time=10),
    Offer(name="MI", identifier="/Sales/Handsets/MI", interaction_id=2, outcome="Rejected", outcome_time=20),
    Offer(name="Bundle", interaction_id=3, outcome_time=30, bundle=(PART,)),
)
EVENT = Event("E-1", "CONNOR", 100, channel="Web", attributes={"a": "1", "b": "of CONNOR"})


def output(*offers: Offer, event: Event = EVENT, looked_up_at: int = 500, as_of: int | None = None) -> Output:
    """An output of the event."""
    history = OfferHistory(event.customer_id, looked_up_at, looked_up_at if as_of is None else as_of, offers)
    enriched = Enriched(event, history, Enrichment("t", 0, 7, "1.0", 1, Status.ENRICHED))
    return Output(b"CONNOR", [("h", b"1")], 100, "aa", enriched)


OLD = output(*OFFERS)


def found(new: Output, old: Output = OLD) -> list[Change]:
    """All changes."""
    return list(changes(old, new))


def test_what_differs_on_every_run_is_no_change() -> None:
    """The look-up's time, the instant that is the same, attempts, version, headers of traces and of the replay."""
    new = output(*OFFERS, looked_up_at=900)
    how = msgspec.structs.replace(new.enriched.enrichment, attempts=4, version="2.0")
    headers: Headers = [("h", b"1"), (REPLAY_HEADER, b"r"), ("traceparent", b"00-1")]
    new = new._replace(headers=headers, enriched=msgspec.structs.replace(new.enriched, enrichment=how))
    assert found(new) == []


@pytest.mark.parametrize(
    ("new", "change"),
    [
        (OLD._replace(key=None), Change("record.key", b"CONNOR", None)),
        (OLD._replace(timestamp=5), Change("record.timestamp", 100, 5)),
        (OLD._replace(headers=[]), Change("record.headers", [("h", b"1")], [])),
        (OLD._replace(schema="bb"), Change("record.schema", "aa", "bb")),
        (output(*OFFERS, as_of=100), Change("offerHistory.asOf", 500, 100)),
        (
            output(*OFFERS, event=msgspec.structs.replace(EVENT, channel=None)),
            Change("contact.channel", "Web", None),
        ),
        (
            output(*OFFERS, event=msgspec.structs.replace(EVENT, attributes={"b": "of CONNOR", "a": "2"})),
            Change("contact.attributes.a", "1", "2"),
        ),
        (
            OLD._replace(
                enriched=msgspec.structs.replace(
                    OLD.enriched,
                    enrichment=msgspec.structs.replace(OLD.enriched.enrichment, status=Status.UNAVAILABLE),
                )
            ),
            Change("enrichment.status", "ENRICHED", "UNAVAILABLE"),
        ),
    ],
)
def test_each_field_is_compared(new: Output, change: Change) -> None:
    """One field, one change."""
    assert found(new) == [change]


def test_offers_are_held_against_their_own_earlier_selves() -> None:
    """A changed field, one that is gone, a new one, another order; and inside a bundle."""
    first, second, bundle = OFFERS
    changed = msgspec.structs.replace(second, outcome="Accepted")
    where = "/Sales/Handsets/MI"
    assert found(output(first, changed, bundle)) == [
        Change("offerHistory.offers[].outcome", f"Rejected ({where})", f"Accepted ({where})")
    ]
    renumbered = msgspec.structs.replace(second, interaction_id=9)
    assert found(output(first, renumbered, bundle)) == [
        Change("offerHistory.offers[].interactionId", f"2 ({where})", f"9 ({where})")
    ]
    assert found(output(first, bundle)) == [Change("offerHistory.offers[] (gone)", where, None)]
    other = Offer(name="New", interaction_id=8)
    assert found(output(*OFFERS, other)) == [Change("offerHistory.offers[] (new)", None, "New")]
    names = f"{where}, {where}, Bundle"
    assert found(output(bundle, first, second)) == [
        Change("offerHistory.offers[] (order)", names, f"Bundle, {where}, {where}")
    ]
    emptied = msgspec.structs.replace(bundle, bundle=())
    assert found(output(first, second, emptied)) == [
        Change("offerHistory.offers[].bundle[] (gone)", "/Sales/Extras/Case", None)
    ]


offers = st.lists(
    st.builds(
        Offer,
        name=st.sampled_from(["A", "B"]),
        interaction_id=st.integers(0, 2),
        outcome=st.sampled_from(["x", "y"]),
        outcome_time=st.integers(0, 1),
    ),
    max_size=5,
)


@given(offers, offers)
def test_there_is_a_change_if_and_only_if_offers_differ(old: list[Offer], new: list[Offer]) -> None:
    """Whatever the offers are, repeated ones included."""
    assert bool(found(output(*new), output(*old))) == (old != new)


def test_the_schema_is_told_by_the_first_bytes() -> None:
    """Confluent's id, the fingerprint of a single object, or a header."""
    other: Headers = [("h", b"1")]
    assert schema_of(b"\x00\x00\x00\x00\x07rest", other) == "id 7"
    assert schema_of(b"\xc3\x01" + bytes(range(8)) + b"rest", other) == "0001020304050607"
    assert schema_of(b"rest", [*other, ("__value_schema_id", b"\x01\x02")]) == "header 0102"


def test_a_comparison_counts_and_keeps_examples() -> None:
    """Of each field the first examples, without the customer's id, and shortened."""
    seen = Comparison(most=1)
    assert not seen.different
    seen.compare(OLD, OLD)
    assert (seen.same, seen.different, seen.versions) == (1, False, {"1.0": 1})
    long = msgspec.structs.replace(EVENT, customer_id="OTHER", channel="x" * 100)
    seen.compare(OLD, output(*OFFERS, event=long))
    seen.compare(OLD, output(*OFFERS, event=long))
    assert (seen.changed, seen.different) == (2, True)
    assert seen.fields == {"contact.customerId": 2, "contact.channel": 2}
    [example] = seen.examples["contact.customerId"]
    assert (example.event, example.old, example.new) == ("t[0]@7", "***", "***")
    [example] = seen.examples["contact.channel"]
    assert len(example.new) == LONGEST
    seen.compare(OLD._replace(key=None), OLD)
    assert seen.examples["record.key"][0].old == "-"
    assert seen.examples["record.key"][0].new == "***"


def test_events_without_an_output_and_dead_letters_are_told_apart() -> None:
    """New outputs and new dead letters are differences; a dead letter that was one before is none."""
    seen = Comparison()
    seen.rejected("t[0]@1", "BadRequest", was_published=False)
    assert (seen.dead_before, seen.different) == (1, False)
    seen.rejected("t[0]@1", "BadRequest", was_published=True)
    assert (seen.dead, seen.causes, seen.different) == (1, {"BadRequest": 1}, True)
    fresh = Comparison()
    fresh.compare(None, OLD)
    assert (fresh.new, fresh.different) == (1, True)
    assert fresh.examples["(no output)"][0].event == "t[0]@7"


def test_a_field_is_counted_once_for_each_output_and_kinds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changed offers of one output are one; attributes of any name cannot fill the memory."""
    monkeypatch.setattr(compare, "MOST_KINDS", 2)
    first, second, bundle = OFFERS
    seen = Comparison()
    both = (msgspec.structs.replace(offer, outcome="?") for offer in (first, second))
    seen.compare(OLD, output(*both, bundle))
    assert seen.fields == {"offerHistory.offers[].outcome": 1}
    many = msgspec.structs.replace(EVENT, attributes={str(number): "" for number in range(5)})
    seen.compare(OLD, output(*OFFERS, event=many))
    assert seen.fields == {"offerHistory.offers[].outcome": 1, "contact.attributes.0": 1, OTHER: 1}
