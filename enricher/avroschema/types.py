"""Parses an Avro schema into linked types: names are resolved, so that a recursive type leads back to itself.

Invariants: what ``parse`` returns keeps the specification's rules on names, unions, symbols and defaults; a schema that
breaks one is refused with the place and the rule. A logical type that is not known, or does not fit what it stands on,
is ignored, as the specification wants it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

PRIMITIVES: Final = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
NO_DEFAULT: Final = object()
"""Where a field has none; null is a default like any other."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DEPTH: Final = 200
_INT: Final = range(-(1 << 31), 1 << 31)
_LONG: Final = range(-(1 << 63), 1 << 63)
_LOGICAL: Final[Mapping[str, frozenset[str]]] = {
    "int": frozenset(("date", "time-millis")),
    "long": frozenset(
        (
            "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos", "local-timestamp-millis",
            "local-timestamp-micros", "local-timestamp-nanos",
        )
    ),
    "string": frozenset(("uuid",)),
    "bytes": frozenset(("decimal", "big-decimal")),
    "fixed": frozenset(("decimal", "uuid", "duration")),
}  # fmt: skip
_FIXED_SIZES: Final = {"uuid": 16, "duration": 12}


class InvalidSchema(ValueError):  # noqa: N818  says what it is
    """A schema breaks a rule of Avro; the text tells where, and which."""


@dataclass(slots=True, eq=False)
class AvroField:
    """A field of a record."""

    name: str
    type: "AvroType"
    default: Any = NO_DEFAULT
    aliases: tuple[str, ...] = ()
    doc: str = ""


@dataclass(slots=True, eq=False)
class AvroType:
    """A type; only what belongs to its kind is set.

    Attributes:
        kind: a primitive, or record, enum, fixed, array, map, union.
        name: of a named type, with its namespace.
        aliases: of a named type, with their namespaces.
        logical: the logical type, if it is one that the specification knows.
        fields: of a record.
        symbols: of an enum.
        default: of an enum: what a reader takes for a symbol that it does not know.
        items: of an array, or the values of a map.
        branches: of a union.
        size: of a fixed, in bytes.
        precision, scale: of a decimal.
        doc: of a named type.
    """

    kind: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    logical: str = ""
    fields: tuple[AvroField, ...] = ()
    symbols: tuple[str, ...] = ()
    default: str | None = None
    items: "AvroType | None" = None
    branches: tuple["AvroType", ...] = ()
    size: int = 0
    precision: int = 0
    scale: int = 0
    doc: str = ""

    @property
    def short_name(self) -> str:
        """Its name without the namespace, or its kind."""
        return self.name.rpartition(".")[2] or self.kind

    @property
    def words(self) -> str:
        """What it is, for a person: ``timestamp-millis or null``, ``array of Offer``."""
        if self.kind == "union":
            branches = sorted(self.branches, key=lambda branch: branch.kind == "null")
            return " or ".join(branch.words for branch in branches)
        if self.items is not None:
            return f"{self.kind} of {self.items.words}"
        if self.logical == "decimal":
            return f"decimal({self.precision}, {self.scale})"
        return self.logical or self.short_name


def parse(raw: Any, references: Iterable[Any] = ()) -> AvroType:
    """The type that a schema's JSON describes.

    Args:
        raw: the JSON.
        references: schemas whose named types it may refer to, each after those that it refers to itself.

    Raises:
        InvalidSchema: it is none.
    """
    parser = _Parser()
    for reference in references:
        parser.type(reference, "", "", 0)
    return parser.type(raw, "", "", 0)


def _refuse(path: str, message: str) -> NoReturn:
    raise InvalidSchema(f"{path or 'the schema'}: {message}")


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


class _Parser:
    def __init__(self) -> None:
        self._named: dict[str, AvroType] = {}

    def type(self, raw: Any, namespace: str, path: str, depth: int) -> AvroType:
        if depth > _MAX_DEPTH:
            _refuse(path, f"types stand within types more than {_MAX_DEPTH} deep")
        if isinstance(raw, str):
            return self._reference(raw, namespace, path)
        if isinstance(raw, list):
            return self._union(raw, namespace, path, depth)
        if not isinstance(raw, dict):
            _refuse(path, "a type is a name, a list or an object")
        kind = raw.get("type")
        if isinstance(kind, dict | list):  # {"type": {"type": ...}}: some writers do so
            return self.type(kind, namespace, path, depth + 1)
        if not isinstance(kind, str):
            _refuse(path, "the object has no type")
        define = self._COMPLEX.get(kind)
        if define is not None:
            return define(self, raw, namespace, path, depth)
        found = self._reference(kind, namespace, path)
        return _with_logical(found, raw, path) if kind in PRIMITIVES else found

    def _reference(self, name: str, namespace: str, path: str) -> AvroType:
        if name in PRIMITIVES:
            return AvroType(name)
        for full in (_full(name, namespace), name):
            if full in self._named:
                return self._named[full]
        _refuse(path, f"there is no type {name}")

    def _union(self, raw: list[Any], namespace: str, path: str, depth: int) -> AvroType:
        branches = tuple(self.type(branch, namespace, path, depth + 1) for branch in raw)
        if not branches:
            _refuse(path, "a union has at least one branch")
        if any(branch.kind == "union" for branch in branches):
            _refuse(path, "a union must not stand in a union")
        tags = [branch.name or branch.kind for branch in branches]
        if len(set(tags)) < len(tags):
            _refuse(path, "a union has two branches of one type")
        return AvroType("union", branches=branches)

    def _define(self, found: AvroType, raw: Mapping[str, Any], namespace: str, path: str) -> str:
        """Give the type its name; returns the namespace for what stands within it."""
        name = raw.get("name")
        own = raw.get("namespace", namespace)
        if not isinstance(name, str) or not isinstance(own, str):
            _refuse(path, f"the {found.kind} has no name")
        full = _full(name, own)
        if not all(_NAME.fullmatch(part) for part in full.split(".")):
            _refuse(path, f"{full} is no name: letters, digits and underscores, not beginning with a digit")
        if full in self._named:
            _refuse(path, f"{full} is defined twice")
        space = full.rpartition(".")[0]
        found.name, found.doc = full, _text(raw.get("doc"))
        found.aliases = tuple(_full(alias, space) for alias in _texts(raw.get("aliases", []), path, "aliases"))
        self._named[full] = found
        return space

    def _record(self, raw: Mapping[str, Any], namespace: str, path: str, depth: int) -> AvroType:
        record = AvroType("record")
        space = self._define(record, raw, namespace, path)
        listed = raw.get("fields")
        if not isinstance(listed, list):
            _refuse(path, f"the record {record.name} has no list of fields")
        fields = []
        for field in listed:
            if not isinstance(field, dict) or not isinstance(field.get("name"), str) or "type" not in field:
                _refuse(path, f"a field of {record.name} has no name or no type")
            name = field["name"]
            where = _inside(path, name)
            if _NAME.fullmatch(name) is None:
                _refuse(where, "it is no name: letters, digits and underscores, not beginning with a digit")
            kind = self.type(field["type"], space, where, depth + 1)
            aliases = _texts(field.get("aliases", []), where, "aliases")
            fields.append(AvroField(name, kind, field.get("default", NO_DEFAULT), aliases, _text(field.get("doc"))))
        names = [field.name for field in fields]
        if len(set(names)) < len(names):
            _refuse(path, f"the record {record.name} has two fields of one name")
        record.fields = tuple(fields)
        for field in fields:
            if field.default is not NO_DEFAULT and not fits(field.type, field.default):
                first = " (of a union, its first branch)" if field.type.kind == "union" else ""
                _refuse(_inside(path, field.name), f"the default does not fit the type {field.type.words}{first}")
        return record

    def _enum(self, raw: Mapping[str, Any], namespace: str, path: str, _depth: int) -> AvroType:
        enum = AvroType("enum")
        self._define(enum, raw, namespace, path)
        enum.symbols = _texts(raw.get("symbols"), path, "symbols")
        if len(set(enum.symbols)) < len(enum.symbols) or not all(map(_NAME.fullmatch, enum.symbols)):
            _refuse(path, f"the symbols of {enum.name} are not names, each given once")
        if "default" in raw:
            if raw["default"] not in enum.symbols:
                _refuse(path, f"the default of {enum.name} is none of its symbols")
            enum.default = raw["default"]
        return enum

    def _array(self, raw: Mapping[str, Any], namespace: str, path: str, depth: int) -> AvroType:
        if "items" not in raw:
            _refuse(path, "the array has no items")
        return AvroType("array", items=self.type(raw["items"], namespace, f"{path}[]", depth + 1))

    def _map(self, raw: Mapping[str, Any], namespace: str, path: str, depth: int) -> AvroType:
        if "values" not in raw:
            _refuse(path, "the map has no values")
        return AvroType("map", items=self.type(raw["values"], namespace, f"{path}[]", depth + 1))

    def _fixed(self, raw: Mapping[str, Any], namespace: str, path: str, _depth: int) -> AvroType:
        fixed = AvroType("fixed")
        self._define(fixed, raw, namespace, path)
        size = raw.get("size")
        if type(size) is not int or size < 0:
            _refuse(path, f"the size of {fixed.name} is no whole number")
        fixed.size = size
        return _with_logical(fixed, raw, path)

    _COMPLEX: Final[Mapping[str, Callable[["_Parser", Mapping[str, Any], str, str, int], AvroType]]] = {
        "record": _record, "error": _record, "enum": _enum, "fixed": _fixed, "array": _array, "map": _map,
    }  # fmt: skip


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _text(doc: Any) -> str:
    return doc if isinstance(doc, str) else ""


def _texts(raw: Any, path: str, what: str) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        _refuse(path, f"{what} is no list of texts")
    return tuple(raw)


def _with_logical(found: AvroType, raw: Mapping[str, Any], path: str) -> AvroType:
    logical = raw.get("logicalType")
    if not isinstance(logical, str) or logical not in _LOGICAL.get(found.kind, ()):
        return found
    if found.kind == "fixed" and _FIXED_SIZES.get(logical, found.size) != found.size:
        return found
    if logical == "decimal":
        precision, scale = raw.get("precision"), raw.get("scale", 0)
        if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision or not precision:
            _refuse(path, "a decimal has a precision of at least 1, and a scale between 0 and that")
        found.precision, found.scale = precision, scale
    found.logical = logical
    return found


def fits(of: AvroType, value: Any) -> bool:
    """Whether a JSON value is a default of this type."""
    return _FITS[of.kind](of, value)


def _all_fit(of: AvroType, values: Iterable[Any]) -> bool:
    assert of.items is not None  # noqa: S101  arrays and maps have them
    return all(fits(of.items, value) for value in values)


def _record_fits(of: AvroType, value: Any) -> bool:
    return isinstance(value, dict) and all(
        fits(field.type, value.get(field.name, field.default)) for field in of.fields
    )


def _number_fits(_of: AvroType, value: Any) -> bool:
    return type(value) in (int, float) or value in ("NaN", "Infinity", "-Infinity")


_FITS: Final[Mapping[str, Callable[[AvroType, Any], bool]]] = {
    "union": lambda of, value: fits(of.branches[0], value),
    "null": lambda _, value: value is None,
    "boolean": lambda _, value: isinstance(value, bool),
    "int": lambda _, value: type(value) is int and value in _INT,
    "long": lambda _, value: type(value) is int and value in _LONG,
    "float": _number_fits,
    "double": _number_fits,
    "string": lambda _, value: isinstance(value, str),
    "bytes": lambda _, value: isinstance(value, str),
    "array": lambda of, value: isinstance(value, list) and _all_fit(of, value),
    "map": lambda of, value: isinstance(value, dict) and _all_fit(of, value.values()),
    "enum": lambda of, value: value in of.symbols,
    "fixed": lambda of, value: isinstance(value, str) and len(value) == of.size,
    "record": _record_fits,
}
