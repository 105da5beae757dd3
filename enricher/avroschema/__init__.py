"""Avro schemas as values: parsed, with mistakes told in words, and held against each other. Pure.

``types`` parses, ``compatibility`` says what one schema cannot read of another's records, ``evolution`` puts that into
words for those who change a schema, ``values`` reads bodies that nobody vouches for. See https://avro.apache.org/docs/1.12.0/specification/.
"""

from enricher.avroschema.compatibility import Violation, unreadable
from enricher.avroschema.evolution import Break, breaks, differences
from enricher.avroschema.types import AvroField, AvroType, InvalidSchema, parse

__all__ = [
    "AvroField",
    "AvroType",
    "Break",
    "InvalidSchema",
    "Violation",
    "breaks",
    "differences",
    "parse",
    "unreadable",
]
