"""Keeps log lines that repeat from filling the log: the first few of a kind pass, then one for each while.

Invariants: a kind that was held back says with its next line how many lines there were not; different kinds do not
hold each other back; memory is bounded. Pure: the time is an argument.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

BURST = 5
"""Lines of one kind that pass within one window."""

WINDOW = 10.0
"""Seconds of a window."""

KINDS = 500
"""Kinds that are known at a time; the one that was longest not met is forgotten."""

_NUMBER = re.compile(r"[0-9]+")


Kind: TypeAlias = tuple[str, ...]
"""What counts as the same."""


@dataclass(slots=True)
class _Kind:
    since: float
    passed: int = 0
    held: int = 0


class Repeats:
    """Decides for each line whether it is written."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Kind, _Kind] = OrderedDict()

    def held_before(self, kind: Kind, now: float) -> int | None:
        """How many lines of this kind were held back before this one, which is to be written; None: hold it back."""
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = _Kind(now)
            if len(self._kinds) > KINDS:
                self._kinds.popitem(last=False)
        else:
            self._kinds.move_to_end(kind)
        if now - known.since >= WINDOW:
            known.since, known.passed = now, 0
        if known.passed >= BURST:
            known.held += 1
            return None
        known.passed += 1
        held, known.held = known.held, 0
        return held


def kind_of(level: str, event: Any, fields: Mapping[str, Any]) -> Kind:
    """The kind of a line: level, event without its numbers, and what tells failures apart."""
    told = (str(fields.get(name, "")) for name in ("logger", "code", "kind", "partition", "step"))
    return (level, _NUMBER.sub("#", str(event)[:200]), *told)
