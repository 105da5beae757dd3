"""Bytes to events, and enriched events to bytes. Pure.

``json_input`` and ``avro_input`` read, ``attributes`` keeps what the schema does not name, ``output`` writes,
``framing`` says how. The decoder tells the encoding by the first bytes: a JSON object, ``00`` and a 4-byte schema id
(Confluent's framing), or ``C3 01`` and an 8-byte fingerprint (Avro's single-object encoding); or by a header.

Invariant: whatever the bytes, ``Decoder.decode`` returns an event or raises ``Rejected``, in bounded memory.
"""

from enricher.codec.attributes import attribute_value
from enricher.codec.decoder import Decoder, InputFields
from enricher.codec.output import Encoder, JsonEncoder, OutputReader, UndecodableOutput, decode_enriched

__all__ = [
    "Decoder",
    "Encoder",
    "InputFields",
    "JsonEncoder",
    "OutputReader",
    "UndecodableOutput",
    "attribute_value",
    "decode_enriched",
]
