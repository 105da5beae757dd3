"""Derived outputs, put together as the settings say, against a schema registry in this process."""

import asyncio
import hmac
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from enricher.avroschema.derived import derive
from enricher.cli.codecs import Codecs, open_codecs
from enricher.cli.finding import Finding
from enricher.cli.registry_checks import check_registry
from enricher.codec.framing import SCHEMA_ID_HEADER, fingerprint_of
from enricher.codec.writer_schemas import SchemaNeeded
from enricher.config import ConfigError, Settings, load
from enricher.model import Event, Rejected
from enricher.registry import RegistryAway
from enricher.schemas import ENRICHED_CONTACT
from enricher.stats import Stats
from enricher.testing.registry import RegistryServer
from tests.avro_strategies import record as avro
from tests.codec_talk import enriched_with
from tests.unit.test_cli_codecs import REQUIRED, record
from tests.unit.test_codec_derived import CALL, body, read

TAKEN = avro(("customerId", "string"), ("offerHistory", "int"), name="Taken")
VALUE = body(CALL, {"customerId": "CONNOR", "shop": 7})
PREFIXED = b"\x00\x00\x00\x00\x01" + VALUE


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    """A registry that has nothing yet."""
    with RegistryServer() as server:
        yield server


def settings(*overrides: str) -> Settings:
    """All that is required, derived outputs, and these."""
    return load(None, {}, [*REQUIRED, "output.schema=derived", *overrides]).settings


def with_registry(server: RegistryServer, *overrides: str) -> Settings:
    """And a registry."""
    return settings(f"schema_registry.url={server.url}", *overrides)


def decoded(codecs: Codecs, value: bytes) -> Event:
    """The event in a value; whatever schemas it needs are fetched first."""

    async def main() -> Event:
        for _ in range(3):
            try:
                return codecs.decoder.decode(record(value))
            except SchemaNeeded as needed:
                assert codecs.fetcher is not None
                await codecs.fetcher.fetch(needed.key)
        raise AssertionError("it is not known after it was fetched")

    return asyncio.run(main())


def encoded(codecs: Codecs, value: bytes) -> bytes:
    """The output of a value."""
    return codecs.encoder.encode(enriched_with(decoded(codecs, value)), record(value))


def id_of(server: RegistryServer, subject: str, raw: Any) -> int | None:
    """The id that a schema has under a subject."""
    status, answer = server.answer("POST", f"/subjects/{subject}", {"schema": json.dumps(raw)}, None)
    return int(answer["id"]) if status == 200 else None


def test_without_a_registry_outputs_tell_their_fingerprint(tmp_path: Path) -> None:
    """Inputs, too: their schemas are in files."""
    (tmp_path / "Call.avsc").write_text(json.dumps(CALL), "utf-8")
    codecs = open_codecs(settings(f"schemas.path={tmp_path}"), Stats())
    made = encoded(codecs, b"\xc3\x01" + fingerprint_of(CALL) + VALUE)
    assert made[:10] == b"\xc3\x01" + fingerprint_of(derive(CALL))
    assert read(derive(CALL), made[10:])["offerHistory"]["customerId"] == "CONNOR"
    codecs.close()


@pytest.mark.parametrize(
    ("strategy", "subject"), [("topic", "out-value"), ("record", "Call"), ("topic-record", "out-Call")]
)
def test_the_derived_schema_is_registered_where_it_belongs(server: RegistryServer, strategy: str, subject: str) -> None:
    """When the first event comes, if the settings say so; outputs have its id before them."""
    server.register("in-value", CALL)
    allowed = ["schema_registry.auto_register=true", f"schema_registry.subject_strategy={strategy}"]
    with closing(open_codecs(with_registry(server, *allowed), Stats())) as codecs:
        made = encoded(codecs, PREFIXED)
    assert made[:5] == b"\x00\x00\x00\x00\x02"
    assert read(derive(CALL), made[5:])["shop"] == 7
    assert id_of(server, subject, derive(CALL)) == 2


def test_the_guid_is_in_a_header(server: RegistryServer) -> None:
    """In place of the input's."""
    server.register("in-value", CALL)
    told = with_registry(server, "schema_registry.auto_register=true", "schema_registry.framing=header")
    with closing(open_codecs(told, Stats())) as codecs:
        made = encoded(codecs, PREFIXED)
        ((name, guid),) = codecs.encoder.headers(record(PREFIXED))
    assert read(derive(CALL), made)["shop"] == 7
    assert (name, guid is not None and guid[:1]) == (SCHEMA_ID_HEADER, b"\x01")


def test_events_of_an_incompatible_schema_become_dead_letters(server: RegistryServer) -> None:
    """The registry does not take what is derived of it; the message has who would break."""
    server.register("in-value", CALL)
    server.register("other", avro(("customerId", "string"), ("n", "int"), name="Call"))
    allowed = with_registry(server, "schema_registry.auto_register=true")
    with closing(open_codecs(allowed, Stats())) as codecs:
        encoded(codecs, PREFIXED)
        with pytest.raises(Rejected) as caught:
            decoded(codecs, b"\x00\x00\x00\x00\x02" + VALUE)
    assert (caught.value.stage, caught.value.cause) == ("encode", "SchemaRefused")
    assert "n: it is not written, and the reader has no default for it" in caught.value.message


def test_a_registry_that_is_away_is_told_at_start(server: RegistryServer) -> None:
    """As with the fixed output."""
    server.failing = 503
    with pytest.raises(RegistryAway):
        open_codecs(with_registry(server), Stats())


def findings(told: Settings) -> list[Finding]:
    """What ``enricher check`` finds of schemas."""
    return [found for found in check_registry(told) if found.what == "derived output"]


def test_check_tells_what_can_be_known_before(server: RegistryServer) -> None:
    """Of the newest schema of each input topic: whether what is derived of it is registered. So does the start."""
    (unknown,) = findings(with_registry(server))
    assert (unknown.ok, "the registry has no in-value" in unknown.message) == (True, True)
    server.register("in-value", CALL)
    (missing,) = findings(with_registry(server))
    assert not missing.ok
    assert missing.message == (
        "what is derived of the newest version of in-value is not registered under out-value, and its events would "
        "wait for that; there is no version of out-value yet"
    )
    assert "`enricher schema publish --derived FILE`" in missing.remedy
    with capture_logs() as logs:
        open_codecs(with_registry(server), Stats()).close()
    assert [line["event"] for line in logs] == ["output_schema_not_ready"]
    (allowed,) = findings(with_registry(server, "schema_registry.auto_register=true"))
    assert (allowed.ok, allowed.message.endswith("will be registered under out-value")) == (True, True)
    server.register("out-value", derive(CALL))
    (there,) = findings(with_registry(server))
    assert (there.ok, there.message.endswith("with the id 2")) == (True, True)
    with capture_logs() as logs:
        open_codecs(with_registry(server), Stats()).close()
    assert logs == []


def test_check_tells_what_never_can_be(server: RegistryServer) -> None:
    """A field of that name that is there already, and a subject that has something else."""
    server.register("in-value", TAKEN)
    (taken,) = findings(with_registry(server))
    assert (taken.ok, "Taken has a field called offerHistory already" in taken.message) == (False, True)
    server.register("in-value", CALL)
    server.register("out-value", ENRICHED_CONTACT.raw)
    for allowed in ("true", "false"):
        (other,) = findings(with_registry(server, f"schema_registry.auto_register={allowed}"))
        assert (other.ok, "the registry would not take" in other.message) == (False, True)


def test_check_tells_of_files(server: RegistryServer, tmp_path: Path) -> None:
    """With and without a registry."""
    (tmp_path / "Call.avsc").write_text(json.dumps(CALL), "utf-8")
    (tmp_path / "Taken.avsc").write_text(json.dumps(TAKEN), "utf-8")
    (tmp_path / "text.avsc").write_text('"string"', "utf-8")
    path = f"schemas.path={tmp_path}"
    assert [(found.ok, found.message.partition(":")[0]) for found in findings(settings(path))] == [
        (True, "the history can be added to Call in schemas.path"),
        (False, "of Taken in schemas.path nothing can be derived, and its events would become dead letters"),
        (False, "of string in schemas.path nothing can be derived, and its events would become dead letters"),
    ]
    told = findings(with_registry(server, path, "schema_registry.auto_register=true"))
    assert [found.ok for found in told] == [True, False, False, True]


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["input.format=json"], "input.format"),
        (["output.format=json"], "output.format"),
        (["privacy.mask=contact.channel"], "privacy.mask"),
    ],
)
def test_settings_that_go_with_contacts_only(overrides: list[str], name: str) -> None:
    """Are refused with derived outputs, and taken without."""
    load(None, {}, [*REQUIRED, *overrides])
    with pytest.raises(ConfigError) as caught:
        settings(*overrides)
    (problem,) = caught.value.problems
    assert problem.name == name
    assert "derived" in problem.message


def test_fields_of_the_event_are_kept_back(tmp_path: Path) -> None:
    """What ``privacy`` names of it; check tells what cannot be, and of a key that cannot be used."""
    raw = avro(("customerId", "string"), ("shop", ["null", "int"]), name="Visit")
    (tmp_path / "Visit.avsc").write_text(json.dumps(raw), "utf-8")
    key = tmp_path / "key"
    key.write_text("x" * 16, "utf-8")
    path, keyed = f"schemas.path={tmp_path}", f"privacy.key_file={key}"
    told = settings(path, keyed, "privacy.hash=event.customerId", "privacy.drop=event.shop")
    value = b"\xc3\x01" + fingerprint_of(raw) + body(raw, {"customerId": "CONNOR", "shop": 7})
    found = read(derive(raw), encoded(open_codecs(told, Stats()), value)[10:])
    digest = hmac.digest(b"x" * 16, b"CONNOR", "sha256").hex()
    assert (found["customerId"], found["shop"], found["offerHistory"]["customerId"]) == (digest, None, "CONNOR")
    (fine,) = findings(told)
    assert fine.ok
    (wrong,) = findings(settings(path, "privacy.drop=event.customerId"))
    assert (wrong.ok, "privacy.drop names event.customerId" in wrong.message) == (False, True)
    key.write_text("short", "utf-8")
    assert [found.ok for found in check_registry(told)] == [True, False]
    with pytest.raises(ConfigError, match=r"event\.shop"):
        load(None, {}, [*REQUIRED, "privacy.drop=event.shop"])


def test_a_field_to_keep_back_that_is_not_there_is_told(tmp_path: Path) -> None:
    """It may be misspelt, and then it would be published: check tells, and the log, once for a schema."""
    (tmp_path / "Call.avsc").write_text(json.dumps(CALL), "utf-8")
    misspelt = settings(f"schemas.path={tmp_path}", "privacy.drop=event.phnoe")
    codecs = open_codecs(misspelt, Stats())
    with capture_logs() as logs:
        for _ in range(2):
            encoded(codecs, b"\xc3\x01" + fingerprint_of(CALL) + VALUE)
    assert [(told["event"], *told["fields"]) for told in logs] == [("privacy_names_no_field", "event.phnoe")]
    (told,) = [found for found in check_registry(misspelt) if found.what == "privacy"]
    assert (told.ok, "has no event.phnoe" in told.message) == (True, True)


def test_the_history_is_kept_back_as_ever(tmp_path: Path) -> None:
    """What ``privacy`` names of it."""
    (tmp_path / "Call.avsc").write_text(json.dumps(CALL), "utf-8")
    codecs = open_codecs(settings(f"schemas.path={tmp_path}", "privacy.mask=offerHistory.customerId"), Stats())
    made = encoded(codecs, b"\xc3\x01" + fingerprint_of(CALL) + VALUE)
    assert read(derive(CALL), made[10:])["offerHistory"]["customerId"] == "***"
