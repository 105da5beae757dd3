"""Turns faults into what becomes of each request, one after the other.

Invariants: no I/O and no clock. The same faults and the same sequence of customers give the same plans.
"""

from collections import deque
from random import Random
from typing import NamedTuple

from enricher.testing.faults import Behaviour, Faults, Kind, Outcome
from enricher.testing.latency import Latency

_OK = Outcome(Kind.OK)


class Plan(NamedTuple):
    """What becomes of one request: the answer after ``delay`` seconds, or the fault in its place."""

    delay: float
    outcome: Outcome
    behaviour: Behaviour


class Planner:
    """Draws plans from faults. Scripts are used up; a new planner starts them, and the random numbers, anew."""

    def __init__(self, faults: Faults) -> None:
        rng = Random(faults.seed)
        self._general = _Draws(faults, rng)
        self._customers = {customer: _Draws(behaviour, rng) for customer, behaviour in faults.customers.items()}

    def plan(self, customer_id: str) -> Plan:
        """What becomes of the next request for this customer."""
        return (self._customers.get(customer_id) or self._general).next()


class _Draws:
    """One behaviour, prepared for drawing."""

    def __init__(self, behaviour: Behaviour, rng: Random) -> None:
        self._behaviour = behaviour
        self._rng = rng
        self._latency = Latency.parse(behaviour.latency)
        self._script = deque(behaviour.steps())
        self._rates = behaviour.rates()
        # Most runs of a benchmark draw nothing: one value serves all of their requests.
        plain = self._latency.shape == "fixed" and not self._rates
        self._constant = Plan(self._latency.a, _OK, behaviour) if plain else None

    def next(self) -> Plan:
        if self._script:
            outcome = self._script.popleft()
        elif self._constant is not None:
            return self._constant
        else:
            outcome = self._draw()
        return Plan(self._latency.sample(self._rng), outcome, self._behaviour)

    def _draw(self) -> Outcome:
        if self._rates:
            left = self._rng.random()
            for outcome, rate in self._rates:
                left -= rate
                if left < 0:
                    return outcome
        return _OK
