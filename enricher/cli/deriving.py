"""What derived outputs take: how they are written, and whether the registry has their schemas.

Which schemas inputs have, only the events tell. What can be known before is the newest schema of each input topic, as
Confluent's clients register it, and the schemas in files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from enricher.avroschema import AvroType, parse
from enricher.avroschema.derived import NotDerivable
from enricher.cli.finding import Finding
from enricher.cli.registries import framing_of, output_subject
from enricher.codec.derived import Bodies, DerivedSchema, derived_schema, unchanged
from enricher.codec.framing import Framing
from enricher.codec.rewriting import leads
from enricher.codec.writer_schemas import WriterSchema
from enricher.config import Settings
from enricher.privacy import EVENT
from enricher.registry import RegistryClient, ensure, examine, find

PUBLISH = "enricher schema publish --derived"
_WHAT = "derived output"


def derived_framing(settings: Settings, registry: RegistryClient, schema: DerivedSchema) -> Framing:
    """How outputs tell a derived schema; it is registered where that is allowed.

    Raises:
        RegistryError: there is no answer, or the schema is not there and may not be registered.
    """
    register = settings.schema_registry.auto_register
    subject = output_subject(settings, schema.name)
    return framing_of(settings, ensure(registry, subject, schema.text, register=register, how=f"{PUBLISH} FILE"))


def astray(settings: Settings, of: AvroType) -> list[str]:
    """What ``privacy`` names of events and those of a type have not: right for others, or misspelt."""
    paths = (path for path in settings.privacy.rules() if path.startswith(EVENT))
    return [path for path in paths if not leads(of, path.removeprefix(EVENT))]


def check_derived(
    settings: Settings, files: Mapping[bytes, Any], registry: RegistryClient | None, bodies: Bodies = unchanged
) -> Iterator[Finding]:
    """Whether outputs could be written of what is known to come in. Nothing is registered.

    Args:
        settings: of input and output.
        files: the schemas in ``schemas.path``.
        registry: where there is one.
        bodies: makes the events' bytes.

    Raises:
        RegistryError: there is no answer.
    """
    for raw in files.values():
        source = f"{parse(raw).words} in schemas.path"
        yield from _check(settings, source, WriterSchema("AVRO", raw), registry, bodies)
    if registry is None:
        return
    for topic in settings.input.topics:
        subject = f"{topic}-value"
        schema_id = registry.latest(subject)
        schema = None if schema_id is None else registry.writer_schema(schema_id)
        if schema is None:
            message = f"the registry has no {subject}: what is to be written is known when the first events come"
            yield Finding(_WHAT, True, message)
        else:
            yield from _check(settings, f"the newest version of {subject}", schema, registry, bodies)


def _check(
    settings: Settings, source: str, schema: WriterSchema, registry: RegistryClient | None, bodies: Bodies
) -> Iterator[Finding]:
    try:
        derived = derived_schema(schema, bodies)
    except NotDerivable as error:
        message = f"of {source} nothing can be derived, and its events would become dead letters: {error}"
        yield Finding(_WHAT, False, message)
        return
    if lost := astray(settings, parse(schema.raw, schema.references)):
        yield Finding("privacy", True, f"{source} has no {', '.join(lost)}: right if others have, or is it misspelt?")
    if registry is None:
        yield Finding(_WHAT, True, f"the history can be added to {source}")
    else:
        yield _registered(settings, source, derived, registry)


def _registered(settings: Settings, source: str, derived: DerivedSchema, registry: RegistryClient) -> Finding:
    subject = output_subject(settings, derived.name)
    found = find(registry, subject, derived.text)
    if found is not None:
        framing_of(settings, found)
        return Finding(_WHAT, True, f"{subject} has what is derived of {source}, with the id {found.schema_id}")
    report = examine(registry, subject, derived.text)
    if report.accepted is False:
        message = f"the registry would not take what is derived of {source} under {subject}, and its events would "
        remedy = f"let whoever owns the input compare its versions; `{PUBLISH} --dry-run FILE` tells what breaks"
        return Finding(_WHAT, False, f"{message}become dead letters:\n{report.words}", remedy)
    if settings.schema_registry.auto_register:
        return Finding(_WHAT, True, f"what is derived of {source} will be registered under {subject}")
    message = f"what is derived of {source} is not registered under {subject}, and its events would wait for that; "
    remedy = f"run `{PUBLISH} FILE` with the input's schema, or set schema_registry.auto_register"
    return Finding(_WHAT, False, f"{message}{report.words}", remedy)
