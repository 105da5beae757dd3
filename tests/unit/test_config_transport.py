"""The settings of credentials, TLS and proxy: what is refused, what contradicts what, and that no secret is shown."""

from pathlib import Path

import pytest

from enricher.config import ConfigError, Problem, Settings, load
from enricher.config.document import rows

REQUIRED = [
    "kafka.bootstrap_servers=a:9092",
    "input.topics=in",
    "output.topic=out",
    "service.url=https://host/path",
]
SECRET = "hunter2"


def loaded(*lines: str) -> Settings:
    """The settings with these in the environment, as secrets may not be on a command line."""
    return load(None, environment(*lines), REQUIRED).settings


def environment(*lines: str) -> dict[str, str]:
    """``auth.basic.username=x`` and so on as variables."""
    pairs = (line.partition("=") for line in lines)
    return {f"ENRICHER_SERVICE__{name.replace('.', '__').upper()}": value for name, _, value in pairs}


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
        ["auth.oauth2.token_url=https://h/t", "auth.oauth2.client_id=c", f"auth.oauth2.client_secret={SECRET}"],
        ["tls.ca_file=/ca"],
        ["tls.cert_file=/c", "tls.key_file=/k", f"tls.key_password={SECRET}"],
        ["proxy.url=http://proxy:3128"],
        ["proxy.url=http://proxy:3128/", "proxy.username=u", f"proxy.password={SECRET}"],
        ["http2=never"],
    ],
)
def test_what_is_whole_is_accepted_and_no_secret_shown(lines: list[str]) -> None:
    """Neither as a row of ``enricher config`` nor as a text of the settings."""
    settings = load(None, environment(*lines), REQUIRED)
    assert SECRET not in repr(settings.settings)
    assert SECRET not in repr(rows(settings))


@pytest.mark.parametrize(
    ("lines", "name", "words"),
    [
        (["auth.basic.username=u"], "auth.basic.username", "needs service.auth.basic.password or"),
        ([f"auth.basic.password={SECRET}"], "auth.basic.password", "needs service.auth.basic.username"),
        (["auth.basic.password_file=/f"], "auth.basic.password_file", "needs service.auth.basic.username"),
        (["auth.oauth2.scope=s"], "auth.oauth2.scope", "needs service.auth.oauth2.client_id"),
        (["tls.cert_file=/c"], "tls.cert_file", "needs service.tls.key_file"),
        (["tls.key_file=/k"], "tls.key_file", "needs service.tls.cert_file"),
        ([f"tls.key_password={SECRET}"], "tls.key_password", "needs service.tls.key_file"),
        (["proxy.username=u", "proxy.password_file=/f"], "proxy.username", "needs service.proxy.url"),
        (["auth.bearer.token=a", "auth.bearer.token_file=/f"], "auth.bearer.token_file", "and so is"),
        (
            ["auth.bearer.token=a", "auth.basic.username=u", "auth.basic.password_file=/f"],
            "auth.bearer.token",
            "a request can carry one kind",
        ),
        (["tls.ca_file=/ca", "url=http://host/"], "tls.ca_file", "has no effect"),
        (["auth.basic.username=a:b", "auth.basic.password_file=/f"], "auth.basic.username", "colon"),
        ([f"auth.bearer.token=Bearer {SECRET}"], "auth.bearer.token", "is no token"),
        (["auth.bearer.token=", "http2=never"], "auth.bearer.token", "has no value"),
        (["auth.oauth2.token_url=ftp://h"], "auth.oauth2.token_url", "is no URL of http or https"),
        (["proxy.url=http://proxy:1/x"], "proxy.url", "must not hold a path"),
        (["proxy.url=socks5://proxy:1"], "proxy.url", "is no URL of http or https"),
        (["http2=yes"], "http2", "must be auto or never"),
    ],
)
def test_what_is_not_whole_is_refused(lines: list[str], name: str, words: str) -> None:
    """Halves, two of what there can be one of, and what would have no effect."""
    overrides = [line for line in REQUIRED if not any(other.startswith("url=") for other in lines) or "url" not in line]
    with pytest.raises(ConfigError) as error:
        load(None, environment(*lines), overrides)
    assert SECRET not in str(error.value)
    (problem,) = error.value.problems
    assert problem.name == f"service.{name}"
    assert words in problem.message


def test_all_contradictions_are_told_at_once() -> None:
    """Each with its setting."""
    problems = refused(
        "auth.basic.username=u", f"auth.bearer.token={SECRET}", "auth.oauth2.client_id=c", "tls.key_file=/k"
    )
    assert {problem.name for problem in problems} == {
        "service.auth.basic.username",
        "service.auth.bearer.token",
        "service.auth.oauth2.client_id",
        "service.tls.key_file",
    }


def test_a_certificate_for_the_token_endpoint_alone_has_an_effect() -> None:
    """The service itself may be plain HTTP on the same machine."""
    lines = ["auth.oauth2.token_url=https://h/t", "auth.oauth2.client_id=c", "auth.oauth2.client_secret_file=/f"]
    overrides = [*REQUIRED[:3], "service.url=http://127.0.0.1/x"]
    assert load(None, environment(*lines, "tls.ca_file=/ca"), overrides).settings.service.tls.ca_file == "/ca"


def test_a_secret_on_the_command_line_is_refused(tmp_path: Path) -> None:
    """Every user of the machine would see it; a file's name is none."""
    with pytest.raises(ConfigError) as error:
        load(None, {}, [*REQUIRED, f"service.auth.bearer.token={SECRET}"])
    (problem,) = error.value.problems
    assert (problem.name, problem.value, problem.origin) == ("service.auth.bearer.token", "***", "--set")
    assert "service.auth.bearer.token_file" in str(problem.hint)
    path = f"service.auth.bearer.token_file={tmp_path}/t"
    assert load(None, {}, [*REQUIRED, path]).origins["service.auth.bearer.token_file"] == "--set"
