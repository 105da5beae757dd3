"""The schema of a derived output: the input's own record with one field more, ``offerHistory``, at its end. Pure.

The record keeps its name, as it stays the team's type: the field may be null and is so by default, so each of the two
schemas reads what the other writes, and versions of the input that read each other give derived ones that do.

Invariants: what stands before the field is as in the input's schema, so that a body of the derived one is a body of the
input's and the field's bytes behind it. Schemas that the input's refers to are written out, so that it stands alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from enricher.avroschema.types import AvroType, parse
from enricher.schemas import ENRICHED_CONTACT

FIELD: Final = "offerHistory"
HISTORY: Final = "enricher.EventOfferHistory"

_NAMED: Final = frozenset(("record", "error", "enum", "fixed"))
_INNER: Final = ("type", "items", "values")


class NotDerivable(ValueError):  # noqa: N818  says what it is
    """The history cannot be added to records of this schema; the text tells why, and what to do."""


def _history(output: Mapping[str, Any]) -> dict[str, Any]:
    """The type of the field: the history of an ``EnrichedContact``, and how it came about."""
    fields = {field["name"]: field for field in output["fields"]}
    history, enrichment = fields[FIELD]["type"], fields["enrichment"]
    space, _, name = HISTORY.rpartition(".")
    doc = "A customer's offers as the service told them, and how they came to this event."
    return {"type": "record", "name": name, "namespace": space, "doc": doc, "fields": [*history["fields"], enrichment]}


def added(output: Mapping[str, Any]) -> dict[str, Any]:
    """The field, with the history as this version of ``EnrichedContact`` has it."""
    doc = "What the customer had been offered; null where nobody has looked it up."
    return {"name": FIELD, "type": ["null", _history(output)], "default": None, "doc": doc}


ADDED: Final[Mapping[str, Any]] = added(ENRICHED_CONTACT.raw)
"""The field, as it is written."""


def derive(raw: Any, references: Iterable[Any] = (), field: Mapping[str, Any] = ADDED) -> dict[str, Any]:
    """The derived schema's JSON.

    Args:
        raw: the input's.
        references: schemas that it refers to, each after those that it refers to itself.
        field: what is added.

    Raises:
        NotDerivable: there can be none.
        InvalidSchema: the input's is none.
    """
    references = tuple(references)
    written = parse(raw, references)
    if written.kind != "record":
        raise NotDerivable(f"it describes no record, but {written.words}, and only a record can get one more field")
    for own in written.fields:
        if own.name == FIELD or FIELD in own.aliases:
            how = "a field" if own.name == FIELD else f"an alias of {own.name} that is"
            raise NotDerivable(f"{written.name} has {how} called {FIELD} already: rename it in the input")
    there = dict(named_within(written))
    if written.name in there:
        raise NotDerivable(
            f"a {written.name} may hold another one, which would get the field, too: let it hold a record of another "
            "name instead"
        )
    for name in sorted(_OURS & there.keys() | _OURS & {written.name}):
        raise NotDerivable(f"it has a type called {name}, as the history that would be added: rename it in the input")
    whole = _Inliner(references).copy(raw, "")
    return {**whole, "fields": [*whole["fields"], field]}


def is_derived(of: AvroType) -> bool:
    """Whether records of this type have a history that was added."""
    last = of.fields[-1] if of.fields else None
    return last is not None and last.name == FIELD and any(branch.name == HISTORY for branch in last.type.branches)


def named_within(record: AvroType) -> Iterator[tuple[str, AvroType]]:
    """Every named type within a record, by its name; the record only if it stands within itself."""
    seen: set[int] = set()
    left = [field.type for field in record.fields]
    while left:
        of = left.pop()
        if id(of) in seen:
            continue
        seen.add(id(of))
        if of.name:
            yield of.name, of
        left += [field.type for field in of.fields]
        left += of.branches
        left += [of.items] if of.items is not None else []


_OURS: Final = frozenset(
    [HISTORY, *dict(named_within(parse({"type": "record", "name": "_", "fields": [ADDED]})))],
)


class _Inliner:
    """Copies a schema, with the types that it refers to elsewhere written out where they are first used.

    The schema is one that ``parse`` has taken with these references.
    """

    def __init__(self, references: Iterable[Any]) -> None:
        self._elsewhere: dict[str, Any] = {}
        self._written: set[str] = set()
        for reference in references:
            self._collect(reference, "")

    def _collect(self, raw: Any, space: str) -> None:
        if isinstance(raw, list):
            for branch in raw:
                self._collect(branch, space)
        elif isinstance(raw, dict):
            if raw.get("type") in _NAMED:
                name = _full(raw, space)
                self._elsewhere[name] = raw
                for field in raw.get("fields", ()):
                    self._collect(field["type"], name.rpartition(".")[0])
            else:
                for key in _INNER:
                    self._collect(raw.get(key), space)

    def copy(self, raw: Any, space: str) -> Any:
        if isinstance(raw, str):
            return self._name(raw, space)
        if isinstance(raw, list):
            return [self.copy(branch, space) for branch in raw]
        kind = raw["type"]
        if isinstance(kind, str) and kind in _NAMED:
            return self._define(raw, _full(raw, space), space)
        made = {key: self.copy(raw[key], space) for key in _INNER if key in raw}
        return {**raw, **made} if isinstance(made["type"], str) else made["type"]

    def _name(self, name: str, space: str) -> Any:
        for full in (name if "." in name or not space else f"{space}.{name}", name):
            if full not in self._written and full in self._elsewhere:
                return self._define(self._elsewhere[full], full, space)
        return name

    def _define(self, raw: Mapping[str, Any], name: str, around: str) -> Any:
        """A type of this name, in whatever namespace its definition stands now."""
        if name in self._written:  # it was needed before
            return name
        self._written.add(name)
        space, _, short = name.rpartition(".")
        made = dict(raw) if _full(raw, around) == name else {**raw, "name": short, "namespace": space}
        if "fields" in raw:
            made["fields"] = [{**field, "type": self.copy(field["type"], space)} for field in raw["fields"]]
        return made


def _full(raw: Mapping[str, Any], space: str) -> str:
    name, space = raw["name"], raw.get("namespace", space)
    return name if "." in name or not space else f"{space}.{name}"
