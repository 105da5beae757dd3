"""The service's HTTP, byte by byte: keep-alive, pipelines, framing, limits, garbage; and its administration."""

import asyncio
import json
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.httpd.connection import MAX_HEAD, Exchange
from enricher.httpd.messages import Request, render
from enricher.httpd.server import MAX_BODY, HttpServer
from enricher.testing.faults import Faults
from enricher.testing.histories import FixedHistories, GeneratedHistories
from enricher.testing.history_service import PATH, HistoryServer
from enricher.testing.threaded import ThreadedHistoryServer
from tests.harness.waiting import wait_until_async
from tests.unit.service_talk import LOOPS, ask, client, post, run, talk

LOOKUP = b'{"CustomerID": "A"}'
SMALL = FixedHistories.of({"A": [{"Name": "a"}], "B": [{"Name": "b"}]})
ANSWER_A = render(200, SMALL.body("A"))
ANSWER_B = render(200, SMALL.body("B"))
CLOSE = "Connection: close"


def closing(response: bytes) -> bytes:
    """The same response as the last one of its connection."""
    return response.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


def exchange(data: bytes, faults: Faults | None = None, loop: str = "asyncio") -> bytes:
    """Everything that the service says to these bytes until it closes the connection; it must live on."""

    async def main() -> bytes:
        async with HistoryServer(SMALL, faults) as server:
            said = await talk(server, data)
            server.faults = Faults()
            assert (await ask(server, "A")).status_code == 200
            return said

    return run(main, loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("latency", ["0s", "10ms"])
def test_pipelined_requests_are_answered_in_order(loop: str, latency: str) -> None:
    """However late the answers are, and however many requests come at once."""
    pair = post(LOOKUP) + f"GET {PATH}?CustomerID=B HTTP/1.1\r\nHost: service\r\n\r\n".encode()
    said = exchange(pair * 60 + post(LOOKUP, CLOSE), Faults(latency=latency), loop)
    assert said == (ANSWER_A + ANSWER_B) * 60 + closing(ANSWER_A)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_does_not_read_is_not_answered_on_and_on(loop: str) -> None:
    """The answers that one client's pipeline holds stay bounded; when it reads, all of them come."""

    async def main() -> None:
        async with HistoryServer(GeneratedHistories(offers=200)) as server:
            size = len(render(200, GeneratedHistories(offers=200).body("A")))
            with socket.create_connection(("127.0.0.1", int(server.base_url.rpartition(":")[2]))) as sender:
                sender.setblocking(False)
                here = asyncio.get_running_loop()
                writing = asyncio.create_task(here.sock_sendall(sender, post(LOOKUP) * 1000))
                await wait_until_async(lambda: server.stats.requests > 10, "the first requests")
                before = -1
                while before != server.stats.requests:  # until it stands still
                    before = server.stats.requests
                    await asyncio.sleep(0.1)
                assert before < 500
                received = 0
                while received < 1000 * size:
                    received += len(await here.sock_recv(sender, 1 << 20))
                await writing
                assert server.stats.requests == 1000

    run(main, loop)


@pytest.mark.parametrize("pieces", [1, 7])
def test_requests_in_pieces(pieces: int) -> None:
    """A request may come byte by byte."""

    async def main() -> bytes:
        async with HistoryServer(SMALL) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
            data = post(LOOKUP) + post(LOOKUP, CLOSE)
            for start in range(0, len(data), pieces):
                writer.write(data[start : start + pieces])
                await asyncio.sleep(0)
            said = await reader.read()
            writer.close()
            return said

    assert run(main) == ANSWER_A + closing(ANSWER_A)


def test_chunked_bodies() -> None:
    """A body of unknown length is put together."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (LOOKUP[:5], LOOKUP[5:])) + b"0\r\n\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: service\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert exchange(head.encode() + chunks) == closing(ANSWER_A)


def test_old_clients() -> None:
    """An HTTP/1.0 client is answered, and the connection ends."""
    assert exchange(post(LOOKUP, version="1.0")) == closing(ANSWER_A)


def test_expect_continue() -> None:
    """A client that asks first is told to go on, in its turn, and then answered."""

    async def main() -> None:
        async with HistoryServer(SMALL, Faults(latency="50ms")) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
            head, _, body = post(LOOKUP, "Expect: 100-continue", CLOSE).partition(b"\r\n\r\n")
            writer.write(post(LOOKUP) + head + b"\r\n\r\n")
            expected = ANSWER_A + b"HTTP/1.1 100 Continue\r\n\r\n"
            assert await reader.readexactly(len(expected)) == expected
            writer.write(body)
            assert await reader.read() == closing(ANSWER_A)
            writer.close()

    run(main)


def test_head_has_no_body() -> None:
    """HEAD is not of the contract; its refusal is a head alone."""
    said = exchange(f"HEAD {PATH} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 405 ")
    assert said.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(b"x" * (MAX_BODY + 1)), 413),
        (post(b"", f"Content-Length: {10**15}").replace(b"Content-Length: 0\r\n", b""), 413),
        (
            f"POST {PATH} HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n".encode()
            + b"x" * 100_000,
            413,
        ),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * (MAX_HEAD * 8), 431),
        (b"GET /" + b"y" * (MAX_HEAD * 8), 431),
    ],
)
def test_what_is_too_large_is_refused(data: bytes, status: int, loop: str) -> None:
    """The client gets the status and then the end, though it has not been read to its own end."""
    said = exchange(data, loop=loop)
    assert said.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in said


def test_the_largest_body_is_read() -> None:
    """The bound itself is allowed."""
    body = LOOKUP + b" " * (MAX_BODY - len(LOOKUP))
    assert exchange(post(body, CLOSE)) == closing(ANSWER_A)


def test_upgrades_are_refused() -> None:
    """What is not spoken is not begun, and what was asked before it is answered."""
    said = exchange(post(LOOKUP) + post(LOOKUP, "Connection: Upgrade", "Upgrade: h2c"))
    assert said.startswith(ANSWER_A + b"HTTP/1.1 400 ")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
    ],
)
def test_garbage_is_answered_400(garbage: bytes, loop: str) -> None:
    """It ends its own connection, after what came before it was answered, and nothing else."""
    said = exchange(post(LOOKUP) + garbage, loop=loop)
    assert said.startswith(ANSWER_A + b"HTTP/1.1 400 ")


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary()
    | st.lists(st.sampled_from([post(LOOKUP), b"GET / HTTP/1.1\r\n", b"\r\n", b"Host: s\r\n", b"0", b"\xff"])).map(
        b"".join
    )
)
def test_no_bytes_kill_the_service(data: bytes) -> None:
    """Whatever is sent, cut off anywhere: the service answers the next client and holds no connection."""

    async def main() -> None:
        async with HistoryServer(SMALL) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
            writer.write(data)
            writer.write_eof()
            assert (await ask(server, "A")).status_code == 200
            writer.close()
            await wait_until_async(lambda: server.stats.connections_open == 0, "no connection")
            assert server.stats.in_flight == 0

    run(main)


def test_a_failing_handler_is_told_and_answered() -> None:
    """A defect of ours reaches the loop's exception handler, and the client as 500."""

    async def main() -> None:
        def handler(exchange: Exchange) -> None:
            raise RuntimeError(exchange.request.method)

        told: list[BaseException] = []
        here = asyncio.get_running_loop()
        here.set_exception_handler(lambda _, context: told.append(context["exception"]))
        server = HttpServer(handler)
        await server.serve(server.bind())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        said = await reader.read()
        writer.close()
        await server.close()
        assert said.startswith(b"HTTP/1.1 500 ")
        assert [str(error) for error in told] == ["GET"]

    run(main)


def test_the_target_is_split() -> None:
    """Path and query, both still encoded."""
    request = Request("GET", b"/a%20b?c=%26?d", [], b"", keep_alive=True)
    assert (request.path, request.query) == (b"/a%20b", b"c=%26?d")


def test_the_administration() -> None:
    """On both ports: faults are read and changed, stats read and reset, and the rest refused with a reason."""

    async def main() -> None:
        async with HistoryServer(SMALL) as server, client() as http:
            for base in (server.base_url, server.admin_url):
                assert (await http.get(base + "/health")).json() == {"status": "up"}
                assert (await http.get(base + "/faults")).json() == {}
                wanted = {"latency": "1ms", "status": {"503": 1.0}, "retry_after": 3}
                changed = await http.put(base + "/faults", json=wanted)
                assert (changed.status_code, changed.json()) == (200, wanted)
                assert server.faults == Faults.from_json(json.dumps(wanted))
                assert (await ask(server)).status_code == 503
                assert (await http.get(base + "/stats")).json()["by_status"] == {"503": 1}
                assert (await http.post(base + "/stats/reset")).json()["requests"] == 0
                for bad in (
                    b"",
                    b"{",
                    b'{"speed": 1}',
                    b'{"status": {"503": "often"}}',
                    b'{"x": "\xff"}',
                    b'{"a\\nb": 1}',
                ):
                    refused = await http.put(base + "/faults", content=bad)
                    assert refused.status_code == 400
                    assert refused.json()["error"].startswith("not valid faults: ")
                assert server.faults == Faults.from_json(json.dumps(wanted))
                wrong = await http.delete(base + "/faults")
                assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, PUT")
                assert (await http.get(base + "/nothing")).status_code == 404
                server.faults = Faults()

    run(main)


def test_the_service_takes_itself_down_over_its_own_port() -> None:
    """The PUT that does it is answered."""

    async def main() -> None:
        async with HistoryServer(SMALL) as server, client() as http:
            assert (await http.put(server.base_url + "/faults", json={"down": True})).status_code == 200
            assert (await http.get(server.admin_url + "/faults")).json() == {"down": True}

    run(main)


def test_coming_up_on_a_port_that_was_taken() -> None:
    """The change is refused, and the service stays down."""

    async def main() -> None:
        async with HistoryServer(SMALL, Faults(down=True)) as server, client() as http:
            with socket.create_server(("127.0.0.1", int(server.base_url.rpartition(":")[2]))):
                refused = await http.put(server.admin_url + "/faults", content=b"{}")
                assert (refused.status_code, server.faults) == (500, Faults(down=True))
                assert "in use" in refused.json()["error"]
            assert (await http.put(server.admin_url + "/faults", content=b"{}")).status_code == 200
            assert (await ask(server, "A")).status_code == 200

    run(main)


def test_a_thread_of_its_own_serves_many_clients() -> None:
    """Connections of several synchronous clients at once."""
    with ThreadedHistoryServer(SMALL) as server:
        address = ("127.0.0.1", int(server.base_url.rpartition(":")[2]))
        clients = [socket.create_connection(address, timeout=10) for _ in range(20)]
        for connection in clients:
            connection.sendall(post(LOOKUP))
        for connection in clients:
            with connection, connection.makefile("rb") as file:
                assert file.read(len(ANSWER_A)) == ANSWER_A
