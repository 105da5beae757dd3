"""The published JSON Schema: current, and true of what ``output.format: json`` writes."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from enricher.avroschema import AvroType
from enricher.cli.schema import app
from enricher.cli.schema_json import _type, json_schema
from enricher.codec import JsonEncoder
from enricher.model import Enriched, Enrichment, Event, Offer, OfferHistory, Status
from enricher.schemas import CUSTOMER_CONTACT, RELEASED, Schema
from tests.strategies import enriched

PAGE = Path(__file__).parents[2] / "docs" / "EnrichedContact.schema.json"
PUBLISHED = json.loads(PAGE.read_text("utf-8"))
VALIDATOR = Draft202012Validator(PUBLISHED)
SAMPLE = json.loads(
    JsonEncoder().encode(
        Enriched(
            Event("e", "c", 1, attributes={"a": "1"}),
            OfferHistory("c", 1, 1, (Offer("A", outcome_time=5, bundle=(Offer("B"),)),)),
            Enrichment("t", 0, 1, "1", 1, Status.ENRICHED),
        )
    )
)


def test_the_published_schema_is_current() -> None:
    """`enricher schema show EnrichedContact --json-schema > docs/EnrichedContact.schema.json` was run."""
    shown = CliRunner().invoke(app, ["show", "EnrichedContact", "--json-schema"])
    assert shown.stdout == PAGE.read_text("utf-8")
    on_a_line = CliRunner().invoke(app, ["show", "EnrichedContact", "--json-schema", "--json"])
    assert [json.loads(line) for line in on_a_line.stdout.splitlines()] == [PUBLISHED]


@pytest.mark.parametrize("schema", [CUSTOMER_CONTACT, *RELEASED["EnrichedContact"]], ids=lambda s: s.name)
def test_it_is_a_json_schema(schema: Schema) -> None:
    """By the rules of its dialect; and it is named after the version."""
    made = json_schema(schema)
    Draft202012Validator.check_schema(made)
    assert made["$id"] == f"urn:enricher:{schema.name}:{schema.version}"


@given(enriched)
def test_any_output_fits(value: Enriched) -> None:
    """Bundles within bundles, the ends of numbers and odd texts included."""
    VALIDATOR.validate(json.loads(JsonEncoder().encode(value)))


def changed(path: str, value: Any) -> Any:
    """The sample with another value in a place; ``...`` takes what is there away."""
    copy = msgspec.json.decode(msgspec.json.encode(SAMPLE))
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    inner = copy
    for step in parents:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("contact.eventId", ...),
        ("contact.eventId", None),
        ("contact.contactTime", "2026-11-27T00:00:00Z"),
        ("contact.contactTime", 2**63),
        ("contact.channel", 5),
        ("contact.attributes.a", 1),
        ("offerHistory", ...),
        ("offerHistory.offers.0", "A"),
        ("offerHistory.offers.0.interactionId", "7"),
        ("offerHistory.offers.0.interactionId", 0.5),
        ("offerHistory.offers.0.bundle.0.name", None),
        ("enrichment.partition", 2**31),
        ("enrichment.status", 1),
    ],
)
def test_what_does_not_fit(path: str, value: Any) -> None:
    """A schema that takes anything would be none."""
    assert not VALIDATOR.is_valid(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("contact.mood", "GOOD"),
        ("offerHistory.offers.0.rank", 1),
        ("enrichment.status", "LATER"),
        ("contact.channel", ...),
        ("offerHistory.offers.0.bundle", ...),
        ("enrichment.status", ...),
    ],
)
def test_what_other_versions_may_write(path: str, value: Any) -> None:
    """A new field, a new status, and none of what has a default: as a reader with the Avro schema has to bear it."""
    VALIDATOR.validate(changed(path, value))


@pytest.mark.parametrize(("reader", "writer"), [*product(RELEASED["EnrichedContact"], repeat=2)])
def test_every_version_takes_what_every_other_writes(reader: Schema, writer: Schema) -> None:
    """The same promise as of the Avro."""
    fields = {field["name"] for field in writer.raw["fields"]}
    Draft202012Validator(json_schema(reader)).validate({name: SAMPLE[name] for name in fields})


def test_an_enum_without_a_default_is_closed() -> None:
    """A reader has nothing to take for another symbol."""
    closed = AvroType("enum", "E", symbols=("A",))
    definitions: dict[str, Any] = {}
    assert _type(closed, definitions) == {"$ref": "#/$defs/E"}
    assert definitions == {"E": {"type": "string", "enum": ["A"]}}
