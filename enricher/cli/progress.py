"""How far a long command is: a bar on a terminal, a plain line now and then without one. All of it to stderr.

Invariant: rate and time left are those of the last seconds, so that a pause shows; nothing is written more often than
a person can read.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

PLAIN_EVERY = 10.0
"""Seconds between two lines without a terminal."""

WINDOW = 15.0
"""Seconds that rate and time left are taken from."""


class Figures(NamedTuple):
    """How far it is.

    Attributes:
        done, total: offsets.
        events: that came to an end.
        failed: of those, that became dead letters.
        retries: attempts that failed and are made again.
    """

    done: int
    total: int
    events: int = 0
    failed: int = 0
    retries: int = 0


class Pace(NamedTuple):
    """How fast it is: events per second, and seconds left, if anything moves."""

    rate: float
    left: float | None


class Meter:
    """Tells the pace of the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Figures]] = deque()

    def pace(self, figures: Figures, now: float) -> Pace:
        """The pace, given the figures of this moment (seconds, monotonic)."""
        self._seen.append((now, figures))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:  # noqa: PLR2004  two make an interval
            self._seen.popleft()
        then, before = self._seen[0]
        if now <= then:
            return Pace(0.0, None)
        speed = (figures.done - before.done) / (now - then)
        left = (figures.total - figures.done) / speed if speed > 0 else None
        return Pace((figures.events - before.events) / (now - then), left)


def clock(seconds: float | None) -> str:
    """A duration as 1:02:03 or 02:03."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(figures: Figures, pace: Pace) -> str:
    """The figures in words."""
    words = [f"{figures.events:,} events", f"{pace.rate:,.0f}/s", f"{clock(pace.left)} left"]
    if figures.failed:
        words.append(f"{figures.failed:,} failed")
    if figures.retries:
        words.append(f"{figures.retries:,} retries")
    return ", ".join(words)


def share(figures: Figures) -> int:
    """Per cent that are done, rounded down: 100 is said of the end alone."""
    return 100 * figures.done // figures.total if figures.total else 100


@contextmanager
def progress(name: str, label: str = "") -> Iterator[Callable[[Figures], None]]:
    """Shows what it is told until the end of the ``with``; tell it as often as you like.

    Args:
        name: stands before each plain line.
        label: stands before the bar, where there is more than one.
    """
    if sys.stderr.isatty():
        with _bar(label) as bar:
            yield bar
    else:
        yield _Lines(name)


class _Lines:
    """A line every ``PLAIN_EVERY`` seconds; the first one when that time has passed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._meter = Meter()
        self._told = time.monotonic()

    def __call__(self, figures: Figures) -> None:
        now = time.monotonic()
        pace = self._meter.pace(figures, now)
        if now - self._told >= PLAIN_EVERY:
            self._told = now
            sys.stderr.write(
                f"{self._name}: {share(figures)} % ({figures.done:,} of {figures.total:,} offsets), "
                f"{describe(figures, pace)}\n"
            )
            sys.stderr.flush()


@contextmanager
def _bar(label: str) -> Iterator[Callable[[Figures], None]]:
    from rich.console import Console  # noqa: PLC0415  without a terminal nobody needs it
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(bar_width=None), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[words]}"))
    named = (TextColumn(label), *columns) if label else columns
    console = Console(stderr=True, highlight=False)
    with Progress(*named, console=console, expand=True, refresh_per_second=4) as bars:
        task = bars.add_task("", total=None, words="")
        meter = Meter()

        def tell(figures: Figures) -> None:
            words = describe(figures, meter.pace(figures, time.monotonic()))
            bars.update(task, completed=figures.done, total=figures.total, words=words)

        yield tell
