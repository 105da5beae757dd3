"""What had happened by the time of an event, to the millisecond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.as_of import AsOf, offers_until
from enricher.model import Offer


def made(at: int | None, *bundle: Offer) -> Offer:
    """An offer whose outcome was recorded then."""
    return Offer(name=f"of {at}", outcome_time=at, bundle=bundle)


@pytest.mark.parametrize(
    ("as_of", "contact_time", "instant"),
    [(AsOf.NOW, 5, 10), (AsOf.NOW, 15, 10), (AsOf.EVENT, 5, 5), (AsOf.EVENT, 10, 10), (AsOf.EVENT, 15, 10)],
)
def test_the_instant(as_of: AsOf, contact_time: int, instant: int) -> None:
    """The answer's time, or the event's; an event that is dated ahead of the answer cannot be told of its future."""
    assert as_of.instant(contact_time, 10) == instant


def test_it_is_exact_to_the_millisecond() -> None:
    """An outcome at the very instant belongs to it, one a millisecond later does not."""
    offers = (made(999), made(1_000), made(1_001))
    assert offers_until(offers, 1_000) == offers[:2]


def test_an_outcome_without_a_time_may_be_later() -> None:
    """Nobody can tell, and nothing later may be told."""
    assert offers_until((made(None), made(1)), 1_000) == (made(1),)


def test_a_bundle_holds_what_had_happened_too() -> None:
    """Its offers go with it, but for those with a later time of their own, on every level."""
    bundle = made(5, made(None, made(11), made(9)), made(4), made(11))
    assert offers_until((bundle, made(6, made(12)), made(11, made(1))), 10) == (
        made(5, made(None, made(9)), made(4)),
        made(6),
    )


@given(st.lists(st.none() | st.integers(-5, 5)), st.integers(-6, 6))
def test_order_and_everything_else_stay(times: list[int | None], instant: int) -> None:
    """What is kept is the same offers in the same order."""
    offers = tuple(map(made, times))
    kept = offers_until(offers, instant)
    assert kept == tuple(offer for offer in offers if offer.outcome_time is not None and offer.outcome_time <= instant)
