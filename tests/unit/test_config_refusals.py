"""What is refused, and how it is told: name, value, origin, what would be right; all mistakes at once."""

from pathlib import Path

import pytest

from enricher.config import ConfigError, Problem, load

REQUIRED = ["kafka.bootstrap_servers=a:9092", "input.topics=in", "output.topic=out", "service.url=http://host/path"]
SECRET = "hunter2"


def refused(*overrides: str, file: Path | None = None, environ: dict[str, str] | None = None) -> list[Problem]:
    """What is wrong, all that is required being there."""
    with pytest.raises(ConfigError) as error:
        load(file, environ or {}, [*REQUIRED, *overrides])
    return list(error.value.problems)


def test_everything_that_is_required_is_missed_at_once() -> None:
    """Nothing set: every required setting is named, with the ways to set it."""
    with pytest.raises(ConfigError) as error:
        load()
    assert [problem.name for problem in error.value.problems] == [
        "kafka.bootstrap_servers",
        "input.topics",
        "output.topic",
        "service.url",
    ]
    assert error.value.problems[3] == Problem(
        "service.url",
        None,
        "not set",
        "is required",
        "set it in the file, as ENRICHER_SERVICE__URL=..., or with --set service.url=...",
    )


def test_mistakes_of_every_source_and_kind_are_told_at_once(tmp_path: Path) -> None:
    """Syntax, unknown names, bad values, contradictions: one run tells them all, each with its origin."""
    file = tmp_path / "enricher.yaml"
    file.write_text("kafka:\n  group_idd: g\ninput:\n  format: jsn\n", encoding="utf-8")
    environ = {"ENRICHER_SERVICE__TIMEOUT": "60", "ENRICHER_LOGING__LEVEL": "info"}
    problems = refused("service.max_in_flight=0", "output.topic=in", "nonsense", file=file, environ=environ)
    assert {(problem.name, problem.value, problem.origin) for problem in problems} == {
        ("kafka.group_idd", "g", f"{file}:2"),
        ("input.format", "jsn", f"{file}:4"),
        ("ENRICHER_LOGING__LEVEL", "info", "ENRICHER_LOGING__LEVEL"),
        ("service.timeout", "60", "ENRICHER_SERVICE__TIMEOUT"),
        ("service.max_in_flight", "0", "--set"),
        ("output.topic", "in", "--set"),
        ("--set", "nonsense", "--set"),
    }
    assert all(problem.hint or problem.name == "service.max_in_flight" for problem in problems)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("service.timout", "service.timeout"),
        ("kafka.bootstrap-servers", "kafka.bootstrap_servers"),
        ("kafka.bootstrap.servers", "kafka.bootstrap_servers"),
        ("bootstrap_servers", "kafka.bootstrap_servers"),
        ("service.max_inflight", "service.max_in_flight"),
        ("input.topic", "input.topics"),
        ("SERVICE.URL", "service.url"),
        ("max_in_flight", "service.max_in_flight"),
    ],
)
def test_an_unknown_setting_is_told_what_it_was_probably_meant_to_be(name: str, meant: str) -> None:
    """The closest name is offered."""
    (problem,) = refused(f"{name}=x")
    assert (problem.message, problem.hint) == ("there is no such setting", f"did you mean {meant}?")


def test_an_unknown_variable_is_told_the_variable_that_was_meant() -> None:
    """The hint is in the words of the source, also where one underscore is missing."""
    (problem,) = refused(environ={"ENRICHER_KAFKA_BOOTSTRAP_SERVERS": "a:1"})
    assert problem.hint == "did you mean ENRICHER_KAFKA__BOOTSTRAP_SERVERS?"


def test_what_resembles_nothing_is_told_where_the_names_are() -> None:
    """No guess is better than a wild one."""
    (problem,) = refused("zzz=1")
    assert problem.hint == "`enricher config --docs` lists all settings"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("service.url=ftp://host/path", "is no URL of http or https"),
        ("service.url=host:8080/path", "is no URL of http or https"),
        ("service.url=http://", "is no URL of http or https"),
        ("service.url=http://host:99999/", "is no URL"),
        ("service.url=http://host/a b", "ASCII without spaces"),
        ("service.url=http://host/#x", "fragment"),
        ("service.url=http://u@host/", "must not hold credentials"),
        ("service.url=", "has no value"),
        ("service.method=put", "must be post or get"),
        ("service.max_in_flight=many", "must be a whole number"),
        ("service.max_in_flight=1.5", "must be a whole number"),
        ("service.max_in_flight=0", "must be at least 1"),
        ("service.timeout=5", "is a number without a unit"),
        ("service.max_response=1X", "is no size"),
        ("service.timeout=31s", "is less than service.timeout, which is 31s"),
        ("service.backoff.max=10ms", "is less than service.backoff.initial, which is 100ms"),
        ("buffer.max_bytes=1KiB", "is less than input.max_record, which is 1MiB"),
        ("kafka.bootstrap_servers=a:1,,b:2", "holds what is no broker's address"),
        ("kafka.bootstrap_servers=a:port", "holds what is no broker's address"),
        ("kafka.bootstrap_servers=a:1 b:2", "holds what is no broker's address"),
        ("kafka.bootstrap_servers=a:1,a:1", "names one twice"),
        ("kafka.bootstrap_servers=[a:1", "is no JSON list"),
        ("kafka.properties=a", "is no map of librdkafka properties"),
        ("input.topics=[]", "is empty"),
        ("input.topics=^contacts.*", "is no name of a topic"),
        ("input.topics=[1]", "must be text"),
        ("input.fields.customer_id=a..b", "is no path into the event"),
        ("output.topic=a b", "is no name of a topic"),
        ("output.topic=..", "is no name of a topic"),
        ("output.topic=in", "is an input topic too"),
        ("input.fields.event_id=customerId", "names the same place"),
        ("input.fields.event_time=eventId.at", "names the same place"),
        ("output.dead_letter_topic=in", "is an input topic too"),
        ("output.dead_letter_topic=out", "is the output topic too"),
        ("delivery.guarantee=at-most-once", "must be at-least-once or exactly-once"),
        ("failures.on_unavailable=drop", "must be wait, dead-letter or pass-through"),
        ("service.limiter=auto", "must be adaptive or fixed"),
        ("service.max_rate=fast", "must be a number"),
        ("service.max_rate=-1", "must be at least 0"),
        ("service.max_rate=inf", "must be a number"),
        ("history.coalesce=perhaps", "must be true or false"),
        ("history.cache.ttl=5", "is a number without a unit"),
        ("history.cache.ttl=-1s", "is no duration"),
        ("history.on_empty=wait", "must be accept or retry"),
        ("history.empty_attempts=0", "must be at least 1"),
        ("history.as_of=then", "must be now or event"),
        ("delivery.order=keys", "must be key, partition or none"),
        ("kafka=x", "is a group of settings"),
        ("service.backoff=x", "is a group of settings"),
    ],
)
def test_bad_values(override: str, words: str) -> None:
    """One mistake is one problem, which says what is wrong."""
    (problem,) = refused(override)
    assert words in problem.message


def test_a_contradiction_with_a_default_says_so() -> None:
    """Whoever raised the timeout learns that the deadline, which they never set, is in the way."""
    (problem,) = refused("service.timeout=1m")
    assert str(problem) == (
        "service.deadline = 30s (default): is less than service.timeout, which is 1m; "
        "raise it to 1m or more, or lower service.timeout"
    )


def test_the_default_dead_letter_topic_must_not_be_read_either() -> None:
    """Its default is derived, and may then collide with an input topic."""
    (problem,) = refused("input.topics=in,in.dlq")
    assert (problem.name, problem.value, problem.origin) == ("output.dead_letter_topic", "in.dlq", "default")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("service: {max_in_flight: yes}", "must be a whole number"),
        ("kafka: {group_id: 12}", "must be text"),
        ("input: {format: ~}", "has no value"),
        ("kafka: x", "is a group of settings"),
        ("kafka: [a]", "is a group of settings"),
        ("service: {url: {a: b}}", "must be text"),
        ("service.url: http://a/", "has dots within one key"),
        ("service: {backoff.initial: 1s}", "has dots within one key"),
        ("kafak: {group_id: a}", "there is no such setting"),
        ("kafka: {properties: {security: {protocol: SSL}}}", "must be text, a number, true or false"),
        ("service: {timeout: 1:30}", "is a number without a unit"),
    ],
)
def test_bad_values_that_only_a_file_can_hold(tmp_path: Path, line: str, words: str) -> None:
    """YAML's types, and its ways to misunderstand people."""
    file = tmp_path / "f.yaml"
    file.write_text(line, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load(file, {}, REQUIRED[:3])
    (problem,) = [problem for problem in error.value.problems if problem.origin != "not set"]
    assert words in problem.message
    assert problem.origin == f"{file}:1"


@pytest.mark.parametrize(
    "override",
    [
        f"kafka.properties.sasl.password={SECRET}\x00",
        f"kafka.properties.sasl_password={SECRET}",
        f"kafka.propertys.ssl.key.password={SECRET}",
        f'kafka.properties={{"sasl.password": "{SECRET}"',
        f'kafka.consumer={{"sasl.password": ["{SECRET}"]}}',
        f"kafka.properties.sasl.password:{SECRET}",
        f"kafka.properties.sasl.oauthbearer.client.secret.x={SECRET}",
        f"service.url=http://user:{SECRET}@host/path",
        f"service.url=http://user:a/{SECRET}?#x@host/path",
        f"service.url=ftp://host/path?api_key={SECRET}",
        f"service.token={SECRET}",
        f"kafka.bootstrap_servers=user:{SECRET}@host:9092",
        f"kafka.properties.enable.ssl.certificate.verification.password={SECRET}",
        f"service.auth.basic.password={SECRET}",
        f"service.auth.basic.psw={SECRET}",
        f"service.auth.bearer={SECRET}",
        f"service.auth.bearer.token={SECRET} x",
        f"service.auth.oauth2.client_secrt={SECRET}",
        f"service.auth.oauth2.token_url=http://u:{SECRET}@host/",
        f"service.proxy.pw={SECRET}",
        f"service.proxy=http://u:{SECRET}@host",
        f"service.proxy.url=http://u:{SECRET}@host",
        f"service.tls.key_password={SECRET}",
    ],
)
def test_no_secret_is_ever_shown(override: str) -> None:
    """Whatever is wrong with a secret or with its name, its value stays unseen."""
    problems = refused(override)
    assert SECRET not in str(ConfigError(problems))


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A value may hold anything, and is shown escaped."""
    (problem,) = refused("service.method=\x1b[31mred")
    assert problem.value == "\\x1b[31mred"
    (problem,) = refused(environ={"ENRICHER_\x1b[31mRED": "1"})
    assert problem.name == problem.origin == "ENRICHER_\\x1b[31mRED"


def test_what_looks_like_a_date_and_is_none_is_text(tmp_path: Path) -> None:
    """YAML makes dates of such values, and would fail with a traceback."""
    file = tmp_path / "f.yaml"
    file.write_text("input: {format: 2026-99-99}", encoding="utf-8")
    (problem,) = refused(file=file)
    assert (problem.value, problem.message) == ("2026-99-99", "must be auto, json or avro")


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        ("consumer", "kafka.consumer.partition.assignment.strategy=range"),
        ("consumer", "kafka.properties.session.timeout.ms=10000"),
        ("consumer", "kafka.consumer.heartbeat.interval.ms=1000"),
        ("classic", "kafka.consumer.group.remote.assignor=uniform"),
    ],
)
def test_properties_of_the_other_group_protocol_are_refused(protocol: str, name: str) -> None:
    """The client would ignore them, or refuse them without a word of the setting that is at fault."""
    (problem,) = refused(name, f"kafka.group_protocol={protocol}")
    assert problem.name == name.partition("=")[0]
    assert problem.message == f"has no effect while kafka.group_protocol is {protocol}"


@pytest.mark.parametrize("name", ["group.protocol", "group.instance.id"])
def test_the_group_s_properties_are_settings_of_their_own(name: str) -> None:
    """One place for each."""
    (problem,) = refused(f"kafka.consumer.{name}=consumer")
    assert problem.hint == f"use kafka.{name.replace('.', '_').removesuffix('_')}"


@pytest.mark.parametrize("name", ["a b", "x" * 250, ".."])
def test_a_member_s_name_is_checked(name: str) -> None:
    """What the broker would refuse is refused at start."""
    (problem,) = refused(f"kafka.group_instance_id={name}")
    assert problem.message == "is no name of a group's member"
