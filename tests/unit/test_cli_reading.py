"""What readers of topics ask a broker that is not ready yet."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from enricher.cli.reading import ask_patiently


def test_a_broker_that_is_not_ready_is_asked_again() -> None:
    """The coordinator of a group that is new to the broker takes a moment to be found."""
    answers = [KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)), None]

    def ask() -> str:
        if (error := answers.pop(0)) is not None:
            raise error
        return "42"

    assert ask_patiently(ask) == "42"
    assert answers == []


def test_another_error_is_told_at_once() -> None:
    """Asking again would not help."""

    def ask() -> str:
        raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))

    with pytest.raises(KafkaException):
        ask_patiently(ask)
