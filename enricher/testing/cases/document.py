"""YAML with the line of every key and every item of a list, and with what looks like a time left as text.

Invariants: keys are text as it is written; a key that comes twice, a key that is no text, and an alias within itself
are problems.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from enricher.config.problems import Problem
from enricher.config.yaml_file import syntax_problem

Path: TypeAlias = tuple[str | int, ...]
"""Keys, and indices of lists, on the way from the top."""

_TIME = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Times stay text: an event in JSON has no others, and what is expected is compared by whoever knows its type."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIME]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(slots=True)
class Document:
    """A file's values, the line of each, and what is wrong with it."""

    file: str
    values: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: Path) -> str:
        """``FILE:LINE`` of the innermost thing on the way that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines.get(path, 1)}"


def parse_document(text: str, file: str) -> Document:
    """Parse a file's text."""
    document = Document(file)
    loader = _Loader("")
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is not None:
            document.values = _Walk(loader, document).value(root, ())
    except yaml.YAMLError as error:
        document.problems.append(syntax_problem(error, file))
    finally:
        loader.dispose()
    return document


class _Walk:
    """Turns nodes into values."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._within: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: Path) -> Any:
        """The value of a node."""
        if any(node is outer for outer in self._within):
            self._problem(path, node, "is an alias within what it stands for", "write out what is meant")
            return None
        self._within.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._loader.construct_object(node)
        except ValueError:  # what looks like a number of some base and is none
            return node.value
        finally:
            self._within.pop()

    def _item(self, node: yaml.Node, path: Path) -> Any:
        self._document.lines[path] = node.start_mark.line + 1
        return self.value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._check_twice(node, path)
        self._loader.flatten_mapping(node)  # the merge key <<, after which keys may come twice: the last one wins
        values: dict[str, Any] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                here = (*path, key.value)
                self._document.lines[here] = key.start_mark.line + 1
                values[key.value] = self.value(value, here)
        return values

    def _check_twice(self, node: yaml.MappingNode, path: Path) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(path, key, "has a key that is no text", "use names")
            elif key.value in seen:
                message = f"is given twice, first on line {seen[key.value]}"
                self._problem((*path, key.value), key, message, "keep one of them")
            else:
                seen[key.value] = key.start_mark.line + 1

    def _problem(self, path: Path, node: yaml.Node, message: str, hint: str) -> None:
        origin = f"{self._document.file}:{node.start_mark.line + 1}"
        self._document.problems.append(Problem(dotted(path) or self._document.file, None, origin, message, hint))


def dotted(path: Path) -> str:
    """A path as people read it: ``tests[0].expect.output``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
