"""What the history service counts.

Invariants: memory is bounded; the customers counted one by one are the first ``customers`` that came.
"""

from collections import Counter

import msgspec


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the counts since the start or the last reset; the gauges (now, open) are never reset.

    Attributes:
        requests: look-ups that arrived, good and bad.
        by_status: answers by status; a broken 200 counts as 200.
        by_fault: faults other than statuses, by name, and ``refused_by_queue``.
        abandoned: look-ups whose client went before the answer.
        in_flight: look-ups in the service now, waiting or served.
        peak_in_flight: the most that were at once.
        serving: look-ups being served now: at most the capacity, if there is one.
        peak_serving: the most that were at once.
        connections_opened: on the service's port.
        connections_open: now.
        customers: look-ups by customer, if that was asked for, of a bounded number of customers.
    """

    requests: int = 0
    by_status: dict[str, int] = {}
    by_fault: dict[str, int] = {}
    abandoned: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    serving: int = 0
    peak_serving: int = 0
    connections_opened: int = 0
    connections_open: int = 0
    customers: dict[str, int] = {}


class Counts:
    """The running counts.

    Args:
        customers: how many customers are counted one by one.
    """

    __slots__ = (
        "_customer_limit", "abandoned", "by_fault", "by_status", "customers", "in_flight", "opened_before",
        "peak_in_flight", "peak_serving", "requests", "serving",
    )  # fmt: skip

    def __init__(self, *, customers: int = 0) -> None:
        self._customer_limit = customers
        self.in_flight = 0
        self.serving = 0
        self.opened_before = 0
        self.reset(opened=0)

    def reset(self, *, opened: int) -> None:
        """Start anew; ``opened`` connections were opened before."""
        self.requests = 0
        self.by_status: Counter[int] = Counter()
        self.by_fault: Counter[str] = Counter()
        self.abandoned = 0
        self.peak_in_flight = self.in_flight
        self.peak_serving = self.serving
        self.opened_before = opened
        self.customers: dict[str, int] = {}

    def entered(self, customer_id: str) -> None:
        """A good request arrived."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        if self._customer_limit and (customer_id in self.customers or len(self.customers) < self._customer_limit):
            self.customers[customer_id] = self.customers.get(customer_id, 0) + 1

    def served(self) -> None:
        """A request is served from now on."""
        self.serving += 1
        self.peak_serving = max(self.peak_serving, self.serving)

    def snapshot(self, *, opened: int, connected: int) -> Stats:
        """The counts as a value of their own."""
        return Stats(
            requests=self.requests,
            by_status={str(status): count for status, count in sorted(self.by_status.items())},
            by_fault=dict(sorted(self.by_fault.items())),
            abandoned=self.abandoned,
            in_flight=self.in_flight,
            peak_in_flight=self.peak_in_flight,
            serving=self.serving,
            peak_serving=self.peak_serving,
            connections_opened=opened - self.opened_before,
            connections_open=connected,
            customers=dict(self.customers),
        )
