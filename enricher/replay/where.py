"""``--where``: a small language that chooses events by their fields.

    channel = 'Web' and not reason contains 'test'
    contactTime >= '2026-11-01T00:00Z' and attributes.queue in (1, 2)
    agentId = null or attributes.'odd name'.inner != true

A field is one of the event's (as in ``CustomerContact``), or ``attributes.`` and a name, and further names inside an
object. A value is a text in quotes (a quote within it is doubled), a number, ``true``, ``false`` or ``null``.
``not`` binds more than ``and``, that more than ``or``.

Invariants: nothing is evaluated but these comparisons; values of different kinds are never equal and never in an
order, so that a missing field passes ``= null`` and ``!=`` alone; parsing takes bounded time and depth. Pure.
"""

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from enricher.codec.attributes import attribute_value
from enricher.model import Event

Test: TypeAlias = Callable[[Event], bool]

LONGEST = 2_000
"""Characters of an expression: it is kept with the replay, in a commit's metadata."""

DEEPEST = 40
"""Parentheses, and ``not``, within each other."""

_FIELDS = {
    "eventId": "event_id",
    "customerId": "customer_id",
    "contactTime": "contact_time",
    "channel": "channel",
    "direction": "direction",
    "reason": "reason",
    "agentId": "agent_id",
}
_WORDS = ("and", "or", "not", "in", "contains", "true", "false", "null")
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CONSTANTS = {"true": True, "false": False, "null": None}
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|!=|==|[=<>(),.]))"
)


class BadExpression(ValueError):  # noqa: N818  says what it is
    """It is no expression; the message says where and what was expected."""


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse_where(text: str) -> Test:
    """The test that an expression stands for.

    Raises:
        BadExpression: it is none.
    """
    if len(text) > LONGEST:
        raise BadExpression(f"has {len(text):,} characters, and at most {LONGEST:,} are allowed")
    return _Parser(text).parse()


def _tokens(text: str) -> list[_Token]:
    tokens = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            what = "a text that does not end" if text[start] in "'\"" else f"{text[start]!r}, which means nothing here"
            raise BadExpression(f"has, at character {start + 1}, {what}")
        kind = str(found.lastgroup)
        word, start = found[kind], found.start(kind)
        if kind == "name" and word.lower() in _WORDS:
            kind, word = "word", word.lower()
        tokens.append(_Token(kind, word, start))
        at = found.end()
    return [*tokens, _Token("end", "", end)]


class _Parser:
    """Recursive descent: a method for each level of binding."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Test:
        test = self._any()
        if self._next.kind != "end":
            raise self._unexpected("and, or, or the end")
        return test

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, kind: str, *texts: str) -> str | None:
        token = self._next
        if token.kind == kind and (not texts or token.text in texts):
            self._at += 1
            return token.text
        return None

    def _unexpected(self, what: str) -> BadExpression:
        token = self._next
        found = "its end" if token.kind == "end" else token.text
        return BadExpression(f"has, at character {token.at + 1}, {found} where {what} was expected")

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("word", "or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda event: any(test(event) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("word", "and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda event: all(test(event) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadExpression(f"goes deeper than {DEEPEST} levels")
        if self._take("word", "not"):
            denied = self._one()
            test: Test = lambda event: not denied(event)  # noqa: E731  as its siblings
        elif self._take("sign", "("):
            test = self._any()
            if not self._take("sign", ")"):
                raise self._unexpected(")")
        else:
            test = self._comparison()
        self._depth -= 1
        return test

    def _comparison(self) -> Test:
        field, is_time = self._field()
        if self._take("word", "in"):
            return _is_in(field, self._list(is_time=is_time))
        if self._take("word", "contains"):
            part = self._value(is_time=False)
            if not isinstance(part, str):
                self._at -= 1
                raise self._unexpected("a text in quotes")
            return lambda event: isinstance(value := field(event), str) and part in value
        sign = self._take("sign", "=", "==", "!=", *_ORDERS)
        if sign is None:
            raise self._unexpected("=, !=, <, <=, >, >=, in or contains")
        value = self._value(is_time=is_time)
        if sign in _ORDERS:
            return _in_order(field, _ORDERS[sign], value)
        if sign == "!=":
            return lambda event: not _same(field(event), value)
        return lambda event: _same(field(event), value)

    def _field(self) -> tuple[Callable[[Event], Any], bool]:
        at = self._at
        name = self._take("name")
        if name in _FIELDS:
            attribute = _FIELDS[name]
            return operator.attrgetter(attribute), name == "contactTime"
        if name != "attributes" or not self._take("sign", "."):
            self._at = at
            raise self._unexpected(f"a field ({', '.join(_FIELDS)}, or attributes.NAME)")
        path = [self._name()]
        while self._take("sign", "."):
            path.append(self._name())
        return lambda event: _attribute(event, path), False

    def _name(self) -> str:
        for kind in ("name", "word", "number"):
            if (name := self._take(kind)) is not None:
                return name
        if (text := self._take("text")) is not None:
            return _unquoted(text)
        raise self._unexpected("the name of an attribute")

    def _list(self, *, is_time: bool) -> list[Any]:
        if not self._take("sign", "("):
            raise self._unexpected("( and a list of values")
        values = [self._value(is_time=is_time)]
        while self._take("sign", ","):
            values.append(self._value(is_time=is_time))
        if not self._take("sign", ")"):
            raise self._unexpected(", or )")
        return values

    def _value(self, *, is_time: bool) -> Any:
        if (number := self._take("number")) is not None:
            return float(number) if "." in number else int(number)
        if (word := self._take("word", *_CONSTANTS)) is not None:
            return _CONSTANTS[word]
        if self._next.kind != "text":
            raise self._unexpected("a text in quotes, a number, true, false or null")
        text = _unquoted(self._next.text)
        if is_time:
            try:
                time = datetime.fromisoformat(text)
            except ValueError:
                raise self._unexpected("a time such as '2026-11-01T00:00Z'") from None
            self._at += 1
            return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
        self._at += 1
        return text


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)


def _attribute(event: Event, path: list[str]) -> Any:
    text = event.attributes.get(path[0])
    value = None if text is None else attribute_value(text)
    for name in path[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _kind(value: Any) -> str:
    """Numbers are of one kind; true and false, which Python takes for numbers, are of their own."""
    if value is None or isinstance(value, bool):
        return type(value).__name__
    return "text" if isinstance(value, str) else "number"


def _same(value: Any, other: Any) -> bool:
    return _kind(value) == _kind(other) and bool(value == other)


def _is_in(field: Callable[[Event], Any], values: list[Any]) -> Test:
    return lambda event: any(_same(field(event), value) for value in values)


def _in_order(field: Callable[[Event], Any], order: Callable[[Any, Any], bool], limit: Any) -> Test:
    kind = _kind(limit)
    if kind not in ("text", "number"):
        raise BadExpression("compares with <, <=, > or >= what has no order; write = or !=")

    def test(event: Event) -> bool:
        value = field(event)
        return _kind(value) == kind and not isinstance(value, dict | list) and order(value, limit)

    return test
