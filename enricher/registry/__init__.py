"""The schema registry (Confluent's REST API): which schemas ids stand for, and the ids of those that we write.

``client`` asks, ``fetcher`` asks for the pipeline while events wait, ``deriving`` does so for derived outputs,
``publishing`` finds or makes the id of a schema that is written, and tells what stands in the way.
"""

from enricher.registry.client import RegistryAway, RegistryClient, RegistryError, RegistryLacks, RegistryRefused
from enricher.registry.deriving import DerivedFetcher
from enricher.registry.fetcher import Fetcher
from enricher.registry.publishing import Registered, Report, SubjectStrategy, ensure, examine, find, publish, subject_of

__all__ = [
    "DerivedFetcher",
    "Fetcher",
    "Registered",
    "RegistryAway",
    "RegistryClient",
    "RegistryError",
    "RegistryLacks",
    "RegistryRefused",
    "Report",
    "SubjectStrategy",
    "ensure",
    "examine",
    "find",
    "publish",
    "subject_of",
]
