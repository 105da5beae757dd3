"""Requests to a group's coordinator that no client library makes: to keep a rebalance from ending, to expel a member.

In the oldest versions of the protocol that Apache Kafka 4 still takes, which are the simplest. Each call has a
connection of its own, and blocks.
"""

import socket
from struct import Struct
from typing import Final

_JOIN, _LEAVE = (11, 5), (13, 3)  # API key and version
_HEAD: Final = Struct(">hhi")
_SHORT, _LONG = Struct(">h"), Struct(">i")
_MEMBER_ID_REQUIRED = 79
_TIMEOUT = 10.0


def stand_in_the_way(bootstrap_servers: str, group: str, topic: str, milliseconds: int = 20_000) -> str:
    """Announce a member that never joins: for so long, or until it is expelled, no rebalance of the group ends.

    Returns:
        its member id.
    """
    subscription = _short(1) + _long(1) + _text(topic) + _long(-1) + _long(0)  # version 1: no user data, nothing owned
    protocol = _text("cooperative-sticky") + _long(len(subscription)) + subscription
    body = (
        _text(group) + _long(milliseconds) + _long(milliseconds) + _text("") + _text(None) + _text("consumer")
        + _long(1) + protocol
    )  # fmt: skip
    answer = _ask(bootstrap_servers, _JOIN, body)
    error = _SHORT.unpack_from(answer, 4)[0]
    assert error == _MEMBER_ID_REQUIRED, f"the coordinator answered with error {error}"
    at = 4 + 2 + 4  # throttle time, error, generation
    for _ in ("protocol", "leader"):
        at += 2 + max(0, _SHORT.unpack_from(answer, at)[0])
    length = _SHORT.unpack_from(answer, at)[0]
    return answer[at + 2 : at + 2 + length].decode()


def expel(bootstrap_servers: str, group: str, *, member: str = "", instance: str | None = None) -> None:
    """Take a member out of the group, by its id, or by its name if it is static."""
    answer = _ask(bootstrap_servers, _LEAVE, _text(group) + _long(1) + _text(member) + _text(instance))
    errors = _SHORT.unpack_from(answer, 4)[0], _SHORT.unpack_from(answer, len(answer) - 2)[0]
    assert errors == (0, 0), f"the coordinator answered with errors {errors}"


def _ask(bootstrap_servers: str, api: tuple[int, int], body: bytes) -> bytes:
    host, _, port = bootstrap_servers.rpartition(":")
    request = _HEAD.pack(*api, 1) + _text("test") + body
    with socket.create_connection((host, int(port)), _TIMEOUT) as connection:
        connection.sendall(_long(len(request)) + request)
        with connection.makefile("rb") as stream:
            answer = stream.read(_LONG.unpack(stream.read(4))[0])
    return answer[4:]  # without the correlation id


def _short(number: int) -> bytes:
    return _SHORT.pack(number)


def _long(number: int) -> bytes:
    return _LONG.pack(number)


def _text(text: str | None) -> bytes:
    return _short(-1) if text is None else _short(len(text)) + text.encode()
