"""Copies the Avro bodies of events with some fields dropped, hashed or masked; all other bytes stay as they are.

A path names a field of the event's record, of a record in it (in a list, of each), or a key of a map. One that an event
has not is no mistake, as versions differ.

Invariants: what is written is a body of the same schema; a field that a rule names and that cannot be treated so is
refused when the schema is seen, before any event is written.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, NoReturn, TypeAlias

from enricher.avroschema import AvroType
from enricher.avroschema.derived import NotDerivable
from enricher.avroschema.values import Body, block, reader
from enricher.codec.avro_writer import write_long, write_text
from enricher.privacy import Action

Copy: TypeAlias = Callable[[Body, list[bytes]], None]
"""Reads a value, and adds what is to be written of it."""

_EMPTY: Final = b"\x00"


class Rule(NamedTuple):
    """What becomes of a field.

    Attributes:
        path: of the field, from here; empty for what stands here.
        action: what is done to it.
        change: a text as it is written; not asked for where it is dropped.
        named: the whole path, for a person.
    """

    path: str
    action: Action
    change: Callable[[str], str | None]
    named: str

    @property
    def first(self) -> str:
        """Where the path goes from here."""
        return self.path.partition(".")[0]

    def inside(self, name: str) -> "Rule":
        """The same rule, from within a field or an element of this name."""
        return self._replace(path=self.path[len(name) + 1 :])

    def text(self, text: str) -> bytes:
        """A text as it is written; an empty one stays so."""
        return write_text((self.change(text) or "") if text else "")


def rewriting(rules: Iterable[Rule]) -> Callable[[AvroType], Callable[[bytes, int], bytes]]:
    """For a type, what makes the body of an event in the output.

    The result raises ``NotDerivable`` if a rule cannot be kept.
    """
    rules = tuple(rules)

    def bodies(of: AvroType) -> Callable[[bytes, int], bytes]:
        copy = _copy(of, rules)

        def body(value: bytes, start: int) -> bytes:
            out: list[bytes] = []
            copy(Body(value, start), out)
            return b"".join(out)

        return body

    return bodies


def leads(of: AvroType, path: str) -> bool:
    """Whether a type has what a path names; every map may have every key."""
    if not path or of.kind == "map":
        return True
    if of.kind == "array":
        return of.items is not None and leads(of.items, path)
    if of.kind == "union":
        return any(leads(branch, path) for branch in of.branches)
    first, _, rest = path.partition(".")
    return any(leads(field.type, rest) for field in of.fields if field.name == first)


def _copy(of: AvroType, rules: tuple[Rule, ...]) -> Copy:
    here = next((rule for rule in rules if not rule.path), None)
    if here is not None:
        return _changed(of, here)
    copies = {"record": _record, "union": _union, "array": _array, "map": _map}
    return copies[of.kind](of, rules) if rules and of.kind in copies else _whole(of)


def _whole(of: AvroType) -> Copy:
    read = reader(of)

    def copy(body: Body, out: list[bytes]) -> None:
        start = body.position
        read(body)
        out.append(body.data[start : body.position])

    return copy


def _record(of: AvroType, rules: tuple[Rule, ...]) -> Copy:
    fields = []
    for field in of.fields:
        mine = tuple(rule.inside(field.name) for rule in rules if rule.first == field.name)
        fields.append(_copy(field.type, mine))

    def copy(body: Body, out: list[bytes]) -> None:
        body.enter()
        for field in fields:
            field(body, out)
        body.depth -= 1

    return copy


def _union(of: AvroType, rules: tuple[Rule, ...]) -> Copy:
    branches = [_copy(branch, rules) for branch in of.branches]

    def copy(body: Body, out: list[bytes]) -> None:
        index = body.number()
        out.append(write_long(index))
        branches[index](body, out)

    return copy


def _array(of: AvroType, rules: tuple[Rule, ...]) -> Copy:
    assert of.items is not None  # noqa: S101  the parser gives every array its items
    item = _copy(of.items, rules)

    def copy(body: Body, out: list[bytes]) -> None:
        while count := block(body):
            out.append(write_long(count))
            for _ in range(count):
                body.spend()
                item(body, out)
        out.append(_EMPTY)

    return copy


def _map(of: AvroType, rules: tuple[Rule, ...]) -> Copy:
    assert of.items is not None  # noqa: S101  the parser gives every map its values
    deep = of.items.kind in ("record", "map", "array") or any(branch.fields for branch in of.items.branches)
    by_key: dict[str, list[Rule]] = {}
    for rule in rules:  # a key may have dots, unless the path goes on behind it
        by_key.setdefault(rule.first if deep else rule.path, []).append(rule)
    dropped = {key for key, mine in by_key.items() if any(rule.path == key and _drops(rule) for rule in mine)}
    copies = {
        key: _copy(of.items, tuple(rule.inside(key) for rule in mine))
        for key, mine in by_key.items()
        if key not in dropped
    }
    whole, skip = _whole(of.items), reader(of.items)

    def copy(body: Body, out: list[bytes]) -> None:
        entries: list[bytes] = []
        kept = 0
        while count := block(body):
            for _ in range(count):
                key = _text(body)
                if key in dropped:
                    skip(body)
                    continue
                kept += 1
                entries.append(write_text(key))
                copies.get(key, whole)(body, entries)
        out += (write_long(kept), *entries, _EMPTY) if kept else (_EMPTY,)

    return copy


def _drops(rule: Rule) -> bool:
    return rule.action is Action.DROP


_string: Final = reader(AvroType("string"))


def _text(body: Body) -> str:
    text: str = _string(body)
    return text


def _changed(of: AvroType, rule: Rule) -> Copy:
    """What a rule names."""
    if _drops(rule):
        return _dropped(of, rule)
    if of.kind == "union":
        return _union(AvroType("union", branches=of.branches), (rule,))
    if of.kind == "null":
        return _whole(of)
    if of.kind != "string":
        _refuse(of, rule, "only texts can be hashed or masked")
    return lambda body, out: out.append(rule.text(_text(body)))


def _dropped(of: AvroType, rule: Rule) -> Copy:
    read = reader(of)
    null = next((index for index, branch in enumerate(of.branches) if branch.kind == "null"), None)
    if null is not None:
        nothing = write_long(null)
    elif of.kind in ("array", "map"):
        nothing = _EMPTY
    else:
        _refuse(of, rule, "only what may be null, lists and maps can be dropped")

    def copy(body: Body, out: list[bytes]) -> None:
        read(body)
        out.append(nothing)

    return copy


def _refuse(of: AvroType, rule: Rule, why: str) -> NoReturn:
    raise NotDerivable(f"privacy.{rule.action} names {rule.named}, which is {of.words}: {why}")
