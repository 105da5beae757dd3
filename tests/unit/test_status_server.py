"""The status server: what it answers, also when the worker's loop hangs, and what it refuses."""

import asyncio
import html
import http.client
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pytest

from enricher.httpd.loop_thread import LoopThread
from enricher.observability import health
from enricher.observability import server as server_module
from enricher.observability.health import Limits
from enricher.observability.heartbeat import Heartbeat
from enricher.observability.observer import Observer
from enricher.observability.server import MAX_CONNECTIONS, StatusServer
from enricher.pulse import Pulse
from enricher.state import Holding, State
from enricher.stats import Stats
from tests.harness.waiting import wait_until
from tests.unit.observed import PARTITION, STATE, STATISTICS

SETTINGS = [
    ("kafka.group_id", "crm", "--set"),
    ("service.url", "http://h/<path>", "default"),
    ("kafka.properties.sasl.password", "***", "e.yaml:3"),
]


class Worker:
    """A worker's loop in a thread of its own, and a status server that looks at it."""

    def __init__(self, server: StatusServer, pulse: Pulse, stats: Stats, loop: asyncio.AbstractEventLoop) -> None:
        self.pulse = pulse
        self.stats = stats
        self.loop = loop
        self.host, _, port = server.address.rpartition(":")
        self.port = int(port)

    def get(self, path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
        """Status, body and header fields."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), {name.lower(): text for name, text in answer.getheaders()}
        finally:
            connection.close()

    def send(self, data: bytes) -> bytes:
        """All that is answered to these bytes until the connection is closed."""
        with socket.create_connection((self.host, self.port), timeout=30) as connection:
            connection.sendall(data)
            parts = []
            while part := connection.recv(65_536):
                parts.append(part)
            return b"".join(parts)


@contextmanager
def running() -> Iterator[Worker]:
    """A worker that works, and its server."""
    now = time.monotonic()
    pulse = Pulse(
        started=now, loop=now, consuming=True, polled=now, joined=True, delivering=True, committed=now, progressed=now
    )
    pulse.take_consumer(STATISTICS)
    stats = Stats(enriched=1234)
    stats.failures["Timeout"] = 7
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    heartbeat = Heartbeat(stats, pulse, lambda: Holding(1, 0))
    server = StatusServer("127.0.0.1:0", Observer(stats, pulse, lambda: STATE, heartbeat, loop), SETTINGS, Limits(5.0))
    runs = LoopThread("status", server)
    runs.start()
    try:
        yield Worker(server, pulse, stats, loop)
    finally:
        runs.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker that works, and its server."""
    with running() as made:
        yield made


def test_a_worker_that_works(worker: Worker) -> None:
    """All is well, and nothing is kept by caches."""
    for path in ("/livez", "/readyz", "/startupz"):
        status, body, headers = worker.get(path)
        assert (status, body) == (200, "ok\n")
        assert headers["cache-control"] == "no-store"
    status, body, headers = worker.get("/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'enricher_partition_lag_records{partition="3",topic="contacts"} 300.0' in body
    assert worker.get("/metrics", "HEAD")[:2] == (200, "")


def test_what_is_wrong_is_told(worker: Worker) -> None:
    """A probe that fails says why: nobody has to guess at 3 a.m."""
    worker.pulse.polled -= 100
    status, body, _ = worker.get("/livez")
    assert status == 503
    assert re.fullmatch(r"the consumer's thread has not polled for 10\d s\n", body)
    worker.pulse.draining = True
    assert worker.get("/readyz")[:2] == (503, "the worker is draining\n")


def test_a_consumer_that_is_stuck_in_a_rebalance_is_told(worker: Worker) -> None:
    """The client's statistics say so, while its thread polls."""
    stuck = {"state": "up", "stateage": 900_000, "join_state": "wait-join", "rebalance_age": 700_000}
    worker.pulse.take_consumer(json.dumps({"cgrp": stuck}))
    assert worker.get("/livez")[:2] == (503, "the consumer has been joining its group for 700 s\n")


def test_a_producer_that_sends_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as that is so; one request of it and all is well again."""
    monkeypatch.setattr(server_module, "WATCH", 0.01)
    monkeypatch.setattr(health, "SEND_STALLED", 0.2)
    waiting = {"t": {"partitions": {"0": {"leader": 1, "xmit_msgq_cnt": 3}}}}
    turns = itertools.count(1)

    def answer(requests: int) -> tuple[int, str, dict[str, str]]:
        broker = {"nodeid": 1, "state": "UP", "req": {"Produce": requests}}
        made.pulse.take_producer(json.dumps({"ts": next(turns), "brokers": {"b": broker}, "topics": waiting}))
        return made.get("/livez")

    with running() as made:
        wait_until(lambda: answer(7)[0] == 503, "that it is told", 30)
        assert re.fullmatch(r"the producer has sent nothing for \d+ s, though .*\n", answer(7)[1])
        assert answer(8)[0] == 200


def test_a_loop_that_hangs_is_told(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server answers from its own thread; metrics are those of before, with the newest signs of life."""
    monkeypatch.setattr("enricher.observability.observer.PATIENCE", 0.1)
    assert "enricher_partitions_assigned 1.0" in worker.get("/metrics")[1]
    release = threading.Event()
    worker.loop.call_soon_threadsafe(release.wait)
    try:
        worker.pulse.started -= 60
        worker.pulse.loop -= 60
        assert worker.get("/livez")[0] == 503
        status, body, _ = worker.get("/metrics")
        assert status == 200
        assert "enricher_partitions_assigned 1.0" in body
        [age] = re.findall(r"^enricher_event_loop_age_seconds ([0-9.]+)$", body, re.MULTILINE)
        assert float(age) >= 60
        assert worker.get("/")[0] == 200
    finally:
        release.set()


def test_a_loop_that_has_ended_is_no_fault() -> None:
    """While the program ends, who asks gets what was known last."""
    with running() as worker:
        worker.loop.call_soon_threadsafe(worker.loop.stop)
        assert worker.get("/readyz")[0] == 200


def test_the_page_is_for_people(worker: Worker) -> None:
    """Everything that one looks for is on it, escaped, without a script or anything from elsewhere."""
    status, body, headers = worker.get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    for text in ("contacts[3]", "paused", "1,234 since the start", "Timeout", "5 of 64", "***", "e.yaml:3"):
        assert text in body
    assert f"crm on {html.escape(socket.gethostname())}" in body
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, up ", body)
    assert "http://h/&lt;path&gt;" in body
    assert "<path>" not in body
    assert "<script" not in body
    assert '<meta http-equiv="refresh"' in body
    assert "prefers-color-scheme: dark" in body


def test_the_page_tells_what_is_wrong(worker: Worker) -> None:
    """In words, at the top."""
    worker.pulse.delivering = False
    body = worker.get("/")[1]
    assert "not ready" in body
    assert "the producer has not found its brokers and topics yet" in body


def test_a_page_of_many_partitions_is_bounded() -> None:
    """Those with the largest lag are shown, and it says so."""
    from enricher.observability.health import Verdict
    from enricher.observability.page import render
    from tests.unit.observed import view

    def shown(state: State, live: Verdict) -> str:
        at = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
        return render(view(state=state), live, SETTINGS, host="pod-<1>", at=at).decode()

    many = tuple(PARTITION._replace(partition=number, committed=number) for number in range(250))
    body = shown(STATE._replace(partitions=many, breaker_open=True), Verdict(True, ()))
    assert "100 of 250" in body
    assert body.count("contacts[") == 100
    assert "the history service does not answer" in body
    assert "no more is read until" in body
    assert "pod-&lt;1&gt;" in body
    assert "2026-11-27 03:00:00 UTC" in body
    assert body.index("Settings that were given") < body.index("e.yaml:3") < body.index("Settings left as they are")
    assert body.index("Settings left as they are") < body.index("service.url")
    reading = shown(STATE._replace(partitions=(PARTITION._replace(paused=False), PARTITION)), Verdict(True, ()))
    assert "no more is read until" not in reading
    none = shown(STATE._replace(partitions=()), Verdict(False, ("hung",)))
    assert "None is assigned" in none
    assert "hung" in none


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /other HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404),
        (b"DELETE /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 405),
        (b"POST /livez HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000, 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000, 431),
        (b"\x16\x03\x01 no HTTP\r\n\r\n", 400),
    ],
    ids=["unknown", "method", "body", "head", "garbage"],
)
def test_what_is_refused(data: bytes, status: int, worker: Worker) -> None:
    """Nothing can be changed by asking, and what one asks is bounded."""
    assert worker.send(data).split()[1] == str(status).encode()
    assert worker.get("/livez")[0] == 200


def test_many_connections_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than may be is closed at once; those that ask nothing are closed after a while."""
    monkeypatch.setattr(server_module, "IDLE", 0.5)
    monkeypatch.setattr(server_module, "SWEEP", 0.1)
    with running() as worker:
        silent = [socket.create_connection((worker.host, worker.port), timeout=30) for _ in range(MAX_CONNECTIONS + 5)]
        try:
            for connection in silent:
                with suppress(ConnectionResetError):
                    assert connection.recv(1) == b""
            wait_until(lambda: worker.get("/livez")[0] == 200, "an answer", 30)
        finally:
            for connection in silent:
                connection.close()


def test_an_address_that_is_taken_is_told() -> None:
    """Before anything is started."""
    with running() as worker, pytest.raises(OSError, match="in use"):
        StatusServer(
            f"127.0.0.1:{worker.port}",
            Observer(Stats(), Pulse(), lambda: STATE, Heartbeat(Stats(), Pulse(), lambda: Holding(0, 0)), worker.loop),
            [],
            Limits(1.0),
        )


def test_an_address_of_the_other_family() -> None:
    """IPv6 addresses stand in brackets, and are told so."""
    loop = asyncio.new_event_loop()
    try:
        observer = Observer(Stats(), Pulse(), lambda: STATE, Heartbeat(Stats(), Pulse(), lambda: Holding(0, 0)), loop)
        server = StatusServer("[::1]:0", observer, [], Limits(1.0))
        assert re.fullmatch(r"\[::1\]:\d+", server.address)
        server._listener.close()
    finally:
        loop.close()
