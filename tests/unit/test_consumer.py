"""The consumer's configuration, and the time that a rebalance may take."""

import pytest
from confluent_kafka import KafkaError

from enricher.config import load
from enricher.consumer import FIXED, Times, configuration, failure, incremental, times

REQUIRED = ["kafka.bootstrap_servers=a:9092", "input.topics=in", "output.topic=out", "service.url=http://host/path"]


def test_the_strategy_belongs_to_the_classic_protocol() -> None:
    """Partitions come and go one by one by default, and always under the new protocol; not with an eager strategy."""
    assert configuration({})["partition.assignment.strategy"] == "cooperative-sticky"
    new = configuration({"group.protocol": "consumer"})
    assert "partition.assignment.strategy" not in new
    assert [incremental(configuration({})), incremental(new)] == [True, True]
    assert not incremental(configuration({"partition.assignment.strategy": "range"}))


def test_what_the_guarantees_rest_on_stays() -> None:
    """Nothing overrides it."""
    assert configuration(dict.fromkeys(FIXED, True)) | FIXED == configuration({})


@pytest.mark.parametrize("seconds", [0.6, 3.0, 20.0, 300.0, 3600.0])
def test_a_rebalance_fits_between_two_polls(seconds: float) -> None:
    """Look-ups, writing and committing, within the answer's time, and that within what the group allows."""
    bounds = times({"max.poll.interval.ms": seconds * 1000})
    assert 0 < bounds.grace + bounds.floor < bounds.answer <= seconds / 2
    assert bounds.start <= seconds / 2
    assert seconds < 120 or bounds == Times()


def test_the_settings_reach_the_consumer() -> None:
    """Protocol and name of the member; no name by default."""
    plain = load(None, {}, REQUIRED).settings.kafka.consumer_properties()
    assert plain["group.protocol"] == "classic"
    assert "group.instance.id" not in plain
    named = load(None, {}, [*REQUIRED, "kafka.group_protocol=consumer", "kafka.group_instance_id=w-0"])
    properties = named.settings.kafka.consumer_properties()
    assert (properties["group.protocol"], properties["group.instance.id"]) == ("consumer", "w-0")


def test_a_name_that_is_taken_is_explained() -> None:
    """What to do stands in the message, also where only librdkafka's text tells the cause; other errors get no hint."""
    hint = "give each worker one of its own"
    assert hint in str(failure(KafkaError(KafkaError.FENCED_INSTANCE_ID)))
    text = "The instance ID is still used by another member in the consumer group"
    assert hint in str(failure(KafkaError(KafkaError._FATAL, text)))
    assert hint not in str(failure(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)))
