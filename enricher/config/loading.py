"""Puts the sources together, the stronger over the weaker, and refuses what is wrong, all of it at once.

The command line wins over the environment, that over the file, that over the defaults. Maps of librdkafka properties
are put together property by property. Invariants: every setting of the result has an origin; an exception lists every
mistake of every source, even in what a stronger source overrides if its name is wrong.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from enricher.config import properties
from enricher.config.errors import explain
from enricher.config.model import Settings
from enricher.config.problems import NOT_SET, ConfigError, Problem
from enricher.config.rules import contradictions, derived_defaults
from enricher.config.secrets import show
from enricher.config.sources import CONFIG_VARIABLE, Entry, Source, read_environment, read_file, read_overrides
from enricher.config.tree import Leaf, leaves, nest

DEFAULT = "default"
"""The origin of what nobody has set."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each comes from.

    Args:
        settings: the effective ones.
        origins: ``FILE:LINE``, the environment variable's name, ``--set`` or ``default``, by setting
            (``service.url``) and, for what is set in maps, by property (``kafka.properties.client.rack``).
    """

    settings: Settings
    origins: Mapping[str, str]


def load(
    config_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    *,
    beneath: Sequence[Source] = (),
    above: Sequence[Source] = (),
) -> Loaded:
    """Read the settings.

    Args:
        config_file: a YAML file; the one that ``ENRICHER_CONFIG`` names if none.
        environ: the environment; nothing is taken from it if none.
        overrides: ``name=value`` of the command line.
        beneath: further sources, weaker than all others.
        above: further sources, stronger than all others; of these the last one wins.

    Raises:
        ConfigError: it lists every mistake.
    """
    environ = environ or {}
    file = config_file or environ.get(CONFIG_VARIABLE)
    sources = [read_environment(environ), read_overrides(overrides)]
    if file:
        sources.insert(0, read_file(Path(file)))
    sources = [*beneath, *sources, *above]
    problems = [problem for source in sources for problem in source.problems]
    entries = {entry.name: entry for source in sources for entry in source.entries}
    written, found = _validate(entries)
    problems += found
    if problems:
        raise ConfigError(problems)
    origins = dict.fromkeys(leaves(), DEFAULT) | {name: entry.origin for name, entry in entries.items()}
    return Loaded(Settings.model_validate(nest(written)), origins)


def _validate(entries: Mapping[str, Entry]) -> tuple[dict[str, Any], list[Problem]]:
    """The tree's values as they are written, each valid in itself, and everything that is wrong."""
    written: dict[str, Any] = {}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for leaf in leaves().values():
        if leaf.is_map:
            written[leaf.name], found = _properties(leaf, entries)
            values[leaf.name] = written[leaf.name]
            problems += found
        elif leaf.name in entries:
            entry = entries[leaf.name]
            written[leaf.name] = entry.value
            try:
                values[leaf.name] = leaf.adapter.validate_python(entry.value)
            except ValidationError as error:
                problems.append(explain(leaf, entry.value, entry.origin, error))
        elif leaf.required:
            hint = f"set it in the file, as {leaf.variable}=..., or with --set {leaf.name}=..."
            problems.append(Problem(leaf.name, None, NOT_SET, "is required", hint))
        else:
            values[leaf.name] = leaf.default
    for name, derived in derived_defaults(values):
        if name not in entries:
            written[name] = derived
            values[name] = leaves()[name].adapter.validate_python(derived)
    for name, message, hint in contradictions(values):
        origin = entries[name].origin if name in entries else DEFAULT
        shown = leaves()[name].text(values[name]) if name in leaves() else entries[name].value
        problems.append(Problem(name, show(name, shown), origin, message, hint))
    return written, problems


def _properties(leaf: Leaf, entries: Mapping[str, Entry]) -> tuple[dict[str, Any], list[Problem]]:
    """A map of librdkafka properties, put together of all sources."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, entry in entries.items():
        if not name.startswith(f"{leaf.name}."):
            continue
        key = name.removeprefix(f"{leaf.name}.")
        values[key] = entry.value
        wrong = properties.check(key, entry.value)
        if wrong is not None:
            problems.append(Problem(name, show(name, entry.value), entry.origin, *wrong))
    return values, problems
