"""The service's JSON to typed offers: what is liberal, what is strict, and that no failure tells of the customer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.history.wire import MAX_DEPTH, decode_history, parse_interaction_id, parse_outcome_time
from enricher.model import FailureKind, LookupFailure, Offer

SAMPLES = Path(__file__).parent.parent / "data" / "service"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def violation(body: bytes, **limits: int) -> LookupFailure:
    """The failure of a body, which holds nothing of it and drags no library error along."""
    with pytest.raises(LookupFailure) as caught:
        decode_history(body, **limits)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def outcome(body: bytes) -> FailureKind | None:
    """How decoding fails, or none where there are offers."""
    try:
        decode_history(body)
    except LookupFailure as failure:
        return failure.kind
    return None


def test_the_documented_sample_has_its_exact_values() -> None:
    """64-bit ids, milliseconds, an empty id and a bundle, as the service's documentation shows them."""
    expected = (
        Offer(
            name="Negotiation",
            issue="Negotiation",
            group="Negotiation",
            channel="CallCenter",
            direction="Inbound",
            interaction_id=7382338912749122452,
            external_id="S-13805",
            outcome_time=1456404901526,
            outcome="Rejected",
            behaviour="Negative",
            identifier="/Negotiation/Negotiation/Negotiation",
            bundle=(
                Offer(name="Handsets_fromGoogleNexus4"),
                Offer(name="DataPlan100Min"),
                Offer(name="MemoryCard_V2_M3"),
            ),
        ),
        Offer(
            name="MI",
            issue="Sales",
            group="Handsets",
            channel="CallCenter",
            direction="Inbound",
            interaction_id=-7714067498846096636,
            external_id=None,
            outcome_time=1456308658055,
            outcome="Accepted",
            behaviour="Positive",
            identifier="/Sales/Handsets/MI",
        ),
    )
    assert decode_history((SAMPLES / "response.json").read_bytes()) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"OfferHistory":[]}', ()),
        (b' {"Extra": {"a": [1]}, "OfferHistory": [], "More": null} ', ()),
        (b'{"OfferHistory":[{}]}', (Offer(),)),
        (b'{"OfferHistory":[{"Name":null,"InteractionID":null,"OutcomeTime":null,"OfferHistory":null}]}', (Offer(),)),
        (b'{"OfferHistory":[{"Name":"A","Label":"new","Weight":1.5}]}', (Offer(name="A"),)),
        (b'{"OfferHistory":[{"Label":"a","Label":"b"}]}', (Offer(),)),
        (b'{"OfferHistory":[{"Name":"a:b","Label":{"Name":"c"}}],"Name":9e999}', (Offer(name="a:b"),)),
        (b'{"x":' + b"9" * 5000 + b',"OfferHistory":[{"Name":"\\u0041","Group":null}]}', (Offer(name="A"),)),
        (b'{"OfferHistory":[{"ExternalID":""}]}', (Offer(external_id=None),)),
        (b'{"OfferHistory":[{"Outcome":"DeliverHold"}]}', (Offer(outcome="DeliverHold"),)),
        (b'{"OfferHistory":[{"InteractionID":-5}]}', (Offer(interaction_id=-5),)),
        (b'{"OfferHistory":[{"OfferHistory":[]}]}', (Offer(),)),
        ('{"OfferHistory":[{"Name":"Żółć \\ud83d\\ude00"}]}'.encode(), (Offer(name="Żółć 😀"),)),
    ],
)
def test_it_is_liberal(body: bytes, expected: tuple[Offer, ...]) -> None:
    """Fields may be missing or null, unknown ones are skipped and may be anything, sets of values are open."""
    assert decode_history(body) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "missing required field `OfferHistory`"),
        (b'{"error":"SECRET"}', "missing required field `OfferHistory`"),
        (b'{"OfferHistory":null}', "Expected `array`, got `null` - at `$.OfferHistory`"),
        (b'{"OfferHistory":{}}', "Expected `array`, got `object` - at `$.OfferHistory`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b'"SECRET"', "Expected `object`, got `str`"),
        (b'{"OfferHistory":[null]}', "got `null` - at `$.OfferHistory[0]`"),
        (b'{"OfferHistory":["SECRET"]}', "got `str` - at `$.OfferHistory[0]`"),
        (b'{"OfferHistory":[{"Name":5}]}', "got `int` - at `$.OfferHistory[0].Name`"),
        (b'{"OfferHistory":[{"ExternalID":13805}]}', "got `int` - at `$.OfferHistory[0].ExternalID`"),
        (b'{"OfferHistory":[{"InteractionID":1.0}]}', "got `float` - at `$.OfferHistory[0].InteractionID`"),
        (b'{"OfferHistory":[{},{"InteractionID":"SECRET"}]}', "InteractionID is not a signed 64-bit"),
        (b'{"OfferHistory":[{"InteractionID":""}]}', "InteractionID is not a signed 64-bit"),
        (b'{"OfferHistory":[{"InteractionID":9223372036854775808}]}', "InteractionID is not a signed 64-bit"),
        (b'{"OfferHistory":[{"OutcomeTime":"SECRET"}]}', "OutcomeTime is not a time"),
        (b'{"OfferHistory":[{"OutcomeTime":""}]}', "OutcomeTime is not a time"),
        (b'{"OfferHistory":[{},{"OutcomeTime":"20160230T125501.526 GMT"}]}', "at `$.OfferHistory[1]`"),
        (
            b'{"OfferHistory":[{},{"OfferHistory":[{"InteractionID":"x"}]}]}',
            "at `$.OfferHistory[1].OfferHistory[0]`",
        ),
    ],
)
def test_another_shape_is_a_violation_that_names_its_place(body: bytes, message: str) -> None:
    """What cannot be typed fails the answer; what has no list at all is no empty history."""
    failure = violation(body)
    assert failure.kind is FailureKind.CONTRACT_VIOLATION
    assert message in failure.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        b"<html>SECRET</html>",
        b'{"OfferHistory":[{"Name":"SECRET',
        b'{"OfferHistory":[]} SECRET',
        b'{"OfferHistory":[],}',
        b'{"OfferHistory":[{"Name":"SECRET \xff"}]}',
        b'{"OfferHistory":[{"Name":"SECRET \\ud800"}]}',
        b'{"OfferHistory":[{"Name":"SECRET \\ud800\\u0041"}]}',
        b'{"OfferHistory":[{"InteractionID":NaN}]}',
    ],
)
def test_what_is_no_json_says_so(body: bytes) -> None:
    """Truncated, malformed, not UTF-8, lone surrogates: all are no JSON."""
    assert violation(body).kind is FailureKind.INVALID_JSON


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"OfferHistory":[{"Name":"A"}],"OfferHistory":[]}', "OfferHistory"),
        (b'{"OfferHistory":[{"Name":"SECRET","Group":"g","Name":"SECRET"}]}', "Name"),
        (b'{"OfferHistory":[{"Name":"SECRET","Name":null}]}', "Name"),
        (b'{"OfferHistory":[{"Name":null,"Name":null}]}', "Name"),
        (b'{"OfferHistory":[{"Name" : "A", "\\u004eame" :"B"}]}', "Name"),
        (b'{"OfferHistory":[{"Label":"x","OfferHistory":[{"Outcome":"A","Outcome":"B"}]}]}', "Outcome"),
        (b'{"OfferHistory":[{"OfferHistory":[],"OfferHistory":[{}]}]}', "OfferHistory"),
    ],
)
def test_a_field_that_stands_twice_is_a_violation(body: bytes, name: str) -> None:
    """Nobody can tell which of the two is meant; the first of two lists would vanish without a trace."""
    failure = violation(body)
    assert failure.kind is FailureKind.CONTRACT_VIOLATION
    assert f"`{name}` stands twice in one object" in failure.message


_VALUES = st.sampled_from(['"a:b"', "null", '"\\"Name\\":"', '"Name"', '"\\u004e"', '"x"'])
_MEMBERS = st.lists(st.tuples(st.sampled_from(["Name", "Group", "Issue", "Label", "\\u004eame"]), _VALUES), max_size=5)


@given(st.lists(_MEMBERS, max_size=4))
def test_repeated_fields_are_found_exactly(offers: list[list[tuple[str, str]]]) -> None:
    """Whatever stands in the texts beside them: as a look at each object by itself finds them."""
    objects = ("{" + ",".join(f'"{name}":{value}' for name, value in members) + "}" for members in offers)
    body = f'{{"OfferHistory":[{",".join(objects)}]}}'.encode()
    names = [[name.replace("\\u004e", "N") for name, _ in members if name != "Label"] for members in offers]
    repeated = any(len(of_one) > len(set(of_one)) for of_one in names)
    assert (outcome(body) is FailureKind.CONTRACT_VIOLATION) == repeated


def test_every_prefix_of_an_answer_is_a_failure() -> None:
    """A body that was cut anywhere never passes for a shorter history."""
    body = (SAMPLES / "response.json").read_bytes().strip()
    for end in range(len(body)):
        assert violation(body[:end]).kind is FailureKind.INVALID_JSON


def test_bundles_nest_to_a_limit() -> None:
    """So many levels of offers, and not one more."""

    def nested(levels: int) -> bytes:
        return b'{"OfferHistory":[' + b'{"OfferHistory":[' * (levels - 1) + b"{}" + b"]}" * levels

    (offer,) = decode_history(nested(MAX_DEPTH))
    for _ in range(MAX_DEPTH - 1):
        (offer,) = offer.bundle
    assert offer == Offer()
    failure = violation(nested(MAX_DEPTH + 1))
    assert failure.kind is FailureKind.CONTRACT_VIOLATION
    assert "bundles within bundles" in failure.message


@pytest.mark.parametrize("body", [b'{"OfferHistory":[' * 100_000, b'{"x":' + b"[" * 1_000_000])
def test_deep_json_cannot_exhaust_the_stack(body: bytes) -> None:
    """Depth in known and unknown fields alike ends as a failure of this answer alone."""
    failure = violation(body)
    assert failure.kind is FailureKind.CONTRACT_VIOLATION
    assert "nested too deeply" in failure.message


def test_offers_are_counted_with_their_bundles() -> None:
    """The limit is of all offers in an answer."""
    body = b'{"OfferHistory":[{"OfferHistory":[{},{}]},{}]}'
    assert len(decode_history(body, max_offers=4)) == 2
    failure = violation(body, max_offers=3)
    assert failure.kind is FailureKind.CONTRACT_VIOLATION
    assert "more offers than the limit" in failure.message


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_times_are_exact_to_the_millisecond(instant: int) -> None:
    """Every instant of the years 1 to 9999, against datetime's own arithmetic."""
    moment = EPOCH + timedelta(milliseconds=instant)
    text = f"{moment.year:04}{moment:%m%dT%H%M%S}.{moment.microsecond // 1000:03} GMT"
    assert parse_outcome_time(text) == instant


@given(st.from_regex(r"[0-9]{8}T[0-9]{6}\.[0-9]{3} GMT", fullmatch=True))
def test_a_time_exists_or_is_refused(text: str) -> None:
    """Of all texts of the right form, those pass that datetime takes too."""
    try:
        moment = datetime(
            int(text[:4]),
            int(text[4:6]),
            int(text[6:8]),
            int(text[9:11]),
            int(text[11:13]),
            int(text[13:15]),
            tzinfo=UTC,
        )
    except ValueError:
        with pytest.raises(ValueError, match="not a time"):
            parse_outcome_time(text)
    else:
        assert parse_outcome_time(text) == round((moment - EPOCH).total_seconds()) * 1000 + int(text[16:19])


@pytest.mark.parametrize(
    "text",
    [
        "20160225T125501.526 UTC",
        "20160225T125501.526GMT",
        "20160225t125501.526 GMT",
        "20160225T125501,526 GMT",
        "20160225T125501.5261GMT",
        " 0160225T125501.526 GMT",
        "2016022\uff15T125501.526 GMT",
        "20160225T12550\uff11.526 GMT",
        "2016W084T125501.526 GMT",
        "+2016022T125501.526 GMT",
        "20160225T125501.526 GMT ",
        "20160225T240000.000 GMT",
        "20160225T125560.000 GMT",
        "20150229T125501.526 GMT",
        "00000101T000000.000 GMT",
        "2016-02-25T12:55:01.526Z",
    ],
)
def test_a_near_miss_is_no_time(text: str) -> None:
    """Other zones, digits, lengths and separators are refused rather than guessed."""
    with pytest.raises(ValueError, match="OutcomeTime is not a time"):
        parse_outcome_time(text)


@given(st.integers(-(2**63), 2**63 - 1))
def test_interaction_ids_are_exact(value: int) -> None:
    """All of 64 bits pass, as text and as a number, through the whole decoder."""
    assert parse_interaction_id(str(value)) == value
    for body in (
        f'{{"OfferHistory":[{{"InteractionID":"{value}"}}]}}',
        f'{{"OfferHistory":[{{"InteractionID":{value}}}]}}',
    ):
        assert decode_history(body.encode()) == (Offer(interaction_id=value),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1_0",
        "0x1",
        "1.0",
        "1e3",
        "--1",
        "+",
        "٣",
        "null",
        "9223372036854775808",
        "-9223372036854775809",
        "9" * 5000,
    ],
)
def test_what_is_no_64_bit_integer_is_refused(text: str) -> None:
    """Python's int() takes more than the service may send."""
    with pytest.raises(ValueError, match="InteractionID is not a signed 64-bit integer"):
        parse_interaction_id(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["OfferHistory", "Name", "OutcomeTime", "InteractionID"]) | st.text(), inner
            )
        ),
    )
)
def test_any_json_is_offers_or_a_failure(value: object) -> None:
    """Nothing but LookupFailure comes out, whatever goes in."""
    body = msgspec.json.encode({"OfferHistory": [value]})
    assert outcome(body) in {None, FailureKind.CONTRACT_VIOLATION}


@given(st.binary())
def test_any_bytes_are_offers_or_a_failure(body: bytes) -> None:
    """Likewise for what is no JSON."""
    assert outcome(body) in {None, FailureKind.CONTRACT_VIOLATION, FailureKind.INVALID_JSON}
