"""Reads files of cases.

Invariants: a ``Suite`` that exists is whole, and the settings of its cases are valid; every mistake of a file is told
at once, with its line. The environment has no say: a file means the same everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from enricher.config import ConfigError, Problem, Settings, load
from enricher.config.problems import did_you_mean
from enricher.config.sources import Source, read_tree
from enricher.testing.cases.document import Document, Path, dotted, parse_document
from enricher.testing.cases.model import FIELDS, Answer, Case, File

_UNUSED = {
    "kafka.bootstrap_servers": "localhost:9092",
    "input.topics": "contacts",
    "output.topic": "enriched",
    "service.url": "http://localhost/CustomerOfferHistory",
}
"""Settings that must be given to a worker, and need not be to a test."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case with its settings, and the line at which it begins."""

    case: Case
    settings: Settings
    answers: Mapping[str, tuple[Answer, ...]]
    line: int


@dataclass(frozen=True, slots=True)
class Suite:
    """A file of cases."""

    file: str
    tests: tuple[Prepared, ...]


def load_suite(path: FilePath) -> Suite:
    """Read a file of cases.

    Raises:
        ConfigError: it lists every mistake.
    """
    shown = str(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError([Problem(shown, None, shown, "is no UTF-8 text", "save it as UTF-8")]) from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigError([Problem(shown, None, shown, f"cannot be read: {reason}", "name a file of tests")]) from None
    document = parse_document(text, shown)
    if document.problems:
        raise ConfigError(document.problems)
    if not isinstance(document.values, dict):
        right = "write tests: and, indented below it, a list of tests"
        raise ConfigError([Problem(shown, None, f"{shown}:1", "is no file of tests", right)])
    try:
        file = File.model_validate(document.values)
    except ValidationError as error:
        raise ConfigError(_explained(document, error)) from None
    problems: list[Problem] = []
    tests = tuple(
        Prepared(case, settings, {**file.answers, **case.answers}, document.lines["tests", index])
        for index, case in enumerate(file.tests)
        if (settings := _settings(document, path, file, index, problems)) is not None
    )
    problems += _topics(document, tests)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return Suite(shown, tests)


def _settings(document: Document, path: FilePath, file: File, index: int, problems: list[Problem]) -> Settings | None:
    """The settings of a case: of the file that the suite names, of the suite, of the case; the last one wins."""
    places: tuple[tuple[Path, Mapping[str, Any]], ...] = (
        (("settings",), file.settings),
        (("tests", index, "settings"), file.tests[index].settings),
    )
    unused = Source()
    for name, value in _UNUSED.items():
        unused.add(name, value, "test")
    try:
        return load(
            path.parent / file.config if file.config else None,
            beneath=[unused],
            above=[read_tree(values, _origins(document, place)) for place, values in places],
        ).settings
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def _origins(document: Document, place: Path) -> dict[tuple[str, ...], str]:
    """Where the keys below a place stand, by their path from there."""
    return {
        tuple(map(str, path[len(place) :])): document.origin(path)
        for path in document.lines
        if path[: len(place)] == place
    }


def _topics(document: Document, tests: tuple[Prepared, ...]) -> list[Problem]:
    """Inputs of topics that are not read."""
    found = []
    for index, test in enumerate(tests):
        for number, given in enumerate(test.case.input):
            if given.topic and given.topic not in test.settings.input.topics:
                place: Path = ("tests", index, "input", number, "topic")
                topics = ", ".join(test.settings.input.topics)
                hint = f"input.topics has {topics}"
                found.append(Problem(dotted(place), given.topic, document.origin(place), "is not read", hint))
    return found


_KINDS: Mapping[str, str] = {
    "missing": "is required",
    "too_short": "is empty",
    "string_too_short": "is empty",
    "model_type": "must be a map",
    "dict_type": "must be a map",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
}


def _explained(document: Document, error: ValidationError) -> list[Problem]:
    """What is wrong, in the words of a person who writes tests."""
    problems = []
    for detail in error.errors(include_url=False):
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "too_short" and detail["input"]:
            continue  # pydantic counts the items that are right; what is wrong with the others is told
        place = _place(document, detail["loc"])
        message, hint = _KINDS.get(kind), None
        if kind == "bad_setting":
            message, hint = context["message"], context["hint"]
        elif kind == "extra_forbidden":
            message, hint = "there is no such field", did_you_mean(str(place[-1]), FIELDS)
        elif kind == "literal_error":
            message = f"must be {context['expected'].replace(chr(39), '')}"
        message = message or detail["msg"].replace("Input should", "should")
        plain = isinstance(detail["input"], str | int | float) and kind != "missing"
        value = str(detail["input"])[:80] if plain else None
        problems.append(Problem(dotted(place) or document.file, value, document.origin(place), message, hint))
    return problems


def _place(document: Document, location: tuple[str | int, ...]) -> Path:
    """Where it stands: pydantic counts the items of a list also where one thing stands in place of a list."""
    place: Path = ()
    for part in location:
        if (*place, part) in document.lines or not isinstance(part, int):
            place = (*place, part)
    return place
