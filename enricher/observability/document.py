"""The documentation of the metrics, made of their table."""

from enricher.observability.metrics import BUCKETS, GROUPS, INFO

_INTRODUCTION = """\
# Metrics

<!-- Made by `enricher config --metrics`; change enricher/observability/metrics.py, not this page. -->

The worker tells these at `/metrics` of its address `http.listen`, in Prometheus' text format. Besides, there are the
usual `process_*` and `python_*` metrics (CPU, memory, open files, garbage collections).

- Durations are in seconds, sizes in bytes. Counters begin at 0 with each start of the worker.
- Labels take few values: stages, causes, kinds of failure, the partitions assigned to this worker, brokers. None ever
  holds a customer's id, a key or a value.
- A partition that goes to another worker goes from the metrics of this one, so sums over all workers count it once.
- To count costs nothing to speak of; metrics are put together when they are asked for.
- The buckets of the histograms: BUCKETS.
- `INFO` is always 1, and its labels `version` and `librdkafka` tell what runs.
"""


def markdown() -> str:
    """The documentation of all metrics."""
    buckets = ", ".join(f"{bound:g}" for bound in BUCKETS)
    parts = [_INTRODUCTION.replace("BUCKETS", buckets).replace("INFO", INFO)]
    for title, metrics in GROUPS.items():
        parts.append(f"\n## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n")
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            parts.append(f"| `{metric.exposed}` | {metric.kind} | {labels} | {metric.help} |\n")
    return "".join(parts)
