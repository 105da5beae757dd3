"""What in a schema will stand in the way of later versions: no mistakes, but best known before the first release."""

from collections.abc import Iterator

from enricher.avroschema.types import NO_DEFAULT, AvroType


def advice(schema: AvroType) -> list[str]:
    """Notes for the author, a line each."""
    return list(_advice(schema, "", set()))


def _advice(of: AvroType, path: str, seen: set[int]) -> Iterator[str]:
    if id(of) in seen:
        return
    if of.name:
        seen.add(id(of))
    place = path or "the schema"
    if of.kind == "enum" and of.default is None:
        yield f"{place}: the enum {of.short_name} has no default, so that a symbol can never be added"
    if of.items is not None:
        yield from _advice(of.items, f"{path}[]", seen)
    for branch in of.branches:
        yield from _advice(branch, path, seen)
    for field in of.fields:
        inner = f"{path}.{field.name}" if path else field.name
        if field.default is NO_DEFAULT:
            yield f"{inner}: the field has no default, so that it can never be removed"
        yield from _advice(field.type, inner, seen)
