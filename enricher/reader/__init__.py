"""Reads what the worker writes, for those downstream: ``Reader().decode(value)`` gives an ``EnrichedContact``.

Of derived outputs ``decode_event`` gives an ``EnrichedEvent``.

Any framing (single objects, a registry's ids before the value or in a header, JSON), and any released version of the
schema, older and newer ones than this package's own included. It needs no settings and no broker, and imports nothing
of the worker but the schemas; fastavro is all that has to be installed. See docs/downstream.md.
"""

from enricher.reader.reading import Headers, Reader, Registry, Undecodable, UnknownSchema
from enricher.reader.values import (
    CustomerContact,
    EnrichedContact,
    EnrichedEvent,
    Enrichment,
    EnrichmentStatus,
    Offer,
    OfferHistory,
)

__all__ = [
    "CustomerContact",
    "EnrichedContact",
    "EnrichedEvent",
    "Enrichment",
    "EnrichmentStatus",
    "Headers",
    "Offer",
    "OfferHistory",
    "Reader",
    "Registry",
    "Undecodable",
    "UnknownSchema",
]
