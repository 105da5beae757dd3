"""Views of a worker for tests of what is made of them."""

from collections import Counter
from typing import Any

from enricher.observability.statistics import parse
from enricher.observability.view import Recent, View
from enricher.pulse import Pulse
from enricher.state import PartitionState, State
from enricher.stats import Histogram, Stats

PARTITION = PartitionState(
    "contacts",
    3,
    epoch=7,
    committed=100,
    resolved=110,
    seen=150,
    unresolved=30,
    held=30,
    paused=True,
    full=False,
    oldest_seconds=12.5,
    timestamp=1_700_000_000_000,
)
STATE = State(
    (PARTITION,), in_flight=5, limit=64, lanes=9, waiting=25, breaker_open=False, records=30, bytes=6_000,
    max_records=10_000, max_bytes=1 << 26, wall=1_700_000_060.0,
)  # fmt: skip
STATISTICS = """{"name": "x", "ts": 5, "msg_cnt": 2, "msg_size": 10, "tx_bytes": 4000, "rx_bytes": 5000,
 "brokers": {"host:9092/1": {"nodeid": 1, "state": "UP", "txerrs": 1, "rxerrs": 2, "req_timeouts": 3, "connects": 4,
   "rtt": {"p50": 1500, "p99": 9000, "cnt": 7}, "throttle": {"avg": 20}},
  "GroupCoordinator": {"nodeid": -1, "state": "UP"}},
 "topics": {"contacts": {"partitions": {"3": {"hi_offset": 400, "fetchq_cnt": 6, "fetchq_size": 60},
   "-1": {"hi_offset": -1001}}}},
 "cgrp": {"state": "up", "join_state": "steady"}}"""


def stats() -> Stats:
    """Counts that are all different."""
    made = Stats(
        received=50, skipped=1, decoded=45, answered=40, encoded=39, enriched=38, dropped=2, lookups=41, retries=3,
        retries_put_off=8, empty_retries=10, coalesced=12, cache_hits=14, commits=4, commit_failures=5, rebalances=6,
        aborted_transactions=7, tokens=9, token_failures=11, reloads=13,
    )  # fmt: skip
    made.rejected.update({"decode": 4})
    made.dead_letters.update({("decode", "InvalidJson"): 3})
    made.failures.update({"Timeout": 8})
    made.lookup_seconds.add(0.02)
    made.event_seconds.add(0.3)
    return made


def view(*, statistics: str | None = STATISTICS, state: State = STATE, **pulse: Any) -> View:
    """A worker that works."""
    parsed = parse(statistics)
    known = {"started": 1_000.0, "loop": 1_099.9, "polled": 1_099.8, "committed": 1_099.0, "delivering": True}
    lately = Histogram()
    lately.add(0.03)
    recent = Recent(60.0, Counter({"Timeout": 2}), Counter({("decode", "InvalidJson"): 1}), lately, 0.5)
    clients = {} if parsed is None else {"consumer": parsed}
    return View(stats(), state, Pulse(**{**known, **pulse}), 1_100.0, recent, clients)
