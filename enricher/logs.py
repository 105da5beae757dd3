"""What is logged, and how: one event a line to stderr, as JSON or for people.

structlog's events and those of the standard library's loggers (of libraries) look the same. The level may be changed
while the program runs. Invariants: a filtered event costs some microseconds, and none is written for each event of the
input; what repeats does not fill the log; local variables never get into a log, nor URLs of look-ups (a GET has the
customer's id in its query, and httpx logs each request's URL); an stderr that is gone does not disturb the worker.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from enricher.repeats import Repeats, kind_of

if TYPE_CHECKING:
    from structlog.typing import Processor

    from enricher.config import Logging

_TALKATIVE = ("httpx", "httpcore", "httpx2", "httpcore2", "hpack", "urllib3", "pyreqwest")
"""Libraries that log URLs, headers or bodies below WARNING."""


class _Level:
    """The least severe level that is shown; set while the program runs."""

    number = logging.INFO


class _Stderr:
    """Writes lines to what ``sys.stderr`` is at that moment."""

    def write(self, line: str) -> None:
        """One write call for one line, so that lines of several threads do not mix."""
        with suppress(OSError, ValueError):  # closed, or a pipe that nobody reads
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg = log = write


class _Handler(logging.Handler):
    """The standard library's way to the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(structlog.DropEvent):
            _Stderr().write(self.format(record))


def configure(settings: "Logging", *, trace_ids: Callable[[], dict[str, str]] | None = None) -> None:
    """Log as the settings say, from now on.

    Args:
        settings: level and format.
        trace_ids: gives fields that tell the current trace, where there is one.
    """
    first: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level]
    then: list[Processor] = [_Repeated(), structlog.processors.TimeStamper(fmt="iso", utc=True)]
    if trace_ids is not None:
        then.append(_with(trace_ids))
    rendering = _rendering(settings.format)
    structlog.configure(
        processors=[_filter, *first, *then, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, structlog.stdlib.add_logger_name, *then],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.captureWarnings(True)
    set_level(settings.level)


def set_level(name: str) -> None:
    """Show events of this level and above from now on."""
    _Level.number = level = logging.getLevelNamesMapping()[name.upper()]
    logging.getLogger().setLevel(level)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(max(level, logging.WARNING))


def toggle_debug(settings: "Logging") -> str:
    """Show everything, or again what the settings say; returns the level's name."""
    name = settings.level if _Level.number == logging.DEBUG != _number(settings.level) else "debug"
    set_level(name)
    return name


def _number(name: str) -> int:
    return logging.getLevelNamesMapping()[name.upper()]


def _filter(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The level, which a bound logger that was made before cannot know of."""
    if _number("error" if method == "exception" else method) < _Level.number:
        raise structlog.DropEvent
    return event


class _Repeated:
    """Holds back what repeats, whatever thread it comes from.

    Our own lines below a warning tell single events (a rebalance, a start), and debug is for who wants to see all.
    """

    def __init__(self) -> None:
        self._repeats = Repeats()
        self._lock = threading.Lock()

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event["level"] == "debug" or (event["level"] == "info" and "logger" not in event):
            return event
        kind = kind_of(event["level"], event.get("event"), event)
        with self._lock:
            held = self._repeats.held_before(kind, time.monotonic())
        if held is None:
            raise structlog.DropEvent
        if held:
            event["held_back"] = held
        return event


def _with(fields: Callable[[], dict[str, str]]) -> "Processor":
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(fields())
        return event

    return add


def _rendering(form: str) -> "list[Processor]":
    if form == "console":
        return [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        ]
    return [structlog.processors.format_exc_info, _order, structlog.processors.JSONRenderer()]


def _order(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What every line has stands first."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return {**first, **event}
