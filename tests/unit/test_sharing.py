"""Who waits for whose call, and what is kept of answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.model import Offer
from enricher.sharing import NEVER, AnswerCache, Calls, size_of

ONE = (Offer(name="an offer"),)


def test_of_one_customer_one_call_is_under_way() -> None:
    """Who comes meanwhile waits for its end, in order, and others do not."""
    calls: Calls[str] = Calls()
    assert [calls.begin("a", "first"), calls.begin("b", "other")] == [True, True]
    assert [calls.begin("a", "second"), calls.begin("a", "third")] == [False, False]
    assert (len(calls), calls.waiting) == (2, 2)
    assert list(calls.end("b")) == []
    assert list(calls.end("a")) == ["second", "third"]
    assert (len(calls), calls.waiting) == (0, 0)
    assert calls.begin("a", "fourth")


def test_an_answer_is_kept_for_its_time() -> None:
    """Counted from the beginning of the call, for the age of what it tells is counted from there."""
    cache = AnswerCache(10.0, 1 << 20)
    cache.put("a", ONE, 1_234, began=100.0, asked_at=NEVER)
    kept = cache.get("a", 0, 109.9)
    assert kept is not None
    assert (kept.offers, kept.looked_up_at, kept.began, kept.asked_at) == (ONE, 1_234, 100.0, NEVER)
    assert cache.get("b", 0, 109.9) is None
    assert cache.get("a", 0, 110.0) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_by_event_an_answer_serves_what_was_before_it() -> None:
    """A later event needs a later answer, and the kept one stays for the earlier ones."""
    cache = AnswerCache(10.0, 1 << 20, by_event=True)
    cache.put("a", ONE, 1_234, began=0.0, asked_at=1_200)
    assert cache.get("a", 1_200, 1.0) is not None
    assert cache.get("a", 1_201, 1.0) is None
    assert cache.get("a", 1_199, 1.0) is not None


def test_a_new_answer_takes_the_place_of_the_old_one() -> None:
    """And its bytes."""
    cache = AnswerCache(10.0, 1 << 20)
    cache.put("a", ONE * 10, 1, began=0.0, asked_at=NEVER)
    before = cache.bytes
    cache.put("a", ONE, 2, began=1.0, asked_at=NEVER)
    kept = cache.get("a", 0, 2.0)
    assert kept is not None
    assert kept.looked_up_at == 2
    assert 0 < cache.bytes < before


def test_what_was_not_used_for_the_longest_time_goes_first() -> None:
    """And what is larger than everything that may be kept is not kept at all."""
    probe = AnswerCache(10.0, 1 << 20)
    probe.put("a", ONE, 1, began=0.0, asked_at=NEVER)
    cache = AnswerCache(10.0, 2 * probe.bytes)
    for name in ("a", "b"):
        cache.put(name, ONE, 1, began=0.0, asked_at=NEVER)
    assert cache.get("a", 0, 1.0) is not None
    cache.put("c", ONE, 1, began=0.0, asked_at=NEVER)
    cache.put("huge", ONE * 100, 1, began=0.0, asked_at=NEVER)
    assert [name for name in ("a", "b", "c", "huge") if cache.get(name, 0, 1.0) is not None] == ["a", "c"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 6))))
def test_bytes_are_bounded_and_counted(puts: list[tuple[str, int]]) -> None:
    """Whatever is put: the sum is that of what is there."""
    cache = AnswerCache(10.0, 8_000)
    for name, offers in puts:
        cache.put(name, ONE * offers, 0, began=0.0, asked_at=NEVER)
        assert cache.bytes == sum(kept.size for kept in cache._kept.values()) <= 8_000


@pytest.mark.parametrize("bundle", [(), ONE])
def test_a_size_counts_what_is_inside(bundle: tuple[Offer, ...]) -> None:
    """Texts and bundles."""
    small = size_of((Offer(bundle=bundle),))
    assert size_of((Offer(name="x" * 1_000, bundle=bundle),)) >= small + 1_000 - 10
    assert size_of((Offer(bundle=(Offer(name="x" * 1_000),)),)) > 1_000
