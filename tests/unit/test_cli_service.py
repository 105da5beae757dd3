"""The service's client as the settings make it, and that no secret of theirs comes out anywhere."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from enricher.cli.app import app
from enricher.cli.checks import check_all, check_service
from enricher.cli.service import build_client, in_the_clear
from enricher.config import ConfigError, Settings, load
from enricher.model import LookupFailure
from tests.contract.certificates import Authority
from tests.contract.scripted_http import Connection, Request, ScriptedServer

SECRET = "hunter2"
SCRIPT = str(Path(sys.executable).with_name("enricher"))


@pytest.fixture(autouse=True)
def no_settings_of_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the environment of whoever runs the tests do not count."""
    for name in [name for name in os.environ if name.startswith("ENRICHER_")]:
        monkeypatch.delenv(name)


def settings(url: str, **changes: str) -> Settings:
    """Settings with that service; ``auth__bearer__token=...`` for others of it."""
    environ = {f"ENRICHER_SERVICE__{name.upper()}": value for name, value in {"url": url, **changes}.items()}
    return load(None, environ, ["kafka.bootstrap_servers=127.0.0.1:1", "input.topics=in", "output.topic=out"]).settings


async def _wants(expected: str | None, **changes: str) -> str | None:
    """Look somebody up at a service that tells what it got; returns that."""
    seen: list[str | None] = []

    async def script(request: Request, connection: Connection) -> None:
        seen.append(request.headers.get("authorization"))
        await connection.answer()

    async with ScriptedServer(script) as server:
        client = build_client(settings(server.url, **changes))
        await client.fetch("CONNOR")
        await client.close()
    assert seen == [expected]
    return seen[0]


def test_credentials_are_those_of_the_settings(tmp_path: Path) -> None:
    """Of each kind, from the settings and from files."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    basic = "Basic dTpodW50ZXIy"

    async def main() -> None:
        await _wants(None)
        await _wants(basic, auth__basic__username="u", auth__basic__password=SECRET)
        await _wants(basic, auth__basic__username="u", auth__basic__password_file=str(file))
        await _wants(f"Bearer {SECRET}", auth__bearer__token=SECRET)
        await _wants(f"Bearer {SECRET}", auth__bearer__token_file=str(file), engine="httpx")

    asyncio.run(main())


def test_a_token_is_fetched_as_the_settings_say(tmp_path: Path) -> None:
    """From the endpoint, over TLS of a private authority, with the client's certificate."""
    authority = Authority(tmp_path)
    certificate, key = authority.client("worker")
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    peers: list[str | None] = []

    async def endpoint(_request: Request, connection: Connection) -> None:
        peers.append(connection.peer)
        await connection.answer(b'{"access_token":"t1","token_type":"bearer","expires_in":60}')

    async def main() -> None:
        async with ScriptedServer(endpoint, authority.server(client_wanted=True)) as tokens:
            await _wants(
                "Bearer t1",
                auth__oauth2__token_url=tokens.url,
                auth__oauth2__client_id="c",
                auth__oauth2__client_secret_file=str(secret),
                tls__ca_file=str(authority.file),
                tls__cert_file=certificate,
                tls__key_file=key,
            )

    asyncio.run(main())
    assert peers == ["worker"]


def test_check_asks_as_the_worker_would(tmp_path: Path) -> None:
    """With the credentials, over mutual TLS of a private authority; each of these that is missing is found."""
    authority = Authority(tmp_path)
    certificate, key = authority.client("worker")

    async def script(request: Request, connection: Connection) -> None:
        known = connection.peer == "worker" and request.headers.get("authorization") == f"Bearer {SECRET}"
        await connection.answer(status="200 OK" if known else "401 Unauthorized")

    whole = {
        "auth__bearer__token": SECRET,
        "tls__ca_file": str(authority.file),
        "tls__cert_file": certificate,
        "tls__key_file": key,
    }

    async def main() -> None:
        async with ScriptedServer(script, authority.server(client_wanted=True)) as server:
            for without, message, remedy in [
                ((), "answers; 0 offers", ""),
                (("auth__bearer__token",), "Unauthorized", "service.auth"),
                (("tls__ca_file",), "Connection", "service.url"),
                (("tls__cert_file", "tls__key_file"), "Connection", "service.url"),
            ]:
                changes = {name: value for name, value in whole.items() if name not in without}
                finding = await check_service(settings(server.url, **changes), "CONNOR")
                assert finding.ok == (not without)
                assert message in finding.message
                assert remedy in finding.remedy
            finding = await check_service(settings(server.url, auth__bearer__token_file="/nowhere"), "CONNOR")
            assert not finding.ok
            assert "service.auth.bearer.token_file" in finding.message

    asyncio.run(main())


def test_all_files_that_cannot_be_used_are_told_at_once(tmp_path: Path) -> None:
    """Each with its setting."""
    password = tmp_path / "password"
    password.write_text("")
    with pytest.raises(ConfigError) as caught:
        build_client(
            settings(
                "https://host/",
                auth__basic__username="u",
                auth__basic__password_file=str(password),
                tls__ca_file=str(tmp_path / "none"),
                proxy__url="http://proxy:1",
                proxy__username="u",
                proxy__password_file=str(tmp_path),
            )
        )
    assert {problem.name for problem in caught.value.problems} == {
        "service.auth.basic.password_file",
        "service.tls.ca_file",
        "service.proxy.password_file",
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_the_worker_refuses_to_start_with_a_file_that_it_cannot_read(*, as_json: bool) -> None:
    """As any wrong configuration: exit code 2, before it connects to anything."""
    result = subprocess.run(
        [
            SCRIPT,
            "run",
            "--set=kafka.bootstrap_servers=127.0.0.1:1",
            "--set=input.topics=in",
            "--set=output.topic=out",
            "--set=service.url=http://127.0.0.1:1/",
            "--set=service.auth.bearer.token_file=/nowhere",
            *(["--json"] if as_json else []),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    if as_json:
        (problem,) = json.loads(result.stdout)["problems"]
        assert problem["name"] == "service.auth.bearer.token_file"
    assert "cannot be read" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("url", "changes", "setting"),
    [
        ("http://crm.example/", {}, None),
        ("http://crm.example/", {"auth__bearer__token": "t"}, "service.url"),
        ("https://crm.example/", {"auth__bearer__token": "t"}, None),
        ("http://127.0.0.1:80/", {"auth__bearer__token": "t"}, None),
        ("http://[::1]/", {"auth__basic__username": "u", "auth__basic__password": "p"}, None),
        ("http://localhost/", {"auth__basic__username": "u", "auth__basic__password": "p"}, None),
        (
            "https://crm.example/",
            {
                "auth__oauth2__token_url": "http://crm.example/t",
                "auth__oauth2__client_id": "c",
                "auth__oauth2__client_secret": "s",
            },
            "service.auth.oauth2.token_url",
        ),
    ],
)
def test_credentials_in_the_clear_are_noticed(url: str, changes: dict[str, str], setting: str | None) -> None:
    """Over a network; on the machine itself nobody else listens."""
    assert in_the_clear(settings(url, **changes)) == setting


@pytest.mark.parametrize("engine", ["httpx", "pyreqwest"])
@pytest.mark.parametrize(
    "changes",
    [
        {"auth__basic__username": "u", "auth__basic__password": SECRET},
        {"auth__bearer__token": SECRET},
        {
            "auth__oauth2__token_url": "http://127.0.0.1:1/t",
            "auth__oauth2__client_id": "c",
            "auth__oauth2__client_secret": SECRET,
        },
        {"proxy__url": "http://127.0.0.1:1", "proxy__username": "u", "proxy__password": SECRET},
    ],
)
def test_a_planted_secret_comes_out_nowhere(
    changes: dict[str, str],
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not of ``config`` and ``check``, nor of any log, nor of a failed look-up."""
    caplog.set_level(logging.DEBUG)
    names = {"url": "http://crm.invalid/x", "engine": engine, "timeout": "300ms", **changes}
    for name, value in names.items():
        monkeypatch.setenv(f"ENRICHER_SERVICE__{name.upper()}", value)
    base = [f"--set={line}" for line in ("kafka.bootstrap_servers=127.0.0.1:1", "input.topics=in", "output.topic=out")]
    outputs = [CliRunner().invoke(app, ["config", *base, *more]).output for more in ([], ["--json"])]
    assert "***" in outputs[0]

    async def main() -> None:
        made = settings(**names)
        findings = await check_all(made, "CONNOR", 0.2)
        assert ("proxy__url" in changes) != any("warning" in finding.message for finding in findings)
        client = build_client(made)
        with pytest.raises(LookupFailure) as caught:
            await client.fetch("CONNOR")
        await client.close()
        outputs.extend([repr(made), repr(findings), repr(caught.value), repr(vars(client)), caplog.text])

    asyncio.run(main())
    outputs += capfd.readouterr()
    encoded = "dTpodW50ZXIy"
    for output in outputs:
        assert SECRET not in output
        assert encoded not in output
