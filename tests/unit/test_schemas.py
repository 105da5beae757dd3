"""The Avro schemas: well documented, one with the model, and their fingerprints what the specification says."""

import json
from collections.abc import Iterator
from io import BytesIO
from itertools import combinations, product
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from msgspec import NODEFAULT
from msgspec import inspect as shapes

from enricher import schemas
from enricher.avroschema import breaks, parse
from enricher.model import Enriched, Enrichment, Event, Offer, OfferHistory
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT, NAMES, RELEASED, SCHEMAS, Schema
from tests.strategies import enriched

RECORDS = {
    "CustomerContact": Event,
    "EnrichedContact": Enriched,
    "OfferHistory": OfferHistory,
    "Offer": Offer,
    "Enrichment": Enrichment,
}
INSTANTS = {"contactTime", "lookedUpAt", "asOf", "outcomeTime"}
INSTANT = {"type": "long", "logicalType": "timestamp-millis"}
SET_BY_CODE = {("Enrichment", "status")}  # a reader of older outputs needs a default; who writes one has to say it

EMPTY = 0xC15D213AA4D7A795
SPECIFIED = [  # from the tests of the reference implementation, share/test/data/schema-tests.txt
    ('"null"', 7195948357588979594),
    ('"int"', 8247732601305521295),
    ('"string"', -8142146995180207161),
    ('{"name":"foo","type":"record","fields":[]}', -4824392279771201922),
]


def crc64(text: str) -> bytes:
    """The fingerprint, bit by bit as the specification defines it; little-endian as single objects have it."""
    crc = EMPTY
    for byte in text.encode():
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (EMPTY if crc & 1 else 0)
    return crc.to_bytes(8, "little")


def definitions(of: Any) -> Iterator[dict[str, Any]]:
    """Every record and enum that a schema defines, itself included."""
    if isinstance(of, list):
        for item in of:
            yield from definitions(item)
    elif isinstance(of, dict):
        if of.get("type") in ("record", "enum"):  # a type may be a dict, which no set can look for
            yield of
        for part in ("type", "items", "values", "fields"):
            yield from definitions(of.get(part))


def avro_type(shape: shapes.Type, name: str) -> Any:
    """The Avro type of a struct's field, with records and enums by their kind and what tells them from others."""
    found: Any
    match shape:
        case shapes.StrType():
            found = "string"
        case shapes.IntType():
            found = INSTANT if name in INSTANTS else "integer"
        case shapes.UnionType(types=(other, shapes.NoneType())):
            found = ["null", avro_type(other, name)]
        case shapes.DictType(key_type=shapes.StrType(), value_type=values):
            found = {"type": "map", "values": avro_type(values, name)}
        case shapes.VarTupleType(item_type=items):
            found = {"type": "array", "items": avro_type(items, name)}
        case shapes.EnumType(cls=enum):
            found = ("enum", tuple(member.value for member in enum))
        case shapes.StructType(cls=struct):
            found = ("record", struct)
        case _:
            raise AssertionError(f"no Avro type for {shape}")
    return found


def schema_type(of: Any) -> Any:
    """The same of a schema's type."""
    if isinstance(of, str):
        names = {"int": "integer", "long": "integer", "string": "string", "null": "null"}
        return names.get(of) or ("record", RECORDS[of.rpartition(".")[2]])
    if isinstance(of, list):
        return [schema_type(branch) for branch in of]
    if of["type"] == "record":
        return ("record", RECORDS[of["name"]])
    if of["type"] == "enum":
        return ("enum", tuple(of["symbols"]))
    return {key: schema_type(value) if key in {"items", "values"} else value for key, value in of.items()}


@pytest.mark.parametrize("record", RECORDS)
def test_the_model_is_the_schema(record: str) -> None:
    """Field by field and in order: name, type, what may be null, and default."""
    (schema,) = (of for of in definitions(ENRICHED_CONTACT.raw) if of["name"] == record)
    shape = shapes.type_info(RECORDS[record])
    assert isinstance(shape, shapes.StructType)
    modelled = {}
    for field in shape.fields:
        default = field.default_factory() if field.default_factory is not NODEFAULT else field.default
        modelled[field.encode_name] = (avro_type(field.type, field.encode_name), default)
    written = {}
    for field in schema["fields"]:
        default = field.get("default", NODEFAULT)
        if (record, field["name"]) in SET_BY_CODE:
            default = NODEFAULT
        written[field["name"]] = (schema_type(field["type"]), () if default == [] else default)
    assert list(written.items()) == list(modelled.items())


def test_every_record_is_modelled() -> None:
    """So that the test above leaves none out."""
    assert sorted(of["name"] for of in definitions(ENRICHED_CONTACT.raw) if of["type"] == "record") == sorted(RECORDS)


def test_the_contact_within_the_output_is_the_contact() -> None:
    """The file of the output stands alone, so it repeats the contact; word for word."""
    assert ENRICHED_CONTACT.raw["fields"][0]["type"] == CUSTOMER_CONTACT.raw


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=NAMES)
def test_everything_has_a_doc(schema: Schema) -> None:
    """Records, enums and fields: a sentence at least."""
    for definition in definitions(schema.raw):
        for part in [definition, *definition.get("fields", ())]:
            assert part["doc"].endswith("."), part["name"]


def test_names_and_namespace() -> None:
    """Downstream code is generated from them."""
    assert list(SCHEMAS) == ["CustomerContact", "EnrichedContact"]
    for name, schema in SCHEMAS.items():
        assert (schema.name, schema.raw["name"], schema.raw["namespace"]) == (name, name, "enricher")
        assert json.loads(schema.text) == schema.raw


@pytest.mark.parametrize(("schema", "expected"), SPECIFIED)
def test_the_fingerprints_of_these_tests(schema: str, expected: int) -> None:
    """What ours are compared with agrees with the reference implementation."""
    assert int.from_bytes(crc64(schema), "little", signed=True) == expected


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=NAMES)
def test_fingerprints(schema: Schema) -> None:
    """CRC-64-AVRO of the canonical form, in the order of bytes that single objects have."""
    assert schema.fingerprint == crc64(schema.canonical)


def test_the_canonical_form() -> None:
    """Full names, no docs, no defaults, no logical types, no white space."""
    assert CUSTOMER_CONTACT.canonical == (
        '{"name":"enricher.CustomerContact","type":"record","fields":['
        '{"name":"eventId","type":"string"},{"name":"customerId","type":"string"},{"name":"contactTime","type":"long"},'
        '{"name":"channel","type":["null","string"]},{"name":"direction","type":["null","string"]},'
        '{"name":"reason","type":["null","string"]},{"name":"agentId","type":["null","string"]},'
        '{"name":"attributes","type":{"type":"map","values":"string"}}]}'
    )


def read_as_output(written: dict[str, Any], value: dict[str, Any]) -> Any:
    """A value written with another schema, as a reader with today's sees it."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(written), value)
    stream.seek(0)
    return fastavro.schemaless_reader(stream, fastavro.parse_schema(written), ENRICHED_CONTACT.parsed)


def test_a_writer_may_leave_out_what_has_a_default() -> None:
    """A schema of nothing but the fields without a default is read by today's, and gives the model's defaults."""
    least = json.loads(ENRICHED_CONTACT.text)
    for definition in list(definitions(least)):
        if definition["type"] == "record":
            definition["fields"] = [field for field in definition["fields"] if "default" not in field]
    value = {
        "contact": {"eventId": "e", "customerId": "c", "contactTime": 1},
        "offerHistory": {"customerId": "c", "lookedUpAt": 2, "asOf": 3},
        "enrichment": {"topic": "t", "partition": 0, "offset": 4, "version": "v", "attempts": 1},
    }
    read = read_as_output(least, value)
    assert msgspec.convert(read["contact"] | {"contactTime": 1}, Event) == Event("e", "c", 1)
    assert read["offerHistory"]["offers"] == []
    assert read["enrichment"]["status"] == "UNKNOWN"


def test_a_status_of_a_later_version_is_unknown() -> None:
    """An older reader takes the enum's default instead of failing."""
    later = json.loads(ENRICHED_CONTACT.text)
    (status,) = (of for of in definitions(later) if of["type"] == "enum")
    status["symbols"].append("LATER")
    value = {
        "contact": {"eventId": "e", "customerId": "c", "contactTime": 1, "attributes": {}},
        "offerHistory": {"customerId": "c", "lookedUpAt": 2, "asOf": 3, "offers": []},
        "enrichment": {"topic": "t", "partition": 0, "offset": 4, "version": "v", "attempts": 1, "status": "LATER"},
    }
    assert read_as_output(later, value)["enrichment"]["status"] == "UNKNOWN"


def test_there_is_no_other_file() -> None:
    """Every file in avro/ is loaded, and nothing there is anything else; versions are numbered without a gap."""
    folder = Path(__file__).parents[2] / "avro"
    released = [f"history/{name}/{one.version}.avsc" for name, versions in RELEASED.items() for one in versions]
    logs = [f"history/{name}/CHANGES.md" for name in NAMES]
    found = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert sorted(found) == sorted([*(f"{name}.avsc" for name in NAMES), *released, *logs])
    for versions in RELEASED.values():
        assert [one.version for one in versions] == list(range(1, len(versions) + 1))


def test_an_installed_package_has_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a wheel the files are in the package, and win over a folder that happens to stand beside it."""
    history = tmp_path / "avro" / "history" / "CustomerContact"
    history.mkdir(parents=True)
    text = '{"type": "record", "name": "CustomerContact", "fields": []}'
    for path in (tmp_path / "avro" / "CustomerContact.avsc", history / "10.avsc", history / "9.avsc"):
        path.write_text(text, "utf-8")
    (history / "CHANGES.md").write_text("# Own\n", "utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(schemas, "files", lambda _: tmp_path)
        assert schemas._load("CustomerContact").raw["fields"] == []
        assert [one.version for one in schemas._load_released("CustomerContact")] == [9, 10]
        assert schemas.changes("CustomerContact") == "# Own\n"
    monkeypatch.setattr(schemas, "files", lambda _: tmp_path / "nowhere")
    assert schemas._load("CustomerContact") == CUSTOMER_CONTACT


def without_docs(raw: Any) -> Any:
    """The schema without its descriptions."""
    if isinstance(raw, dict):
        return {key: without_docs(value) for key, value in raw.items() if key != "doc"}
    return [without_docs(item) for item in raw] if isinstance(raw, list) else raw


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_the_newest_release(name: str) -> None:
    """A change is a new version: a file in avro/history/, an entry in its change log. Descriptions may be mended."""
    newest = RELEASED[name][-1]
    assert without_docs(SCHEMAS[name].raw) == without_docs(newest.raw)
    assert (SCHEMAS[name].version, SCHEMAS[name].fingerprint) == (newest.version, newest.fingerprint)


@pytest.mark.parametrize("name", NAMES)
def test_every_version_reads_every_other(name: str) -> None:
    """FULL_TRANSITIVE, in both directions between any two of them."""
    versions = [(f"{name}@{one.version}", parse(one.raw)) for one in RELEASED[name]]
    versions.append((f"{name} (current)", parse(SCHEMAS[name].raw)))
    found = [
        broken.words
        for (old_name, old), (new_name, new) in combinations(versions, 2)
        for broken in breaks(new, new_name, old, old_name)
    ]
    assert found == []


@pytest.mark.parametrize(("writer", "reader"), [pair for name in NAMES for pair in product(RELEASED[name], repeat=2)])
@given(value=enriched)
def test_what_one_version_writes_every_other_reads(writer: Schema, reader: Schema, value: Enriched) -> None:
    """By fastavro, with the values that both versions have."""
    stream = BytesIO()
    plain = msgspec.to_builtins(value.contact if writer.name == "CustomerContact" else value)
    fastavro.schemaless_writer(stream, writer.parsed, plain)
    stream.seek(0)
    written: Any = fastavro.schemaless_reader(stream, writer.parsed, None)
    stream.seek(0)
    assert in_both(fastavro.schemaless_reader(stream, writer.parsed, reader.parsed), written)
    assert stream.read() == b""


def in_both(one: Any, other: Any) -> bool:
    """Whether two values are the same in all fields that both have."""
    if isinstance(one, dict):
        return all(in_both(one[name], other[name]) for name in one.keys() & other.keys())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(in_both, one, other))
    return bool(one == other)


@pytest.mark.parametrize("name", NAMES)
def test_every_version_is_in_the_change_log(name: str) -> None:
    """The newest first, each with something said of it."""
    _, *entries = schemas.changes(name).split("\n## ")
    assert [int(entry.partition("\n")[0]) for entry in entries] == [one.version for one in reversed(RELEASED[name])]
    assert all(entry.partition("\n")[2].strip() for entry in entries)
