"""Each fault as the client sees it, over real sockets; faults that change while the service runs."""

import asyncio
import json
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Literal

import httpx
import pytest

from enricher.testing.faults import Behaviour, Faults
from enricher.testing.histories import GeneratedHistories
from enricher.testing.history_service import HistoryServer
from tests.harness.waiting import wait_until_async
from tests.unit.service_talk import LOOPS, ask, client, post, run, talk

BODY = GeneratedHistories().body("CUST-1")

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_latency(loop: str) -> None:
    """The answer comes when the latency is over; zero means at once."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(latency="200ms")) as server, client() as http:
            before = monotonic()
            await http.post(server.url, json={"CustomerID": "A"})
            assert monotonic() - before >= 0.199
            server.faults = Faults()
            before = monotonic()
            await http.post(server.url, json={"CustomerID": "A"})
            assert monotonic() - before < 0.199

    run(main, loop)


@pytest.mark.parametrize("status", [201, 204, 302, 401, 403, 404, 408, 413, 418, 429, 500, 502, 503, 504, 599])
def test_statuses(loop: str, status: int) -> None:
    """Any status can be answered; its body is JSON, and a redirect says where to."""

    async def main() -> httpx.Response:
        async with HistoryServer(faults=Faults(status={str(status): 1})) as server:
            response = await ask(server)
            assert server.stats.by_status == {str(status): 1}
            return response

    response = run(main, loop)
    assert response.status_code == status
    assert response.headers.get("location") == ("/redirected" if status == 302 else None)
    assert status == 204 or list(response.json()) == ["error"]


def test_retry_after(loop: str) -> None:
    """In seconds, or as a date ahead of now."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(status={"503": 1}, retry_after=7)) as server:
            assert (await ask(server)).headers["retry-after"] == "7"
            server.faults = Faults(status={"429": 1}, retry_after="date:1m")
            ahead = parsedate_to_datetime((await ask(server)).headers["retry-after"]).timestamp() - time()
            assert 55 < ahead <= 61
            server.faults = Faults(retry_after=7)
            assert "retry-after" not in (await ask(server)).headers

    run(main, loop)


def test_html(loop: str) -> None:
    """A gateway's page in place of JSON: with 200, and with an error."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(html=1)) as server:
            answers = [await ask(server)]
            server.faults = Faults(status={"502": 1}, error_body="html")
            answers.append(await ask(server))
            assert [answer.status_code for answer in answers] == [200, 502]
            for answer in answers:
                assert answer.headers["content-type"] == "text/html;charset=UTF-8"
                assert answer.text.startswith("<!DOCTYPE html>")

    run(main, loop)


def test_resets(loop: str) -> None:
    """The connection is reset, rather than closed, and the next one works."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(reset=1)) as server:
            with pytest.raises(ConnectionResetError):
                await talk(server, post(b'{"CustomerID": "A"}'))
            server.faults = Faults()
            assert (await ask(server)).status_code == 200
            assert server.stats.by_fault == {"reset": 1}

    run(main, loop)


def test_hanging(loop: str) -> None:
    """No answer comes; when the client has had enough, the request is off the books."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(hang=1)) as server:
            with pytest.raises(httpx.ReadTimeout):
                await ask(server, patience=0.2)
            await wait_until_async(lambda: server.stats.in_flight == 0, "the request to be given up")
            assert (server.stats.abandoned, server.stats.serving) == (1, 0)
            assert server.stats.by_status == {}

    run(main, loop)


def test_slow_bodies(loop: str) -> None:
    """The head comes at once, the body drips at its speed, and it is complete."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(slow_body=1, slow_body_speed=len(BODY) * 4)) as server, client() as http:
            for _ in range(2):  # the connection stays usable
                before = monotonic()
                async with http.stream("POST", server.url, json={"CustomerID": "CUST-1"}) as response:
                    head = monotonic() - before
                    body = await response.aread()
                assert body == BODY
                assert head < 0.15
                assert 0.15 < monotonic() - before < 2
            assert server.stats.connections_opened == 1

    run(main, loop)


def test_a_client_that_leaves_a_slow_body(loop: str) -> None:
    """What drips to nobody ends, and its place is free."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(slow_body=1, slow_body_speed=10, capacity=1)) as server:
            async with client() as http, http.stream("POST", server.url, json={"CustomerID": "A"}):
                assert server.stats.serving == 1
            await wait_until_async(lambda: server.stats.serving == 0, "the place to be free")
            server.faults = Faults(capacity=1)
            assert (await ask(server)).status_code == 200

    run(main, loop)


def test_truncated_json(loop: str) -> None:
    """Good HTTP, bad JSON."""

    async def main() -> httpx.Response:
        async with HistoryServer(faults=Faults(truncated_json=1)) as server:
            return await ask(server)

    response = run(main, loop)
    assert response.status_code == 200
    assert response.content == BODY[: len(BODY) // 2]
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_truncated_body(loop: str) -> None:
    """Less comes than Content-Length announced."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(truncated_body=1)) as server:
            with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
                await ask(server)
            raw = await talk(server, post(b'{"CustomerID": "CUST-1"}'))
            head, _, body = raw.partition(b"\r\n\r\n")
            assert f"Content-Length: {len(BODY)}".encode() in head
            assert body == BODY[: len(BODY) // 2]

    run(main, loop)


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_oversize_bodies(loop: str, size: int) -> None:
    """A body of exactly the size asked for, and JSON all the same."""

    async def main() -> httpx.Response:
        async with HistoryServer(faults=Faults(oversize=1, oversize_bytes=size)) as server:
            return await ask(server)

    response = run(main, loop)
    assert len(response.content) == size
    assert response.json()["OfferHistory"] == []


def test_wrong_content_type(loop: str) -> None:
    """The right body under another name."""

    async def main() -> httpx.Response:
        async with HistoryServer(faults=Faults(wrong_content_type=1)) as server:
            return await ask(server)

    response = run(main, loop)
    assert (response.headers["content-type"], response.content) == ("text/plain", BODY)


def test_rates_and_seeds(loop: str) -> None:
    """A rate is kept, the seed repeats the run, and another seed makes another."""

    async def statuses(server: HistoryServer, seed: int) -> list[int]:
        server.faults = Faults(status={"503": 0.2, "500": 0.1}, seed=seed)
        async with client() as http:
            return [(await http.post(server.url, json={"CustomerID": "A"})).status_code for _ in range(300)]

    async def main() -> None:
        async with HistoryServer() as server:
            first, again, other = [await statuses(server, seed) for seed in (1, 1, 2)]
            assert first == again != other
            assert 40 < first.count(503) < 80
            assert 15 < first.count(500) < 45
            assert first.count(200) == 300 - first.count(503) - first.count(500)

    run(main, loop)


def test_scripts(loop: str) -> None:
    """The script comes first, step by step; afterwards the rates apply."""

    async def main() -> None:
        faults = Faults(script=("503", "ok", "truncated_json", "reset"), status={"500": 1})
        async with HistoryServer(faults=faults) as server:
            answers = [await ask(server) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [503, 200, 200]
            assert [len(answer.content) for answer in answers[1:]] == [len(BODY), len(BODY) // 2]
            with pytest.raises(httpx.ReadError):
                await ask(server)
            assert (await ask(server)).status_code == 500

    run(main, loop)


def test_one_customer_hangs(loop: str) -> None:
    """A customer's behaviour stands in place of the general one; others are not disturbed."""

    async def main() -> None:
        customers = {"CUST-7": Behaviour(latency="60s"), "CUST-8": Behaviour(status={"500": 1})}
        async with HistoryServer(faults=Faults(status={"503": 1}, customers=customers)) as server:
            waiting = asyncio.create_task(ask(server, "CUST-7", patience=0.3))
            assert (await ask(server, "CUST-8")).status_code == 500
            assert (await ask(server, "CUST-9")).status_code == 503
            with pytest.raises(httpx.ReadTimeout):
                await waiting

    run(main, loop)


def test_capacity(loop: str) -> None:
    """At most that many are served at once, the rest waits its turn: latency grows with the load, nothing fails."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(latency="50ms", capacity=4)) as server:
            before = monotonic()
            times: list[float] = []

            async def one() -> int:
                status = (await ask(server)).status_code
                times.append(monotonic() - before)
                return status

            assert await asyncio.gather(*(one() for _ in range(16))) == [200] * 16
            assert (server.stats.peak_serving, server.stats.serving) == (4, 0)
            assert server.stats.peak_in_flight > 4
            assert max(times) >= 4 * 0.049

    run(main, loop)


def test_the_queue_limit(loop: str) -> None:
    """One more than may wait is refused at once."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(latency="60s", capacity=1, queue_limit=1)) as server:
            waiting = [asyncio.create_task(ask(server)) for _ in range(2)]
            await wait_until_async(lambda: server.stats.in_flight == 2, "the place and the queue to be taken")
            assert (await ask(server)).status_code == 503
            assert server.stats.by_fault == {"refused_by_queue": 1}
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            # The one that waited is off the queue; the one being served keeps its place, as in a real server.
            await wait_until_async(lambda: server.stats.in_flight == 1, "the queue to be empty")
            assert server.stats.serving == 1

    run(main, loop)


def test_capacity_that_grows_lets_the_queue_in(loop: str) -> None:
    """More capacity helps at once those that wait already; many at a time, too."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(hang=1, capacity=1)) as server:
            hanging = asyncio.create_task(ask(server, "H"))
            await wait_until_async(lambda: server.stats.serving == 1, "the hanging request")
            server.faults = Faults(capacity=1)
            waiting = [asyncio.create_task(ask(server)) for _ in range(150)]
            await wait_until_async(lambda: server.stats.in_flight == 151, "the queue")
            assert server.stats.by_status == {}
            server.faults = Faults(capacity=2)
            assert {(await task).status_code for task in waiting} == {200}
            assert server.stats.peak_serving == 2
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)

    run(main, loop)


@pytest.mark.parametrize("down", [True, "refuse"])
def test_down(loop: str, down: Literal[True, "refuse"]) -> None:
    """Connections are refused and open ones cut; then it is up again on the same port."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(latency="60s")) as server, client() as http:
            waiting = asyncio.create_task(ask(server))
            await wait_until_async(lambda: server.stats.in_flight == 1, "the request")
            server.faults = Faults(down=down)
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                await waiting
            with pytest.raises(httpx.ConnectError):
                await ask(server)
            # Over HTTP, on the port that is always up.
            assert (await http.put(server.admin_url + "/faults", content=b"{}")).status_code == 200
            assert (await ask(server)).status_code == 200
            # Back and forth within one turn of the loop.
            server.faults = Faults(down=True)
            server.faults = Faults()
            server.faults = Faults(down=True)
            server.faults = Faults()
            assert (await ask(server)).status_code == 200
            # Down again before it had begun to listen.
            server.faults = Faults(down=True)
            server.faults = Faults()
            server.faults = Faults(down=True)
            await wait_until_async(lambda: server._listening is None, "the listening to settle")
            with pytest.raises(httpx.ConnectError):
                await ask(server)

    run(main, loop)


def test_down_by_reset(loop: str) -> None:
    """The port is open and every look-up is reset; the administration is not."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(down="reset")) as server, client() as http:
            for _ in range(2):
                with pytest.raises(httpx.ReadError):
                    await ask(server)
            assert (await http.get(server.base_url + "/health")).status_code == 200

    run(main, loop)


def test_starting_down(loop: str) -> None:
    """A service that starts down has its port all the same, and comes up on it."""

    async def main() -> None:
        async with HistoryServer(faults=Faults(down=True)) as server:
            with pytest.raises(httpx.ConnectError):
                await ask(server)
            server.faults = Faults()
            assert (await ask(server)).status_code == 200

    run(main, loop)
