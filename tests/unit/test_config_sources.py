"""Where settings come from, and which source wins."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.config import DEFAULT, ConfigError, Loaded, Problem, load

REQUIRED = ["kafka.bootstrap_servers=a:9092", "input.topics=in", "output.topic=out", "service.url=http://host/path"]


def loaded(*overrides: str, file: Path | None = None, environ: dict[str, str] | None = None) -> Loaded:
    """Settings with everything that is required."""
    return load(file, environ or {}, [*REQUIRED, *overrides])


def refused(*overrides: str, file: Path | None = None, environ: dict[str, str] | None = None) -> list[Problem]:
    """What is wrong, all that is required being there."""
    with pytest.raises(ConfigError) as error:
        load(file, environ or {}, [*REQUIRED, *overrides])
    return list(error.value.problems)


def write(folder: Path, text: str) -> Path:
    """A settings file."""
    file = folder / "enricher.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults() -> None:
    """What nobody sets is as documented; durations are seconds, sizes are bytes."""
    settings = loaded().settings
    assert settings.kafka.bootstrap_servers == ("a:9092",)
    assert settings.kafka.group_id == "enricher"
    assert settings.input.topics == ("in",)
    assert settings.output.dead_letter_topic == "in.dlq"
    assert settings.service.timeout == 5.0
    assert settings.service.backoff.initial == 0.1
    assert settings.buffer.max_bytes == 64 << 20
    assert settings.delivery.order == "key"
    assert settings.failures.on_unavailable == "wait"


def test_a_file_and_the_lines_of_its_settings(tmp_path: Path) -> None:
    """Every value of the file is taken, and its origin is its line."""
    file = write(
        tmp_path,
        "# settings\n"
        "kafka:\n"
        "  bootstrap_servers: [a:1, b:2]\n"
        "  properties:\n"
        "    client.rack: r1\n"
        "input:\n"
        "  topics:\n"
        "    - x\n"
        "    - y\n"
        "  fields: {customer_id: who.id}\n"
        "output: {topic: out}\n"
        "service:\n"
        "  url: https://host/path\n"
        "  timeout: 250ms\n"
        "  max_response: 65536\n"
        "buffer:\n",
    )
    found = load(file)
    settings = found.settings
    assert settings.kafka.bootstrap_servers == ("a:1", "b:2")
    assert settings.kafka.properties == {"client.rack": "r1"}
    assert settings.input.topics == ("x", "y")
    assert settings.input.fields.customer_id == "who.id"
    assert settings.output.dead_letter_topic == "x.dlq"
    assert settings.service.timeout == 0.25
    assert settings.service.max_response == 65536
    assert found.origins["service.timeout"] == f"{file}:14"
    assert found.origins["kafka.properties.client.rack"] == f"{file}:5"
    assert found.origins["input.fields.customer_id"] == f"{file}:10"
    assert found.origins["buffer.max_records"] == DEFAULT


def test_the_command_line_wins_over_the_environment_that_over_the_file(tmp_path: Path) -> None:
    """Three sources give three settings; each time the strongest counts and is named."""
    file = write(tmp_path, "service: {timeout: 1s, deadline: 11s, max_in_flight: 1}\n")
    environ = {"ENRICHER_SERVICE__DEADLINE": "12s", "ENRICHER_SERVICE__MAX_IN_FLIGHT": "2"}
    found = loaded("service.max_in_flight=3", file=file, environ=environ)
    service = found.settings.service
    assert (service.timeout, service.deadline, service.max_in_flight) == (1.0, 12.0, 3)
    assert found.origins["service.timeout"] == f"{file}:1"
    assert found.origins["service.deadline"] == "ENRICHER_SERVICE__DEADLINE"
    assert found.origins["service.max_in_flight"] == "--set"


def test_lists_from_the_environment() -> None:
    """Commas and JSON, both."""
    environ = {"ENRICHER_KAFKA__BOOTSTRAP_SERVERS": "a:1, b:2", "ENRICHER_INPUT__TOPICS": '["x", "y"]'}
    settings = load(None, environ, REQUIRED[2:]).settings
    assert settings.kafka.bootstrap_servers == ("a:1", "b:2")
    assert settings.input.topics == ("x", "y")


def test_properties_of_librdkafka_come_together_from_all_sources(tmp_path: Path) -> None:
    """JSON or one by one; each property is overridden on its own, and the dots are its own."""
    file = write(tmp_path, "kafka:\n  properties:\n    client.rack: file\n    linger.ms: 7\n")
    environ = {
        "ENRICHER_KAFKA__PROPERTIES": '{"security.protocol": "PLAINTEXT", "socket.timeout.ms": 9000}',
        "ENRICHER_KAFKA__PROPERTIES__SASL_PASSWORD": "p",
    }
    overrides = ["kafka.properties.security.protocol=SASL_SSL", 'kafka.consumer={"fetch.min.bytes": 5}']
    found = loaded(*overrides, file=file, environ=environ)
    assert found.settings.kafka.properties == {
        "client.rack": "file",
        "linger.ms": 7,
        "security.protocol": "SASL_SSL",
        "socket.timeout.ms": 9000,
        "sasl.password": "p",
    }
    assert found.settings.kafka.consumer == {"fetch.min.bytes": 5}
    assert found.origins["kafka.properties.security.protocol"] == "--set"
    assert found.origins["kafka.properties.socket.timeout.ms"] == "ENRICHER_KAFKA__PROPERTIES"
    assert found.origins["kafka.properties.sasl.password"] == "ENRICHER_KAFKA__PROPERTIES__SASL_PASSWORD"


def test_client_properties_put_the_maps_together() -> None:
    """What is for one client alone wins over what is for both; the worker's own names are there."""
    kafka = loaded(
        "kafka.bootstrap_servers=a:1,b:2",
        "kafka.properties.client.rack=both",
        "kafka.consumer.client.rack=consumer",
        "kafka.producer.linger.ms=3",
    ).settings.kafka
    assert kafka.client_properties() == {"client.rack": "both", "bootstrap.servers": "a:1,b:2"}
    assert kafka.consumer_properties() == {
        "client.rack": "consumer",
        "bootstrap.servers": "a:1,b:2",
        "group.id": "enricher",
        "group.protocol": "classic",
    }
    assert kafka.producer_properties() == {"client.rack": "both", "linger.ms": "3", "bootstrap.servers": "a:1,b:2"}


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    """ENRICHER_CONFIG stands for --config, which wins over it; empty it is as good as unset."""
    file = write(tmp_path, "service: {timeout: 1s}\n")
    assert loaded(environ={"ENRICHER_CONFIG": str(file)}).settings.service.timeout == 1.0
    other = tmp_path / "other.yaml"
    other.write_text("service: {timeout: 2s}\n", encoding="utf-8")
    assert loaded(file=other, environ={"ENRICHER_CONFIG": str(file)}).settings.service.timeout == 2.0
    assert loaded(environ={"ENRICHER_CONFIG": ""}).settings.service.timeout == 5.0


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "kafka:\nservice:\n  backoff:\n", "\ufeffkafka:\n"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    """Empty files and empty groups are fine."""
    found = loaded(file=write(tmp_path, text))
    assert found.settings == loaded().settings


def test_variables_that_kubernetes_makes_for_a_service_named_enricher_are_none_of_ours() -> None:
    """Its service links would otherwise keep every pod from starting."""
    environ = {
        "ENRICHER_SERVICE_HOST": "10.0.0.1",
        "ENRICHER_SERVICE_PORT": "8080",
        "ENRICHER_SERVICE_PORT_HTTP": "8080",
        "ENRICHER_PORT": "tcp://10.0.0.1:8080",
        "ENRICHER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "ENRICHER_PORT_8080_TCP_PROTO": "tcp",
        "ENRICHER_METRICS_SERVICE_HOST": "10.0.0.2",
    }
    assert loaded(environ=environ | {"KUBERNETES_SERVICE_HOST": "10.0.0.3"}).settings == loaded().settings
    assert sorted(problem.name for problem in refused(environ=environ)) == sorted(
        environ
    )  # elsewhere they are mistakes


def test_merge_keys_and_anchors_of_yaml(tmp_path: Path) -> None:
    """They mean what YAML says."""
    text = "kafka:\n  consumer: &tls\n    client.rack: r\n  producer:\n    <<: *tls\n    linger.ms: 2\n"
    kafka = loaded(file=write(tmp_path, text)).settings.kafka
    assert kafka.producer == {"client.rack": "r", "linger.ms": 2}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("kafka:\n\tgroup_id: a\n", 2, "a tab where only spaces may stand"),
        ("kafka:\n  group_id: a\n  group_id: b\n", 3, "is given twice, first on line 2"),
        ("kafka: {}\ninput: {}\nkafka: {}\n", 3, "is given twice, first on line 1"),
        ("- a\n- b\n", 1, "is no map of settings"),
        ("kafka: [\n", 2, "is no YAML"),
        ("kafka: a: b\n", 1, "is no YAML"),
        ("a: 1\n---\nb: 2\n", 2, "several documents"),
        ("kafka: {? [a, b] : c}\n", 1, "a key that is no text"),
        ("kafka: &x\n  properties: *x\n", 2, "is an alias within what it stands for"),
        ("kafka:\n  group_id: !!python/object:os.system x\n", 2, "is no YAML"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    """Each kind of broken YAML names the line and what is wrong there."""
    file = write(tmp_path, text)
    problems = refused(file=file)
    assert [(problem.origin, words in problem.message) for problem in problems] == [(f"{file}:{line}", True)]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, no UTF-8: the file is named and the reason."""
    missing, binary = tmp_path / "none.yaml", tmp_path / "latin.yaml"
    binary.write_bytes(b"kafka: \xe9\xff")
    assert refused(file=missing)[0].name == str(missing)
    assert "no such file" in refused(file=missing)[0].message
    assert "is a directory" in refused(file=tmp_path)[0].message
    assert "no UTF-8" in refused(file=binary)[0].message
    assert "control character" in refused(file=write(tmp_path, "kafka: \x07"))[0].message


@given(st.text(max_size=40))
def test_no_text_of_a_file_ends_in_anything_but_settings_or_problems(text: str) -> None:
    """Whatever the file holds, the answer is a ConfigError at the worst."""
    from enricher.config.yaml_file import parse_yaml

    parsed = parse_yaml(text, "f")
    assert isinstance(parsed.values, dict)
    assert all(str(problem) for problem in parsed.problems)


@given(st.text(alphabet='kafkserviurl._=[]{}":,5', max_size=30))
def test_no_override_ends_in_anything_but_settings_or_problems(override: str) -> None:
    """Likewise of the command line."""
    try:
        loaded(override)
    except ConfigError as error:
        assert error.problems  # noqa: PT017  either outcome is right
