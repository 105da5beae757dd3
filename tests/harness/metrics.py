"""What a worker tells at ``/metrics``, as tests want it."""

import json
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.harness.program import Program


def address_of(worker: Program) -> str:
    """Where a worker serves probes and metrics: host and port, once it does."""
    return str(json.loads(worker.wait_for_log("http_listening"))["address"])


def metrics_of(worker: Program) -> dict[str, float]:
    """The samples by name, those of one name added up."""
    with urlopen(f"http://{address_of(worker)}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found
