"""What a worker tells of itself while it works, and that none of it is anybody's private matter."""

import base64
import json
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import pytest

from enricher.observability.metrics import METRICS
from enricher.testing.contacts import START
from enricher.testing.faults import Faults
from enricher.testing.threaded import ThreadedHistoryServer
from tests.conftest import StartProgram
from tests.harness.broker import KafkaBroker
from tests.harness.clients import Sent, read_topic
from tests.harness.metrics import address_of, metrics_of
from tests.harness.waiting import wait_until
from tests.integration.worker_world import World, contact

pytestmark = pytest.mark.kafka


def _get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


class Collector:
    """Takes traces as an OTLP collector does, and keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it takes traces."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

PRIVATE = {
    "customer": "Zaphod-4711-Beeblebrox",
    "event": "EVT-do-not-tell-0815",
    "agent": "Agent Trillian McMillan",
    "reason": "asks for the divorce papers",
    "password": "hunter2-is-my-password",
    "token": "s3cr3t-t0ken-of-the-url",
    "service_password": "m4rvin-opens-the-service",
}
PRIVATE["service_credentials"] = base64.b64encode(f"worker:{PRIVATE['service_password']}".encode()).decode()


def _private(number: int, *, broken: bool = False) -> Sent:
    event = {
        "eventId": f"{PRIVATE['event']}-{number}",
        "customerId": f"{PRIVATE['customer']}-{number}",
        "contactTime": f"not a time of {PRIVATE['customer']}" if broken else START,
        "agentId": PRIVATE["agent"],
        "reason": PRIVATE["reason"],
    }
    headers: list[tuple[str, bytes | None]] = [("traceparent", f"00-{TRACE}-{number + 1:016x}-01".encode())]
    return Sent(f"{PRIVATE['customer']}-{number}".encode(), json.dumps(event).encode(), headers, START + number)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of traces."""
    with Collector() as made:
        yield made


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_metrics_health_and_page_of_a_worker(guarantee: str, world: World, collector: Collector) -> None:
    """All metrics are there and right, the probes agree, and nothing private is in any output of a whole run.

    Nor in the traces, which go on from the input's headers into the output's.
    """
    world.service.faults = Faults(status={"503": 0.1, "400": 0.02}, seed=3)
    worker = world.worker(
        {
            "delivery.guarantee": guarantee,
            "logging.level": "debug",
            "service.method": "get",  # which has the id in each URL
            "service.url": f"{world.service.url}?apikey={PRIVATE['token']}",
            "kafka.properties.sasl.password": PRIVATE["password"],
            "tracing.enabled": "true",
            "tracing.endpoint": collector.url,
            "tracing.sample_ratio": "1",
            "kafka.consumer.statistics.interval.ms": "500",
            "kafka.producer.statistics.interval.ms": "500",
        },
        environment={
            "ENRICHER_SERVICE__AUTH__BASIC__USERNAME": "worker",
            "ENRICHER_SERVICE__AUTH__BASIC__PASSWORD": PRIVATE["service_password"],
        },
    )
    address = address_of(worker)
    assert _get(address, "/livez") == (200, "ok\n")
    worker.send(signal.SIGUSR1)  # from debug, which is set, nothing changes
    worker.wait_for_log("log_level_changed")
    world.send([*(_private(number) for number in range(200)), *(_private(n, broken=True) for n in range(200, 210))])
    world.await_committed()
    wait_until(lambda: _get(address, "/readyz")[0] == 200, "the worker to be ready")
    assert _get(address, "/startupz") == (200, "ok\n")

    def settled() -> dict[str, float]:
        seen = metrics_of(worker)
        known = "enricher_partition_lag_records" in seen and "enricher_kafka_sent_bytes_total" in seen
        return seen if known and seen["enricher_partition_end_offset"] >= 210 else {}

    seen = wait_until(settled, "librdkafka's statistics")
    assert seen["enricher_records_received_total"] == 210
    assert seen["enricher_partitions_assigned"] == 4
    assert seen["enricher_records_held"] == 0
    assert seen["enricher_partition_committed_offset"] == 210
    assert seen["enricher_partition_lag_records"] == 0
    assert seen["enricher_partition_lag_seconds"] == 0
    assert seen["enricher_dead_letters_total"] + seen["enricher_event_age_seconds_count"] == 210
    assert seen["enricher_dead_letters_total"] >= 10
    assert seen["enricher_lookup_duration_seconds_count"] > 0
    assert seen["enricher_commit_duration_seconds_count"] > 0
    missing = {metric.name for metric in METRICS if not any(name.startswith(metric.name) for name in seen)}
    assert missing == set()

    shown = [_get(address, path)[1] for path in ("/", "/metrics", "/livez", "/readyz", "/other")]
    assert "service.auth.basic.password" in shown[0]
    assert worker.terminate() == 0
    letters = [
        f"{name}={(value or b'').decode(errors='replace')}"
        for record in read_topic(world.bootstrap_servers, world.dead)
        for name, value in record.headers
    ]
    assert len(letters) > 10
    outputs = read_topic(world.bootstrap_servers, world.output)
    assert outputs
    for record in outputs:
        assert (dict(record.headers)["traceparent"] or b"").startswith(f"00-{TRACE}-".encode())
    traces = b"".join(collector.bodies)
    for name in (f"process {world.input}", f"send {world.output}", f"send {world.dead}", "GET", "commit"):
        assert name.encode() in traces
    assert bytes.fromhex(TRACE) in traces
    shown.append(traces.decode(errors="replace"))
    for text in (*shown, *worker.out, *worker.err, *letters):
        for what, word in PRIVATE.items():
            assert word not in text, f"{what} in: {text}"


def test_a_worker_without_partitions_is_ready(
    kafka: KafkaBroker, start_program: StartProgram, service: ThreadedHistoryServer
) -> None:
    """One partition, two workers: the second has nothing to do, rightly, and the first goes on being ready."""
    world = World(kafka.bootstrap_servers, start_program, service, partitions=1)
    quick = {"kafka.consumer.statistics.interval.ms": "500"}
    workers = [world.worker(quick), world.worker(quick)]
    addresses = [address_of(worker) for worker in workers]
    for address in addresses:
        wait_until(lambda address=address: _get(address, "/readyz")[0] == 200, "both to be ready", 60)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    world.send(contact(f"CUST-{number}", number) for number in range(20))
    world.await_committed()
    assert sorted(metrics_of(worker)["enricher_partitions_assigned"] for worker in workers) == [0, 1]
    assert [_get(address, "/livez")[0] for address in addresses] == [200, 200]


def test_an_address_that_is_taken_ends_the_worker(world: World) -> None:
    """At once, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        worker = world.worker({"http.listen": address})
        assert worker.wait() == 1
    [said] = [line for line in worker.err if line.startswith("enricher:")]
    assert re.search(rf"cannot listen on {re.escape(address)} .* give http\.listen another address, or off", said)
