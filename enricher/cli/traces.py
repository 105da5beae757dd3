"""Traces as the settings have them. Nothing of OpenTelemetry is imported unless they are on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from enricher.config import Settings

if TYPE_CHECKING:
    from enricher.tracing.provider import Traces


def open_tracing(settings: Settings) -> "Traces | None":
    """What makes and exports traces, if anything does."""
    if not settings.tracing.enabled:
        return None
    from enricher.tracing.provider import open_traces  # noqa: PLC0415  see above

    return open_traces(settings.tracing.endpoint, ratio=settings.tracing.sample_ratio, group=settings.kafka.group_id)


def trace_ids(settings: Settings) -> Callable[[], dict[str, str]] | None:
    """Tells the log the current trace, if there are any."""
    if not settings.tracing.enabled:
        return None
    from enricher.tracing.context import current_ids  # noqa: PLC0415  see above

    return current_ids
