"""Between a client and a real broker: refuses a request in the broker's place, or loses the answer to it.

What a broker says to a transaction depends on its state, and most of that cannot be brought about. The listener
``KafkaBroker.detour`` names this proxy's port as the broker's address, so that all that a client learns of the cluster
leads through here. Only requests of a transaction are answered, in the versions that librdkafka asks them in.

Invariants: a request that is refused never reaches the broker; an answer that is lost takes its connection with it.
"""

import asyncio
from collections import deque
from contextlib import suppress
from enum import IntEnum
from struct import Struct
from typing import Final, Self

from tests.harness.broker import Detour

_SIZE: Final = Struct(">i")
_HEAD: Final = Struct(">hhi")
_ANSWER: Final = Struct(">iih")


class Request(IntEnum):
    """Those that can be refused, by their number in the protocol."""

    ADD_OFFSETS = 25
    END = 26
    COMMIT_OFFSETS = 28


LOST: Final = -2
"""In place of an error: the request is passed on, and its answer is lost."""


class Refusing:
    """A proxy, to be used in an ``async with``.

    Args:
        detour: the broker's.

    Attributes:
        address: for ``bootstrap.servers``.
        passed: the requests of transactions that reached the broker.
    """

    def __init__(self, detour: Detour) -> None:
        self._detour = detour
        self.address = f"127.0.0.1:{detour.advertised}"
        self.passed: list[Request] = []
        self._refusals: dict[Request, deque[tuple[int, bytes]]] = {request: deque() for request in Request}
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._detour.advertised)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def refuse(self, request: Request, error: int, times: int = 1, *, topic: str = "") -> None:
        """The next ones are answered with this error code (or `LOST`).

        Args:
            request: which.
            error: of Kafka's protocol.
            times: how many.
            topic: whose partition 0 is refused, where errors are of partitions.
        """
        body = b""
        if request is Request.COMMIT_OFFSETS:  # version 3: compact lengths are one more, and tagged fields none
            name = topic.encode()
            body = bytes([2, len(name) + 1]) + name + bytes([2]) + _SIZE.pack(0) + error.to_bytes(2, "big", signed=True)
            body = b"\0" + _SIZE.pack(0) + body + b"\0\0\0"
        self._refusals[request] += [(error, body)] * times

    @property
    def pending(self) -> int:
        """Refusals that were not asked for yet."""
        return sum(map(len, self._refusals.values()))

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        lost: set[int] = set()
        broker, requests = await asyncio.open_connection("127.0.0.1", self._detour.listens)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._requests(client, requests, answers, lost))
                pumps.create_task(self._answers(broker, answers, lost))
        except* (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(task)
            for writer in (requests, answers):
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _requests(
        self, client: asyncio.StreamReader, broker: asyncio.StreamWriter, answers: asyncio.StreamWriter, lost: set[int]
    ) -> None:
        while True:
            frame = await _frame(client)
            number, version, correlation = _HEAD.unpack_from(frame)
            if number in tuple(Request):
                request = Request(number)
                refusals = self._refusals[request]
                error, body = refusals.popleft() if refusals else (0, b"")
                if error not in (0, LOST):
                    assert version == (3 if body else version)
                    answer = _SIZE.pack(correlation) + body if body else _ANSWER.pack(correlation, 0, error)
                    answers.write(_SIZE.pack(len(answer)) + answer)
                    continue
                self.passed.append(request)
                if error == LOST:
                    lost.add(correlation)
            broker.write(_SIZE.pack(len(frame)) + frame)
            await broker.drain()

    async def _answers(self, broker: asyncio.StreamReader, client: asyncio.StreamWriter, lost: set[int]) -> None:
        while True:
            frame = await _frame(broker)
            if _SIZE.unpack_from(frame)[0] in lost:
                raise ConnectionResetError("the answer is lost")
            client.write(_SIZE.pack(len(frame)) + frame)
            await client.drain()


async def _frame(stream: asyncio.StreamReader) -> bytes:
    return await stream.readexactly(_SIZE.unpack(await stream.readexactly(4))[0])
