"""Settings: what they are (``model``), where they come from (``sources``), what is refused (``loading``, ``rules``).

Its users need ``load`` and the sections of ``Settings``.
"""

from enricher.config.loading import DEFAULT, Loaded, load
from enricher.config.model import (
    Backoff,
    Buffer,
    Delivery,
    Failures,
    Fields,
    Input,
    Kafka,
    Logging,
    Output,
    Service,
    Settings,
    Shutdown,
)
from enricher.config.problems import ConfigError, Problem

__all__ = [
    "DEFAULT",
    "Backoff",
    "Buffer",
    "ConfigError",
    "Delivery",
    "Failures",
    "Fields",
    "Input",
    "Kafka",
    "Loaded",
    "Logging",
    "Output",
    "Problem",
    "Service",
    "Settings",
    "Shutdown",
    "load",
]
