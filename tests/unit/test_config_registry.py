"""The settings of the schema registry: what is refused, what contradicts what, and that no secret is shown."""

import pytest

from enricher.config import ConfigError, Loaded, Problem, load
from enricher.config.document import rows

REQUIRED = ["kafka.bootstrap_servers=a:9092", "input.topics=in", "output.topic=out", "service.url=http://host/path"]
URL = "url=https://registry:8081"
SECRET = "hunter2"


def loaded(*lines: str) -> Loaded:
    """The settings with these in the environment, as secrets may not be on a command line."""
    pairs = (line.partition("=") for line in lines)
    environ = {f"ENRICHER_SCHEMA_REGISTRY__{name.replace('.', '__').upper()}": value for name, _, value in pairs}
    return load(None, environ, REQUIRED)


def refused(*lines: str) -> list[Problem]:
    """What is wrong with them."""
    with pytest.raises(ConfigError) as error:
        loaded(*lines)
    assert SECRET not in str(error.value)
    return list(error.value.problems)


@pytest.mark.parametrize(
    "lines",
    [
        ["auth.basic.username=u", f"auth.basic.password={SECRET}"],
        ["auth.basic.username=u", "auth.basic.password_file=/f"],
        [f"auth.bearer.token={SECRET}"],
        ["auth.bearer.token_file=/f"],
        ["tls.ca_file=/ca", "tls.cert_file=/c", "tls.key_file=/k", f"tls.key_password={SECRET}"],
        ["framing=header", "auto_register=true", "subject_strategy=topic-record", "timeout=1s", "allowed=7"],
        ["url=http://a:8081/,https://b/apis/ccompat/v7"],
    ],
)
def test_what_is_whole_is_accepted_and_no_secret_shown(lines: list[str]) -> None:
    """Neither as a row of ``enricher config`` nor as a text of the settings."""
    settings = loaded(URL, *lines)
    assert SECRET not in repr(settings.settings)
    assert SECRET not in repr(rows(settings))


@pytest.mark.parametrize(
    ("lines", "name", "words"),
    [
        ([URL, "auth.basic.username=u"], "auth.basic.username", "needs schema_registry.auth.basic.password or"),
        ([URL, f"auth.basic.password={SECRET}"], "auth.basic.password", "needs schema_registry.auth.basic.username"),
        ([URL, "auth.basic.password_file=/f"], "auth.basic.password_file", "needs schema_registry.auth.basic.username"),
        ([URL, "tls.cert_file=/c"], "tls.cert_file", "needs schema_registry.tls.key_file"),
        ([URL, "tls.key_file=/k"], "tls.key_file", "needs schema_registry.tls.cert_file"),
        ([URL, f"tls.key_password={SECRET}"], "tls.key_password", "needs schema_registry.tls.key_file"),
        ([URL, "tls.key_password_file=/f"], "tls.key_password_file", "needs schema_registry.tls.key_file"),
        ([URL, "auth.bearer.token=a", "auth.bearer.token_file=/f"], "auth.bearer.token_file", "and so is"),
        (
            [URL, "auth.bearer.token=a", "auth.basic.username=u", "auth.basic.password_file=/f"],
            "auth.bearer.token",
            "a request can carry one kind",
        ),
        (["url=http://host", "tls.ca_file=/ca"], "tls.ca_file", "has no effect"),
        ([f"auth.bearer.token={SECRET}"], "auth.bearer.token", "has no effect without schema_registry.url"),
        (["auto_register=true"], "auto_register", "has no effect without schema_registry.url"),
        (["allowed=1,2"], "allowed", "has no effect without schema_registry.url"),
        ([f"url=https://u:{SECRET}@host"], "url", "must not hold credentials"),
        (["url=https://a,ftp://b"], "url", "is no URL of http or https"),
        ([URL, "allowed=1,one"], "allowed", "no schema id, nor a GUID"),
        ([URL, "allowed=-1"], "allowed", "no schema id, nor a GUID"),
        ([URL, "framing=suffix"], "framing", "must be prefix or header"),
        ([URL, "subject_strategy=associated"], "subject_strategy", "must be topic, record or topic-record"),
    ],
)
def test_what_is_refused(lines: list[str], name: str, words: str) -> None:
    """One mistake is one problem, which names the setting and says what is wrong."""
    (problem,) = refused(*lines)
    assert problem.name == f"schema_registry.{name}"
    assert words in problem.message


def test_ids_and_guids_may_be_allowed() -> None:
    """In any form in which they are written."""
    guid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    settings = loaded(URL, f"allowed=007,{guid.upper()},{guid.replace('-', '')}").settings
    assert settings.schema_registry.allowed == ("7", guid, guid)


def test_a_secret_does_not_belong_on_the_command_line() -> None:
    """Every user of the machine sees it there."""
    with pytest.raises(ConfigError) as error:
        load(None, {}, [*REQUIRED, f"schema_registry.{URL}", f"schema_registry.auth.bearer.token={SECRET}"])
    (problem,) = error.value.problems
    assert "every user of the machine sees a command line" in problem.message
    assert SECRET not in str(error.value)
