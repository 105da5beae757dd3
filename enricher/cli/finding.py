"""What ``enricher check`` found."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    ok: bool
    message: str
    remedy: str = ""
