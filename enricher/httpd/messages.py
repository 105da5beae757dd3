"""The messages of the small HTTP server: requests as they were parsed, responses as bytes.

Invariants: pure. A response is rendered once and can be sent any number of times.
"""

import json
from collections.abc import Iterable
from http import HTTPStatus


def render(
    status: int,
    body: bytes = b"",
    *,
    content_type: str = "application/json;charset=UTF-8",
    headers: Iterable[tuple[str, str]] = (),
    length: int | None = None,
) -> bytes:
    """A whole response. ``length`` is announced in place of the body's own."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers)
    if status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return f"HTTP/1.1 {status} {phrase}\r\n{extra}\r\n".encode("latin-1")
    announced = len(body) if length is None else length
    head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {announced}\r\n{extra}\r\n"
    return head.encode("latin-1") + body


def render_error(status: int, message: str, *, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A response with ``{"error": message}``."""
    return render(status, json.dumps({"error": message}).encode(), headers=headers)


class Request:
    """One request: the target is split into path and query, both still encoded."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "query")

    def __init__(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, *, keep_alive: bool
    ) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
