"""What a sink owes the pipeline, held against the in-memory one and Apache Kafka."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from enricher.model import Headers, Outgoing, Record
from enricher.protocols import ProduceFailed, Sink
from tests.contract.backends import Backend, Kafka, Memory, outgoing


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each test runs in memory, and on Apache Kafka."""
    if request.param == "memory":
        return Memory()
    return Kafka(request.getfixturevalue("kafka").bootstrap_servers)


@asynccontextmanager
async def started(sink: Sink) -> AsyncIterator[Sink]:
    """The sink, started; closed afterwards."""
    await sink.start()
    try:
        yield sink
    finally:
        await sink.close()


def test_a_record_is_written_as_it_was_handed_over(backend: Backend) -> None:
    """Key, value, headers and timestamp pass through: None stays None, names repeat, bytes need not be text."""
    topic = backend.topic()
    headers: Headers = [("a", b"1"), ("a", b"\xff\x00"), ("b", None), ("c", b"")]

    async def main() -> None:
        answers: list[ProduceFailed | None] = []
        async with started(backend.sink(topic)) as sink:
            assert sink.produce(Outgoing(topic, b"\xff", b"v", headers, 1_700_000_000_123), answers.append)
            assert sink.produce(Outgoing(topic, b"\xff", None, [], 5), answers.append)
            assert answers == []
            await sink.flush()
            assert answers == [None, None]

    asyncio.run(main())
    assert backend.read(topic) == [
        Record(topic, 0, 0, 1_700_000_000_123, b"\xff", b"v", headers),
        Record(topic, 0, 1, 5, b"\xff", None, []),
    ]


def test_every_record_is_answered_once_and_keys_keep_their_order(backend: Backend) -> None:
    """Of many records each is acknowledged exactly once, and a key's records stand in the order of the calls."""
    topic = backend.topic(4)

    async def main() -> None:
        answers = [0] * 2000
        async with started(backend.sink(topic)) as sink:
            for number in range(2000):

                def delivered(error: ProduceFailed | None, number: int = number) -> None:
                    assert error is None
                    answers[number] += 1

                record = outgoing(topic, b"%d" % number, b"k%d" % (number % 7))
                while not sink.produce(record, delivered):
                    await sink.writable()
            await sink.flush()
            assert answers == [1] * 2000

    asyncio.run(main())
    for key in range(7):
        values = [int(record.value or b"") for record in backend.read(topic) if record.key == b"k%d" % key]
        assert values == list(range(key, 2000, 7))


def test_a_full_queue_takes_nothing_and_becomes_writable(backend: Backend) -> None:
    """``produce`` says no rather than waiting; what it refused is not written; after a while there is room."""
    topic = backend.topic()

    async def main() -> None:
        answers: list[ProduceFailed | None] = []
        refused = 0
        async with started(backend.sink(topic, capacity=10)) as sink:
            for number in range(700):
                while not sink.produce(outgoing(topic, b"%d" % number, b"k"), answers.append):
                    refused += 1
                    await sink.writable()
            await sink.flush()
        assert refused
        assert answers == [None] * 700

    asyncio.run(main())
    assert [record.value for record in backend.read(topic)] == [b"%d" % number for number in range(700)]


@pytest.mark.parametrize("where", ["client", "broker"])
def test_a_record_that_is_too_large_is_told_apart(backend: Backend, where: str) -> None:
    """It is refused as too large, by the client's limit or the broker's; the records around it are written."""
    topic = backend.topic(max_message_bytes="1048588")  # the broker's default

    async def main() -> None:
        answers: dict[int, ProduceFailed | None] = {}
        limit = 20_000 if where == "client" else 1_048_588 if isinstance(backend, Memory) else 8 << 20
        async with started(backend.sink(topic, max_bytes=limit)) as sink:
            for number, size in enumerate((10, 1_100_000, 10)):

                def delivered(error: ProduceFailed | None, number: int = number) -> None:
                    assert number not in answers
                    answers[number] = error

                value = random.Random(number).randbytes(size)  # does not compress
                assert sink.produce(outgoing(topic, value, b"k"), delivered)
            await sink.flush()
        assert set(answers) == {0, 1, 2}
        assert answers[0] is None
        assert answers[2] is None
        assert isinstance(answers[1], ProduceFailed)
        assert answers[1].too_large

    asyncio.run(main())
    assert len(backend.read(topic)) == 2


def test_small_records_are_not_refused_for_a_large_neighbour(backend: Backend) -> None:
    """The topic takes 20 kB: of records that go out together, only the one that is larger is refused."""
    topic = backend.topic(max_message_bytes="20000")
    large = 100

    async def main() -> None:
        answers: dict[int, ProduceFailed | None] = {}
        async with started(backend.sink(topic, max_bytes=20_000 if isinstance(backend, Memory) else 8 << 20)) as sink:
            for number in range(201):

                def delivered(error: ProduceFailed | None, number: int = number) -> None:
                    answers[number] = error

                value = random.Random(number).randbytes(30_000 if number == large else 500)  # does not compress
                assert sink.produce(outgoing(topic, value, b"k"), delivered)
            await sink.flush()
        assert [number for number, error in answers.items() if error is not None] == [large]
        assert (error := answers[large]) is not None
        assert error.too_large

    asyncio.run(main())
    sizes = [len(record.value or b"") for record in backend.read(topic)]
    assert sizes == [500] * 200


def test_answers_come_on_the_event_loop_without_a_flush(backend: Backend) -> None:
    """The loop has only to run; nobody has to ask."""
    topic = backend.topic()

    async def main() -> None:
        async with started(backend.sink(topic)) as sink:
            for _ in range(3):
                answered: asyncio.Future[ProduceFailed | None] = asyncio.get_running_loop().create_future()
                assert sink.produce(outgoing(topic, b"v"), answered.set_result)
                async with asyncio.timeout(20):
                    assert await answered is None

    asyncio.run(main())


def test_closed_is_closed(backend: Backend) -> None:
    """It may be closed twice, takes no record afterwards, and answers none."""
    topic = backend.topic()

    async def main() -> None:
        answers: list[ProduceFailed | None] = []
        async with started(backend.sink(topic)) as sink:
            await sink.flush()
            sink.produce(outgoing(topic, b"v"), answers.append)
            await sink.close()
            with pytest.raises(ProduceFailed):
                sink.produce(outgoing(topic, b"w"), answers.append)
            before = list(answers)
            await asyncio.sleep(0.2)  # long enough for what must not happen
            assert answers == before

    asyncio.run(main())


def test_a_sink_that_never_started_can_be_closed(backend: Backend) -> None:
    """A stop may come before the start, and flushes first."""

    async def main() -> None:
        sink = backend.sink(backend.topic())
        await sink.flush()
        await sink.close()

    asyncio.run(main())
