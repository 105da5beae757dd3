"""What ``enricher check`` looks at of the schema registry and of schemas in files.

Invariant: nothing is registered.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from enricher.cli.codecs import derived_bodies, schema_files
from enricher.cli.deriving import check_derived
from enricher.cli.finding import Finding
from enricher.cli.registries import framing_of, open_registry, output_subject
from enricher.config import ConfigError, Settings
from enricher.registry import RegistryAway, RegistryClient, RegistryError, RegistryRefused, examine, find
from enricher.schemas import ENRICHED_CONTACT

_WHAT = "schema registry"


def check_registry(settings: Settings) -> Iterator[Finding]:
    """The files of schemas, and the registry, as far as the settings name them."""
    files: dict[bytes, Any] = {}
    if settings.schemas.path:
        try:
            files = schema_files(settings)
        except ConfigError as error:
            yield Finding("schemas", False, "; ".join(map(str, error.problems)))
        else:
            yield Finding("schemas", True, f"{settings.schemas.path} can be read")
    if settings.schema_registry.url:
        yield from _with_registry(settings, files)
    elif settings.output.schema == "derived":
        try:
            yield from check_derived(settings, files, None, derived_bodies(settings))
        except ConfigError as error:
            yield Finding("privacy", False, "; ".join(map(str, error.problems)))


def _with_registry(settings: Settings, files: Mapping[bytes, Any]) -> Iterator[Finding]:
    try:
        registry = open_registry(settings)
        assert registry is not None  # noqa: S101  there is a URL
        with closing(registry):
            if settings.output.schema == "derived":
                yield from check_derived(settings, files, registry, derived_bodies(settings))
            else:
                yield from _output(settings, registry)
    except ConfigError as error:
        yield Finding(_WHAT, False, "; ".join(map(str, error.problems)))
    except RegistryAway as error:
        yield Finding(_WHAT, False, str(error), "check schema_registry.url, and that the registry is up and reached")
    except RegistryRefused as error:
        remedy = "check schema_registry.auth" if error.denied else "check schema_registry.tls and the registry's rules"
        yield Finding(_WHAT, False, str(error), remedy)
    except RegistryError as error:
        yield Finding(_WHAT, False, str(error))


def _output(settings: Settings, registry: RegistryClient) -> Iterator[Finding]:
    """Whether the worker would have an id for what it writes, and what that would break for whom."""
    if settings.output.format == "json":
        registry.versions(output_subject(settings))
        yield Finding(_WHAT, True, f"{settings.schema_registry.url} answers")
        return
    subject = output_subject(settings)
    found, report = find(registry, subject, ENRICHED_CONTACT.text), examine(registry, subject, ENRICHED_CONTACT.text)
    if found is not None:
        framing_of(settings, found)
        told = f"{subject} has the output's schema, with the id {found.schema_id}"
        broken = f", and versions that it does not go with:\n{report.words}" if report.breaks else ""
        yield Finding(_WHAT, True, told + broken)
        return
    if report.accepted is False:
        remedy = "let whoever owns the subject compare it with `enricher schema show EnrichedContact`"
        yield Finding(_WHAT, False, f"it would not take the output's schema under {subject}:\n{report.words}", remedy)
    elif settings.schema_registry.auto_register:
        yield Finding(_WHAT, True, f"the output's schema will be registered under {subject} at start")
    else:
        remedy = "run `enricher schema publish`, or set schema_registry.auto_register"
        yield Finding(_WHAT, False, f"the output's schema is not registered under {subject}; {report.words}", remedy)
