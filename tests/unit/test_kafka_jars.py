"""The test broker's jars: what is not the pinned file never gets into the cache."""

import hashlib
from pathlib import Path

import pytest

from tests.harness import jars
from tests.harness.broker import KAFKA_VERSION, BrokerFailed

CONTENT = b"what the jar holds"
JAR = jars.Jar(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "org.example.group", "thing", "1.2")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Maven repository of one pinned file, in a folder; returns the file."""
    file = tmp_path / "repository" / "org" / "example" / "group" / "thing" / "1.2" / "thing-1.2.jar"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    monkeypatch.setenv("MAVEN_REPOSITORY", (tmp_path / "repository").as_uri())
    monkeypatch.setattr(jars, "pinned", lambda: iter([JAR]))
    return file


def test_what_is_cached_is_not_fetched_again(repository: Path, tmp_path: Path) -> None:
    """Once the cache holds the files, the repository is not needed."""
    first = jars.fetch(tmp_path / "cache")
    repository.unlink()
    assert jars.fetch(tmp_path / "cache") == first == [tmp_path / "cache" / "thing-1.2.jar"]
    assert first[0].read_bytes() == CONTENT


def test_a_damaged_cache_is_repaired(repository: Path, tmp_path: Path) -> None:
    """A cached file that is not the pinned one is fetched anew."""
    (cached,) = jars.fetch(tmp_path / "cache")
    cached.write_bytes(CONTENT[:-1])
    assert repository.exists()
    assert jars.fetch(tmp_path / "cache")[0].read_bytes() == CONTENT


@pytest.mark.parametrize("served", [b"", CONTENT[:-1] + b"!", CONTENT + b"!"])
def test_a_file_that_is_not_the_pinned_one_is_refused(repository: Path, tmp_path: Path, served: bytes) -> None:
    """Whatever else the repository serves, the checksum refuses it and the cache stays empty."""
    repository.write_bytes(served)
    with pytest.raises(BrokerFailed, match=r"is pinned in jars\.txt"):
        jars.fetch(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_list_pins_every_jar_of_one_kafka() -> None:
    """Each line has a whole SHA-256, no jar is there twice, and Kafka's own are of one version."""
    listed = list(jars.pinned())
    assert len({jar.name for jar in listed}) == len(listed)
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in listed)
    assert {jar.version for jar in listed if jar.group == "org.apache.kafka"} == {KAFKA_VERSION}
