"""Hypothesis strategies for Avro schemas, and for values of them."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st


def record(*fields: tuple[str, Any] | dict[str, Any], name: str = "R") -> dict[str, Any]:
    """A record of fields: (name, type), or whole."""
    whole = [field if isinstance(field, dict) else {"name": field[0], "type": field[1]} for field in fields]
    return {"type": "record", "name": name, "fields": whole}


def array(items: Any) -> dict[str, Any]:
    """An array."""
    return {"type": "array", "items": items}


names = st.sampled_from("abcdef")


@st.composite
def schemas(draw: st.DrawFn, name: str = "T") -> Any:  # noqa: PLR0911  one for each kind
    """Schemas without logical types; named types get names of their own."""
    simple = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
    kind = draw(
        simple if len(name) > 3 else simple | st.sampled_from(["record", "array", "map", "enum", "fixed", "union"])
    )
    if kind == "record":
        fields = draw(st.lists(names, max_size=3, unique=True))
        return record(*((field, draw(schemas(name + field))) for field in fields), name=name)
    if kind == "array":
        return array(draw(schemas(f"{name}_")))
    if kind == "map":
        return {"type": "map", "values": draw(schemas(f"{name}_"))}
    if kind == "enum":
        return {"type": "enum", "name": name, "symbols": ["A", "B"]}
    if kind == "fixed":
        return {"type": "fixed", "name": name, "size": draw(st.integers(0, 4))}
    if kind == "union":
        return ["null", draw(schemas(f"{name}_").filter(lambda of: of != "null" and not isinstance(of, list)))]
    return kind


def value_of(draw: Callable[[st.SearchStrategy[Any]], Any], schema: Any) -> Any:  # noqa: PLR0911  as above
    """A value that fits."""
    if isinstance(schema, list):
        return draw(st.none()) if draw(st.booleans()) else value_of(draw, schema[1])
    simple: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "double": st.floats(allow_nan=False, allow_infinity=False),
        "bytes": st.binary(max_size=5),
        "string": st.text(max_size=5),
    }
    if isinstance(schema, str):
        return draw(simple[schema])
    kind = schema["type"]
    if kind == "record":
        return {field["name"]: value_of(draw, field["type"]) for field in schema["fields"]}
    if kind == "array":
        return [value_of(draw, schema["items"]) for _ in range(draw(st.integers(0, 3)))]
    if kind == "map":
        return {draw(names): value_of(draw, schema["values"]) for _ in range(draw(st.integers(0, 3)))}
    if kind == "enum":
        return draw(st.sampled_from(schema["symbols"]))
    return draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
