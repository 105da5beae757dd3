"""The Grafana dashboard: its rows of panels, and the JSON that Grafana reads.

Invariants: each expression is limited to the chosen data source, namespace and job; the units are Grafana's.
"""

from typing import Any, NamedTuple

_WIDTH, _HEIGHT = 8, 8
_COLUMNS = 24 // _WIDTH
_SELECT = 'namespace=~"$namespace",job=~"$job"'


class Panel(NamedTuple):
    """One graph.

    Attributes:
        title: above it.
        unit: of its values, as Grafana names it.
        lines: expressions and their legends. ``$S`` in one is the selection of namespace and job.
        text: what it tells, for who points at it.
    """

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    text: str = ""


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    expression = f"histogram_quantile(%s, sum by (le) (rate({metric}_bucket{{$S}}[$__rate_interval])))"
    return tuple((expression % q, name) for q, name in (("0.5", "median"), ("0.95", "95 %"), ("0.99", "99 %")))


def _rate(selector: str, by: str, legend: str) -> tuple[tuple[str, str], ...]:
    return ((f"sum by ({by}) (rate({selector}[$__rate_interval]))", legend),)


ROWS: dict[str, tuple[Panel, ...]] = {
    "Is it well?": (
        Panel(
            "Lag in time",
            "s",
            (("max by (topic) (enricher_partition_lag_seconds{$S})", "{{topic}}"),),
            "How old the oldest unresolved record is.",
        ),
        Panel("Lag in records", "short", (("sum by (topic) (enricher_partition_lag_records{$S})", "{{topic}}"),)),
        Panel(
            "Events a second",
            "eps",
            _rate('enricher_events_total{stage="produce",outcome="ok",$S}', "job", "enriched")
            + _rate("enricher_dead_letters_total{$S}", "job", "dead letters"),
        ),
        Panel(
            "Workers",
            "short",
            (
                ("sum(enricher_ready{$S})", "ready"),
                ("count(enricher_ready{$S})", "running"),
                ("sum(enricher_partitions_assigned{$S})", "partitions assigned"),
            ),
        ),
        Panel(
            "Event age when published",
            "s",
            _quantiles("enricher_event_age_seconds"),
            "From a record's timestamp to the acknowledgement of its enriched event.",
        ),
        Panel(
            "Oldest event held",
            "s",
            (("max by (instance) (enricher_oldest_unresolved_seconds{$S})", "{{instance}}"),),
        ),
    ),
    "History service": (
        Panel("Look-up latency", "s", _quantiles("enricher_lookup_duration_seconds")),
        Panel("Attempts by outcome", "reqps", _rate("enricher_lookup_attempts_total{$S}", "outcome", "{{outcome}}")),
        Panel(
            "In flight and limit",
            "short",
            (
                ("sum(enricher_lookups_in_flight{$S})", "in flight"),
                ("sum(enricher_lookups_limit{$S})", "limit"),
            ),
            "A limit below service.max_in_flight times the workers is what the service bears.",
        ),
        Panel(
            "Breaker",
            "short",
            (("max by (instance) (enricher_breaker_open{$S})", "{{instance}}"),),
            "1 while the service counts as down.",
        ),
        Panel(
            "Events that wait for a look-up",
            "short",
            (("sum(enricher_events_waiting{$S})", "events"), ("sum(enricher_lanes{$S})", "keys that are busy")),
            "Thousands more than in flight: the history service, or its limit, holds them up.",
        ),
        Panel(
            "Retries, and events passed on without a history",
            "ops",
            _rate("enricher_lookup_retries_total{$S}", "job", "retries")
            + _rate('enricher_events_total{outcome="passed-through",$S}', "job", "passed on without a history"),
        ),
    ),
    "Dead letters and held records": (
        Panel(
            "Dead letters by cause",
            "ops",
            _rate("enricher_dead_letters_total{$S}", "stage, cause", "{{stage}}: {{cause}}"),
        ),
        Panel(
            "Records held",
            "short",
            (
                ("sum by (instance) (enricher_records_held{$S})", "{{instance}}"),
                ("max(enricher_records_held_limit{$S})", "limit of each"),
            ),
        ),
        Panel(
            "Bytes held",
            "bytes",
            (
                ("sum by (instance) (enricher_held_bytes{$S})", "{{instance}}"),
                ("max(enricher_held_bytes_limit{$S})", "limit of each"),
            ),
        ),
    ),
    "Commits and rebalances": (
        Panel("Time since a commit", "s", (("max by (instance) (enricher_commit_age_seconds{$S})", "{{instance}}"),)),
        Panel("Commits", "ops", _rate("enricher_commits_total{$S}", "outcome", "{{outcome}}")),
        Panel("Commit latency", "s", _quantiles("enricher_commit_duration_seconds")),
        Panel(
            "Rebalances and aborted transactions",
            "ops",
            _rate("enricher_rebalances_total{$S}", "job", "rebalances")
            + _rate("enricher_transactions_aborted_total{$S}", "job", "aborted transactions"),
        ),
        Panel(
            "Partitions paused and full",
            "short",
            (
                ("sum(enricher_partitions_paused{$S})", "paused"),
                ("sum(enricher_partitions_full{$S})", "full"),
            ),
        ),
        Panel(
            "Most incomplete offsets of a partition",
            "short",
            (("topk(5, enricher_partition_incomplete_offsets{$S})", "{{topic}} {{partition}}"),),
        ),
    ),
    "Process and Kafka clients": (
        Panel("CPU", "percentunit", (("rate(process_cpu_seconds_total{$S}[$__rate_interval])", "{{instance}}"),)),
        Panel("Memory", "bytes", (("process_resident_memory_bytes{$S}", "{{instance}}"),)),
        Panel("Event loop lag", "s", _quantiles("enricher_event_loop_lag_seconds")),
        Panel(
            "Broker round trip, 99 %",
            "s",
            (
                (
                    'max by (client, broker) (enricher_kafka_broker_rtt_seconds{quantile="0.99",$S})',
                    "{{client}} {{broker}}",
                ),
            ),
        ),
        Panel(
            "Bytes of Kafka",
            "Bps",
            _rate("enricher_kafka_received_bytes_total{$S}", "client", "received by {{client}}")
            + _rate("enricher_kafka_sent_bytes_total{$S}", "client", "sent by {{client}}"),
        ),
        Panel(
            "Failed requests to brokers",
            "ops",
            _rate("enricher_kafka_broker_errors_total{$S}", "client, reason", "{{client}} {{reason}}"),
        ),
    ),
}


def _graph(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "$datasource"}
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": source,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": source,
                "expr": expression.replace("$S", _SELECT),
                "legendFormat": legend,
            }
            for index, (expression, legend) in enumerate(panel.lines)
        ],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "label": name.capitalize(),
        "datasource": {"type": "prometheus", "uid": "$datasource"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        heading = {"type": "row", "title": title, "collapsed": False, "panels": []}
        panels.append({"id": len(panels) + 1, **heading, "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        y += 1
        for index, panel in enumerate(row):
            column = index % _COLUMNS
            panels.append(_graph(panel, len(panels) + 1, column * _WIDTH, y + index // _COLUMNS * _HEIGHT))
        y += -(-len(row) // _COLUMNS) * _HEIGHT
    return {
        "uid": "enricher",
        "title": "enricher",
        "description": "Made by `make chart-files`; change scripts/dashboard.py, not this file.",
        "tags": ["kafka", "enricher"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "type": "datasource",
                    "label": "Data source",
                    "query": "prometheus",
                    "current": {},
                },
                _variable("namespace", "label_values(enricher_build_info, namespace)"),
                _variable("job", 'label_values(enricher_build_info{namespace=~"$namespace"}, job)'),
            ]
        },
        "panels": panels,
    }
