"""YAML with the line of every key, and with every mistake that PyYAML would pass over.

Invariant: no problem quotes the file's text, which may hold secrets.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml

from enricher.config.problems import Problem


@dataclass(slots=True)
class Parsed:
    """The file's map, and where (``FILE:LINE``) each of its keys stands, by the keys on the way to it."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, ...], str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse_yaml(text: str, file: str) -> Parsed:
    """Parse a file's text. Keys that come twice, that are no text, and what is no YAML are problems."""
    parsed = Parsed()
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None or root.tag == "tag:yaml.org,2002:null":
            return parsed
        if not isinstance(root, yaml.MappingNode):
            right = "write groups of settings, such as kafka: and, indented below it, bootstrap_servers: host:9092"
            parsed.problems.append(Problem(file, None, f"{file}:1", "is no map of settings", right))
            return parsed
        parsed.values = _Walk(loader, parsed, file).mapping(root, ())
    except yaml.YAMLError as error:
        parsed.problems.append(syntax_problem(error, file))
    finally:
        loader.dispose()
    return parsed


def syntax_problem(error: yaml.YAMLError, file: str) -> Problem:
    """What is wrong with a file that is no YAML, and where."""
    if not isinstance(error, yaml.MarkedYAMLError):  # a character that YAML does not allow
        return Problem(file, None, file, "is no YAML: it holds a control character", "remove it")
    mark = error.problem_mark or error.context_mark
    origin = file if mark is None else f"{file}:{mark.line + 1}"
    reason = error.problem or "it cannot be read"
    if r"'\t'" in reason:
        return Problem(file, None, origin, "is no YAML: a tab where only spaces may stand", "indent with spaces")
    if "but found another document" in reason:
        return Problem(file, None, origin, "holds several documents", "leave out the line ---")
    column = "" if mark is None else f" at column {mark.column + 1}"
    # PyYAML quotes the names of anchors and tags and single characters, never a value
    return Problem(file, None, origin, f"is no YAML: {reason}{column}", "check indentation, colons and quotes")


class _Walk:
    """Turns nodes into values, noting lines and mistakes."""

    def __init__(self, loader: yaml.SafeLoader, parsed: Parsed, file: str) -> None:
        self._loader = loader
        self._parsed = parsed
        self._file = file
        self._within: list[yaml.Node] = []

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        """The map of a node."""
        values: dict[str, Any] = {}
        self._check_twice(node, path)
        self._loader.flatten_mapping(node)  # the merge key <<, after which keys may come twice: the last one wins
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str) or not isinstance(key_node, yaml.ScalarNode):
                continue  # noted already
            here = (*path, key)
            self._parsed.origins[here] = f"{self._file}:{key_node.start_mark.line + 1}"
            values[key] = self._value(value_node, here)
        return values

    def _check_twice(self, node: yaml.MappingNode, path: tuple[str, ...]) -> None:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            origin = f"{self._file}:{line}"
            if not isinstance(key_node, yaml.ScalarNode):
                name = ".".join(path) or self._file
                self._parsed.problems.append(Problem(name, None, origin, "has a key that is no text", "use names"))
            elif key_node.value in seen:
                name = ".".join((*path, key_node.value))
                message = f"is given twice, first on line {seen[key_node.value]}"
                self._parsed.problems.append(Problem(name, None, origin, message, "keep one of them"))
            else:
                seen[key_node.value] = line

    def _value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        if any(node is outer for outer in self._within):
            message = "is an alias within what it stands for"
            name, origin = ".".join(path), self._parsed.origins[path]
            self._parsed.problems.append(Problem(name, None, origin, message, "write out what is meant"))
            return {}
        self._within.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            return self._loader.construct_object(node, deep=True)
        except ValueError:  # what looks like a date and is none, for example 2026-99-99
            return node.value
        finally:
            self._within.pop()
