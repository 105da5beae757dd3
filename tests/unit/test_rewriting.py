"""Fields of derived outputs' events that are kept back, in bodies of any schema; all else stays as it was."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.avroschema import parse
from enricher.avroschema.derived import NotDerivable
from enricher.codec.rewriting import Rule, leads, rewriting
from enricher.privacy import Action, mask
from tests.avro_strategies import array, record, schemas, value_of
from tests.unit.test_avroschema_values import number, unhurried
from tests.unit.test_codec_derived import body, read

PERSON = record(("name", "string"), ("phone", ["null", "string"]), name="Person")
RAW = record(
    ("id", "string"),
    ("n", ["null", "int"]),
    ("who", PERSON),
    ("maybe", ["null", "Person"]),
    ("others", array("Person")),
    ("tags", {"type": "map", "values": "string"}),
    ("people", {"type": "map", "values": "Person"}),
    ("list", array("int")),
)
VALUE = {
    "id": "CUSTOMER-4711",
    "n": 7,
    "who": {"name": "Ellen Ripley", "phone": "+49123456789"},
    "maybe": {"name": "Ellen Ripley", "phone": None},
    "others": [{"name": "", "phone": "1"}, {"name": "Dwayne Hicks", "phone": None}],
    "tags": {"a.b": "secret-4711", "c": "kept"},
    "people": {"x": {"name": "Carter Burke", "phone": None}, "y": {"name": "Carter Burke", "phone": None}},
    "list": [1, 2],
}


def rule(path: str, action: Action) -> Rule:
    """What masks or drops a field."""
    return Rule(path, action, mask, f"event.{path}")


def rewritten(data: bytes, *rules: Rule, raw: Any = RAW) -> bytes:
    """The body with the rules kept."""
    return rewriting(rules)(parse(raw))(b"before" + data, 6)


CHANGES: list[tuple[str, Action, dict[str, Any]]] = [
    ("id", Action.MASK, {"id": "***4711"}),
    ("n", Action.DROP, {"n": None}),
    ("who.name", Action.MASK, {"who": {"name": "***pley", "phone": "+49123456789"}}),
    ("who.phone", Action.DROP, {"who": {"name": "Ellen Ripley", "phone": None}}),
    ("who.phone", Action.MASK, {"who": {"name": "Ellen Ripley", "phone": "***6789"}}),
    ("maybe", Action.DROP, {"maybe": None}),
    ("maybe.name", Action.MASK, {"maybe": {"name": "***pley", "phone": None}}),
    ("others", Action.DROP, {"others": []}),
    ("others.name", Action.MASK, {"others": [{"name": "", "phone": "1"}, {"name": "***icks", "phone": None}]}),
    ("tags", Action.DROP, {"tags": {}}),
    ("tags.a.b", Action.MASK, {"tags": {"a.b": "***4711", "c": "kept"}}),
    ("tags.a.b", Action.DROP, {"tags": {"c": "kept"}}),
    ("people.x", Action.DROP, {"people": {"y": {"name": "Carter Burke", "phone": None}}}),
    (
        "people.x.name",
        Action.MASK,
        {"people": {"x": {"name": "***urke", "phone": None}, "y": {"name": "Carter Burke", "phone": None}}},
    ),
    ("none", Action.DROP, {}),
    ("id.inside", Action.MASK, {}),
    ("list.inside", Action.MASK, {}),
]


@pytest.mark.parametrize(("path", "action", "changed"), CHANGES)
def test_what_a_rule_names_is_kept_back(path: str, action: Action, changed: dict[str, Any]) -> None:
    """And nothing else is changed."""
    assert read(RAW, rewritten(body(RAW, VALUE), rule(path, action))) == {**VALUE, **changed}
    assert leads(parse(RAW), path) == bool(changed)


def test_several_rules() -> None:
    """Each is kept; all entries of a map may go."""
    rules = [rule("tags.a.b", Action.DROP), rule("tags.c", Action.DROP), rule("who.name", Action.MASK)]
    found = read(RAW, rewritten(body(RAW, VALUE), *rules, rule("who.phone", Action.DROP)))
    assert found == {**VALUE, "tags": {}, "who": {"name": "***pley", "phone": None}}


def test_blocks_with_their_sizes() -> None:
    """A writer may give the size of a block; it would be another one then, and is left out."""
    raw = record(("l", array(record(("s", "string"), name="L"))), ("m", {"type": "map", "values": "string"}))
    data = number(-1) + number(99) + b"\x02a" + b"\x00" + number(-1) + number(99) + b"\x02k\x02v" + b"\x00"
    made = rewritten(data, rule("l.s", Action.MASK), rule("m.k", Action.MASK), raw=raw)
    assert read(raw, made) == {"l": [{"s": "***"}], "m": {"k": "***"}}


@pytest.mark.parametrize(
    ("path", "action", "words"),
    [
        ("id", Action.DROP, "privacy.drop names event.id, which is string: only what may be null"),
        ("n", Action.MASK, "privacy.mask names event.n, which is int: only texts can be hashed or masked"),
        ("who", Action.MASK, "privacy.mask names event.who, which is Person: only texts"),
        ("who", Action.DROP, "privacy.drop names event.who, which is Person: only what may be null"),
        ("others.name", Action.DROP, "privacy.drop names event.others.name"),
    ],
)
def test_what_cannot_be_kept_back_is_refused(path: str, action: Action, words: str) -> None:
    """When the schema is seen."""
    with pytest.raises(NotDerivable) as caught:
        rewriting([rule(path, action)])(parse(RAW))
    assert words in str(caught.value)


@unhurried
@given(st.data())
def test_any_event(data: st.DataObject) -> None:
    """Whatever stands beside the field that is masked comes through."""
    raw = record(("x", data.draw(schemas("X"))), ("s", "string"), ("y", data.draw(schemas("Y"))))
    value = {field["name"]: value_of(data.draw, field["type"]) for field in raw["fields"]}
    written = body(raw, value)
    assert rewritten(written, raw=raw) == written
    found = read(raw, rewritten(written, rule("s", Action.MASK), raw=raw))
    assert found == {**read(raw, written), "s": mask(value["s"]) if value["s"] else ""}
