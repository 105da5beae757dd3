"""Hypothesis strategies for the values of the model, and for JSON texts."""

import json
from typing import Any

from hypothesis import strategies as st

from enricher.model import Enriched, Enrichment, Event, Offer, OfferHistory, Record, Status

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
FIRST_INSTANT = -62_135_596_800_000
LAST_INSTANT = 253_402_300_799_999

texts = st.text(max_size=20)
"""Any text that UTF-8 can hold: no lone surrogates."""

names = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
"""Texts that are not blank: ids."""

instants = st.integers(FIRST_INSTANT, LAST_INSTANT)
"""Milliseconds since the epoch, in the years 1 to 9999."""

maybe_texts = st.none() | texts

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
"""Any value of JSON."""

json_objects = st.dictionaries(texts, json_values, max_size=5)


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """JSON texts, and texts that nearly are."""
    text = json.dumps(draw(json_values), ensure_ascii=draw(st.booleans()))
    return draw(st.sampled_from((text, text[:-1], f" {text}", f"{text} x", f"\ufeff{text}")))


events = st.builds(
    Event,
    event_id=names,
    customer_id=names,
    contact_time=instants,
    channel=maybe_texts,
    direction=maybe_texts,
    reason=maybe_texts,
    agent_id=maybe_texts,
    attributes=st.dictionaries(texts, texts, max_size=4),
)


def _offers(bundles: st.SearchStrategy[tuple[Offer, ...]]) -> st.SearchStrategy[Offer]:
    return st.builds(
        Offer,
        name=texts,
        issue=texts,
        group=texts,
        channel=texts,
        direction=texts,
        interaction_id=st.none() | INT64,
        external_id=maybe_texts,
        outcome_time=st.none() | instants,
        outcome=texts,
        behaviour=texts,
        identifier=texts,
        bundle=bundles,
    )


offers = st.recursive(
    _offers(st.just(())),
    lambda inner: _offers(st.lists(inner, max_size=2).map(tuple)),
    max_leaves=4,
)
"""Offers, bundles of bundles included."""

histories = st.builds(
    OfferHistory,
    customer_id=names,
    looked_up_at=instants,
    as_of=instants,
    offers=st.lists(offers, max_size=4).map(tuple),
)

enrichments = st.builds(
    Enrichment,
    topic=names,
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    version=texts,
    attempts=st.integers(0, 2**31 - 1),
    status=st.sampled_from(Status),
)

enriched = st.builds(Enriched, contact=events, offer_history=histories, enrichment=enrichments)

headers = st.lists(st.tuples(texts, st.none() | st.binary(max_size=20)), max_size=4)

records = st.builds(
    Record,
    topic=names,
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(-1, LAST_INSTANT),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=200),
    headers=headers,
)
