"""The metrics: complete, as documented, and right."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enricher.observability.document import markdown
from enricher.observability.exposition import Exposition
from enricher.observability.metrics import BUCKETS, METRICS, Kind
from enricher.observability.statistics import parse
from enricher.observability.view import View
from enricher.stats import BOUNDS, Stats
from tests.readme import DOCUMENTS, ROOT
from tests.unit.observed import PARTITION, STATE, stats, view


def samples(seen: View) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a scrape would read, by name and labels."""
    families = text_string_to_metric_families(Exposition().render(seen).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    """One sample."""
    return found[name, frozenset(labels.items())]


class Watched(Stats):
    """Counts that remember which of them were read."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        Watched.read.add(name)
        return super().__getattribute__(name)


def test_every_count_is_exported() -> None:
    """A field of Stats that no metric reads is a number that nobody sees."""
    watched = Watched()
    Watched.read.clear()
    seen = view()._replace(stats=watched)
    for metric in METRICS:
        list(metric.read(seen))
    assert {field.name for field in fields(Stats)} - Watched.read == set()


def test_a_scrape_tells_what_the_worker_knows() -> None:
    """Counts, histograms, partitions and clients, each where it belongs."""
    found = samples(view())
    assert value(found, "enricher_records_received_total") == 50
    assert value(found, "enricher_events_total", stage="lookup", outcome="ok") == 40
    assert value(found, "enricher_events_total", stage="decode", outcome="rejected") == 4
    assert value(found, "enricher_events_total", stage="produce", outcome="ok") == 38
    assert value(found, "enricher_dead_letters_total", stage="decode", cause="InvalidJson") == 3
    assert value(found, "enricher_lookup_attempts_total", outcome="Answered") == 41
    assert value(found, "enricher_lookup_attempts_total", outcome="Timeout") == 8
    assert value(found, "enricher_lookup_retries_put_off_total") == 8
    assert value(found, "enricher_lookup_empty_retries_total") == 10
    assert value(found, "enricher_lookups_coalesced_total") == 12
    assert value(found, "enricher_lookup_cache_hits_total") == 14
    assert value(found, "enricher_commits_total", outcome="failed") == 5
    assert value(found, "enricher_service_tokens_total", outcome="ok") == 9
    assert value(found, "enricher_service_tokens_total", outcome="failed") == 11
    assert value(found, "enricher_service_reloads_total") == 13
    assert value(found, "enricher_lookups_limit") == 64
    assert value(found, "enricher_commit_age_seconds") == pytest.approx(1.0)
    of = {"topic": "contacts", "partition": "3"}
    assert value(found, "enricher_partition_lag_records", **of) == 300
    assert value(found, "enricher_partition_lag_seconds", **of) == pytest.approx(60.0)
    assert value(found, "enricher_partition_incomplete_offsets", **of) == 30
    assert value(found, "enricher_partition_paused", **of) == 1
    assert value(found, "enricher_kafka_broker_up", client="consumer", broker="1") == 1
    rtt = {"client": "consumer", "broker": "1", "quantile": "0.99"}
    assert value(found, "enricher_kafka_broker_rtt_seconds", **rtt) == pytest.approx(0.009)
    assert value(found, "enricher_kafka_queued_records", client="consumer") == 8
    assert value(found, "enricher_ready") == 1
    assert value(found, "process_cpu_seconds_total") > 0


def test_histograms_are_exact_at_their_buckets() -> None:
    """Their bounds are bounds of what is counted; a bucket holds all that is at or below its bound."""
    assert set(BUCKETS) <= set(BOUNDS)
    counts = stats()
    for seconds in (0.0249, 0.025, 0.0251, 5_000.0):
        counts.lookup_seconds.add(seconds)
    found = samples(view()._replace(stats=counts))
    assert value(found, "enricher_lookup_duration_seconds_bucket", le="0.025") == 3  # with the 20 ms
    assert value(found, "enricher_lookup_duration_seconds_bucket", le="0.05") == 4
    assert value(found, "enricher_lookup_duration_seconds_bucket", le="1000") == 4
    assert value(found, "enricher_lookup_duration_seconds_bucket", le="+Inf") == 5
    assert value(found, "enricher_lookup_duration_seconds_count") == 5


def test_what_is_not_known_is_left_out() -> None:
    """Without statistics there is no lag in records, rather than one of 0."""
    for text in (None, "no JSON", '{"brokers": 7}'):
        found = {name for name, _ in samples(view(statistics=text))}
        assert "enricher_partition_committed_offset" in found
        assert (
            not {"enricher_partition_lag_records", "enricher_partition_end_offset", "enricher_kafka_broker_up"} & found
        )


def test_lag_in_seconds() -> None:
    """The age of the oldest record that is not resolved: 0 if all are, not known if its time is not."""
    seen = view()
    done = PARTITION._replace(unresolved=0)
    assert seen.lag_seconds(PARTITION) == pytest.approx(60.0)
    assert seen.lag_seconds(done) == pytest.approx(60.0)  # 250 records are still to be read
    assert seen.lag_seconds(done._replace(seen=400)) == 0.0
    assert seen.lag_seconds(PARTITION._replace(timestamp=None)) is None
    assert view(statistics=None).lag_seconds(done) is None


def test_a_member_without_partitions_is_known_by_the_statistics() -> None:
    """The group may have more members than partitions; nothing is assigned then, and that is right."""
    idle = STATE._replace(partitions=())
    assert view(state=idle).joined
    assert not view(state=idle, statistics=None).joined
    joining = parse('{"cgrp": {"state": "up", "join_state": "wait-sync"}}')
    assert joining is not None
    assert not joining.steady


@pytest.mark.parametrize(
    ("group", "seconds"),
    [
        ({"state": "up", "stateage": 90_000, "join_state": "wait-sync", "rebalance_age": 20_000}, 20.0),
        ({"state": "up", "stateage": 90_000, "join_state": "wait-incr-unassign-to-complete", "rebalance_age": 0}, 90.0),
        ({"state": "up", "stateage": 3_000, "join_state": "wait-join", "rebalance_age": 900_000}, 3.0),
        ({"state": "up", "stateage": 90_000, "join_state": "steady", "rebalance_age": 80_000}, 0.0),
        ({"state": "up", "stateage": 90_000, "join_state": "init", "rebalance_age": 80_000}, 0.0),
        ({"state": "query-coord", "stateage": 90_000, "join_state": "wait-join", "rebalance_age": 80_000}, 0.0),
    ],
    ids=["since-a-rebalance", "for-the-first-time", "after-an-outage", "steady", "no-topic", "no-coordinator"],
)
def test_the_statistics_tell_for_how_long_the_consumer_has_been_joining(group: dict[str, Any], seconds: float) -> None:
    """Only while the group's coordinator answers, and since the last that happened."""
    statistics = parse(json.dumps({"cgrp": group}))
    assert statistics is not None
    assert statistics.joining == seconds


def names() -> Iterator[str]:
    """All names that a query may hold."""
    for metric in METRICS:
        yield metric.exposed
        if metric.kind is Kind.HISTOGRAM:
            yield from (f"{metric.name}_{ending}" for ending in ("bucket", "count", "sum"))
    yield "enricher_build_info"


def test_names_are_good_and_unique() -> None:
    """As Prometheus' conventions have them: a prefix, base units, no ending of a counter on what is none."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"enricher_[a-z_]+[a-z]", metric.name)
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_milliseconds"))
        assert metric.help.endswith(".")
        assert not set(metric.labels) & {"le", "customer", "key", "offset", "id"}


def test_the_documentation_is_current() -> None:
    """docs/metrics.md is what the command makes."""
    written = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert written == markdown(), "run: .venv/bin/enricher config --metrics > docs/metrics.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_metric_named_exists(document: Path) -> None:
    """Documents name no metric that is none."""
    named = set(re.findall(r"`(enricher_[a-z_]+)", document.read_text("utf-8")))
    assert named - set(names()) == set()
