"""What pydantic says against a value, in the words of a person who writes settings."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from enricher.config.problems import Problem, did_you_mean
from enricher.config.secrets import show
from enricher.config.tree import Leaf

_WORDS = {
    "int_type": ("must be a whole number", None),
    "int_parsing": ("must be a whole number", None),
    "int_from_float": ("must be a whole number", None),
    "float_type": ("must be a number", None),
    "float_parsing": ("must be a number", None),
    "finite_number": ("must be a number", None),
    "bool_type": ("must be true or false", None),
    "bool_parsing": ("must be true or false", None),
    "string_type": ("must be text", "put it in quotes"),
    "tuple_type": ("must be a list", "write a,b or a YAML list"),
    "string_too_short": ("is empty", "leave it out for the default"),
}


def explain(leaf: Leaf, value: Any, origin: str, error: ValidationError) -> Problem:
    """The first thing that is wrong with a setting's value."""
    if value is None or value == "":
        instead = "give it a value" if leaf.required else "give it a value, or leave it out for the default"
        return Problem(leaf.name, None, origin, "has no value", instead)
    message, hint = _words(error.errors(include_url=False)[0], value)
    return Problem(leaf.name, show(leaf.name, value), origin, message, hint)


def _words(detail: ErrorDetails, value: Any) -> tuple[str, str | None]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "bad_setting":
        return context["message"], context["hint"]
    if kind in {"literal_error", "enum"}:
        expected = [name.strip("' ") for name in context["expected"].replace(" or ", ",").split(",")]
        return _choice(expected, value)
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}", None
    if kind in _WORDS:
        return _WORDS[kind]
    return detail["msg"].replace("Input should", "should"), None


def _choice(expected: list[str], value: Any) -> tuple[str, str | None]:
    if len(expected) == 1:
        return f"must be {expected[0]}", None
    return f"must be {', '.join(expected[:-1])} or {expected[-1]}", did_you_mean(str(value), expected)
