"""The parts of the history client that need no socket: headers, URLs, and libraries that break their word."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.history import OfferHistoryClient, Reply, Settings, open_client, open_engine
from enricher.history.client import check_url, is_json, parse_retry_after
from enricher.history.engine import Fields, declared_length, foreign_encoding
from enricher.history.httpx_engine import HttpxEngine
from enricher.history.pyreqwest_engine import PyreqwestEngine
from enricher.model import FailureKind, LookupFailure

NOW = 1_456_404_901_526
URL = "http://crm.example:8080/prweb/PRRestService/PegaMKTContainer/V2/CustomerOfferHistory"


class Broken:
    """An engine that breaks its word."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def send(self, url: str, content: bytes | None, headers: Fields = ()) -> Reply:
        """Raise what no engine may."""
        del url, content, headers
        raise self.error

    async def close(self) -> None:
        """Nothing to close."""


def test_an_unexpected_error_becomes_a_failure_without_its_text() -> None:
    """The pipeline knows failed look-ups only, and a library's text may hold the URL with the id."""
    client = OfferHistoryClient(Broken(RuntimeError("GET /?CustomerID=SECRET")), URL, wall_clock=lambda: NOW)
    with pytest.raises(LookupFailure) as caught:
        asyncio.run(client.fetch("SECRET"))
    assert caught.value.kind is FailureKind.CONNECTION
    assert caught.value.message == "the look-up broke (RuntimeError)"
    assert caught.value.__context__ is None


def test_a_cancellation_is_no_failure() -> None:
    """It passes through."""
    client = OfferHistoryClient(Broken(asyncio.CancelledError()), URL, wall_clock=lambda: NOW)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(client.fetch("CONNOR"))


def test_a_configured_query_is_kept() -> None:
    """GET adds the customer to whatever query the URL has."""
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json={"OfferHistory": []})

    async def main(url: str) -> None:
        engine = HttpxEngine(Settings(1, 5.0, 1000), transport=httpx.MockTransport(handle))
        client = OfferHistoryClient(engine, url, wall_clock=lambda: NOW, method="get")
        await client.fetch("a&b")
        await client.close()

    asyncio.run(main(URL))
    asyncio.run(main(f"{URL}?v=2"))
    assert seen == [f"{URL}?CustomerID=a%26b", f"{URL}?v=2&CustomerID=a%26b"]


def test_auto_takes_pyreqwest_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And httpx elsewhere; asking for pyreqwest by name fails then."""

    async def kind(name: str) -> type:
        engine = open_engine("pyreqwest" if name == "pyreqwest" else "auto", Settings(1, 1.0, 1000))
        await engine.close()
        return type(engine)

    assert asyncio.run(kind("auto")) is PyreqwestEngine
    monkeypatch.delitem(sys.modules, "enricher.history.pyreqwest_engine")
    monkeypatch.setitem(sys.modules, "pyreqwest.client", None)
    assert asyncio.run(kind("auto")) is HttpxEngine
    with pytest.raises(ImportError):
        asyncio.run(kind("pyreqwest"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "crm.example/x",
        "/prweb",
        "ftp://crm.example/x",
        "http://",
        "http:///x",
        "http://user:SECRET@crm.example/x",
        "http://crm.example/x#y",
        "http://crm.example/a b",
        "http://crm.example/\r\nX: 1",
        "http://crm.example/ü",
        "http://crm.example:99999/x",
        "http://crm.example:0/x",
        "http://crm.example:http/x",
        "http://[::1/x",
    ],
)
def test_what_cannot_be_the_services_url_is_refused(url: str) -> None:
    """Before the first call, and without repeating a password."""
    with pytest.raises(ValueError, match=r"the service's URL|Port|IPv6") as caught:
        open_client(url, wall_clock=lambda: NOW)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", [URL, "https://crm.example/x?a=b", "http://[::1]:80/x", "http://10.0.0.1/%C3%BC"])
def test_the_services_url_is_accepted(url: str) -> None:
    """With a query, over TLS, with an address, escaped."""
    check_url(url)


@given(st.integers(0, 10**9 - 1))
def test_retry_after_in_seconds(seconds: int) -> None:
    """As they are; bounding them is for whoever waits."""
    assert parse_retry_after(str(seconds), NOW) == seconds


@given(st.integers(-(10**8), 10**8))
def test_retry_after_as_a_date(seconds: int) -> None:
    """The seconds until then, and none below zero."""
    now = datetime(2016, 2, 25, 12, 55, 1, tzinfo=UTC)
    field = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(field, int(now.timestamp() * 1000)) == max(0, seconds)


@pytest.mark.parametrize(
    "field",
    [
        "",
        " ",
        "-1",
        "1.5",
        "soon",
        "9" * 400,
        "\u0661",
        "Thu, 99 Feb 2016 12:55:11 GMT",
        "Thu, 25 Feb 99999 12:55:11 GMT",
    ],
)
def test_a_retry_after_that_cannot_be_read_is_none(field: str) -> None:
    """It is as if it were not there."""
    assert parse_retry_after(field, NOW) is None


@given(st.text())
def test_any_retry_after_is_seconds_or_none(field: str) -> None:
    """Whatever stands there, nothing breaks."""
    wait = parse_retry_after(field, NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("application/json", True),
        ("Application/JSON ; charset=utf-8", True),
        ("text/json", True),
        ("application/problem+json", True),
        ("application/json+xml", False),
        ("+json", False),
        ("text/html", False),
        ("text/plain", False),
        ("", False),
    ],
)
def test_types_of_json(field: str, *, expected: bool) -> None:
    """By the media type alone, in any case."""
    assert is_json(field) is expected


@pytest.mark.parametrize(
    ("field", "length"),
    [(None, None), ("0", 0), ("2800", 2800), ("-1", None), ("+1", None), ("1, 1", None), ("²", None), ("9" * 30, None)],
)
def test_a_length_is_declared_or_not(field: str | None, length: int | None) -> None:
    """What is no length bounds nothing: then the bytes are counted."""
    assert declared_length(field) == length


@pytest.mark.parametrize(
    ("field", "foreign"),
    [
        (None, None),
        ("identity", None),
        ("Identity ", None),
        ("", None),
        ("gzip", "gzip"),
        ("identity, br", "identity, br"),
    ],
)
def test_encodings_are_foreign_unless_identity(field: str | None, foreign: str | None) -> None:
    """Nothing else is ever read."""
    assert foreign_encoding(field) == foreign
