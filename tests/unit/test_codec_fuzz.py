"""Whatever the bytes: an event that can be written downstream, or a rejection, and nothing else."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from enricher.codec import Decoder, Encoder, InputFields, UndecodableOutput, decode_enriched
from enricher.model import Enriched, Event, Rejected
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT
from tests.codec_talk import enriched_with, record, single_object
from tests.strategies import enriched, events, json_values, names

DECODERS = (
    Decoder(),
    Decoder(InputFields("meta.id", "customerId", "meta.at")),
    Decoder(encoding="json"),
    Decoder(encoding="avro"),
)

_OPTIONAL = ("eventId", "contactTime", "channel", "direction", "reason", "agentId", "attributes", "meta", "x")

json_messages = st.builds(
    lambda fields, escaped: json.dumps(fields, ensure_ascii=escaped).encode(),
    st.fixed_dictionaries({"customerId": names | json_values}, optional=dict.fromkeys(_OPTIONAL, json_values)),
    st.booleans(),
)
avro_messages = events.map(single_object)


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """A message with some bytes flipped, cut out or put in."""
    value = bytearray(draw(messages))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(value)))
        match draw(st.sampled_from(("flip", "cut", "insert", "end"))):
            case "flip" if at < len(value):
                value[at] ^= draw(st.integers(1, 255))
            case "cut":
                del value[at : at + draw(st.integers(1, 8))]
            case "insert":
                value[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                del value[at:]
    return bytes(value)


@given(
    value=st.none()
    | st.binary(max_size=200)
    | json_messages
    | mutated(json_messages)
    | mutated(avro_messages)
    | st.binary(max_size=60).map(lambda body: b"\xc3\x01" + CUSTOMER_CONTACT.fingerprint + body),
    decoder=st.sampled_from(DECODERS),
    timestamp=st.integers(-(2**63), 2**63 - 1),
)
@example(b'{"customerId":"\\ud800"}', DECODERS[0], 0)
@example(b'{"customerId":"a","meta":{"id":"\xff"}}', DECODERS[1], 0)
def test_an_event_or_a_rejection(value: bytes | None, decoder: Decoder, timestamp: int) -> None:
    """And what is decoded can be encoded, to the same event."""
    try:
        event = decoder.decode(record(value, timestamp=timestamp))
    except Rejected as error:
        rejected = error
    else:
        assert isinstance(event, Event)
        assert event.customer_id.strip()
        assert event.event_id
        output = enriched_with(event)
        assert decode_enriched(Encoder().encode(output)) == output
        return
    assert rejected.stage == "decode"
    assert rejected.cause.isalnum()
    assert rejected.message.isprintable()


@given(
    data=st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda body: b"\xc3\x01" + ENRICHED_CONTACT.fingerprint + body)
    | mutated(enriched.map(Encoder().encode))
)
def test_an_output_or_undecodable(data: bytes) -> None:
    """Reading an output fails in one way only."""
    try:
        output = decode_enriched(data)
    except UndecodableOutput:
        return
    assert isinstance(output, Enriched)
