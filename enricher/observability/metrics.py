"""Every metric: its name, kind, help and labels, and how it is read off a view of the worker.

This table is the only place that knows metrics. ``docs/metrics.md`` and what ``/metrics`` answers are made of it.
Invariants: names begin with ``enricher_``; units are seconds, bytes, or what is counted; labels take few values
(stages, causes, kinds, assigned partitions, brokers) and never one that identifies a customer.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from enricher.observability.statistics import Broker, ClientStatistics
from enricher.observability.view import View
from enricher.state import PartitionState
from enricher.stats import Histogram


class Kind(StrEnum):
    """Of a metric, as Prometheus calls them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


Labels: TypeAlias = tuple[str, ...]
Sample: TypeAlias = tuple[Labels, float | Histogram]
Read: TypeAlias = Callable[[View], Iterable[Sample]]


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: without the ending that Prometheus adds (``_total`` of a counter, ``_bucket`` of a histogram).
        kind: what it is.
        help: what it counts or measures.
        read: its samples, each with the values of the labels.
        labels: their names.
    """

    name: str
    kind: Kind
    help: str
    read: Read
    labels: Labels = ()

    @property
    def exposed(self) -> str:
        """The name as it is asked for."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


BUCKETS: tuple[float, ...] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0,
)  # fmt: skip
"""Upper bounds of the histograms' buckets, seconds."""


def _one(read: Callable[[View], float | Histogram]) -> Read:
    return lambda view: [((), read(view))]


def _partitions(read: Callable[[View, PartitionState], float | None]) -> Read:
    def samples(view: View) -> Iterator[Sample]:
        for partition in view.state.partitions:
            value = read(view, partition)
            if value is not None:
                yield (partition.topic, str(partition.partition)), value

    return samples


def _clients(read: Callable[[ClientStatistics], float]) -> Read:
    return lambda view: [((name,), read(client)) for name, client in view.clients.items()]


def _brokers(read: Callable[[Broker], Iterable[tuple[Labels, float]]]) -> Read:
    def samples(view: View) -> Iterator[Sample]:
        for name, client in view.clients.items():
            for broker in client.brokers.values():
                if broker.nodeid >= 0:  # the others are addresses to begin with, and the group's coordinator again
                    for labels, value in read(broker):
                        yield (name, str(broker.nodeid), *labels), value

    return samples


def _events(view: View) -> Iterator[Sample]:
    stats = view.stats
    done = {"decode": stats.decoded, "lookup": stats.answered, "encode": stats.encoded, "produce": stats.enriched}
    for stage, count in done.items():
        yield (stage, "ok"), count
        yield (stage, "rejected"), stats.rejected[stage]
    yield ("decode", "left-out"), stats.left_out
    yield ("lookup", "passed-through"), stats.passed_through


def _attempts(view: View) -> Iterator[Sample]:
    yield ("Answered",), view.stats.lookups
    for kind, count in view.stats.failures.items():
        yield (kind,), count


def _commits(view: View) -> Iterator[Sample]:
    yield ("ok",), view.stats.commits
    yield ("failed",), view.stats.commit_failures


def _tokens(view: View) -> Iterator[Sample]:
    yield ("ok",), view.stats.tokens
    yield ("failed",), view.stats.token_failures


_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_OF_PARTITION = ("topic", "partition")
_OF_BROKER = ("client", "broker")

GROUPS: dict[str, tuple[Metric, ...]] = {
    "Events": (
        Metric("enricher_records_received", _COUNTER, "Records taken from Kafka.", _one(lambda v: v.stats.received)),
        Metric(
            "enricher_records_skipped",
            _COUNTER,
            "Of these, records that were resolved already before a restart or a rebalance.",
            _one(lambda v: v.stats.skipped),
        ),
        Metric(
            "enricher_records_dropped",
            _COUNTER,
            "Of these, records left to another worker, as their partition went there.",
            _one(lambda v: v.stats.dropped),
        ),
        Metric(
            "enricher_events",
            _COUNTER,
            "Events that came through a stage (decode, lookup, encode, produce), and those that were rejected there "
            "and become dead letters. `left-out` are those that a replay does not select; `passed-through` went on "
            "without a history, as the service did not answer. "
            "`produce` and `ok` are the enriched events that the broker has acknowledged.",
            _events,
            ("stage", "outcome"),
        ),
        Metric(
            "enricher_dead_letters",
            _COUNTER,
            "Dead letters that the broker has acknowledged, by stage and cause.",
            lambda v: v.stats.dead_letters.items(),
            ("stage", "cause"),
        ),
        Metric(
            "enricher_event_duration_seconds",
            _HISTOGRAM,
            "Time from taking a record to the acknowledgement of its enriched event.",
            _one(lambda v: v.stats.event_seconds),
        ),
        Metric(
            "enricher_event_age_seconds",
            _HISTOGRAM,
            "Time from a record's timestamp to the acknowledgement of its enriched event: how late readers get it.",
            _one(lambda v: v.stats.event_age_seconds),
        ),
    ),
    "Look-ups": (
        Metric(
            "enricher_lookup_attempts",
            _COUNTER,
            "Look-ups sent to the history service that have ended: `Answered`, or the kind of failure.",
            _attempts,
            ("outcome",),
        ),
        Metric(
            "enricher_lookup_retries", _COUNTER, "Attempts put off to be made again.", _one(lambda v: v.stats.retries)
        ),
        Metric(
            "enricher_lookup_retries_put_off",
            _COUNTER,
            "Times that a retry was due and waited some more, as retries had used up their budget.",
            _one(lambda v: v.stats.retries_put_off),
        ),
        Metric(
            "enricher_lookup_empty_retries",
            _COUNTER,
            "Times that an empty history was to be asked for again (`history.on_empty: retry`).",
            _one(lambda v: v.stats.empty_retries),
        ),
        Metric(
            "enricher_lookups_coalesced",
            _COUNTER,
            "Events that shared the answer to another event's look-up (`history.coalesce`).",
            _one(lambda v: v.stats.coalesced),
        ),
        Metric(
            "enricher_lookup_cache_hits",
            _COUNTER,
            "Events that were served from the answers that are kept (`history.cache.ttl`).",
            _one(lambda v: v.stats.cache_hits),
        ),
        Metric(
            "enricher_lookup_duration_seconds",
            _HISTOGRAM,
            "Time of the attempts that were answered.",
            _one(lambda v: v.stats.lookup_seconds),
        ),
        Metric(
            "enricher_lookups_in_flight",
            _GAUGE,
            "Look-ups under way, the handing over of their result included.",
            _one(lambda v: v.state.in_flight),
        ),
        Metric(
            "enricher_lookups_limit",
            _GAUGE,
            "Look-ups that may be in flight now: what the limiter (`service.limiter`) has found, at most "
            "`service.max_in_flight`.",
            _one(lambda v: v.state.limit),
        ),
        Metric(
            "enricher_breaker_open",
            _GAUGE,
            "1 while the history service counts as down, so that only probes go out; else 0.",
            _one(lambda v: v.state.breaker_open),
        ),
        Metric("enricher_lanes", _GAUGE, "Keys with an event that is not completed.", _one(lambda v: v.state.lanes)),
        Metric(
            "enricher_events_waiting",
            _GAUGE,
            "Events that wait for their look-up, or for that of another event which they may share.",
            _one(lambda v: v.state.waiting),
        ),
        Metric(
            "enricher_service_tokens",
            _COUNTER,
            "Requests for an OAuth 2.0 token that gave one (`ok`), or none (`failed`).",
            _tokens,
            ("outcome",),
        ),
        Metric(
            "enricher_service_reloads",
            _COUNTER,
            "Times that certificates, or the proxy's password, were read again, as their files had changed.",
            _one(lambda v: v.stats.reloads),
        ),
    ),
    "Schema registry": (
        Metric(
            "enricher_schemas_fetched",
            _COUNTER,
            "Schemas of inputs that the registry was asked for, and gave.",
            _one(lambda v: v.stats.schemas_fetched),
        ),
        Metric(
            "enricher_registry_failures",
            _COUNTER,
            "Requests for such a schema that the registry did not answer; each is made again, and events wait.",
            _one(lambda v: v.stats.registry_failures),
        ),
    ),
    "What is held": (
        Metric(
            "enricher_records_held",
            _GAUGE,
            "Records taken that are neither resolved nor dropped.",
            _one(lambda v: v.state.records),
        ),
        Metric(
            "enricher_records_held_limit",
            _GAUGE,
            "Records held at which all partitions are paused: `buffer.max_records`.",
            _one(lambda v: v.state.max_records),
        ),
        Metric(
            "enricher_held_bytes", _GAUGE, "Bytes of these records and their outputs.", _one(lambda v: v.state.bytes)
        ),
        Metric(
            "enricher_held_bytes_limit",
            _GAUGE,
            "Bytes at which all partitions are paused: `buffer.max_bytes`.",
            _one(lambda v: v.state.max_bytes),
        ),
        Metric(
            "enricher_oldest_unresolved_seconds",
            _GAUGE,
            "For how long the oldest record held has been here; 0 if there is none.",
            _one(lambda v: max((p.oldest_seconds for p in v.state.partitions), default=0.0)),
        ),
    ),
    "Partitions": (
        Metric(
            "enricher_partitions_assigned",
            _GAUGE,
            "Partitions that this worker has.",
            _one(lambda v: len(v.state.partitions)),
        ),
        Metric(
            "enricher_partitions_paused",
            _GAUGE,
            "Of these, those that are not read at the moment, as enough is held.",
            _one(lambda v: sum(p.paused for p in v.state.partitions)),
        ),
        Metric(
            "enricher_partitions_full",
            _GAUGE,
            "Of these, those whose map of completed offsets is full: a record blocks them.",
            _one(lambda v: sum(p.full for p in v.state.partitions)),
        ),
        Metric(
            "enricher_partitions_filled",
            _COUNTER,
            "Times that a partition was not read on because its map of completed offsets was full.",
            _one(lambda v: v.stats.filled),
        ),
        Metric(
            "enricher_partition_lag_records",
            _GAUGE,
            "Records between the committed offset and the end of the log, as of the last statistics (every 5 s).",
            _partitions(lambda v, p: v.lag(p)),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_lag_seconds",
            _GAUGE,
            "About how old the oldest record is that is not resolved, by its timestamp; 0 if all are.",
            _partitions(lambda v, p: v.lag_seconds(p)),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_oldest_unresolved_seconds",
            _GAUGE,
            "For about how long the oldest unresolved record has been here; 0 if there is none.",
            _partitions(lambda _, p: p.oldest_seconds),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_committed_offset",
            _GAUGE,
            "The committed offset.",
            _partitions(lambda _, p: p.committed),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_resolved_offset",
            _GAUGE,
            "The offset below which every record is resolved.",
            _partitions(lambda _, p: p.resolved),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_seen_offset",
            _GAUGE,
            "One past the highest offset that was taken.",
            _partitions(lambda _, p: p.seen),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_end_offset",
            _GAUGE,
            "The end of the log (high watermark), as of the last statistics.",
            _partitions(lambda v, p: v.high_watermark(p)),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_incomplete_offsets",
            _GAUGE,
            "Records taken that are not resolved.",
            _partitions(lambda _, p: p.unresolved),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_paused",
            _GAUGE,
            "1 while the partition is not read, as enough is held; else 0.",
            _partitions(lambda _, p: p.paused),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_full",
            _GAUGE,
            "1 while the partition's map of completed offsets is full; else 0.",
            _partitions(lambda _, p: p.full),
            _OF_PARTITION,
        ),
        Metric(
            "enricher_partition_assignment_epoch",
            _GAUGE,
            "The number of the partition's assignment among all that this worker got.",
            _partitions(lambda _, p: p.epoch),
            _OF_PARTITION,
        ),
    ),
    "Commits and rebalances": (
        Metric(
            "enricher_commits",
            _COUNTER,
            "Commits of offsets (transactions, under exactly-once); failed ones are made again.",
            _commits,
            ("outcome",),
        ),
        Metric(
            "enricher_commit_duration_seconds",
            _HISTOGRAM,
            "Time of the commits that succeeded; under exactly-once, of the transactions.",
            _one(lambda v: v.stats.commit_seconds),
        ),
        Metric(
            "enricher_commit_age_seconds",
            _GAUGE,
            "Time since all that was resolved was last committed; about `delivery.commit_interval` at the most while "
            "commits succeed.",
            _one(lambda v: v.now - (v.pulse.committed or v.pulse.started)),
        ),
        Metric(
            "enricher_transactions_aborted",
            _COUNTER,
            "Transactions that were aborted, and written again.",
            _one(lambda v: v.stats.aborted_transactions),
        ),
        Metric(
            "enricher_rebalances",
            _COUNTER,
            "Assignments, revocations and losses of partitions.",
            _one(lambda v: v.stats.rebalances),
        ),
    ),
    "The process": (
        Metric(
            "enricher_event_loop_lag_seconds",
            _HISTOGRAM,
            "How late the event loop is with what is due; looked at twenty times a second.",
            _one(lambda v: v.stats.loop_lag_seconds),
        ),
        Metric(
            "enricher_event_loop_age_seconds",
            _GAUGE,
            "Time since the event loop's last heartbeat, which is due twenty times a second.",
            _one(lambda v: v.now - (v.pulse.loop or v.pulse.started)),
        ),
        Metric(
            "enricher_consumer_poll_age_seconds",
            _GAUGE,
            "Time since the consumer's thread last went round, which it does at least ten times a second outside of "
            "rebalances.",
            lambda v: [((), v.now - v.pulse.polled)] if v.pulse.polled else [],
        ),
        Metric(
            "enricher_ready",
            _GAUGE,
            "1 if `/readyz` says that the worker is ready; else 0.",
            _one(lambda v: v.ready.ok),
        ),
    ),
    "The Kafka clients (librdkafka's statistics, every 5 s; `client` is consumer or producer)": (
        Metric(
            "enricher_kafka_broker_up",
            _GAUGE,
            "1 while the client is connected to the broker; else 0.",
            _brokers(lambda b: [((), b.state == "UP")]),
            _OF_BROKER,
        ),
        Metric(
            "enricher_kafka_broker_rtt_seconds",
            _GAUGE,
            "Time of a request to the broker, fetches included, which wait for records: a quantile of the last ones.",
            _brokers(lambda b: [(("0.5",), b.rtt.p50 / 1e6), (("0.99",), b.rtt.p99 / 1e6)] if b.rtt.cnt else []),
            (*_OF_BROKER, "quantile"),
        ),
        Metric(
            "enricher_kafka_broker_throttle_seconds",
            _GAUGE,
            "How long the broker has asked the client to wait (quota), on average of the last requests.",
            _brokers(lambda b: [((), b.throttle.avg / 1e3)]),
            _OF_BROKER,
        ),
        Metric(
            "enricher_kafka_broker_errors",
            _COUNTER,
            "Requests to the broker that failed: not sent (transmit), answer not read (receive), or no answer "
            "(timeout).",
            _brokers(lambda b: [(("transmit",), b.txerrs), (("receive",), b.rxerrs), (("timeout",), b.req_timeouts)]),
            (*_OF_BROKER, "reason"),
        ),
        Metric(
            "enricher_kafka_broker_connects",
            _COUNTER,
            "Connections that were made to the broker, the first one included.",
            _brokers(lambda b: [((), b.connects)]),
            _OF_BROKER,
        ),
        Metric(
            "enricher_kafka_queued_records",
            _GAUGE,
            "Records in the client: fetched and not taken (consumer), or not acknowledged (producer).",
            _clients(lambda c: c.msg_cnt + sum(p.fetchq_cnt for t in c.topics.values() for p in t.partitions.values())),
            ("client",),
        ),
        Metric(
            "enricher_kafka_queued_bytes",
            _GAUGE,
            "Bytes of these.",
            _clients(
                lambda c: c.msg_size + sum(p.fetchq_size for t in c.topics.values() for p in t.partitions.values())
            ),
            ("client",),
        ),
        Metric(
            "enricher_kafka_sent_bytes",
            _COUNTER,
            "Bytes sent to brokers.",
            _clients(lambda c: c.tx_bytes),
            ("client",),
        ),
        Metric(
            "enricher_kafka_received_bytes",
            _COUNTER,
            "Bytes received from brokers.",
            _clients(lambda c: c.rx_bytes),
            ("client",),
        ),
    ),
}
"""Every metric, in the order of the documentation."""

METRICS: tuple[Metric, ...] = tuple(metric for group in GROUPS.values() for metric in group)

INFO = "enricher_build_info"
"""Always 1; its labels ``version`` and ``librdkafka`` tell what runs."""
