"""What is committed and when, and what becomes of records that cannot be enriched or written."""

import pytest

from enricher.completed import decode_completed
from enricher.model import Outgoing, Position, Record, TopicPartition
from enricher.protocols import CommitFailed, ProduceFailed
from enricher.testing.memory import MemoryClient, MemorySink
from tests.pipeline_world import GROUP, INPUT, LETTERS, OUTPUT, Letter, World, run_world, until

P0 = TopicPartition(INPUT, 0)


def test_an_event_comes_out_with_its_history_key_headers_and_time() -> None:
    """What the input record carries besides its value passes through untouched."""

    async def main() -> None:
        world = World()
        headers: list[tuple[str, bytes | None]] = [("trace", b"\x00\xff"), ("trace", None)]
        world.broker.append(INPUT, b"c1", key=b"\xffkey", partition=0, headers=headers, timestamp=1_700_000_000_000)
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        (written,) = world.broker.records(OUTPUT)
        assert written == Record(OUTPUT, 0, 0, 1_700_000_000_000, b"\xffkey", b"0 0 1 0 20 20 NO_HISTORY ", headers)

    run_world(main)


def test_nothing_below_an_unresolved_record_is_skipped() -> None:
    """The committed offset stays at the slow record, and the metadata says what is complete beyond it."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 30.0 if call.customer_id == "slow" else 0.01))
        for customer in ("a", "b", "slow", "c", "d"):
            world.send(customer)
        worker = world.worker()
        await until(lambda: worker.pipeline.stats.commits >= 1, "a commit")
        at = world.broker.committed(GROUP)[P0]
        assert at.offset == 2
        assert decode_completed(2, at.metadata) == [(3, 5)]
        await world.all_resolved()
        await worker.stop()
        assert world.broker.committed(GROUP) == {P0: Position(5)}

    run_world(main)


def test_gaps_in_the_offsets_are_passed() -> None:
    """Offsets that compaction or transaction markers took away do not hold a commit up."""

    async def main() -> None:
        world = World()
        for number in range(10):
            world.send(f"c{number}", gap=number % 4)
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert world.committed() == 10 + sum(number % 4 for number in range(10))

    run_world(main)


def test_nothing_new_is_not_committed_again() -> None:
    """An idle worker sends no commits."""

    async def main() -> None:
        world = World()
        world.send("a")
        worker = world.worker()
        await until(lambda: world.commits, "a commit")
        loop_time = 20 * worker.pipeline._options.commit_interval
        with pytest.raises(AssertionError):
            await until(lambda: len(world.commits) > 1, limit=loop_time)
        await worker.stop()
        assert len(world.commits) == 1

    run_world(main)


def test_a_record_that_cannot_be_decoded_becomes_a_dead_letter() -> None:
    """Key, value and headers are the input's; the record is committed after the dead letter was written."""

    async def main() -> None:
        world = World()
        world.send("a")
        world.send("broken json", key="k")
        world.send(None)
        world.send("b")
        sink = MemorySink(world.broker, latency=0.5)
        worker = world.worker(sink=sink, commit_interval=0.1)
        await world.all_resolved()
        await worker.stop()
        assert world.letters == [Letter(0, 1, "decode", "InvalidJson"), Letter(0, 2, "decode", "InvalidJson")]
        first = world.broker.records(LETTERS)[0]
        assert (first.key, first.value) == (b"k", b"broken json")
        assert world.committed() == 4
        assert world.client.calls[0].customer_id == "a"
        assert len(world.client.calls) == 2

    run_world(main)


def test_an_output_that_cannot_be_encoded_becomes_a_dead_letter() -> None:
    """What the encoder rejects is dead-lettered at its stage."""

    async def main() -> None:
        world = World()
        world.send("odd")
        worker = world.worker()
        await world.all_resolved()
        await worker.stop()
        assert world.letters == [Letter(0, 0, "encode", "NotEncodable")]

    run_world(main)


def test_an_output_that_is_too_large_becomes_a_dead_letter() -> None:
    """The broker's limit is met at stage ``produce``; the next event of the same key goes on."""

    async def main() -> None:
        world = World()
        world.send("wide", key="k")
        world.send("c", key="k")
        worker = world.worker(sink=MemorySink(world.broker, max_bytes=500))
        await world.all_resolved()
        await worker.stop()
        assert world.letters == [Letter(0, 0, "produce", "OutputTooLarge")]
        assert [output.offset for output in world.outputs] == [1]
        assert world.committed() == 2

    run_world(main)


@pytest.mark.parametrize(("customer", "topic"), [("a", OUTPUT), ("broken", LETTERS)])
def test_what_cannot_be_written_stops_the_worker(customer: str, topic: str) -> None:
    """An output or a dead letter that is refused ends the worker with the error; its offset is not committed."""

    def refuse(record: Outgoing) -> ProduceFailed | None:
        return ProduceFailed("TOPIC_AUTHORIZATION_FAILED") if record.topic == topic else None

    async def main() -> None:
        world = World()
        world.send("odd" if customer == "a" else "b")  # resolved in the other topic
        worker = world.worker()
        worker.sink.refuse = refuse
        await world.all_resolved()
        world.send(customer)
        error = await worker.failure()
        assert isinstance(error, ProduceFailed)
        assert "TOPIC_AUTHORIZATION_FAILED" in str(error)
        assert topic in str(error)
        assert world.committed() == 1

    run_world(main)


def test_a_dead_letter_that_is_too_large_stops_the_worker() -> None:
    """It is not rejected once more for its size, which would go on for ever."""

    async def main() -> None:
        world = World()
        world.send("broken" + 600 * "x", key="")
        worker = world.worker(sink=MemorySink(world.broker, max_bytes=500))
        assert isinstance(await worker.failure(), ProduceFailed)
        assert world.committed() == 0

    run_world(main)


def test_a_full_queue_is_waited_for() -> None:
    """A producer that takes one record at a time slows the worker down and loses nothing, in order."""

    async def main() -> None:
        world = World()
        for number in range(60):
            world.send("broken" if number % 10 == 9 else f"c{number}", key=f"k{number % 3}")
        worker = world.worker(sink=MemorySink(world.broker, latency=0.1, capacity=1))
        await world.all_resolved()
        await worker.stop()
        for key in (b"k0", b"k1", b"k2"):
            offsets = [output.offset for output in world.outputs if output.key == key]
            assert offsets == sorted(offsets)
        assert world.committed() == 60

    run_world(main)


def test_a_failed_commit_is_made_again() -> None:
    """The broker refuses commits for a while: the worker goes on, and commits all of it later."""

    async def main() -> None:
        world = World()
        worker = world.worker()
        worker.source.refuse_commit = lambda _positions: CommitFailed("COORDINATOR_NOT_AVAILABLE")
        for number in range(10):
            world.send(f"c{number}")
        await until(lambda: worker.pipeline.stats.commit_failures == 3, "three failed commits")
        assert world.committed() == 0
        worker.source.refuse_commit = lambda _positions: None
        await until(lambda: world.committed() == 10, "the commit is made", limit=2.0)
        await worker.stop()

    run_world(main)


def test_a_commit_whose_answer_is_lost_does_no_harm() -> None:
    """It is made again, with the same or a later position."""

    async def main() -> None:
        world = World()
        worker = world.worker()
        worker.source.lose_answer = lambda _positions: CommitFailed("REQUEST_TIMED_OUT")
        world.send("a")
        await until(lambda: worker.pipeline.stats.commit_failures == 2, "two commits without an answer")
        worker.source.lose_answer = lambda _positions: None
        await until(lambda: worker.pipeline.stats.commits == 1, "the commit is answered")
        await worker.stop()
        assert world.commits == [{P0: Position(1)}] * 3

    run_world(main)


def test_what_was_completed_before_a_restart_is_not_done_again() -> None:
    """Completed records beyond the committed offset are neither looked up nor published after a restart."""

    async def main() -> None:
        world = World(client=MemoryClient(latency=lambda call: 1e6 if call.customer_id == "slow" else 0.01))
        for customer in ("a", "slow", "b", "c", "broken"):
            world.send(customer)
        first = world.worker(shutdown_deadline=4.0)
        await until(lambda: len(world.resolved) == 4, "all but one are resolved")
        first.pipeline.stop()
        await first.task
        assert world.committed() == 1
        world.send("d")
        world.client.latency = 0.01
        second = world.worker()
        await world.all_resolved()
        await second.stop()
        assert {output.offset for output in world.outputs[:3]} == {0, 2, 3}
        assert [output.offset for output in world.outputs[3:]] == [1, 5]
        assert [call.customer_id for call in world.client.calls] == ["a", "slow", "b", "c", "slow", "d"]
        assert second.pipeline.stats.skipped == 3
        assert len(world.letters) == 1
        assert world.broker.committed(GROUP) == {P0: Position(6)}

    run_world(main)


def test_foreign_metadata_is_ignored() -> None:
    """A commit of another program in the same group is a position like any other."""

    async def main() -> None:
        world = World()
        for number in range(4):
            world.send(f"c{number}")
        world.broker.commit(GROUP, {P0: Position(0, "")})
        world.broker.on_commit = None
        world.broker.commit(GROUP, {P0: Position(2, "lz77:AAECAwQF")})
        worker = world.worker()
        await until(lambda: len(world.outputs) == 2, "what is left is done")
        await worker.stop()
        assert [output.offset for output in world.outputs] == [2, 3]

    run_world(main)
