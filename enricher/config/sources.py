"""Where settings come from: a YAML file, the environment, the command line.

Each source becomes a list of entries, one for each setting that it gives, and a list of problems. Invariants: nothing
is taken silently: what is no setting is a problem; a problem shows no secret.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enricher.config.problems import Problem
from enricher.config.secrets import MASK, is_secret, show
from enricher.config.tree import PREFIX, closest, leaf_of, leaves, sections

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
"""The environment variable that names the file."""

# Kubernetes gives every container variables of the services of its namespace; for one that is called ``enricher`` they
# look like ours: ENRICHER_SERVICE_HOST, ENRICHER_PORT_8080_TCP_ADDR, ... No setting does: each has a double underscore.
_KUBERNETES = re.compile(
    r"ENRICHER(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting as one source gives it: an entry of a map of properties has the map's name before its own."""

    name: str
    value: Any
    origin: str


@dataclass(slots=True)
class Source:
    """What one source gives, in its order."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, name: str, value: Any, origin: str, written: str | None = None) -> None:
        """Take a value, or note what is wrong with its name. ``written`` is the name as the source has it."""
        leaf = leaf_of(name)
        if leaf is None:
            self.unknown(name, value, origin, written)
        elif not leaf.is_map or name != leaf.name:
            self.entries.append(Entry(name, value, origin))
        else:
            self._add_map(name, value, origin)

    def unknown(self, name: str, value: Any, origin: str, written: str | None = None) -> None:
        """Refuse a name that no setting has."""
        known = closest(name)
        if name in sections():
            names = ", ".join(leaf for leaf in leaves() if leaf.startswith(f"{name}."))
            self.problems.append(Problem(name, show(name, value), origin, "is a group of settings", f"set {names}"))
            return
        hint = "`enricher config --docs` lists all settings"
        if known is not None:
            hint = f"did you mean {known if written is None else PREFIX + known.replace('.', '__').upper()}?"
        shown = None if isinstance(value, Mapping) else show(name, value)
        self.problems.append(Problem(written or name, shown, origin, "there is no such setting", hint))

    def _add_map(self, name: str, value: Any, origin: str) -> None:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = None
        if not isinstance(value, Mapping):
            hint = f'write a map, such as {{"client.rack": "a"}}, or set {name}.client.rack'
            self.problems.append(Problem(name, MASK, origin, "is no map of librdkafka properties", hint))
            return
        for key, item in value.items():
            self.entries.append(Entry(f"{name}.{key}", item, origin))


def read_environment(environ: Mapping[str, str]) -> Source:
    """Every setting in the environment."""
    source = Source()
    in_pod = "KUBERNETES_SERVICE_HOST" in environ
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if in_pod and _KUBERNETES.fullmatch(variable):
            continue
        name = variable.removeprefix(PREFIX).lower().replace("__", ".")
        leaf = leaf_of(name)
        if leaf is not None and leaf.is_map and name != leaf.name:  # no property that people set has an underscore
            name = f"{leaf.name}.{name.removeprefix(f'{leaf.name}.').replace('_', '.')}"
        source.add(name, value, variable, variable)
    return source


def read_overrides(overrides: Sequence[str]) -> Source:
    """Every setting on the command line, each ``name=value``."""
    source = Source()
    for override in overrides:
        name, equals, value = override.partition("=")
        name = name.strip()
        if not equals:
            shown = MASK if is_secret(name) else name
            problem = Problem("--set", shown, "--set", "has no value", "write --set name=value")
            source.problems.append(problem)
        elif name.startswith(("service.", "schema_registry.")) and name in leaves() and is_secret(name):
            hint = f"name a file with {name}_file, or set it in the configuration file or the environment"
            problem = Problem(
                name, MASK, "--set", "is a secret, and every user of the machine sees a command line", hint
            )
            source.problems.append(problem)
        else:
            source.add(name, value, "--set")
    return source


def read_file(path: Path) -> Source:
    """Every setting in a YAML file, with its line."""
    from enricher.config.yaml_file import parse_yaml  # noqa: PLC0415  PyYAML is slow to import, and may not be needed

    source = Source()
    shown = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        source.problems.append(Problem(shown, None, "--config", "is no UTF-8 text", "save it as UTF-8"))
        return source
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        problem = Problem(shown, None, "--config", f"cannot be read: {reason}", "name a file that can be read")
        source.problems.append(problem)
        return source
    parsed = parse_yaml(text, shown)
    source.problems.extend(parsed.problems)
    _take(source, parsed.values, (), parsed.origins)
    return source


def read_tree(values: Mapping[str, Any], origins: Mapping[tuple[str, ...], str]) -> Source:
    """Every setting in groups and maps that were read already; ``origins`` tells where each key stands."""
    source = Source()
    _take(source, values, (), origins)
    return source


def _take(
    source: Source, values: Mapping[str, Any], path: tuple[str, ...], origins: Mapping[tuple[str, ...], str]
) -> None:
    """Descend through the groups and maps; what is within a setting (or within what is none) belongs to it."""
    leaf = leaf_of(".".join(path))
    for key, value in values.items():
        here = (*path, key)
        name = ".".join(here)
        inner = leaf_of(name)
        if "." in key and leaf is None and (inner is not None or name in sections()):
            hint = f"write {key.replace('.', ': ')}, each on a line of its own below the one before"
            source.problems.append(Problem(name, None, origins[here], "has dots within one key", hint))
        elif name not in sections() and (inner is None or not inner.is_map or inner.name != name):
            source.add(name, value, origins[here])
        elif isinstance(value, Mapping):
            _take(source, value, here, origins)
        elif value is not None:  # none: a group whose entries are all commented out
            source.add(name, value, origins[here])
