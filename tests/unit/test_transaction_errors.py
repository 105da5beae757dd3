"""What becomes of each class of error that librdkafka has for transactions.

The producer is a script here: a broker cannot be made to answer most of these. What Apache Kafka itself does to
transactions is in ``tests/contract/test_transactions.py`` and in the tests of the worker.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from enricher import transactions as subject
from enricher.model import Outgoing, Position, TopicPartition
from enricher.protocols import ProduceFailed, TransactionAborted
from enricher.transactions import MAX_REPLACED, KafkaTransactions

AT = {TopicPartition("in", 0): Position(1)}
OUTPUT = Outgoing("out", b"k", b"v", [], 1)

AGAIN, ABORT, FATAL = {"retriable": True}, {"txn_requires_abort": True}, {"fatal": True}


def refusal(code: int, **kinds: bool) -> KafkaException:
    """An error as librdkafka raises it."""
    return KafkaException(KafkaError(code, "as scripted", **kinds))


class Script:
    """What the producers are told to answer, and what they were called with, all of them in one list."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, list[KafkaException]] = {}
        self.ids: list[str] = []

    def __call__(self, properties: Mapping[str, Any], **_: object) -> "Scripted":
        """Make a producer."""
        self.ids.append(properties["transactional.id"])
        return Scripted(self)


class Scripted:
    """A producer."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*_: object, **__: object) -> int:
            self._script.calls.append(name.removesuffix("_transaction"))
            waiting = self._script.answers.get(name)
            if waiting:
                raise waiting.pop(0)
            return 0

        return call


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Producers that do as they are told, and topics that need no broker."""

    async def fitted(properties: Mapping[str, Any], _topics: Collection[str]) -> Mapping[str, Any]:
        return properties

    made = Script()
    monkeypatch.setattr(subject, "Producer", made)
    monkeypatch.setattr(subject, "fitted", fitted)
    monkeypatch.setattr(subject, "PAUSE", 0.0)
    return made


def commit(script: Script, times: int = 1) -> list[Exception | None]:
    """Commit one output so many times; returns what came of each."""

    async def main() -> list[Exception | None]:
        came: list[Exception | None] = []
        transactions = KafkaTransactions({"bootstrap.servers": "none:1"}, ["out"], "g")
        await transactions.start()
        script.calls.clear()
        for _ in range(times):
            try:
                await transactions.commit([OUTPUT], AT, b"a member")
            except (ProduceFailed, TransactionAborted) as error:
                came.append(error)
            else:
                came.append(None)
        return came

    return asyncio.run(main())


WHOLE = ["begin", "produce", "send_offsets_to", "commit"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("commit", refusal(KafkaError.CONCURRENT_TRANSACTIONS, **AGAIN)),  # librdkafka 3221
        ("commit", refusal(KafkaError._TIMED_OUT, **AGAIN)),
        ("commit", refusal(KafkaError._TIMED_OUT)),
        ("begin", refusal(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, **AGAIN)),
    ],
)
def test_a_call_that_may_be_made_again_is(script: Script, call: str, error: KafkaException) -> None:
    """Its outcome is unknown until it is answered: nothing is written a second time."""
    script.answers[f"{call}_transaction"] = [error, error]
    assert commit(script) == [None]
    assert script.calls == [name for name in WHOLE for _ in range(3 if name == call else 1)]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("send_offsets_to", KafkaError.UNSTABLE_OFFSET_COMMIT),  # librdkafka 3265
        ("send_offsets_to", KafkaError.REBALANCE_IN_PROGRESS),  # redpanda 7072
        ("send_offsets_to", KafkaError.ILLEGAL_GENERATION),
        ("send_offsets_to", KafkaError._STATE),  # confluent-kafka-dotnet 2008
        ("commit", KafkaError._TIMED_OUT),  # KAFKA-18579
        ("produce", KafkaError._STATE),
    ],
)
def test_what_asks_for_an_abort_aborts(script: Script, call: str, code: int) -> None:
    """The transaction is aborted, not gone on with, and the next one may hold the same again; the worker lives on.

    What was handed over is out before the abort, as an abort during the first of it can be fatal (librdkafka 4849).
    """
    name = call if call == "produce" else f"{call}_transaction"
    script.answers[name] = [refusal(code, **ABORT)]
    aborted, written = commit(script, 2)
    assert isinstance(aborted, TransactionAborted)
    assert written is None
    until = WHOLE.index(call) + 1
    assert script.calls == [*WHOLE[:until], "flush", "abort", *WHOLE]
    assert len(script.ids) == 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("commit", refusal(KafkaError._FENCED, **FATAL)),
        ("commit", refusal(KafkaError.INVALID_TXN_STATE)),  # neither this nor that: librdkafka 2752
        ("send_offsets_to", refusal(KafkaError.UNSTABLE_OFFSET_COMMIT, **AGAIN)),
        ("send_offsets_to", refusal(KafkaError._STATE)),
    ],
)
def test_a_producer_that_is_of_no_use_is_replaced(script: Script, call: str, error: KafkaException) -> None:
    """By one with an id of its own; what it held counts as aborted. Librdkafka 5423 asks for no less."""
    script.answers[f"{call}_transaction"] = [error]
    aborted, written = commit(script, 2)
    assert isinstance(aborted, TransactionAborted)
    assert written is None
    assert script.calls == [*WHOLE[: WHOLE.index(call) + 1], "purge", "init_transactions", *WHOLE]
    assert len(set(script.ids)) == 2


def test_replacing_ends(script: Script) -> None:
    """Producers that fail one after the other end the worker, with the reason; one success begins the count anew."""
    script.answers["commit_transaction"] = [refusal(KafkaError._FENCED, **FATAL) for _ in range(MAX_REPLACED)]
    *aborted, written = commit(script, MAX_REPLACED + 1)
    assert {type(error) for error in aborted} == {TransactionAborted}
    assert written is None
    script.answers["commit_transaction"] = [refusal(KafkaError._FENCED, **FATAL) for _ in range(MAX_REPLACED + 1)]
    *aborted, failed = commit(script, MAX_REPLACED + 1)
    assert {type(error) for error in aborted} == {TransactionAborted}
    assert isinstance(failed, ProduceFailed)
    assert "cannot go on" in str(failed)
