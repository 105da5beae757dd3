"""What a reader with one schema cannot read of records that were written with another, by Avro's schema resolution.

Stricter than the specification in one point: a logical type that comes, goes or changes is a violation, too. The bytes
can still be read then, but they mean something else, and nobody is told.
"""

from typing import Final, NamedTuple

from enricher.avroschema.types import NO_DEFAULT, AvroField, AvroType

PROMOTIONS: Final = {
    "int": frozenset(("long", "float", "double")),
    "long": frozenset(("float", "double")),
    "float": frozenset(("double",)),
    "string": frozenset(("bytes",)),
    "bytes": frozenset(("string",)),
}
"""What is written as one primitive may be read as these."""


class Violation(NamedTuple):
    """One reason why a reader cannot read what a writer writes.

    Attributes:
        path: of the field, from the top; an element of a list or map is ``[]``.
        rule: which rule is broken: a stable name for programs.
        message: for a person.
    """

    path: str
    rule: str
    message: str


def unreadable(reader: AvroType, writer: AvroType) -> list[Violation]:
    """Why a reader with the one schema cannot read what is written with the other; nothing if it can."""
    return _Resolver().resolve(reader, writer, "")


def same_name(reader: AvroType, writer: AvroType) -> bool:
    """Whether a named type of the writer is the reader's: by its name without the namespace, or by an alias."""
    return reader.short_name == writer.short_name or writer.name in reader.aliases


def field_for(field: AvroField, writer: AvroType) -> AvroField | None:
    """The field of the writer's record that the reader's field is read from, if there is one."""
    written = {candidate.name: candidate for candidate in writer.fields}
    return next((written[name] for name in (field.name, *field.aliases) if name in written), None)


class _Resolver:
    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def resolve(self, reader: AvroType, writer: AvroType, path: str) -> list[Violation]:
        if writer.kind == "union":
            return [found for branch in writer.branches for found in self._branch(reader, branch, path)]
        if reader.kind == "union":
            return self._branch(reader, writer, path)
        if reader.kind != writer.kind:
            if reader.kind in PROMOTIONS.get(writer.kind, ()) and reader.logical == writer.logical == "":
                return []
            return [Violation(path, "type", f"it is written as {writer.words} and read as {reader.words}")]
        return self._same_kind(reader, writer, path)

    def _branch(self, reader: AvroType, writer: AvroType, path: str) -> list[Violation]:
        """Of a type that may be written in a union, or read as one."""
        if reader.kind != "union":
            return self.resolve(reader, writer, path)
        named = [branch for branch in reader.branches if branch.name and branch.kind == writer.kind]
        for branch in named:
            if same_name(branch, writer):
                return self.resolve(branch, writer, path)
        if any(not self.resolve(branch, writer, path) for branch in reader.branches if not branch.name):
            return []
        message = f"{writer.words} may be written, and the reader takes only {reader.words}"
        return [Violation(path, "union", message)]

    def _same_kind(self, reader: AvroType, writer: AvroType, path: str) -> list[Violation]:
        if reader.name and not same_name(reader, writer):
            message = f"it is written as {writer.name} and read as {reader.name}, which has no alias for it"
            return [Violation(path, "name", message)]
        if (reader.logical, reader.precision, reader.scale) != (writer.logical, writer.precision, writer.scale):
            return [Violation(path, "logical-type", f"it is written as {writer.words} and read as {reader.words}")]
        if reader.size != writer.size:
            return [Violation(path, "size", f"it is written with {writer.size} bytes and read with {reader.size}")]
        if reader.items is not None and writer.items is not None:
            return self.resolve(reader.items, writer.items, f"{path}[]")
        if reader.kind == "enum" and reader.default is None:
            unknown = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
            if unknown:
                message = f"{', '.join(unknown)} may be written; the reader does not know it, and has no default"
                return [Violation(path, "symbol", message)]
        return self._fields(reader, writer, path)

    def _fields(self, reader: AvroType, writer: AvroType, path: str) -> list[Violation]:
        pair = (id(reader), id(writer))
        if pair in self._seen:  # a record within itself, or one that stands in several places: told once
            return []
        self._seen.add(pair)
        found: list[Violation] = []
        for field in reader.fields:
            inner = f"{path}.{field.name}" if path else field.name
            written = field_for(field, writer)
            if written is not None:
                found += self.resolve(field.type, written.type, inner)
            elif field.default is NO_DEFAULT:
                found.append(Violation(inner, "default", "it is not written, and the reader has no default for it"))
        return found
