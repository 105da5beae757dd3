"""The lanes, held against a list of all works that anyone can check by eye."""

from collections.abc import Hashable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enricher.model import TopicPartition
from enricher.scheduler import Order, Scheduler

PARTITIONS = [TopicPartition("contacts", 0), TopicPartition("contacts", 1), TopicPartition("others", 0)]


@dataclass(eq=False)
class Item:
    """A work, and what the model knows of it."""

    source: TopicPartition
    key: bytes | None
    state: str = field(default="queued", kw_only=True)  # queued, ready, in flight, deferred
    due: float = field(default=0.0, kw_only=True)


def lane_of(order: Order, item: Item) -> Hashable:
    """Works with one identity are kept in order."""
    match order:
        case Order.KEY:
            return item if item.key is None else (item.source, item.key)
        case Order.PARTITION:
            return item.source
        case Order.NONE:
            return item


class Lanes(RuleBasedStateMachine):
    """Events come, are looked up, fail, end; partitions go and come back.

    The model is the list of all works in the order in which they came, and that of the ready ones.
    """

    @initialize(order=st.sampled_from(Order))
    def begin(self, order: Order) -> None:
        """One order for all."""
        self.order = order
        self.scheduler: Scheduler[Item] = Scheduler(order)
        self.now = 0.0
        self.live: list[Item] = []
        self.ready: list[Item] = []
        self.deferred: list[Item] = []

    def now_ready(self) -> None:
        """A work that no earlier one of its lane holds up becomes ready."""
        lanes = set()
        for item in self.live:
            lane = lane_of(self.order, item)
            if lane not in lanes and item.state == "queued":
                item.state = "ready"
                self.ready.append(item)
            lanes.add(lane)

    def in_flight(self) -> list[Item]:
        """The works being looked up."""
        return [item for item in self.live if item.state == "in flight"]

    @rule(source=st.sampled_from(PARTITIONS), keys=st.lists(st.sampled_from([None, b"", b"a", b"b"]), max_size=5))
    def admit(self, source: TopicPartition, keys: list[bytes | None]) -> None:
        """A batch of records was decoded; also of a partition that was revoked before and came back."""
        for key in keys:
            item = Item(source, key)
            self.live.append(item)
            self.scheduler.admit(item)
            self.now_ready()

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        """The oldest ready work is taken, after those that were deferred until now have joined."""
        for _ in range(count):
            for item in sorted((item for item in self.deferred if item.due <= self.now), key=lambda item: item.due):
                item.state = "ready"
                self.deferred.remove(item)
                self.ready.append(item)
            taken = self.scheduler.take(self.now)
            expected = self.ready.pop(0) if self.ready else None
            assert taken is expected
            if taken is not None:
                taken.state = "in flight"

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data(), delay=st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0]))
    def defer(self, data: st.DataObject, delay: float) -> None:
        """A look-up failed and is to be made again."""
        item = data.draw(st.sampled_from(self.in_flight()))
        item.state, item.due = "deferred", self.now + delay
        self.deferred.append(item)
        self.scheduler.defer(item, item.due)

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        """A look-up ended, also one of a partition that has gone since."""
        item = data.draw(st.sampled_from(self.in_flight()))
        self.live.remove(item)
        self.scheduler.complete(item)
        self.now_ready()

    @rule(partitions=st.sets(st.sampled_from(PARTITIONS)))
    def revoke(self, partitions: set[TopicPartition]) -> None:
        """Of a partition that goes nothing stays but what is in flight; other partitions' works stay as they were."""
        dropped = self.scheduler.revoke(partitions)
        gone = [item for item in self.live if item.source in partitions and item.state != "in flight"]
        assert len(dropped) == len(gone)
        assert set(dropped) == set(gone)
        for items in (self.live, self.ready, self.deferred):
            items[:] = [item for item in items if item not in gone]

    @invariant()
    def counts_are_right(self) -> None:
        """Every number that the scheduler tells."""
        scheduler = self.scheduler
        assert scheduler.in_flight == len(self.in_flight())
        assert scheduler.ready == len(self.ready)
        assert scheduler.waiting == len(self.live) - len(self.in_flight())
        assert scheduler.due == min((item.due for item in self.deferred), default=None)
        lanes = {lane for item in self.live if (lane := lane_of(self.order, item)) is not item}
        assert scheduler.lanes == len(lanes)

    @invariant()
    def one_work_of_a_lane_is_active(self) -> None:
        """Ready, in flight and deferred works are all of different lanes (the model's own check)."""
        active = [lane_of(self.order, item) for item in self.live if item.state != "queued"]
        assert len(active) == len(set(active))

    def teardown(self) -> None:
        """Everything can be finished, and then nothing is left: no work lost, no lane left behind."""
        if not hasattr(self, "scheduler"):
            return
        self.now += 1e9
        while self.live:
            self.take(1)
            for item in self.in_flight():
                self.live.remove(item)
                self.scheduler.complete(item)
                self.now_ready()
        self.counts_are_right()
        assert self.scheduler.take(self.now) is None
        assert (self.scheduler.in_flight, self.scheduler.waiting, self.scheduler.lanes) == (0, 0, 0)


TestLanes = Lanes.TestCase
TestLanes.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

P0, P1 = PARTITIONS[:2]


def taken(scheduler: Scheduler[Item], now: float = 0.0) -> list[Item]:
    """All works that can be taken."""
    items = []
    while (item := scheduler.take(now)) is not None:
        items.append(item)
    return items


@pytest.mark.parametrize(("order", "at_once"), [(Order.KEY, 5), (Order.PARTITION, 2), (Order.NONE, 7)])
def test_the_orders_differ_in_what_may_overtake(order: Order, at_once: int) -> None:
    """Of seven works: by key (no key, two keys, one of them in two partitions), by partition, or all at once."""
    scheduler: Scheduler[Item] = Scheduler(order)
    items = [
        Item(P0, None),
        Item(P0, None),
        Item(P0, b"a"),
        Item(P0, b"a"),
        Item(P0, b"b"),
        Item(P0, b"b"),
        Item(P1, b"a"),
    ]
    for item in items:
        scheduler.admit(item)
    assert len(taken(scheduler)) == at_once
    assert scheduler.in_flight == at_once


def test_the_order_is_by_key_unless_told_otherwise() -> None:
    """As the setting's default has it."""
    scheduler: Scheduler[Item] = Scheduler()
    first, second, other = Item(P0, b"a"), Item(P0, b"a"), Item(P0, b"b")
    for item in (first, second, other):
        scheduler.admit(item)
    assert taken(scheduler) == [first, other]


def test_a_deferred_work_holds_its_lane_but_no_place_in_flight() -> None:
    """What keeps failing lets others pass, yet not those of its own key."""
    scheduler: Scheduler[Item] = Scheduler()
    failing, behind, other = Item(P0, b"a"), Item(P0, b"a"), Item(P0, b"b")
    for item in (failing, behind, other):
        scheduler.admit(item)
    assert scheduler.take(0.0) is failing
    scheduler.defer(failing, 5.0)
    assert (scheduler.in_flight, scheduler.due, scheduler.waiting) == (0, 5.0, 3)
    assert taken(scheduler, 4.9) == [other]
    assert taken(scheduler, 5.0) == [failing]
    assert scheduler.due is None
    scheduler.complete(failing)
    assert taken(scheduler, 5.0) == [behind]


def test_works_due_at_one_time_keep_their_order() -> None:
    """Works themselves need not be comparable."""
    scheduler: Scheduler[Item] = Scheduler()
    items = [Item(P0, bytes([n])) for n in range(20)]
    for item in items:
        scheduler.admit(item)
    for item in taken(scheduler):
        scheduler.defer(item, 1.0)
    assert taken(scheduler, 1.0) == items


def test_a_partition_that_came_back_waits_for_what_was_in_flight() -> None:
    """The look-up from before and that of the next event of the key do not overlap."""
    scheduler: Scheduler[Item] = Scheduler()
    before, dropped, after = Item(P0, b"a"), Item(P0, b"a"), Item(P0, b"a")
    scheduler.admit(before)
    scheduler.admit(dropped)
    assert scheduler.take(0.0) is before
    assert scheduler.revoke([P0]) == [dropped]
    assert (scheduler.in_flight, scheduler.waiting, scheduler.lanes) == (1, 0, 1)
    scheduler.admit(after)
    assert scheduler.take(0.0) is None
    scheduler.complete(before)
    assert scheduler.take(0.0) is after


@pytest.mark.parametrize("order", Order)
def test_the_next_of_a_lane_may_follow_at_once(order: Order) -> None:
    """In the place of the one that ended, so that others get no turn between; where nothing is ordered, none does."""
    scheduler: Scheduler[Item] = Scheduler(order)
    first, second, other = (Item(PARTITIONS[0], key) for key in (b"k", b"k", b"l"))
    for item in (first, second, other):
        scheduler.admit(item)
    assert scheduler.take(0.0) is first
    following = scheduler.follow(first)
    if order is Order.NONE:
        assert (following, scheduler.in_flight) == (None, 0)
        return
    assert (following, scheduler.in_flight) == (second, 1)
    after = scheduler.follow(second)
    assert (after, scheduler.in_flight) == ((None, 0) if order is Order.KEY else (other, 1))


@pytest.mark.parametrize(("first", "taken"), [(True, [0, 1, 3, 2]), (False, [3, 2, 0, 1])])
def test_what_is_put_back_is_ready_again(taken: list[int], *, first: bool) -> None:
    """Before all others, or behind them, in its order; it holds no place in flight, and may be revoked."""
    scheduler: Scheduler[Item] = Scheduler(Order.KEY)
    items = [Item(PARTITIONS[0], b"%d" % number) for number in range(4)]
    for number in (0, 1, 3, 2):
        scheduler.admit(items[number])
    assert [scheduler.take(0.0) for _ in range(2)] == items[:2]
    scheduler.put_back(items[:2], first=first)
    assert (scheduler.in_flight, scheduler.ready) == (0, 4)
    assert [scheduler.take(0.0) for _ in range(4)] == [items[number] for number in taken]
    scheduler.put_back(items, first=first)
    assert set(map(id, scheduler.revoke([PARTITIONS[0]]))) == set(map(id, items))
    assert (scheduler.lanes, scheduler.waiting, scheduler.in_flight) == (0, 0, 0)
