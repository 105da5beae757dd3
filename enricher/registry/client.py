"""Asks a schema registry, with confluent-kafka's client, and sorts what goes wrong.

Invariants: what may be otherwise in a moment (no connection, no answer in time, 5xx, 429) is ``RegistryAway``; what the
registry has said no to is ``RegistryRefused``; that there is no such schema or subject is no error, but none. No error
holds credentials. Every call blocks, for at most about twice the timeout.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from enricher.codec.framing import SchemaKey
from enricher.codec.writer_schemas import WriterSchema

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import RegisteredSchema, Schema

T = TypeVar("T")

_NOT_FOUND: Final = 404
_MAY_PASS: Final = frozenset((408, 425, 429))
_SERVER_ERROR: Final = 500
_DENIED: Final = frozenset((401, 403))
_MOST_REFERENCES: Final = 100


class RegistryError(Exception):
    """The registry did not do what was asked."""


class RegistryAway(RegistryError):  # noqa: N818  says what it is
    """The registry does not answer, or not now."""


class RegistryRefused(RegistryError):  # noqa: N818  says what it did
    """The registry says no.

    Attributes:
        denied: whether that is for want of (other) credentials.
    """

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.denied = denied


class RegistryLacks(RegistryRefused):
    """Somebody has something to do first: what is asked for is not there yet, and may come."""


class RegistryClient:
    """One registry.

    Args:
        url: of the registry, or of several of its instances, with commas between.
        timeout: for one request, in seconds.
        properties: what else confluent-kafka's client is to be told: credentials, certificates.

    Raises:
        RegistryRefused: a certificate cannot be used.
    """

    def __init__(self, url: str, timeout: float, properties: Mapping[str, Any] | None = None) -> None:
        own = {"url": url, "timeout": timeout, "max.retries": 1, "retries.wait.ms": 100, "retries.max.wait.ms": 500}
        self._url = url
        import confluent_kafka.schema_registry as library  # noqa: PLC0415  half a second, and most have no registry

        self._library = library
        try:
            self._client = library.SchemaRegistryClient({**own, **(properties or {})})
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise RegistryRefused(f"the settings of the schema registry cannot be used: {_words(error)}") from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # ---- what ids stand for ------------------------------------------------------------------------------------

    def get_schema(self, schema_id: int) -> Any:
        """As confluent-kafka's client has it, for ``enricher.reader``.

        Raises:
            RegistryError: there is no such schema, or no answer.
        """
        return self._there(self._ask(lambda: self._client.get_schema(schema_id)), f"the schema id {schema_id}")

    def get_schema_by_guid(self, guid: str) -> Any:
        """As ``get_schema``."""
        return self._there(self._ask(lambda: self._client.get_schema_by_guid(guid)), f"the schema GUID {guid}")

    def writer_schema(self, key: SchemaKey) -> WriterSchema | None:
        """The schema that a key stands for, with those that it refers to; None if there is none.

        Raises:
            RegistryError: no answer.
        """
        if isinstance(key, int):
            found = self._ask(lambda: self._client.get_schema(key))
        else:
            found = self._ask(lambda: self._client.get_schema_by_guid(str(UUID(bytes=key))))
        if found is None:
            return None
        kind = found.schema_type or "AVRO"
        if kind != "AVRO":
            return WriterSchema(kind)
        return WriterSchema(kind, _json(found.schema_str), tuple(self._references(found, {}).values()))

    def _references(self, schema: "Schema", found: dict[tuple[str, int], Any]) -> dict[tuple[str, int], Any]:
        for reference in schema.references or ():
            subject, version = str(reference.subject), int(reference.version or -1)
            if (subject, version) in found or len(found) >= _MOST_REFERENCES:
                continue
            referred = self._ask(lambda: self._client.get_version(subject, version, deleted=True))  # noqa: B023  at once
            if referred is not None and referred.schema is not None:
                self._references(referred.schema, found)
                found[subject, version] = _json(referred.schema.schema_str)
        return found

    # ---- what we write -----------------------------------------------------------------------------------------

    def register(self, subject: str, text: str) -> "RegisteredSchema":
        """Register an Avro schema; one that is there already keeps its id.

        Raises:
            RegistryError: not done.
        """
        answer = self._ask(
            lambda: self._client.register_schema_full_response(subject, self._library.Schema(text, "AVRO"))
        )
        return self._there(answer, f"the subject {subject}")

    def look_up(self, subject: str, text: str) -> "RegisteredSchema | None":
        """How an Avro schema is registered under a subject; None if it is not.

        Raises:
            RegistryError: no answer.
        """
        return self._ask(lambda: self._client.lookup_schema(subject, self._library.Schema(text, "AVRO")))

    def versions(self, subject: str) -> "list[RegisteredSchema]":
        """Every Avro version of a subject, the oldest first; none if there is no such subject.

        Raises:
            RegistryError: no answer.
        """
        numbers = self._ask(lambda: self._client.get_versions(subject)) or []
        found = [self._ask(lambda: self._client.get_version(subject, number)) for number in numbers]  # noqa: B023  at once
        return [one for one in found if one is not None and (one.schema.schema_type or "AVRO") == "AVRO"]

    def latest(self, subject: str) -> int | None:
        """The id of a subject's newest version; None if there is none.

        Raises:
            RegistryError: no answer.
        """
        numbers = self._ask(lambda: self._client.get_versions(subject)) or []  # get_latest_version keeps its answer
        found = self._ask(lambda: self._client.get_version(subject, max(numbers))) if numbers else None
        return None if found is None else found.schema_id

    def accepts(self, subject: str, text: str) -> bool | None:
        """Whether the registry's own rules let an Avro schema follow; None if it does not say.

        Raises:
            RegistryError: no answer.
        """
        return self._ask(lambda: self._client.test_compatibility(subject, self._library.Schema(text, "AVRO")))

    # ---- what goes wrong ---------------------------------------------------------------------------------------

    def _ask(self, request: Callable[[], T]) -> T | None:
        try:
            return request()
        except self._library.SchemaRegistryError as error:
            status = error.http_status_code
            message = f"the schema registry at {self._url} answered {status}: {str(error.error_message)[:300]}"
        except Exception as error:  # noqa: BLE001  the client's HTTP library has errors of its own
            raise RegistryAway(f"the schema registry at {self._url} does not answer: {_words(error)}") from None
        if status == _NOT_FOUND:
            return None
        if status >= _SERVER_ERROR or status in _MAY_PASS:
            raise RegistryAway(message)
        raise RegistryRefused(message, denied=status in _DENIED)

    def _there(self, found: T | None, what: str) -> T:
        if found is None:
            raise RegistryRefused(f"the schema registry at {self._url} does not know {what}")
        return found


def _json(text: str | None) -> Any:
    """An Avro schema's JSON; some registries give a primitive's name without quotation marks."""
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


def _words(error: Exception) -> str:
    return f"{str(error)[:300] or 'no reason was given'} ({type(error).__name__})"
