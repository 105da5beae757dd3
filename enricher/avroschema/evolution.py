"""What a change of a schema means for those who read and write with another version of it.

A schema is FULL_TRANSITIVE-compatible if with every version before it each reads what the other writes: then readers
and writers may be upgraded in any order, and what was written years ago can still be read.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from enricher.avroschema.compatibility import Violation, unreadable
from enricher.avroschema.types import NO_DEFAULT, AvroField, AvroType

_TOP = "the schema"
_HELP = {
    "default": "give the field a default",
    "type": "keep the type, and add a field of another name for what is new",
    "union": "keep the branches that there were, and add a field of another name for what is new",
    "name": "keep the name, or give the reader an alias",
    "logical-type": "keep the type, and add a field of another name for what is new",
    "size": "keep the size, and add a type of another name for what is new",
    "symbol": "give the enum a default, in a version before the one that adds symbols",
}


class Break(NamedTuple):
    """Something that one version cannot read of another.

    Attributes:
        reader, writer: names of the versions.
        violation: what, and where.
    """

    reader: str
    writer: str
    violation: Violation

    @property
    def words(self) -> str:
        """For a person: who cannot read what, why, and what to do."""
        path, rule, message = self.violation
        fail = "misread" if rule == "logical-type" else "cannot read"  # the bytes can be read, and mean something else
        who = f"readers with {self.reader} {fail} what is written with {self.writer}"
        return f"{path or _TOP}: {message}. So {who}; {_HELP[rule]}."


def breaks(new: AvroType, new_name: str, old: AvroType, old_name: str) -> list[Break]:
    """What either version cannot read of the other."""
    backward = [Break(new_name, old_name, violation) for violation in unreadable(new, old)]
    forward = [Break(old_name, new_name, violation) for violation in unreadable(old, new)]
    return backward + forward


def differences(old: AvroType, new: AvroType) -> list[str]:
    """What was changed from one version to the next, in words, a line each."""
    return list(_differences(old, new, "", set()))


def _differences(old: AvroType, new: AvroType, path: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    place = path or _TOP
    old, new, note = _without_null(old, new)
    if note:
        yield f"{place}: {note}"
    if old.kind != new.kind or (old.kind not in ("array", "map") and old.words != new.words):
        yield f"{place}: the type was {old.words} and is {new.words}"
        return
    if (id(old), id(new)) in seen:
        return
    seen.add((id(old), id(new)))
    if old.name != new.name:
        yield f"{place}: the namespace was changed; it is {new.name} now"
    if old.doc != new.doc:
        yield f"{place}: the description of {new.short_name} was changed"
    if new.kind == "enum":
        yield from _symbols(old, new, place)
    if old.items is not None and new.items is not None:
        yield from _differences(old.items, new.items, f"{path}[]", seen)
    yield from _fields(old, new, path, seen)


def _without_null(old: AvroType, new: AvroType) -> tuple[AvroType, AvroType, str]:
    """What may be null is compared as what it is otherwise."""
    inner_old, inner_new = _maybe(old), _maybe(new)
    note = ""
    if (inner_old is old) != (inner_new is new):
        note = "it may be null now" if inner_old is old else "it is never null any more"
    return inner_old, inner_new, note


def _maybe(of: AvroType) -> AvroType:
    others = [branch for branch in of.branches if branch.kind != "null"]
    return others[0] if len(others) == 1 and len(of.branches) > 1 else of


def _symbols(old: AvroType, new: AvroType, place: str) -> Iterator[str]:
    if added := [symbol for symbol in new.symbols if symbol not in old.symbols]:
        yield f"{place}: the symbols {', '.join(added)} were added"
    if removed := [symbol for symbol in old.symbols if symbol not in new.symbols]:
        yield f"{place}: the symbols {', '.join(removed)} were removed"
    if old.default != new.default:
        was, now = old.default or "none", new.default or "none"
        yield f"{place}: the symbol for what a reader does not know was {was} and is {now}"


def _fields(old: AvroType, new: AvroType, path: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    before = {field.name: field for field in old.fields}
    kept: set[str] = set()
    for field in new.fields:
        inner = f"{path}.{field.name}" if path else field.name
        name = next((name for name in (field.name, *field.aliases) if name in before), None)
        if name is None:
            yield f"{inner}: the field was added, {_default(field)}"
            continue
        kept.add(name)
        was = before[name]
        if name != field.name:
            yield f"{inner}: the field was called {name}, which is an alias now"
        if was.default is not field.default and was.default != field.default:
            yield f"{inner}: it was {_default(was)} and is {_default(field)}"
        if was.doc != field.doc:
            yield f"{inner}: the description was changed"
        yield from _differences(was.type, field.type, inner, seen)
    for name, field in before.items():
        if name not in kept:
            yield f"{path}.{name}: the field was removed; it was {_default(field)}".removeprefix(".")


def _default(field: AvroField) -> str:
    return "without a default" if field.default is NO_DEFAULT else f"with the default {json.dumps(field.default)}"
