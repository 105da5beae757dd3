"""The schema of derived outputs: the input's with one field more, and each reads what the other writes."""

import copy
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.avroschema import InvalidSchema, breaks, parse
from enricher.avroschema.derived import ADDED, FIELD, NotDerivable, derive, is_derived, named_within
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT
from tests.avro_strategies import array, record, schemas
from tests.unit.test_avroschema_values import unhurried


def derived(raw: Any, *references: Any) -> dict[str, Any]:
    """What is derived, which fastavro takes, too."""
    made = derive(raw, references)
    fastavro.parse_schema(json.loads(json.dumps(made)))
    return made


def test_the_input_is_left_as_it_is() -> None:
    """Its names, aliases, descriptions and what else other programs keep there; the field is the last one."""
    raw = {
        **record(("id", "string"), ("at", {"type": "long", "logicalType": "timestamp-millis"})),
        "namespace": "acme",
        "aliases": ["Older"],
        "doc": "A call.",
        "connect.version": 3,
    }
    before = copy.deepcopy(raw)
    made = derived({"type": raw})  # as some writers have it
    assert raw == before
    assert {**made, "fields": made["fields"][:-1]} == raw
    assert made["fields"][-1] == ADDED
    assert (is_derived(parse(made)), is_derived(parse(raw)), is_derived(parse(record()))) == (True, False, False)


def test_the_field_has_what_the_fixed_output_has() -> None:
    """The same types: the history's fields, and how it came about."""
    (null, history) = ADDED["type"]
    output = {field["name"]: field for field in ENRICHED_CONTACT.raw["fields"]}
    assert null == "null"
    assert history["fields"] == [*output["offerHistory"]["type"]["fields"], output["enrichment"]]


@unhurried
@given(st.data())
def test_input_and_output_read_each_other(data: st.DataObject) -> None:
    """Whatever the input: to add the field is a change that breaks nobody."""
    raw = record(("a", data.draw(schemas("A"))), ("b", data.draw(schemas("B"))))
    assert breaks(parse(derived(raw)), "derived", parse(raw), "input") == []


VERSIONS = [
    record(("id", "string"), ("n", "int")),
    record(("id", "string"), ("n", "int"), {"name": "shop", "type": ["null", "string"], "default": None}),
    record(("id", "string"), ("n", "int"), {"name": "price", "type": "double", "default": 0.0}),
]


def test_evolution_carries_over() -> None:
    """Versions of an input that read each other give outputs that do; what breaks the one breaks the other."""
    for old in VERSIONS:
        for new in VERSIONS:
            assert breaks(parse(derived(new)), "new", parse(derived(old)), "old") == []
    broken = record(("id", "string"), ("n", "string"))
    found = [breaks(parse(make(broken)), "n", parse(make(VERSIONS[0])), "o") for make in (lambda raw: raw, derived)]
    assert len(found[0]) == 2
    assert [each.violation for each in found[0]] == [each.violation for each in found[1]]


def test_schemas_of_other_subjects_are_written_out() -> None:
    """Each type where it is first used, under the name that it has, in whatever namespace it stands then."""
    inner = record(("b", {"type": "enum", "name": "B", "symbols": ["X"]}), ("c", "int"), name="i.A")
    middle = {
        **record(("a", array("i.A")), ("f", {"type": "fixed", "name": "F", "size": 2}), ("u", ["null", "F"]), name="M"),
        "namespace": "m",
    }
    union = ["null", {**record(name="U"), "namespace": "u"}]
    outer = {
        **record(
            ("f", ["null", "m.F"]), ("m", {"type": "m.M"}), ("e", {"type": "map", "values": "i.A"}), ("u", "u.U"),
            ("g", {"type": "fixed", "name": "x.G", "size": 1}), ("h", "x.G"), name="O",
        ),
        "namespace": "o",
    }  # fmt: skip
    made = derived(outer, inner, middle, union)
    assert breaks(parse(made), "derived", parse(outer, [inner, middle, union]), "input") == []
    before, after = (dict(named_within(of)) for of in (parse(outer, [inner, middle, union]), parse(made)))
    assert before.keys() == {"m.F", "m.M", "i.A", "i.B", "u.U", "x.G"}
    assert after.keys() - before.keys() == dict(named_within(parse(record(dict(ADDED))))).keys()
    plain = record(("t", record(("c", "B"), name="x.T")), ("b", "B"), name="P")  # B has no namespace, and T has one
    found = parse(derive(plain, [{"type": "fixed", "name": "B", "size": 1}]))
    assert found.fields[0].type.fields[0].type is found.fields[1].type
    assert found.fields[1].type.name == "B"
    by_name = derived("o.O", inner, middle, union, outer)  # a schema that is another one's name alone
    assert parse(by_name).words == "O"


REFUSED = [
    ("string", "it describes no record, but string"),
    (record((FIELD, "int")), "R has a field called offerHistory already: rename it in the input"),
    (
        record({"name": "past", "type": "int", "aliases": [FIELD]}),
        "R has an alias of past that is called offerHistory already",
    ),
    (ENRICHED_CONTACT.raw, "enricher.EnrichedContact has a field called offerHistory already"),
    (record(("before", ["null", "R"])), "a R may hold another one"),
    (record(("parts", {"type": "map", "values": array("R")})), "a R may hold another one"),
    (record(("o", {**record(name="Offer"), "namespace": "enricher"})), "it has a type called enricher.Offer"),
    ({**record(name="Enrichment"), "namespace": "enricher"}, "it has a type called enricher.Enrichment"),
]


@pytest.mark.parametrize(("raw", "message"), REFUSED)
def test_what_nothing_can_be_derived_of(raw: Any, message: str) -> None:
    """Told with what stands in the way."""
    with pytest.raises(NotDerivable) as caught:
        derive(raw)
    assert message in str(caught.value)


def test_what_is_no_schema_is_no_input() -> None:
    """As everywhere."""
    with pytest.raises(InvalidSchema):
        derive({"type": "no"})


def test_a_record_within_the_record_may_hold_itself() -> None:
    """Only the event itself must not."""
    tree = record(("next", ["null", "Tree"]), name="Tree")
    assert derived(record(("tree", tree), ("other", "Tree")))["fields"][0]["type"] == tree
    assert derived(CUSTOMER_CONTACT.raw)["name"] == "CustomerContact"
