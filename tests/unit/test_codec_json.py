"""Events in JSON: what is read, what is kept, and each way to be rejected."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enricher.codec import Decoder, InputFields, attribute_value
from enricher.codec.attributes import MAX_DEPTH
from enricher.model import Event
from tests.codec_talk import TIMESTAMP, cause, decode, rejection
from tests.strategies import FIRST_INSTANT, LAST_INSTANT, json_objects, json_texts, json_values, texts

KNOWN = {"eventId", "customerId", "contactTime", "channel", "direction", "reason", "agentId", "attributes"}


def js(**fields: Any) -> bytes:
    """An event with a customer id, and these fields."""
    return json.dumps({"customerId": "C1", "contactTime": 0} | fields).encode()


def test_a_whole_event() -> None:
    """Each field that the schema names comes to its place, and the others to the attributes."""
    value = js(
        eventId="E1",
        contactTime=1_790_000_000_000,
        channel="Web",
        direction="Inbound",
        reason="Upgrade",
        agentId="A-1",
        attributes={"tier": "gold"},
        queueSeconds=12,
    )
    assert decode(value) == Event(
        "E1",
        "C1",
        1_790_000_000_000,
        "Web",
        "Inbound",
        "Upgrade",
        "A-1",
        {"tier": "gold", "queueSeconds": "12"},
    )


def test_the_least_event() -> None:
    """Only the customer id is required: the event id comes from the position, the time from the record."""
    assert decode(b'{"customerId":"C1"}') == Event("contacts-3-42", "C1", TIMESTAMP)


def test_null_counts_as_missing() -> None:
    """For every field of the schema."""
    nulls = dict.fromkeys(KNOWN - {"customerId"})
    assert decode(js(**nulls)) == Event("contacts-3-42", "C1", TIMESTAMP)
    assert cause(b'{"customerId":null}') == "MissingCustomerId"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "EmptyValue"),
        (b"", "EmptyValue"),
        (b"<contact/>", "UnknownEncoding"),
        (b"plain text", "UnknownEncoding"),
        (b"true story", "UnknownEncoding"),
        (b"\xfe\xff{}", "UnknownEncoding"),
        (b"[]", "NotAnObject"),
        (b"[" * 100_000, "TooDeep"),
        (b' \n["a"]', "NotAnObject"),
        (b'"text"', "NotAnObject"),
        (b"42", "NotAnObject"),
        (b"null", "NotAnObject"),
        (b"{", "InvalidJson"),
        (b"   ", "InvalidJson"),
        (b'{"customerId":"C1"', "InvalidJson"),
        (b'{"customerId":"C1",}', "InvalidJson"),
        (b'{"customerId":"C1"} x', "InvalidJson"),
        (b"{'customerId':'C1'}", "InvalidJson"),
        (b'{"customerId":"C1","x":NaN}', "InvalidJson"),
        (b'{"customerId":"C1","x":[-Infinity]}', "InvalidJson"),
        (b'{"customerId":"C1","x":01}', "InvalidJson"),
        (b'{"customerId":"C\n1"}', "InvalidJson"),
        (b'{"customerId":"\xff"}', "InvalidUtf8"),
        (b'{"customerId":"C1","\xff":1}', "InvalidUtf8"),
        (b'{"customerId":"C1","x":{"y":["\xff"]}}', "InvalidUtf8"),
        (b'{"customerId":"C1","x":{"y\xc3":1}}', "InvalidUtf8"),
        (b'{"customerId":"C1","x":"\xed\xa0\x80"}', "InvalidUtf8"),
        (b'{"customerId":"C1","contactTime":"\xff"}', "InvalidUtf8"),
        (b'{"customerId":"C1","reason":"\xff"}', "InvalidUtf8"),
        (b'{"customerId":"C1","attributes":{"a":"\xff"}}', "InvalidUtf8"),
        (b'{"customerId":"\xff', "InvalidUtf8"),
        (b'{"a":' * 100_000, "TooDeep"),
        (b'{"customerId":"C1","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "TooDeep"),
        (b'{"customerId":"C1","x":' + b"[" * 100_000, "TooDeep"),
        (b"{}", "MissingCustomerId"),
        (b'{"customerID":"C1"}', "MissingCustomerId"),
        (b'{"customerId":""}', "InvalidCustomerId"),
        (b'{"customerId":" \\t"}', "InvalidCustomerId"),
        (b'{"customerId":1.5}', "InvalidCustomerId"),
        (b'{"customerId":true}', "InvalidCustomerId"),
        (b'{"customerId":{"id":"C1"}}', "InvalidCustomerId"),
        (js(eventId=""), "InvalidEventId"),
        (js(eventId=1e3), "InvalidEventId"),
        (js(eventId=[]), "InvalidEventId"),
        (js(contactTime="yesterday"), "InvalidEventTime"),
        (js(contactTime=""), "InvalidEventTime"),
        (js(contactTime="2026-11-23T08:15:30"), "InvalidEventTime"),
        (js(contactTime="2026-11-23"), "InvalidEventTime"),
        (js(contactTime="2026-02-30T08:15:30Z"), "InvalidEventTime"),
        (js(contactTime=1.5), "InvalidEventTime"),
        (js(contactTime=False), "InvalidEventTime"),
        (js(contactTime={}), "InvalidEventTime"),
        (js(contactTime=FIRST_INSTANT - 1), "InvalidEventTime"),
        (js(contactTime=LAST_INSTANT + 1), "InvalidEventTime"),
        (js(contactTime="0001-01-01T00:00:00+00:01"), "InvalidEventTime"),
        (js(contactTime="9999-12-31T23:59:59-00:01"), "InvalidEventTime"),
        (js(channel=1), "InvalidField"),
        (js(direction=["Inbound"]), "InvalidField"),
        (js(reason={}), "InvalidField"),
        (js(agentId=False), "InvalidField"),
        (js(attributes=[]), "InvalidField"),
        (js(attributes="a"), "InvalidField"),
    ],
)
def test_causes(value: bytes | None, expected: str) -> None:
    """Each thing that can be wrong has its name, and a message that a person can use."""
    rejected = rejection(value)
    assert rejected.cause == expected
    assert len(rejected.message) > 20
    assert "C1" not in rejected.message


def test_an_integer_of_many_digits_is_no_time() -> None:
    """It is found to be out of range without being read digit by digit."""
    for digits in (b"9" * 900_000, b"-" + b"9" * 900_000):
        rejected = rejection(b'{"customerId":"C1","contactTime":' + digits + b"}")
        assert (rejected.cause, rejected.message) == (
            "InvalidEventTime",
            "the event time is outside the years 1 to 9999",
        )


def test_the_value_may_be_as_large_as_allowed() -> None:
    """And not a byte more; the message says how large it is and what allows more."""
    value = js()
    assert decode(value, Decoder(max_bytes=len(value))).customer_id == "C1"
    rejected = rejection(value + b" ", Decoder(max_bytes=len(value)))
    assert rejected.cause == "TooLarge"
    assert str(len(value) + 1) in rejected.message
    assert cause(b"\xc3\x01" + b"\x00" * 5_000_000) == "TooLarge"


def test_a_missing_time_needs_a_timestamp() -> None:
    """And one that is a time."""
    assert cause(b'{"customerId":"C1"}', timestamp=-1) == "MissingEventTime"
    assert cause(b'{"customerId":"C1"}', timestamp=2**63 - 1) == "InvalidEventTime"
    assert decode(b'{"customerId":"C1"}', timestamp=0).contact_time == 0
    assert decode(js(contactTime=5), timestamp=-1).contact_time == 5


def test_only_the_encoding_that_was_asked_for() -> None:
    """JSON alone does not take Avro, Avro alone does not take JSON, and the message says which."""
    assert rejection(b"\xc3\x01" + b"\x00" * 10, Decoder(encoding="json")).message.endswith("which no JSON event does")
    assert rejection(js(), Decoder(encoding="avro")).message == (
        "the value begins with the byte 7b, which no Avro event does"
    )
    assert cause(b"[]", Decoder(encoding="avro")) == "UnknownEncoding"
    assert decode(js(), Decoder(encoding="json")).customer_id == "C1"


@pytest.mark.parametrize(("written", "expected"), [("42", "42"), ("-7", "-7"), ("1" * 40, "1" * 40), ('"007"', "007")])
def test_ids_may_be_integers(written: str, expected: str) -> None:
    """With all their digits."""
    event = decode(f'{{"customerId":{written},"eventId":{written}}}'.encode())
    assert (event.customer_id, event.event_id) == (expected, expected)


def test_white_space_and_a_byte_order_mark_may_stand_before() -> None:
    """As RFC 8259 allows."""
    for before in (b" \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf "):
        assert decode(before + js()).customer_id == "C1"
    assert cause(b"\xef\xbb\xbf[]") == "NotAnObject"
    assert cause(b"\xef\xbb{}") == "InvalidUtf8"


def test_the_last_of_a_repeated_key_counts() -> None:
    """At the top and inside; nothing else is disturbed."""
    event = decode(b'{"customerId":"C1","customerId":"C2","x":1,"x":2}')
    assert (event.customer_id, event.attributes) == ("C2", {"x": "2"})


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    """An event with a value that many levels deep, its own object included."""
    inner = opening * (levels - 1) + "1" + closing * (levels - 1)
    return f'{{"customerId":"C1","x":{inner}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"]}\\\\\\"]":', "}")])
def test_how_deep_it_may_be(opening: str, closing: str) -> None:
    """The limit is a number, not what the interpreter's stack happens to allow; what stands in texts does not count."""
    assert decode(nested(MAX_DEPTH, opening, closing)).attributes["x"].startswith(opening)
    assert cause(nested(MAX_DEPTH + 1, opening, closing)) == "TooDeep"


def test_brackets_beside_each_other_are_not_deep() -> None:
    """Nor are those in texts."""
    value = js(x=[[], {}] * 1_000, y="[" * 1_000, z='\\"[' * 1_000)
    assert decode(value).attributes["y"] == json.dumps("[" * 1_000)


@pytest.mark.parametrize("paths", [("id", "id", "at"), ("a", "a.b", "at"), ("x", "at.a.b", "at.a")])
def test_paths_must_stand_apart(paths: tuple[str, str, str]) -> None:
    """One value cannot be two things."""
    with pytest.raises(ValueError, match="cannot both be read"):
        Decoder(InputFields(*paths))


class TestPaths:
    """The fields that matter may stand anywhere."""

    nested = Decoder(InputFields("meta.id", "party.customer.id", "meta.at"))

    def test_the_rest_survives(self) -> None:
        """What stands beside a field that was taken becomes an attribute, digit for digit."""
        event = decode(
            b'{"meta":{"id":"E1","at":7,"source":1.50},"party":{"customer":{"id":"C1","vip":true},"x":[1, 2]}}',
            self.nested,
        )
        assert (event.event_id, event.customer_id, event.contact_time) == ("E1", "C1", 7)
        assert event.attributes == {"meta": '{"source":1.50}', "party": '{"customer":{"vip":true},"x":[1,2]}'}

    def test_an_object_that_was_emptied_is_gone(self) -> None:
        """There is nothing to keep."""
        assert decode(b'{"meta":{"id":"E1"},"party":{"customer":{"id":"C1"}}}', self.nested).attributes == {}

    def test_a_null_leaf_is_missing(self) -> None:
        """And taken out as well."""
        event = decode(b'{"meta":{"id":null,"x":1},"party":{"customer":{"id":"C1"}}}', self.nested)
        assert (event.event_id, event.attributes) == ("contacts-3-42", {"meta": '{"x":1}'})

    @pytest.mark.parametrize(
        "party", [b"1", b"null", b'"C1"', b"[]", b"{}", b'{"customer":"C1"}', b'{"customer":{"x":1}}']
    )
    def test_a_path_that_leads_nowhere(self, party: bytes) -> None:
        """The message names the path."""
        rejected = rejection(b'{"party":' + party + b"}", self.nested)
        assert (rejected.cause, "party.customer.id" in rejected.message) == ("MissingCustomerId", True)

    def test_a_nested_field_that_is_missing_leaves_all_as_it_was(self) -> None:
        """Nothing is rewritten."""
        event = decode(b'{"meta":{"x": 1},"party":{"customer":{"id":"C1"}}}', self.nested)
        assert event.attributes == {"meta": '{"x":1}'}

    def test_the_usual_names_are_then_attributes(self) -> None:
        """A field that is called customerId is not the customer id unless it is said to be."""
        event = decode(b'{"customerId":"other","id":"C1"}', Decoder(InputFields(customer_id="id")))
        assert (event.customer_id, event.attributes) == ("C1", {"customerId": "other"})

    def test_a_path_into_the_attributes(self) -> None:
        """It is taken out of them."""
        event = decode(b'{"attributes":{"cid":"C1","x":"y"}}', Decoder(InputFields(customer_id="attributes.cid")))
        assert (event.customer_id, event.attributes) == ("C1", {"x": "y"})


class TestAttributes:
    """Nothing of the input is lost."""

    @given(fields=json_objects)
    def test_every_value_comes_back(self, fields: dict[str, Any]) -> None:
        """Whatever JSON object an input has beside the schema's fields."""
        unknown = {name: value for name, value in fields.items() if name not in KNOWN}
        attributes = decode(js(**unknown)).attributes
        assert {name: attribute_value(text) for name, text in attributes.items()} == unknown

    @given(text=json_texts() | texts)
    @example("1e999")
    @example("[1e999]")
    @example('"')
    @example("")
    @example("[" * 10_000)
    def test_a_text_stays_a_text(self, text: str) -> None:
        """Even one that looks like JSON; unless it does, it is kept as it is."""
        kept = decode(js(x=text)).attributes["x"]
        assert attribute_value(kept) == text
        assert kept in {text, json.dumps(text, ensure_ascii=False, separators=(",", ":")), json.dumps(text)} or (
            kept[0] == kept[-1] == '"'
        )

    @given(value=json_values, text=texts)
    def test_a_text_and_a_value_are_told_apart(self, value: Any, text: str) -> None:
        """Two inputs that differ never have the same attribute."""
        one, other = decode(js(x=value)).attributes["x"], decode(js(x=text)).attributes["x"]
        assert (one == other) == (isinstance(value, str) and value == text)

    @pytest.mark.parametrize(
        "digits",
        ["0", "-0", "1.50", "1E400", "-1e-400", "12345678901234567890123", "0.1000000000000000000001", "9" * 5000],
    )
    def test_numbers_keep_their_digits(self, digits: str) -> None:
        """Those that no float can hold as well; the same digits as a text are something else."""
        assert decode(b'{"customerId":"C1","x":' + digits.encode() + b"}").attributes == {"x": digits}
        assert decode(js(x=digits)).attributes == {"x": f'"{digits}"'}

    @pytest.mark.parametrize("text", [" 1", "\t[]", "\n\r null", "true", "1 "])
    def test_a_text_that_any_parser_takes_for_json_is_quoted(self, text: str) -> None:
        """One with white space around as well: others read the attributes by the same rule."""
        assert decode(js(x=text)).attributes == {"x": json.dumps(text)}

    def test_white_space_between_values_is_left_out(self) -> None:
        """It means nothing; within texts it stays."""
        event = decode(b'{"customerId":"C1","x": { "a b" : [ 1 ,\n"c  d" ] } }')
        assert event.attributes == {"x": '{"a b":[1,"c  d"]}'}

    def test_a_name_that_is_taken_gets_a_slash(self) -> None:
        """The input's own attribute keeps its name, and no field is lost."""
        event = decode(js(a=1, attributes={"a": "own"}, **{"/a": 2, "b": 3}))
        assert event.attributes == {"a": "own", "//a": "1", "/a": "2", "b": "3"}

    @given(
        own=st.dictionaries(st.text("a/", max_size=3), texts), unknown=st.dictionaries(st.text("a/", max_size=3), texts)
    )
    def test_no_name_is_lost(self, own: dict[str, str], unknown: dict[str, str]) -> None:
        """Own attributes under their names, each unknown field under its name after some slashes."""
        attributes = decode(js(attributes=own, **unknown)).attributes
        values = {name: attribute_value(text) for name, text in attributes.items()}
        assert len(values) == len(own) + len(unknown)
        assert own.items() <= values.items()
        assert all(
            any(values.get("/" * slashes + name) == text for slashes in range(20)) for name, text in unknown.items()
        )

    def test_own_attributes_need_not_be_texts(self) -> None:
        """Their values become texts as those of other fields do."""
        assert decode(js(attributes={"a": 1, "b": "1", "c": None})).attributes == {"a": "1", "b": '"1"', "c": "null"}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1e999", Decimal("1e999")),
            ("[0.1000000000000000000001]", [Decimal("0.1000000000000000000001")]),
            ("[0.1, 2.50, 1e3]", [0.1, 2.5, 1000.0]),
            ("9" * 5000, Decimal("9" * 5000)),
            ("1e9999999999999999999", "1e9999999999999999999"),
            ("-", "-"),
            ("\ud800", "\ud800"),
            ('"\ud800"', '"\ud800"'),
            ("[" * 10_000 + "]" * 10_000, "[" * 10_000 + "]" * 10_000),
        ],
    )
    def test_numbers_are_exact(self, text: str, expected: Any) -> None:
        """A float where it is the number that was written, else a Decimal; what is no JSON is the text itself."""
        value = attribute_value(text)
        assert (type(value), value) == (type(expected), expected)


class TestTimes:
    """Instants are exact to the millisecond."""

    @given(
        moment=st.datetimes(
            timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
            min_value=datetime(2, 1, 1),  # noqa: DTZ001  Hypothesis adds the zone
            max_value=datetime(9998, 12, 31),  # noqa: DTZ001  likewise
        )
    )
    def test_iso_times(self, moment: datetime) -> None:
        """What is finer than a millisecond is cut off, before the epoch as well."""
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        exact = Fraction(since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds, 1_000)
        assert decode(js(contactTime=moment.isoformat())).contact_time == exact.__floor__()

    @given(time=st.integers(FIRST_INSTANT, LAST_INSTANT))
    @example(FIRST_INSTANT)
    @example(LAST_INSTANT)
    def test_milliseconds(self, time: int) -> None:
        """An integer is the instant itself."""
        assert decode(js(contactTime=time)).contact_time == time

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("2016-02-25T12:55:01.526Z", 1_456_404_901_526),
            ("2016-02-25T12:55:01.5269999999Z", 1_456_404_901_526),
            ("20160225T125501.526Z", 1_456_404_901_526),
            ("2016-02-25 12:55:01.526+00:00", 1_456_404_901_526),
            ("0001-01-01T00:00:00Z", FIRST_INSTANT),
            ("9999-12-31T23:59:59.999Z", LAST_INSTANT),
        ],
    )
    def test_ways_to_write_them(self, text: str, expected: int) -> None:
        """What ISO 8601 allows, with a zone."""
        assert decode(js(contactTime=text)).contact_time == expected


class TestUnicode:
    """Texts are Unicode, and nothing that is none gets in."""

    @given(text=st.text(min_size=1).filter(lambda text: bool(text.strip())), escaped=st.booleans())
    def test_any_text_survives(self, text: str, escaped: bool) -> None:  # noqa: FBT001  Hypothesis draws it
        """Written in UTF-8 or with escapes, surrogate pairs included."""
        value = json.dumps({"customerId": text, "x": text}, ensure_ascii=escaped).encode()
        event = decode(value)
        assert (event.customer_id, attribute_value(event.attributes["x"])) == (text, text)

    @pytest.mark.parametrize("lone", ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\u0041", "\\udc00\\ud800", "\\uD83D"])
    @pytest.mark.parametrize(
        "place",
        ['"customerId":"%s"', '"x":"%s"', '"x":{"y":["%s"]}', '"x":{"%s":1}', '"%s":1', '"attributes":{"a":"%s"}'],
    )
    def test_lone_surrogates_are_rejected(self, lone: str, place: str) -> None:
        """Half a character cannot be written downstream."""
        assert cause(f'{{"customerId":"C1",{place % lone}}}'.encode()) == "InvalidJson"
