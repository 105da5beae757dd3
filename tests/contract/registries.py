"""The schema registries that the contract tests run against."""

from typing import Any, Protocol


class AnyRegistry(Protocol):
    """Somewhere to find a registry that speaks Confluent's API."""

    @property
    def url(self) -> str:
        """Its address."""
        ...


def record(*fields: tuple[str, Any] | tuple[str, Any, Any], name: str = "Thing") -> dict[str, Any]:
    """An Avro record: (name, type) or (name, type, default) for each field."""
    listed = [dict(zip(("name", "type", "default"), field, strict=False)) for field in fields]
    return {"type": "record", "name": name, "namespace": "test", "fields": listed}
