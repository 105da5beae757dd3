"""How many replicas, partitions and look-ups in flight a rate takes, and what that means for Kafka and the service.

Arithmetic only; ``docs/sizing.md`` derives it, and says which of its numbers were measured. Pure. Invariants of a plan
without shortfalls: with ``spare`` replicas away, the others together still have the CPU and the look-ups in flight for
the whole rate and ``headroom``; there are at least as many partitions as replicas, and no group has more replicas than
``group_size``.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Order = Literal["key", "partition", "none"]

CPU_PER_EVENT = 350e-6
"""Seconds of CPU: what ``make bench`` measured (README, Performance), the larger guarantee, rounded up."""

PARTITIONS_PER_REPLICA = 3
"""So that the loss of a replica, or one more, leaves the load about even."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is wanted, and what is assumed.

    Attributes:
        rate: events a second, at the peak.
        latency: mean seconds of one look-up.
        lookups: look-ups per event: above 1 for those tried again, below 1 for those that share one.
        headroom: the share of a replica's capacity kept free, for peaks, noise and catching up.
        spare: replicas that may be away (a rolling update, a lost node).
        cpu: seconds of CPU for an event. A replica has one core: its event loop is one thread.
        max_in_flight: the most look-ups that one replica shall have in flight.
        order: ``delivery.order``.
        hottest: the share of all events that the busiest key has.
        partitions: those of the input, if they are given already.
        service_at_once: look-ups that the service answers at once, if that is known.
        group_size: the most replicas in one consumer group.
        input_bytes, output_bytes, answer_bytes: of a record read, of one written, of the service's answer.
        replication: copies that Kafka keeps of a record.
        readers: groups that read the output.
        broker_bytes: bytes a second that one broker writes, or sends, at the most.
    """

    rate: float
    latency: float
    lookups: float = 1.0
    headroom: float = 0.3
    spare: int = 1
    cpu: float = CPU_PER_EVENT
    max_in_flight: int = 256
    order: Order = "key"
    hottest: float = 0.0
    partitions: int | None = None
    service_at_once: int | None = None
    group_size: int = 100
    input_bytes: int = 250
    output_bytes: int = 1_300
    answer_bytes: int = 2_800
    replication: int = 3
    readers: int = 1
    broker_bytes: float = 50e6


@dataclass(frozen=True, slots=True)
class Plan:
    """What it takes.

    Attributes:
        replicas: of the worker, the spare ones included.
        replicas_for_cpu, replicas_for_in_flight: what each alone would take, without spare ones.
        groups: consumer groups, each with topics of its own.
        partitions: of the input, in all groups together.
        max_in_flight: ``service.max_in_flight`` of each replica.
        capacity: events a second that they manage when the one with the most partitions is fully busy.
        utilisation: the share of it that the rate takes.
        catch_up: seconds to catch up after a second without work; None if it never does.
        key_rate: events a second of one key (or partition, if that is the order) at the most; None for no limit.
        service_rate: look-ups a second.
        service_in_flight: look-ups in flight, on average.
        service_most: look-ups in flight at the most, over all replicas: what the service has to bear.
        service_bytes: bytes of answers a second.
        read, written: bytes a second that the workers read and write.
        broker_writes: bytes a second that all brokers write, with input, output and copies.
        broker_sends: bytes a second that all brokers send, to workers, readers and each other.
        brokers: for these.
        shortfalls: why it does not work, in words; empty if it does.
    """

    replicas: int
    replicas_for_cpu: int
    replicas_for_in_flight: int
    groups: int
    partitions: int
    max_in_flight: int
    capacity: float
    utilisation: float
    catch_up: float | None
    key_rate: float | None
    service_rate: float
    service_in_flight: float
    service_most: int
    service_bytes: float
    read: float
    written: float
    broker_writes: float
    broker_sends: float
    brokers: int
    shortfalls: tuple[str, ...]


def in_flight(rate: float, latency: float) -> float:
    """Little's law: how many are under way, on average, if so many come a second and each stays so long."""
    return rate * latency


def plan(demand: Demand) -> Plan:
    """The smallest plan for a demand, with what is missing where there is none."""
    usable = 1.0 - demand.headroom
    service_rate = demand.rate * demand.lookups
    flying = in_flight(service_rate, demand.latency)
    for_cpu = max(1, ceiling(demand.rate * demand.cpu / usable))
    for_in_flight = max(1, ceiling(flying / usable / demand.max_in_flight))
    working = max(for_cpu, for_in_flight)
    groups, replicas = _in_groups(_even(demand, working, usable), demand.group_size)
    partitions = demand.partitions or _partitions(demand, replicas, flying / usable)
    busiest = ceiling(partitions / replicas) / partitions
    each = ceiling(flying / usable * max(busiest, 1 / (replicas - demand.spare)))
    each = min(demand.max_in_flight, max(1, each))
    needs = in_flight(demand.lookups, demand.latency)  # look-ups in flight for one event a second
    one = min(1 / demand.cpu, each / needs) if needs else 1 / demand.cpu
    capacity = one / busiest
    if demand.order == "partition" and needs:
        capacity = min(capacity, partitions / needs)
    read, written = demand.rate * demand.input_bytes, demand.rate * demand.output_bytes
    writes = (read + written) * demand.replication
    sends = read + written * demand.readers + (read + written) * (demand.replication - 1)
    made = Plan(
        replicas=replicas,
        replicas_for_cpu=for_cpu,
        replicas_for_in_flight=for_in_flight,
        groups=groups,
        partitions=partitions,
        max_in_flight=each,
        capacity=capacity,
        utilisation=demand.rate / capacity,
        catch_up=demand.rate / (capacity - demand.rate) if capacity > demand.rate else None,
        key_rate=1 / needs if needs and demand.order != "none" else None,
        service_rate=service_rate,
        service_in_flight=flying,
        service_most=each * replicas,
        service_bytes=service_rate * demand.answer_bytes,
        read=read,
        written=written,
        broker_writes=writes,
        broker_sends=sends,
        brokers=max(demand.replication, ceiling(max(writes, sends) / demand.broker_bytes)),
        shortfalls=(),
    )
    return replace(made, shortfalls=tuple(_shortfalls(demand, made, working, usable)))


def _even(demand: Demand, working: int, usable: float) -> int:
    """Replicas, the spare ones included; more of them where given partitions would else fill them too unevenly."""
    replicas = working + demand.spare
    if demand.partitions:
        flying = in_flight(demand.rate * demand.lookups, demand.latency)
        load = max(demand.rate * demand.cpu, flying / demand.max_in_flight) / usable  # in replicas, a fraction too
        most = math.floor(demand.partitions / load * (1 + 1e-9))  # partitions that one replica can bear
        replicas = max(replicas, ceiling(demand.partitions / max(1, most)))
    return replicas


def _in_groups(replicas: int, most: int) -> tuple[int, int]:
    """How many groups, and how many replicas so that each group has as many."""
    groups = ceiling(replicas / most)
    return groups, groups * ceiling(replicas / groups)


def _partitions(demand: Demand, replicas: int, flying: float) -> int:
    """As many for each replica; where each has one look-up in flight at the most, enough for all of them."""
    each = PARTITIONS_PER_REPLICA
    if demand.order == "partition":
        each = max(each, ceiling(flying / replicas))
    return each * replicas


def _shortfalls(demand: Demand, made: Plan, working: int, usable: float) -> Iterator[str]:
    """Why a plan does not work."""
    if made.partitions < made.replicas:
        idle = made.replicas - made.partitions
        what = "too few for the rate" if made.partitions < working else f"{idle} would be idle"
        yield f"{made.replicas} replicas need as many partitions, and there are {made.partitions}: {what}"
    if demand.order == "partition" and made.key_rate and demand.rate > made.partitions * made.key_rate * usable:
        yield (
            f"under delivery.order partition each partition has one look-up in flight, so {made.key_rate:,.1f} "
            f"events/s: {ceiling(demand.rate / made.key_rate / usable):,} partitions would do, or delivery.order key"
        )
    if made.key_rate is not None and demand.rate * demand.hottest > made.key_rate:
        yield (
            f"the busiest key has {demand.rate * demand.hottest:,.1f} events/s, and one key can have at most "
            f"{made.key_rate:,.1f}, as its events wait for each other; more replicas do not help"
        )
    if demand.service_at_once is not None and made.service_in_flight > demand.service_at_once * usable:
        yield (
            f"the service answers {demand.service_at_once:,} look-ups at once, and {made.service_in_flight:,.0f} "
            f"would be in flight on average: with the headroom, it is good for "
            f"{demand.service_at_once * usable / demand.latency:,.0f} look-ups/s of {made.service_rate:,.0f}"
        )


def ceiling(value: float) -> int:
    """The next whole number, but for what only binary fractions add: 10.000000000000002 is 10."""
    return math.ceil(value * (1 - 1e-9))
