"""Schemas as values: what is refused, what one reads of another, and how a change is told."""

import json
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.avroschema import InvalidSchema, breaks, differences, parse, unreadable
from enricher.avroschema.advice import advice
from enricher.schemas import SCHEMAS


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    """A record of fields: (name, type), (name, type, default), or whole."""
    listed = [
        field if isinstance(field, dict) else dict(zip(("name", "type", "default"), field, strict=False))
        for field in fields
    ]
    return {"type": "record", "name": name, "fields": listed, **more}


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    """An enum."""
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F", **more: Any) -> dict[str, Any]:
    """A fixed."""
    return {"type": "fixed", "name": name, "size": size, **more}


def array(items: Any) -> dict[str, Any]:
    """An array."""
    return {"type": "array", "items": items}


def mapping(values: Any) -> dict[str, Any]:
    """A map."""
    return {"type": "map", "values": values}


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A primitive with a logical type."""
    return {"type": kind, "logicalType": name, **more}


TREE = record(("value", "int"), ("next", ["null", "Tree"], None), name="Tree")

REFUSED = [
    (7, "the schema: a type is a name, a list or an object"),
    ({}, "the schema: the object has no type"),
    ("nope", "the schema: there is no type nope"),
    ({"type": "nope"}, "there is no type nope"),
    (array("nope"), "[]: there is no type nope"),
    ({"type": "array"}, "the array has no items"),
    ({"type": "map"}, "the map has no values"),
    ([], "a union has at least one branch"),
    (["null", ["int"]], "a union must not stand in a union"),
    (["int", "int"], "a union has two branches of one type"),
    ({"type": "record", "fields": []}, "the record has no name"),
    (record(name="9"), "9 is no name"),
    (record(("a", enum("A", name="R"))), "a: R is defined twice"),
    ({"type": "record", "name": "R"}, "the record R has no list of fields"),
    (record({"name": "a"}), "a field of R has no name or no type"),
    (record(("a b", "int")), "a b: it is no name"),
    (record(("a", "int"), ("a", "int")), "the record R has two fields of one name"),
    (record(("a", "int", "x")), "a: the default does not fit the type int"),
    (record(("a", ["null", "int"], 1)), "(of a union, its first branch)"),
    (record({"name": "a", "type": "int", "aliases": "b"}), "a: aliases is no list of texts"),
    (enum("A", "A"), "the symbols of E are not names, each given once"),
    (enum("A B"), "the symbols of E are not names, each given once"),
    (enum("A", default="B"), "the default of E is none of its symbols"),
    ({"type": "enum", "name": "E"}, "symbols is no list of texts"),
    ({"type": "fixed", "name": "F"}, "the size of F is no whole number"),
    (logical("bytes", "decimal"), "a decimal has a precision"),
    (logical("bytes", "decimal", precision=2, scale=3), "a decimal has a precision"),
]


@pytest.mark.parametrize(("raw", "message"), REFUSED)
def test_what_is_no_schema(raw: Any, message: str) -> None:
    """The place, and the rule."""
    with pytest.raises(InvalidSchema, match=r".") as caught:
        parse(raw)
    assert message in str(caught.value)


def test_types_too_deep() -> None:
    """Refused, rather than a stack overflow."""
    raw: Any = "int"
    for _ in range(300):
        raw = array(raw)
    with pytest.raises(InvalidSchema, match="more than 200 deep"):
        parse(raw)


DEFAULTS = [
    ("null", None, 0),
    ("boolean", True, 1),
    ("int", 2**31 - 1, 2**31),
    ("long", -(2**63), True),
    ("float", 1, "1"),
    ("double", "NaN", None),
    ("string", "", None),
    ("bytes", "ÿ", 1),
    (array("int"), [1], ["1"]),
    (mapping("int"), {"a": 1}, {"a": None}),
    (enum("A"), "A", "B"),
    (fixed(2), "ab", "abc"),
    (record(("x", "int"), ("y", "int", 1), name="Inner"), {"x": 1}, {"y": 1}),
    (["int", "null"], 1, None),
]


@pytest.mark.parametrize(("kind", "right", "wrong"), DEFAULTS)
def test_defaults(kind: Any, right: Any, wrong: Any) -> None:
    """They fit the type, or the schema is refused."""
    assert parse(record(("a", kind, right))).fields[0].default == right
    with pytest.raises(InvalidSchema, match="does not fit"):
        parse(record(("a", kind, wrong)))


WORDS = [
    ("int", "int"),
    ({"type": "int"}, "int"),
    ({"type": {"type": "string"}}, "string"),
    (["null", array(record(name="a.b.C"))], "array of C or null"),
    (mapping("long"), "map of long"),
    (logical("long", "timestamp-millis"), "timestamp-millis"),
    (logical("long", "uuid"), "long"),
    (logical("long", 5), "long"),  # type: ignore[arg-type]  # what no schema should have
    (logical("bytes", "decimal", precision=9, scale=2), "decimal(9, 2)"),
    (fixed(12, logicalType="duration"), "duration"),
    (fixed(11, logicalType="duration"), "F"),
    ({"type": "error", "name": "X", "fields": []}, "X"),
]


@pytest.mark.parametrize(("raw", "words"), WORDS)
def test_types_in_words(raw: Any, words: str) -> None:
    """A logical type that does not fit what it stands on is ignored."""
    assert parse(raw).words == words


def test_names_have_namespaces() -> None:
    """Their own, that around them, or none; aliases too, and a reference looks in the one around it first."""
    inner = record(("e", enum("A")), ("again", "E"), name="x.Inner", aliases=["Old", "y.Other"], doc="Inner.")
    outer = parse(record(("inner", inner), ("root", "R"), name="R", namespace="n"))
    found = outer.fields[0].type
    assert (outer.name, found.name, found.short_name, found.doc) == ("n.R", "x.Inner", "Inner", "Inner.")
    assert found.aliases == ("x.Old", "y.Other")
    assert found.fields[0].type is found.fields[1].type
    assert found.fields[0].type.name == "x.E"
    assert outer.fields[1].type is outer


READABLE = [
    ("int", "int"),
    ("double", "int"),
    ("string", "bytes"),
    (["null", "long"], "int"),
    ("long", ["int", "long"]),
    (["null", "string"], ["string", "null"]),
    (array("long"), array("int")),
    (mapping("string"), mapping("bytes")),
    (enum("A", "B"), enum("A")),
    (enum("A", default="A"), enum("A", "B")),
    (fixed(4), fixed(4)),
    (record(("a", "int", 1)), record()),
    (record(), record(("a", "int"))),
    (record({"name": "b", "type": "int", "aliases": ["a"]}), record(("a", "int"))),
    (record(name="n.R", aliases=["Old"], namespace="n"), record(name="n.Old")),
    (record(name="n.R"), record(name="m.R")),
    (["null", record(("a", "int", 1))], record()),
    (TREE, TREE),
    (logical("bytes", "decimal", precision=4), logical("bytes", "decimal", precision=4, scale=0)),
]

UNREADABLE = [
    ("int", "long", "", "type"),
    ("int", "string", "", "type"),
    (logical("long", "timestamp-millis"), "int", "", "type"),
    (logical("long", "timestamp-millis"), "long", "", "logical-type"),
    (logical("long", "timestamp-millis"), logical("long", "timestamp-micros"), "", "logical-type"),
    (logical("bytes", "decimal", precision=4), logical("bytes", "decimal", precision=5), "", "logical-type"),
    ("string", ["null", "string"], "", "type"),
    (["null", "int"], "string", "", "union"),
    (["null", "int"], ["null", "string"], "", "union"),
    (["null", record(("a", "int"))], record(), "a", "default"),
    (["null", record(name="S")], record(name="T"), "", "union"),
    (array("int"), array("long"), "[]", "type"),
    (enum("A"), enum("A", "B", "C"), "", "symbol"),
    (enum("A", name="X"), enum("A"), "", "name"),
    (fixed(4), fixed(5), "", "size"),
    (record(("a", "int")), record(), "a", "default"),
    (record(("a", record(("b", "int"), name="S"))), record(("a", record(name="S"))), "a.b", "default"),
]


@pytest.mark.parametrize(("reader", "writer"), READABLE)
def test_what_can_be_read(reader: Any, writer: Any) -> None:
    """By the specification's resolution."""
    assert unreadable(parse(reader), parse(writer)) == []


@pytest.mark.parametrize(("reader", "writer", "path", "rule"), UNREADABLE)
def test_what_cannot_be_read(reader: Any, writer: Any, path: str, rule: str) -> None:
    """Where, and which rule is broken."""
    [violation] = unreadable(parse(reader), parse(writer))
    assert (violation.path, violation.rule) == (path, rule)
    [broken, *_] = breaks(parse(reader), "two", parse(writer), "one")
    assert broken.words.startswith(f"{path or 'the schema'}: ")
    fail = "misread" if rule == "logical-type" else "cannot read"
    assert f"readers with two {fail} what is written with one" in broken.words


def test_a_record_in_two_places_is_told_once() -> None:
    """The first place stands for all."""
    old = record(("a", record(name="S")), ("b", "S"))
    new = record(("a", record(("x", "int"), name="S")), ("b", "S"))
    assert [violation.path for violation in unreadable(parse(new), parse(old))] == ["a.x"]


kinds: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["null", "int", "long", "float", "double", "string", "bytes"])
    | st.just(enum("A", "B"))
    | st.just(fixed(3)),
    lambda inner: inner.map(array) | inner.map(mapping) | inner.map(lambda kind: ["null", kind]),
    max_leaves=3,
)


def unnested(kind: Any) -> bool:
    """Whether no union stands in a union, nor null beside null."""
    try:
        parse(kind)
    except InvalidSchema:
        return False
    return True


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(kinds.filter(unnested), kinds.filter(unnested))
def test_fastavro_reads_what_is_said_to_be_readable(reader: Any, writer: Any) -> None:
    """Whatever is written with the one can be read with the other."""
    from io import BytesIO

    from fastavro.utils import generate_one

    if unreadable(parse(reader), parse(writer)):
        return
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(writer), generate_one(writer))
    stream.seek(0)
    try:
        fastavro.schemaless_reader(stream, fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    except UnicodeDecodeError:
        return  # bytes may be read as a string, by the specification; these are no text, whatever the schemas say
    assert not stream.read(1)


DIFFERENCES = [
    (record(), record(), []),
    (TREE, TREE, []),
    (record(), record(("a", "int", 1)), ["a: the field was added, with the default 1"]),
    (record(("a", "int")), record(), ["a: the field was removed; it was without a default"]),
    (
        record(("a", "int")),
        record({"name": "b", "type": "int", "aliases": ["a"]}),
        ["b: the field was called a, which is an alias now"],
    ),
    (
        record(("a", "int", 1)),
        record(("a", "int", 2)),
        ["a: it was with the default 1 and is with the default 2"],
    ),
    (
        record({"name": "a", "type": "int", "doc": "x"}),
        record({"name": "a", "type": "int", "doc": "y"}),
        ["a: the description was changed"],
    ),
    (record(("a", "int")), record(("a", "long")), ["a: the type was int and is long"]),
    (record(("a", "int")), record(("a", array("int"))), ["a: the type was int and is array of int"]),
    (record(("a", "int")), record(("a", ["null", "int"])), ["a: it may be null now"]),
    (record(("a", ["null", "int"])), record(("a", "int")), ["a: it is never null any more"]),
    (record(("a", ["int", "string"])), record(("a", ["int"])), ["a: the type was int or string and is int"]),
    (array("int"), array("long"), ["[]: the type was int and is long"]),
    (record(name="a.R"), record(name="b.R"), ["the schema: the namespace was changed; it is b.R now"]),
    (record(doc="x"), record(doc="y"), ["the schema: the description of R was changed"]),
    (enum("A"), enum("A", doc="x"), ["the schema: the description of E was changed"]),
    (
        enum("A", "B"),
        enum("A", "C", default="A"),
        [
            "the schema: the symbols C were added",
            "the schema: the symbols B were removed",
            "the schema: the symbol for what a reader does not know was none and is A",
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "lines"), DIFFERENCES)
def test_differences(old: Any, new: Any, lines: list[str]) -> None:
    """In words, a line each."""
    assert differences(parse(old), parse(new)) == lines


def test_advice() -> None:
    """What can never be removed or added to; a type that stands in several places is looked at once."""
    schema = record(("a", array(["null", enum("A")])), ("b", "E", "A"), ("c", enum("A", name="F", default="A"), "A"))
    assert advice(parse(schema)) == [
        "a: the field has no default, so that it can never be removed",
        "a[]: the enum E has no default, so that a symbol can never be added",
    ]
    assert advice(parse(enum("A"))) == ["the schema: the enum E has no default, so that a symbol can never be added"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_our_schemas_parse(name: str) -> None:
    """With the names and fields of their files."""
    parsed = parse(json.loads(SCHEMAS[name].text))
    assert parsed.name == f"enricher.{name}"
    assert [field.name for field in parsed.fields] == [field["name"] for field in SCHEMAS[name].raw["fields"]]
