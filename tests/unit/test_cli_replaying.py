"""The settings that a replay runs with, and files that it cannot use."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from enricher.cli.app import app
from enricher.cli.replaying import MISSED_AFTER, replay_settings
from enricher.config import Settings


def consumer(**kafka: Any) -> dict[str, Any]:
    """The consumer's properties of a replay of a worker with these settings."""
    document = {
        "kafka": {"bootstrap_servers": "k:9092", "group_id": "live", **kafka},
        "input": {"topics": ["contacts"]},
        "output": {"topic": "enriched"},
        "service": {"url": "http://s/"},
    }
    return replay_settings(Settings.model_validate(document), "again", None).kafka.consumer_properties()


def test_a_killed_replay_is_missed_soon() -> None:
    """Unless the settings say when, or the broker does."""
    assert consumer()["session.timeout.ms"] == MISSED_AFTER
    assert consumer(consumer={"session.timeout.ms": 20_000})["session.timeout.ms"] == 20_000
    assert consumer(properties={"session.timeout.ms": 20_000})["session.timeout.ms"] == 20_000
    assert "session.timeout.ms" not in consumer(group_protocol="consumer")


@pytest.mark.parametrize("reset", ["latest", "error"])
def test_a_replay_is_a_member_of_no_other_group(reset: str) -> None:
    """And begins at the beginning of what is there, if its offsets are not there any more."""
    properties = consumer(group_instance_id="me", consumer={"auto.offset.reset": reset})
    assert properties["group.id"] == "live-replay-again"
    assert properties["auto.offset.reset"] == "earliest"
    assert "group.instance.id" not in properties


def test_a_list_of_customers_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """With its name, and what is wrong with it."""
    binary = tmp_path / "ids"
    binary.write_bytes(b"\xff\xfe")
    settings = ("kafka.bootstrap_servers=k:1", "input.topics=i", "output.topic=o", "service.url=http://s/")
    sets = [f"--set={setting}" for setting in settings]
    for file, word in ((tmp_path / "nowhere", "No such file"), (binary, "no text in UTF-8")):
        told = CliRunner().invoke(app, ["replay", "--from=beginning", f"--customers={file}", *sets])
        assert (told.exit_code, told.stdout) == (2, "")
        assert f"--customers {file}" in told.stderr
        assert word in told.stderr
