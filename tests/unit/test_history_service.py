"""The history service serves the documented contract, over real sockets."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from enricher.testing.faults import Faults
from enricher.testing.histories import EMPTY, FixedHistories, GeneratedHistories
from enricher.testing.history_service import PATH, HistoryServer
from enricher.testing.threaded import ThreadedHistoryServer
from tests.harness.waiting import wait_until_async
from tests.unit.service_talk import LOOPS, ask, client, run

SERVICE = Path(__file__).parents[1] / "data/service"
JSON = "application/json;charset=UTF-8"


@pytest.mark.parametrize("loop", LOOPS)
def test_the_documented_sample_byte_for_byte(tmp_path: Path, loop: str) -> None:
    """The documentation's request gets the documentation's response."""
    path = tmp_path / "histories.jsonl"
    path.write_text(json.dumps({"CustomerID": "CONNOR", **json.loads((SERVICE / "response.json").read_bytes())}))

    async def main() -> httpx.Response:
        async with HistoryServer(FixedHistories.load(path), indent=True) as server, client() as http:
            assert server.url == server.base_url + PATH
            return await http.post(server.url, content=(SERVICE / "request.json").read_bytes())

    response = run(main, loop)
    assert (response.status_code, response.headers["content-type"]) == (200, JSON)
    assert response.content == (SERVICE / "response.json").read_bytes().rstrip(b"\n")


def test_post_and_get_answer_the_same() -> None:
    """Both methods of the contract, for an id that needs encoding, too."""

    async def main() -> None:
        async with HistoryServer() as server, client() as http:
            for customer in ("CONNOR", "Zoë & Söhne/+%", "客户"):
                expected = GeneratedHistories().body(customer)
                posted = await http.post(server.url, json={"CustomerID": customer})
                queried = await http.get(server.url, params={"CustomerID": customer})
                assert (posted.status_code, posted.content) == (200, expected)
                assert (queried.status_code, queried.content) == (200, expected)

    run(main)


@pytest.mark.parametrize(
    "body",
    [
        b'{"CustomerID": "CONNOR",}',
        b'{"CustomerID": "CONNOR",\r\n}\r\n',
        b'{"Other": [1], "CustomerID": "CONNOR"}',
        b'{"CustomerID": "\\u0043ONNOR"}',
    ],
)
def test_what_counts_as_a_look_up(body: bytes) -> None:
    """The trailing comma of the documentation's own sample is accepted, and so are other fields."""

    async def main() -> httpx.Response:
        async with HistoryServer() as server, client() as http:
            return await http.post(server.url, content=body)

    response = run(main)
    assert (response.status_code, response.content) == (200, GeneratedHistories().body("CONNOR"))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"CONNOR", b"{", b"[]", b"null", b"{}", b'{"CustomerID": ""}', b'{"CustomerID": "  "}',
        b'{"CustomerID": 5}', b'{"CustomerID": null}', b'{"CustomerID": ["A"]}', b'{"customerid": "A"}',
        b'{"CustomerID": "A",,}',
        b'{"CustomerID": "A"} x', b'{"CustomerID": "\xff"}', b'{"CustomerID": "BAD-7"}', b"[" * 5000, b"\x00\x01",
    ],
)  # fmt: skip
def test_bad_posts_are_answered_400(body: bytes) -> None:
    """A bad request gets a JSON body that says what is wrong, without the id; the service goes on."""

    async def main() -> httpx.Response:
        async with HistoryServer() as server, client() as http:
            response = await http.post(server.url, content=body)
            assert (await http.post(server.url, json={"CustomerID": "A"})).status_code == 200
            assert server.stats.by_status == {"200": 1, "400": 1}
            return response

    response = run(main)
    assert (response.status_code, response.headers["content-type"]) == (400, JSON)
    assert list(response.json()) == ["error"]
    assert "BAD-7" not in response.text


@pytest.mark.parametrize(
    "query", ["", "?", "?CustomerID=", "?customerid=A", "?CustomerID=A&CustomerID=B", "?CustomerID=%ff"]
)
def test_bad_gets_are_answered_400(query: str) -> None:
    """No id, two ids, an id that is not text."""

    async def main() -> httpx.Response:
        async with HistoryServer() as server, client() as http:
            return await http.get(server.url + query)

    response = run(main)
    assert response.status_code == 400
    assert list(response.json()) == ["error"]


def test_unknown_customers_have_an_empty_list() -> None:
    """Being unknown is an answer, not an error."""

    async def main() -> httpx.Response:
        async with HistoryServer(GeneratedHistories(unknown_rate=1)) as server:
            return await ask(server)

    response = run(main)
    assert (response.status_code, response.content) == (200, EMPTY)


def test_other_methods_and_paths() -> None:
    """405 tells the methods; only the one path is served, which may be another."""

    async def main() -> None:
        async with HistoryServer(path="/other") as server, client() as http:
            assert server.url == f"{server.base_url}/other"
            for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
                response = await http.request(method, server.url)
                assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
            assert (await http.post(server.base_url + PATH, json={"CustomerID": "A"})).status_code == 404
            assert (await http.post(server.url, json={"CustomerID": "A"})).status_code == 200
            assert server.stats.requests == 5

    run(main)


def test_stats_tell_what_happened() -> None:
    """Requests, statuses, connections and customers are counted, and can be counted anew."""

    async def main() -> None:
        async with HistoryServer(count_customers=2) as server:
            async with client() as http:
                for customer in ("A", "A", "B", "C", "BAD-1"):
                    await http.post(server.url, json={"CustomerID": customer})
                stats = server.stats
                assert (stats.requests, stats.by_status) == (5, {"200": 4, "400": 1})
                assert (stats.connections_opened, stats.connections_open) == (1, 1)
                assert (stats.in_flight, stats.peak_in_flight, stats.abandoned) == (0, 1, 0)
                assert stats.customers == {"A": 2, "B": 1}
                server.reset_stats()
                assert (server.stats.requests, server.stats.connections_opened) == (0, 0)
                assert server.stats.connections_open == 1
            await wait_until_async(lambda: server.stats.connections_open == 0, "the client's connection to be gone")

    run(main)


@pytest.mark.parametrize("bound", [0, 3000, 10_000_000])
def test_answers_are_the_same_from_the_cache(bound: int) -> None:
    """Whatever the bound of the cache, the second answer is the first."""

    async def main() -> None:
        async with HistoryServer(cache_bytes=bound) as server, client() as http:
            for _ in range(2):
                for customer in ("A", "B", "C"):
                    response = await http.post(server.url, json={"CustomerID": customer})
                    assert response.content == GeneratedHistories().body(customer)
            assert sum(map(len, server._cache.values())) <= bound

    run(main)


@pytest.mark.parametrize("loop", LOOPS)
def test_closing_leaves_nothing_behind(loop: str) -> None:
    """An idle connection, a request that hangs and one that waits do not hold the service up; `run` looks for tasks."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(customers={"H": Faults(hang=1)}, latency="60s", capacity=2)) as server:
            asked = [asyncio.create_task(ask(server, customer)) for customer in ("H", "A", "B", "C")]
            _, idle = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
            await wait_until_async(lambda: server.stats.connections_open == 5, "all connections")
            await wait_until_async(lambda: server.stats.in_flight == 4, "all requests")
            await server.close()
            await server.close()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(answer, httpx.TransportError) for answer in answers)
            idle.close()
            assert server.stats.connections_open == 0
            with pytest.raises(httpx.ConnectError):
                await ask(server)

    run(main, loop)


def test_closing_with_grace_finishes_what_is_on_its_way() -> None:
    """Answers that come within the grace are sent."""

    async def main() -> httpx.Response:
        async with HistoryServer(faults=Faults(latency="100ms")) as server:
            asked = asyncio.create_task(ask(server))
            await wait_until_async(lambda: server.stats.in_flight == 1, "the request")
            await server.close(grace=10)
            return await asked

    assert run(main).status_code == 200


def test_a_taken_port_is_an_error_and_leaves_nothing_open() -> None:
    """The second service on one port does not start; on its own port it then does."""

    async def main() -> None:
        async with HistoryServer() as server:
            port = int(server.base_url.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"):
                await HistoryServer(port=port).start()
            other = HistoryServer(admin_port=port)
            with pytest.raises(OSError, match="in use"):
                await other.start()
            assert (await ask(server)).status_code == 200

    run(main)


def test_the_threaded_service() -> None:
    """For synchronous tests: faults and stats work from another thread."""
    with ThreadedHistoryServer(count_customers=1) as server, httpx.Client(trust_env=False) as http:
        assert http.post(server.url, json={"CustomerID": "A"}).status_code == 200
        server.faults = Faults(status={"503": 1})
        assert server.faults == Faults(status={"503": 1})
        assert http.post(server.url, json={"CustomerID": "A"}).status_code == 503
        assert server.stats.by_status == {"200": 1, "503": 1}
        assert http.get(server.admin_url + "/health").json() == {"status": "up"}
        server.reset_stats()
        assert server.stats.requests == 0
        with pytest.raises(OSError, match="in use"):
            ThreadedHistoryServer(port=int(server.base_url.rpartition(":")[2])).start()
    server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        server.reset_stats()
