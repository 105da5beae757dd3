"""The id of a schema that is written: looked up, or registered where that is allowed; and what stands in the way.

Invariant: whatever the registry's own rules are, a report tells of every version of the subject what either cannot
read of the other, in words: who breaks, where, why, and what to do.
"""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from enricher.avroschema import Break, InvalidSchema, breaks, parse
from enricher.registry.client import RegistryClient, RegistryLacks, RegistryRefused

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import RegisteredSchema


class SubjectStrategy(StrEnum):
    """How a subject is called, as Confluent's clients have it."""

    TOPIC = "topic"
    RECORD = "record"
    TOPIC_RECORD = "topic-record"


class Registered(NamedTuple):
    """A schema in a registry.

    Attributes:
        subject: where it is registered.
        schema_id: what stands before a value.
        guid: what stands in a header, 16 bytes; None if the registry has none.
    """

    subject: str
    schema_id: int
    guid: bytes | None


class Report(NamedTuple):
    """How a schema goes with the versions of a subject.

    Attributes:
        subject: which.
        versions: how many there are.
        breaks: what our rules find.
        accepted: whether the registry's own rules let it follow; None if there is nothing yet, or no answer.
    """

    subject: str
    versions: int
    breaks: list[Break]
    accepted: bool | None

    @property
    def words(self) -> str:
        """For a person, a line for each finding."""
        if not self.versions:
            return f"there is no version of {self.subject} yet"
        if not self.breaks:
            return f"each reads what the other writes, with all {self.versions} versions of {self.subject}"
        return "\n".join(f"- {broken.words}" for broken in self.breaks)


def subject_of(strategy: SubjectStrategy, topic: str, record: str) -> str:
    """The subject of the values of a topic.

    Args:
        strategy: how it is called.
        topic: that is written to.
        record: the schema's name, with its namespace.
    """
    if strategy is SubjectStrategy.TOPIC:
        return f"{topic}-value"
    return record if strategy is SubjectStrategy.RECORD else f"{topic}-{record}"


def examine(client: RegistryClient, subject: str, text: str) -> Report:
    """Hold a schema against every version of a subject. Nothing is written.

    Raises:
        RegistryError: no answer.
    """
    versions = client.versions(subject)
    new = parse(json.loads(text))
    found: list[Break] = []
    for version in versions:
        name = f"version {version.version} of {subject}"
        try:
            found += breaks(new, "this schema", parse(json.loads(version.schema.schema_str or "")), name)
        except (InvalidSchema, ValueError):
            continue  # it refers to other subjects, or is none that we read: the registry's own rules have to do
    return Report(subject, len(versions), found, client.accepts(subject, text) if versions else None)


def ensure(
    client: RegistryClient, subject: str, text: str, *, register: bool, how: str = "enricher schema publish"
) -> Registered:
    """The id of a schema under a subject.

    Args:
        client: the registry.
        subject: where it is registered, or will be.
        text: the schema.
        register: whether to register it if it is not.
        how: the command by which a person does so.

    Raises:
        RegistryLacks: it is not registered, and could be.
        RegistryRefused: it may not be registered, for the reasons that the message tells.
        RegistryAway: no answer.
    """
    found = find(client, subject, text)
    if found is not None:
        return found
    if register:
        return publish(client, subject, text)
    report = examine(client, subject, text)
    name = parse(json.loads(text)).name
    refused = report.accepted is False
    verdict = "the registry's own rules do not let it follow" if refused else f"the registry would take it: run `{how}`"
    raise (RegistryRefused if refused else RegistryLacks)(
        f"the schema {name} is not registered under {subject}, and schema_registry.auto_register is off; "
        f"{verdict}\n{report.words}"
    )


def find(client: RegistryClient, subject: str, text: str) -> Registered | None:
    """How a schema is registered under a subject, but for its descriptions; None if it is not. Nothing is written.

    Raises:
        RegistryError: no answer.
    """
    found = client.look_up(subject, text) or _same_but_for_docs(client, subject, text)
    return None if found is None else _registered(subject, found)


def publish(client: RegistryClient, subject: str, text: str) -> Registered:
    """Register a schema under a subject.

    Raises:
        RegistryRefused: the registry does not take it, for the reasons that the message tells.
        RegistryAway: no answer.
    """
    try:
        found = client.register(subject, text)
    except RegistryRefused as error:
        if error.denied:
            raise
        report = examine(client, subject, text)
        raise RegistryRefused(f"the schema cannot be registered under {subject}: {error}\n{report.words}") from None
    return _registered(subject, client.look_up(subject, text) or found)  # some registries tell the GUID here only


def _registered(subject: str, found: "RegisteredSchema") -> Registered:
    if found.schema_id is None:
        raise RegistryRefused(f"the schema registry tells no id for {subject}")
    return Registered(subject, found.schema_id, _guid(found.guid))


def _same_but_for_docs(client: RegistryClient, subject: str, text: str) -> "RegisteredSchema | None":
    """The version that is the schema but for descriptions, which a new release may have mended."""
    wanted = _without_docs(json.loads(text))
    for version in reversed(client.versions(subject)):
        try:
            if _without_docs(json.loads(version.schema.schema_str or "")) == wanted:
                return version
        except ValueError:
            continue
    return None


def _without_docs(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _without_docs(value) for key, value in raw.items() if key != "doc"}
    return [_without_docs(item) for item in raw] if isinstance(raw, list) else raw


def _guid(text: str | None) -> bytes | None:
    try:
        return bytes.fromhex((text or "").replace("-", "")) or None
    except ValueError:
        return None
