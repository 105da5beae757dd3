"""The schema registry (Confluent's REST API): which schemas ids stand for, and the ids of those that we write.

``client`` asks, ``fetcher`` asks for the pipeline while events wait, ``publishing`` finds or makes the id of a schema
that is written, and tells what stands in the way.
"""

from enricher.registry.client import RegistryAway, RegistryClient, RegistryError, RegistryRefused
from enricher.registry.fetcher import Fetcher
from enricher.registry.publishing import Registered, Report, SubjectStrategy, ensure, examine, find, publish, subject_of

__all__ = [
    "Fetcher",
    "Registered",
    "RegistryAway",
    "RegistryClient",
    "RegistryError",
    "RegistryRefused",
    "Report",
    "SubjectStrategy",
    "ensure",
    "examine",
    "find",
    "publish",
    "subject_of",
]
