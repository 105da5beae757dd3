"""What a rule about several settings looks like; ``enricher.config.rules`` has them all together."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Contradiction(NamedTuple):
    """The setting that is blamed, what is wrong, and what would be right."""

    name: str
    message: str
    hint: str


Values = Mapping[str, Any]
"""The settings that are right in themselves, by name."""

Rule = Callable[[Values], Iterator[Contradiction]]
