"""Asking brokers that may be starting, or whose coordinator is, until they answer."""

from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

from tests.harness.waiting import wait_until

T = TypeVar("T")

_AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
}
"""What a broker that is starting, or whose coordinator is, answers to those who wait for something else."""


def patiently(ask: Callable[[], T], timeout: float = 30.0) -> T:
    """What a broker answers, once it answers: it or its coordinator may be starting."""
    answers: list[T] = []

    def answered() -> bool:
        try:
            answers.append(ask())
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() not in _AWAY:
                raise
            return False
        except TimeoutError:  # of a request whose answer did not come: of the admin client's futures
            return False
        return True

    wait_until(answered, "an answer of the broker", timeout)
    return answers[0]
