"""What reads and writes events, put together against a schema registry in this process."""

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from enricher.cli.codecs import Codecs, open_codecs, output_reader
from enricher.cli.registries import open_registry
from enricher.codec import JsonEncoder
from enricher.codec.framing import fingerprint_of
from enricher.codec.writer_schemas import SchemaNeeded
from enricher.config import ConfigError, Settings, load
from enricher.model import Enriched, Enrichment, Event, OfferHistory, Record, Rejected, Status
from enricher.registry import RegistryAway, RegistryClient, RegistryError, RegistryRefused
from enricher.schemas import CUSTOMER_CONTACT, ENRICHED_CONTACT
from enricher.stats import Stats
from enricher.testing.registry import RegistryServer
from tests.contract.certificates import Authority
from tests.contract.registries import record as avro_record

REQUIRED = ["kafka.bootstrap_servers=a:9092", "input.topics=in", "output.topic=out", "service.url=http://host/path"]
SECRET = "hunter2"

OUTPUT = Enriched(
    Event("E-1", "CONNOR", 0, None, None, None, None, {}),
    OfferHistory("CONNOR", 1, 1, ()),
    Enrichment("in", 0, 7, "1", 1, Status.NO_HISTORY),
)


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    """A registry that has nothing yet."""
    with RegistryServer() as server:
        yield server


def settings(*overrides: str, environ: dict[str, str] | None = None) -> Settings:
    """All that is required, and these."""
    return load(None, environ or {}, [*REQUIRED, *overrides]).settings


def opened(server: RegistryServer, *overrides: str) -> Codecs:
    """Codecs that use the registry."""
    return open_codecs(settings(f"schema_registry.url={server.url}", *overrides), Stats())


def record(value: bytes, headers: list[tuple[str, bytes | None]] | None = None) -> Record:
    """A record of the input."""
    return Record("in", 0, 7, 1_000, b"key", value, headers or [])


def test_without_a_registry_outputs_are_single_objects() -> None:
    """And nobody is asked for schemas."""
    codecs = open_codecs(settings(), Stats())
    assert codecs.fetcher is None
    assert codecs.encoder.encode(OUTPUT, record(b"")).startswith(b"\xc3\x01" + ENRICHED_CONTACT.fingerprint)
    codecs.close()


def test_the_output_has_the_registrys_id_before_it(server: RegistryServer) -> None:
    """By default; a reader with the same settings reads it."""
    server.register("other", avro_record(("a", "int")))
    server.register("out-value", ENRICHED_CONTACT.raw)
    with closing(opened(server)) as codecs:
        value = codecs.encoder.encode(OUTPUT, record(b""))
        assert value[:5] == b"\x00\x00\x00\x00\x02"
        assert codecs.encoder.headers(record(b"")) == []
    with output_reader(settings(f"schema_registry.url={server.url}")) as reader:
        assert reader.decode(value) == OUTPUT


def test_the_output_has_the_guid_in_a_header(server: RegistryServer) -> None:
    """In place of the one that tells of the input's value, and after the others."""
    server.register("out-value", ENRICHED_CONTACT.raw)
    told = record(b"", [("a", b"1"), ("__value_schema_id", b"\x01" + bytes(16)), ("b", None)])
    with closing(opened(server, "schema_registry.framing=header")) as codecs:
        value, headers = codecs.encoder.encode(OUTPUT, told), codecs.encoder.headers(told)
    assert [name for name, _ in headers] == ["a", "b", "__value_schema_id"]
    with output_reader(settings(f"schema_registry.url={server.url}")) as reader:
        assert reader.decode(value, headers) == OUTPUT


def test_json_needs_nothing_of_the_registry(server: RegistryServer) -> None:
    """It registers nothing, and a header of the input that tells of Avro does not come through."""
    with closing(opened(server, "output.format=json")) as codecs:
        assert isinstance(codecs.encoder, JsonEncoder)
        told = record(b"", [("__value_schema_id", b"\x01" + bytes(16))])
        assert codecs.encoder.headers(told) == []
    assert server.requests == []


@pytest.mark.parametrize(
    ("strategy", "subject"),
    [("topic", "out-value"), ("record", "enricher.EnrichedContact"), ("topic-record", "out-enricher.EnrichedContact")],
)
def test_the_schema_is_registered_where_it_belongs(server: RegistryServer, strategy: str, subject: str) -> None:
    """If the settings say so."""
    choice = f"schema_registry.subject_strategy={strategy}"
    with pytest.raises(RegistryRefused, match=f"is not registered under {subject}"):
        opened(server, choice)
    opened(server, choice, "schema_registry.auto_register=true").close()
    opened(server, choice).close()


def lax(server: RegistryServer) -> None:
    """Give the output's subject a version that ours does not go with; its rules allow that."""
    raw = json.loads(ENRICHED_CONTACT.text)
    raw["fields"] = [field for field in raw["fields"] if field["name"] != "enrichment"]
    server.register("out-value", raw)
    server.answer("PUT", "/config/out-value", {"compatibility": "NONE"}, None)


@pytest.mark.parametrize("by", ["somebody", "the worker"])
def test_whom_the_output_breaks_is_told_at_start(server: RegistryServer, by: str) -> None:
    """Though the registry's rules let it, and whoever registered it; the worker starts."""
    lax(server)
    if by == "somebody":
        server.register("out-value", ENRICHED_CONTACT.raw)
    with capture_logs() as logs:
        opened(server, "schema_registry.auto_register=true").close()
    [warned] = [line for line in logs if line["event"] == "output_schema_breaks"]
    assert (warned["log_level"], warned["subject"]) == ("warning", "out-value")
    assert warned["reason"].startswith(
        "enrichment: it is not written, and the reader has no default for it. So readers"
    )


def _gone(_client: RegistryClient, _subject: str) -> NoReturn:
    raise RegistryAway("the registry does not answer")


def test_a_registry_that_goes_meanwhile_keeps_no_worker_from_starting(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is known."""
    lax(server)
    server.register("out-value", ENRICHED_CONTACT.raw)
    monkeypatch.setattr(RegistryClient, "versions", _gone)
    with capture_logs() as logs, closing(opened(server)) as codecs:
        assert codecs.encoder.encode(OUTPUT, record(b""))[:5] == b"\x00\x00\x00\x00\x02"
    assert [line["event"] for line in logs] == ["output_schema_known"]


def test_a_registry_that_is_away_is_told(server: RegistryServer) -> None:
    """At the start there is no way on without it."""
    server.failing = 503
    with pytest.raises(RegistryAway, match=r"the schema registry at .* answered 503"):
        opened(server)
    server.stop()
    with pytest.raises(RegistryAway, match="does not answer"):
        opened(server)


def test_inputs_are_read_with_schemas_that_were_fetched(server: RegistryServer) -> None:
    """One that is not known is asked for, unless it may not be used."""
    server.register("out-value", ENRICHED_CONTACT.raw)
    server.register("in-value", avro_record(("customerId", "string"), name="Call"))
    value = b"\x00\x00\x00\x00\x02" + b"\x0cCONNOR"
    with closing(opened(server)) as codecs, pytest.raises(SchemaNeeded):
        codecs.decoder.decode(record(value))
    with closing(opened(server, "schema_registry.allowed=1")) as codecs:
        with pytest.raises(Rejected) as rejected:
            codecs.decoder.decode(record(value))
        assert rejected.value.cause == "SchemaNotAllowed"


def test_schemas_in_files_are_known(tmp_path: Path) -> None:
    """Single objects of theirs are read."""
    raw = avro_record(("customerId", "string"), ("shop", "int"), name="Call")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "Call.avsc").write_text(json.dumps(raw), "utf-8")
    codecs = open_codecs(settings(f"schemas.path={tmp_path}"), Stats())
    event = codecs.decoder.decode(record(b"\xc3\x01" + fingerprint_of(raw) + b"\x0cCONNOR\x54"))
    assert (event.customer_id, event.attributes) == ("CONNOR", {"shop": "42"})


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "holds no .avsc file"), ("{", "holds no Avro schema"), ('{"type": "no"}', "holds no Avro schema")],
)
def test_files_that_hold_no_schema_are_told(tmp_path: Path, text: str | None, words: str) -> None:
    """With the file and the setting."""
    if text is not None:
        (tmp_path / "a.avsc").write_text(text, "utf-8")
    with pytest.raises(ConfigError) as error:
        open_codecs(settings(f"schemas.path={tmp_path}"), Stats())
    (problem,) = error.value.problems
    assert problem.name == "schemas.path"
    assert words in problem.message


def versions(registry: Settings) -> list[object]:
    """Ask for something."""
    client = open_registry(registry)
    assert client is not None
    with closing(client):
        return list(client.versions("out-value"))


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_credentials_are_sent(tmp_path: Path, kind: str) -> None:
    """From a file; wrong ones are told without being shown."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n", "utf-8")
    basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
    wanted = {"basic": f"Basic {basic}", "bearer": f"Bearer {SECRET}"}[kind]
    asked = {
        "basic": ["schema_registry.auth.basic.username=me", f"schema_registry.auth.basic.password_file={file}"],
        "bearer": [f"schema_registry.auth.bearer.token_file={file}"],
    }[kind]
    with RegistryServer(authorization=wanted) as server:
        told = settings(f"schema_registry.url={server.url}", *asked)
        assert versions(told) == []
        file.write_text(f"{SECRET}-of-yesterday", "utf-8")
        with pytest.raises(RegistryRefused, match="answered 401") as refused:
            versions(told)
        assert refused.value.denied
        assert SECRET not in str(refused.value)
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        versions(told)


def test_both_sides_show_certificates(tmp_path: Path) -> None:
    """With a key that has a password; without a certificate nobody gets in."""
    authority = Authority(tmp_path)
    certificate, key = authority.client("worker", SECRET)
    password = tmp_path / "password"
    password.write_text(f"{SECRET}\n", "utf-8")
    ours = [f"schema_registry.tls.cert_file={certificate}", f"schema_registry.tls.key_file={key}"]
    ours.append(f"schema_registry.tls.key_password_file={password}")
    with RegistryServer(tls=authority.server("localhost", client_wanted=True)) as server:
        base = [f"schema_registry.url={server.url}", f"schema_registry.tls.ca_file={authority.file}"]
        assert versions(settings(*base, *ours)) == []
        with pytest.raises(RegistryError):
            versions(settings(*base))
        password.write_text("another", "utf-8")
        with pytest.raises(RegistryRefused, match="cannot be used"):
            versions(settings(*base, *ours))


def test_our_own_input_schema_may_come_by_id(server: RegistryServer) -> None:
    """It is asked for as any other."""
    server.register("out-value", ENRICHED_CONTACT.raw)
    server.register("in-value", CUSTOMER_CONTACT.raw)
    told = settings(f"schema_registry.url={server.url}")
    client = open_registry(told)
    assert client is not None
    with closing(client):
        found = client.writer_schema(2)
    assert found is not None
    assert found.raw["name"] == "CustomerContact"
