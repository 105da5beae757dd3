"""What is logged, and how: one event a line to stderr, as JSON or for people.

structlog's events and those of the standard library's loggers (of libraries) look the same. Invariants: a filtered
event costs next to nothing; local variables never get into a log, nor URLs of look-ups (a GET has the customer's id in
its query, and httpx logs each request's URL); an stderr that is gone does not disturb the worker.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

    from enricher.config import Logging

_TALKATIVE = ("httpx", "httpcore", "hpack", "urllib3", "pyreqwest")
"""Libraries that log URLs, headers or bodies below WARNING."""


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
        _Stderr().write(self.format(record))


def configure(settings: "Logging") -> None:
    """Log as the settings say, from now on."""
    level: int = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering = _rendering(settings.format)
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


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
