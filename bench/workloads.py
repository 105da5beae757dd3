"""What is measured: how many events, how fast the service answers, how many look-ups at a time."""

from typing import NamedTuple

from bench.contestants import EXACTLY_ONCE, GATHER, PLAIN_LOOP, WORKER


class Workload(NamedTuple):
    """What a program is given.

    Attributes:
        name: as it is called.
        events: how many contact events.
        customers: of how many customers.
        in_flight: look-ups at a time.
        latency: of the service, milliseconds.
        rate: events per second, written while the program runs; 0: all of them stand in the topic before.
        skew: customers are drawn by a Zipf law with this exponent; 0: all alike.
        programs: that it is for.
    """

    name: str
    events: int
    customers: int
    in_flight: int
    latency: int = 0
    rate: int = 0
    skew: float = 0.0
    programs: tuple[str, ...] = (WORKER, EXACTLY_ONCE, PLAIN_LOOP, GATHER)

    @property
    def limit(self) -> float | None:
        """Events per second that the service's latency allows, where that is what bounds them."""
        bounds = self.latency and not self.rate and not self.skew
        return self.in_flight / self.latency * 1_000 if bounds else None


WORKLOADS = (
    Workload("cpu-bound", 40_000, 20_000, 128),
    Workload("catch-up", 20_000, 20_000, 32, latency=20),
    Workload("paced", 4_500, 5_000, 64, latency=20, rate=300, programs=(WORKER, PLAIN_LOOP, GATHER)),
    Workload("zipf", 20_000, 20_000, 64, latency=20, skew=1.1, programs=(WORKER,)),
)
