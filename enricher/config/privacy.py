"""The settings of what is kept from those downstream."""

from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from enricher.config.contradiction import Contradiction, Rule, Values
from enricher.config.credential_rules import needs
from enricher.config.problems import bad_value
from enricher.config.transport import Text
from enricher.config.values import Section, split
from enricher.privacy import EVENT, Action, why_not

_LIST = {"type": "string", "minLength": 1}
_SCHEMA = WithJsonSchema({"anyOf": [{"type": "array", "items": _LIST}, {"type": "string"}]})


def _checked(action: Action) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    def check(paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            reason = why_not(path, action)
            if reason is not None:
                raise bad_value(f"holds {path}, which {reason}", "write paths such as contact.agentId")
        return paths

    return check


_Paths = Annotated[tuple[str, ...], BeforeValidator(split), _SCHEMA]
Dropped = Annotated[_Paths, AfterValidator(_checked(Action.DROP))]
Hashed = Annotated[_Paths, AfterValidator(_checked(Action.HASH))]
Masked = Annotated[_Paths, AfterValidator(_checked(Action.MASK))]


class Privacy(Section):
    """What is kept from those downstream: fields by their paths in the output."""

    drop: Dropped = Field(
        default=(), description="Fields to leave out, such as `contact.agentId` or `contact.attributes.phone`."
    )
    hash: Hashed = Field(
        default=(), description="Fields to replace by their HMAC-SHA-256 with the key: equal values stay equal."
    )
    mask: Masked = Field(
        default=(), description="Fields of which only the last 4 characters stay; of short ones, none."
    )
    key_file: Text = Field(default="", description="File with the key of the hashes, of 16 bytes or more.")

    def rules(self) -> dict[str, Action]:
        """By path, what becomes of each field."""
        named = {Action.DROP: self.drop, Action.HASH: self.hash, Action.MASK: self.mask}
        return {path: action for action, paths in named.items() for path in paths}


def _once(values: Values) -> Iterator[Contradiction]:
    """A field that is named twice is one of two things."""
    seen: dict[str, str] = {}
    for action in Action:
        for path in values.get(f"privacy.{action}") or ():
            if path in seen:
                message = f"names {path}, and so does {seen[path]}"
                yield Contradiction(f"privacy.{action}", message, "name each field once")
            seen[path] = f"privacy.{action}"


def _of_the_output(values: Values) -> Iterator[Contradiction]:
    """A path that no output has would keep nothing back."""
    schema = values.get("output.schema")
    foreign = {"derived": "contact.", "contact": EVENT}.get(schema or "")
    for action in Action:
        for path in values.get(f"privacy.{action}") or ():
            if foreign is not None and path.startswith(foreign):
                message = f"names {path}, and with output.schema: {schema} outputs have no {foreign.rstrip('.')}"
                right = "contact.NAME" if schema == "contact" else f"{EVENT}NAME, as in the input's schema"
                yield Contradiction(f"privacy.{action}", message, f"write {right}")


PRIVACY_RULES: tuple[Rule, ...] = (
    _once,
    _of_the_output,
    needs("privacy.hash", "privacy.key_file"),
    needs("privacy.key_file", "privacy.hash"),
)
