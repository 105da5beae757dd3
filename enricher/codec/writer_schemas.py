"""A schema registry's schemas, and what is known of them: those that were fetched, are not there, are allowed.

Invariant: memory does not grow with ids that producers make up.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol

from enricher.codec.framing import SchemaKey, words_of
from enricher.model import Rejected, Stage


class SchemaNeeded(Exception):  # noqa: N818  no error: what is asked for comes, and then the event can be read
    """A registry has to be asked for a schema before an event can be read."""

    def __init__(self, key: SchemaKey) -> None:
        super().__init__(f"the schema {words_of(key)} has to be fetched")
        self.key = key


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A schema as a registry has it.

    Attributes:
        kind: AVRO, JSON or PROTOBUF.
        raw: the JSON of an Avro schema.
        references: Avro schemas that it refers to, each after those that it refers to itself.
    """

    kind: str
    raw: Any = None
    references: tuple[Any, ...] = ()


class WriterSchemas(Protocol):
    """What is known of a registry's schemas."""

    def get(self, key: SchemaKey) -> WriterSchema:
        """The schema.

        Raises:
            SchemaNeeded: the registry has not been asked for it yet.
            Rejected: there is none, or it may not be used.
        """
        ...


class KnownSchemas:
    """Schemas by their ids. Fits ``WriterSchemas``.

    Args:
        allowed: the ids and GUIDs that may be used; None for all.
    """

    MOST_REFUSED: Final = 1_000

    def __init__(self, allowed: Collection[SchemaKey] | None = None) -> None:
        self._allowed = allowed
        self._known: dict[SchemaKey, WriterSchema] = {}
        self._refused: dict[SchemaKey, str] = {}

    def get(self, key: SchemaKey) -> WriterSchema:
        """See ``WriterSchemas.get``."""
        found = self._known.get(key)
        if found is not None:
            return found
        if self._allowed is not None and key not in self._allowed:
            message = f"the schema {words_of(key)} is none of those in schema_registry.allowed"
            raise Rejected(Stage.DECODE, "SchemaNotAllowed", message)
        if key in self._refused:
            raise Rejected(Stage.DECODE, "UnknownSchemaId", self._refused[key])
        raise SchemaNeeded(key)

    def knows(self, key: SchemaKey) -> bool:
        """Whether there is an answer for it."""
        return key in self._known or key in self._refused

    def add(self, key: SchemaKey, schema: WriterSchema) -> None:
        """The key stands for this schema, for good."""
        self._known[key] = schema

    def refuse(self, key: SchemaKey, message: str) -> None:
        """The key stands for nothing; ``message`` says so to a person."""
        if len(self._refused) >= self.MOST_REFUSED:
            self._refused.clear()
        self._refused[key] = message

    def forget(self, key: SchemaKey) -> None:
        """That the key stands for nothing was true then; ask again."""
        self._refused.pop(key, None)
