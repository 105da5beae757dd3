"""What is wrong with a configuration, told so that a person can right it.

Invariant: a ``Problem`` never holds a secret; whoever makes one masks the value first (``enricher.config.secrets``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches

from pydantic_core import PydanticCustomError

from enricher.config.secrets import printable

NOT_SET = "not set"
"""The origin of a setting that nobody gave and that has no default."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Args:
        name: the setting, dotted; or what else is wrong, such as a file's name.
        value: as it was given, secrets masked; none where there is no value to show.
        origin: ``FILE:LINE``, the environment variable's name, ``--set``, ``default`` or ``not set``.
        message: what is wrong with it.
        hint: what would be right.
    """

    name: str
    value: str | None
    origin: str
    message: str
    hint: str | None = None

    def __post_init__(self) -> None:
        for field in ("name", "origin"):  # names come from outside as much as values do
            object.__setattr__(self, field, printable(getattr(self, field)))

    def __str__(self) -> str:
        shown = self.name if self.value is None else f"{self.name} = {self.value}"
        text = f"{shown} ({self.origin}): {self.message}"
        return f"{text}; {self.hint}" if self.hint else text

    def to_json(self) -> Mapping[str, str | None]:
        """The fields by name."""
        return asdict(self)


class ConfigError(Exception):
    """The configuration was refused.

    Attributes:
        problems: every mistake that was found, not only the first.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def bad_value(message: str, hint: str | None = None) -> PydanticCustomError:
    """The error that a validator of a setting raises; ``message`` goes on after the setting's name and value."""
    return PydanticCustomError("bad_setting", "{message}", {"message": message, "hint": hint})


def did_you_mean(given: str, known: Sequence[str]) -> str | None:
    """A hint that names the closest of what is known, if anything is close."""
    by_case = {name.lower(): name for name in known}
    close = get_close_matches(given.lower(), list(by_case), n=1, cutoff=0.6)
    return f"did you mean {by_case[close[0]]}?" if close else None
