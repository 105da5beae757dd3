"""An enriched contact as typed, frozen values. The fields are those of the Avro schema, whose docs tell what they mean.

Instants are ``datetime`` in UTC. Invariant: a field that an older version has not is there with the schema's default.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn


class EnrichmentStatus(StrEnum):
    """How the look-up went. ``NO_HISTORY`` and ``UNAVAILABLE`` (no answer) are different things."""

    ENRICHED = "ENRICHED"
    NO_HISTORY = "NO_HISTORY"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class CustomerContact:
    """One contact between a customer and the company."""

    event_id: str
    customer_id: str
    contact_time: datetime
    channel: str | None = None
    direction: str | None = None
    reason: str | None = None
    agent_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def attribute(self, name: str) -> Any:
        """The value of an attribute: a text, or whatever its JSON text stands for; None if there is none."""
        text = self.attributes.get(name)
        if text is None:
            return None
        try:
            return json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return text


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer that was made to the customer; ``bundle`` has those of a negotiation."""

    name: str = ""
    issue: str = ""
    group: str = ""
    channel: str = ""
    direction: str = ""
    interaction_id: int | None = None
    external_id: str | None = None
    outcome_time: datetime | None = None
    outcome: str = ""
    behaviour: str = ""
    identifier: str = ""
    bundle: tuple["Offer", ...] = ()


@dataclass(frozen=True, slots=True)
class OfferHistory:
    """A customer's offers as the service told them."""

    customer_id: str
    looked_up_at: datetime
    as_of: datetime
    offers: tuple[Offer, ...] = ()


@dataclass(frozen=True, slots=True)
class Enrichment:
    """How the output came about. Topic, partition and offset are the same each time the event is processed."""

    topic: str
    partition: int
    offset: int
    version: str
    attempts: int
    status: EnrichmentStatus = EnrichmentStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class EnrichedEvent:
    """An event of a type of its own, with the customer's offer history (``output.schema: derived``).

    Attributes:
        type: the name of the event's record, with its namespace.
        event: its fields by their names. Dates and times are texts in ISO 8601, decimals ``Decimal``; numbers that JSON
            does not have (NaN) are texts.
        offer_history: the history.
        enrichment: how the output came about.
    """

    type: str
    event: Mapping[str, Any]
    offer_history: OfferHistory
    enrichment: Enrichment


@dataclass(frozen=True, slots=True)
class EnrichedContact:
    """A customer contact with the customer's offer history."""

    contact: CustomerContact
    offer_history: OfferHistory
    enrichment: Enrichment
