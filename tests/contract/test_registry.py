"""What the worker asks of a schema registry: of one in this process, and of a real one (Apicurio)."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from typer.testing import CliRunner

from enricher.avroschema.derived import derive
from enricher.cli.codecs import open_codecs, output_reader
from enricher.cli.registry_checks import check_registry
from enricher.cli.schema import app
from enricher.codec.writer_schemas import SchemaNeeded, WriterSchema
from enricher.config import Settings, load
from enricher.model import Enriched, Enrichment, Event, OfferHistory, Record, Rejected, Status
from enricher.registry import (
    RegistryClient,
    RegistryLacks,
    RegistryRefused,
    SubjectStrategy,
    ensure,
    examine,
    subject_of,
)
from enricher.schemas import ENRICHED_CONTACT
from enricher.stats import Stats
from enricher.testing.registry import RegistryServer
from tests.contract.registries import AnyRegistry, record
from tests.harness.clients import unique_name

TIMEOUT = 60.0


@pytest.fixture(
    scope="module",
    params=["memory", pytest.param("apicurio", marks=[pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(400)])],
)
def registry(request: pytest.FixtureRequest) -> Iterator[AnyRegistry]:
    """One registry for all tests of this module: they take subjects of their own."""
    if request.param == "apicurio":
        yield request.getfixturevalue("apicurio")
        return
    with RegistryServer() as server:
        yield server


@pytest.fixture
def client(registry: AnyRegistry) -> Iterator[RegistryClient]:
    """A client of it."""
    client = RegistryClient(registry.url, TIMEOUT)
    yield client
    client.close()


@pytest.fixture
def subject() -> str:
    """A subject of one's own."""
    return f"{unique_name('s')}-value"


def text(*fields: object, name: str | None = None) -> str:
    """A schema's text; its name is the test's own unless given."""
    return json.dumps(record(*fields, name=name or unique_name("R").replace("-", "_")))  # type: ignore[arg-type]


def test_a_schema_is_registered_once(client: RegistryClient, subject: str) -> None:
    """It gets an id, by which it is found; a second time it has the same."""
    schema = text(("a", "int"))
    first = ensure(client, subject, schema, register=True)
    again = ensure(client, subject, schema, register=True)
    looked_up = ensure(client, subject, schema, register=False)
    assert first.schema_id == again.schema_id == looked_up.schema_id
    assert first.subject == subject
    assert client.writer_schema(first.schema_id) == WriterSchema("AVRO", json.loads(schema))
    assert [version.schema_id for version in client.versions(subject)] == [first.schema_id]


def test_our_output_is_registered(client: RegistryClient, subject: str) -> None:
    """With its recursive type and all; and found by another client."""
    made = ensure(client, subject, ENRICHED_CONTACT.text, register=True)
    found = client.writer_schema(made.schema_id)
    assert found is not None
    assert found.raw["name"] == "EnrichedContact"
    assert json.loads(client.get_schema(made.schema_id).schema_str)["namespace"] == "enricher"


def test_what_is_not_there(client: RegistryClient, subject: str) -> None:
    """Is none, and no error."""
    assert client.writer_schema(999_999) is None
    assert client.versions(subject) == []
    assert client.look_up(subject, text(("a", "int"))) is None
    report = examine(client, subject, text(("a", "int")))
    assert (report.versions, report.breaks, report.accepted) == (0, [], None)
    assert "no version" in report.words
    with pytest.raises(RegistryRefused, match="does not know the schema id 999999"):
        client.get_schema(999_999)


def test_what_is_not_registered_is_refused_with_what_to_do(client: RegistryClient, subject: str) -> None:
    """Where the worker may not register it itself."""
    with pytest.raises(RegistryRefused, match=r"is not registered under .*: run `enricher schema publish`"):
        ensure(client, subject, text(("a", "int")), register=False)


def test_descriptions_make_no_other_schema(client: RegistryClient, subject: str) -> None:
    """A version whose docs were mended since is the same for a reader."""
    name = unique_name("R").replace("-", "_")
    made = ensure(client, subject, text(("a", "int"), name=name), register=True)
    mended = record(("a", "int"), name=name) | {"doc": "Mended."}
    assert ensure(client, subject, json.dumps(mended), register=False).schema_id == made.schema_id


def test_an_incompatible_schema_is_refused_in_words(client: RegistryClient, subject: str) -> None:
    """By the registry's own rules, and with who breaks where by ours."""
    name = unique_name("R").replace("-", "_")
    ensure(client, subject, text(("a", "int"), name=name), register=True)
    client._client.set_compatibility(subject, "FULL")
    wrong = text(("a", "int"), ("b", "string"), name=name)
    with pytest.raises(RegistryRefused) as caught:
        ensure(client, subject, wrong, register=True)
    message = str(caught.value)
    assert f"cannot be registered under {subject}" in message
    assert "b: it is not written, and the reader has no default for it" in message
    assert f"readers with this schema cannot read what is written with version 1 of {subject}" in message
    with pytest.raises(RegistryRefused, match="the registry's own rules do not let it follow"):
        ensure(client, subject, wrong, register=False)
    right = text(("a", "int"), ("b", "string", ""), name=name)
    report = examine(client, subject, right)
    assert (report.versions, report.breaks, report.accepted) == (1, [], True)
    assert "each reads what the other writes" in report.words


def test_schemas_that_refer_to_others(client: RegistryClient, subject: str) -> None:
    """Come with those, the innermost first."""
    from confluent_kafka.schema_registry import Schema, SchemaReference

    names = [unique_name("R").replace("-", "_") for _ in range(3)]
    ensure(client, f"{subject}-0", text(("a", "int"), name=names[0]), register=True)
    raw = client._client
    middle = json.dumps(record(("inner", f"test.{names[0]}"), name=names[1]))
    raw.register_schema(
        f"{subject}-1", Schema(middle, "AVRO", [SchemaReference(f"test.{names[0]}", f"{subject}-0", 1)])
    )
    outer = json.dumps(record(("middle", f"test.{names[1]}"), name=names[2]))
    reference = SchemaReference(f"test.{names[1]}", f"{subject}-1", 1)
    schema_id = raw.register_schema(f"{subject}-2", Schema(outer, "AVRO", [reference]))
    with closing(RegistryClient(str(client._url), TIMEOUT)) as other:
        found = other.writer_schema(schema_id)
    assert found is not None
    assert [schema["name"] for schema in found.references] == names[:2]


OUTPUT = Enriched(
    Event("E-1", "CONNOR", 0, None, None, None, None, {}),
    OfferHistory("CONNOR", 1, 1, ()),
    Enrichment("in", 0, 7, "1", 1, Status.NO_HISTORY),
)


def settings(registry: AnyRegistry, topic: str, *overrides: str) -> Settings:
    """Of a worker that writes to that topic."""
    told = {
        "kafka.bootstrap_servers": "a:9092",
        "input.topics": "in",
        "service.url": "http://host/path",
        "output.topic": topic,
        "schema_registry.url": registry.url,
        "schema_registry.timeout": "60s",
    }
    return load(None, {}, [*(f"{name}={value}" for name, value in told.items()), *overrides]).settings


@pytest.mark.parametrize("strategy", SubjectStrategy)
def test_a_worker_finds_or_makes_the_id_of_its_output(registry: AnyRegistry, strategy: SubjectStrategy) -> None:
    """By each strategy; what it writes is read by the id, and nothing is registered unless the settings say so."""
    chosen, topic = f"schema_registry.subject_strategy={strategy}", unique_name("out")
    if strategy is not SubjectStrategy.RECORD:  # that subject has no topic in it, so another test may have made it
        with pytest.raises(RegistryRefused, match=r"is not registered under .*: run `enricher schema publish`"):
            open_codecs(settings(registry, topic, chosen), Stats())
    for register in ("true", "false"):
        told = settings(registry, topic, chosen, f"schema_registry.auto_register={register}")
        with closing(open_codecs(told, Stats())) as codecs, output_reader(told) as reader:
            value = codecs.encoder.encode(OUTPUT, Record("in", 0, 7, 0, None, b"", []))
            assert value[:1] == b"\x00"
            assert reader.decode(value) == OUTPUT


def test_an_input_is_read_by_its_id(registry: AnyRegistry, client: RegistryClient, subject: str) -> None:
    """Once its schema was fetched; an id that there is not makes a dead letter after some tries."""
    topic = unique_name("out")
    made = ensure(client, subject, text(("customerId", "string"), ("shop", "int")), register=True)
    told = settings(registry, topic, "schema_registry.auto_register=true")
    with closing(open_codecs(told, Stats())) as codecs:

        def read(schema_id: int) -> Event:
            value = b"\x00" + schema_id.to_bytes(4, "big") + b"\x0cCONNOR\x54"
            record = Record("in", 0, 7, 0, None, value, [])
            with pytest.raises(SchemaNeeded) as needed:
                codecs.decoder.decode(record)
            assert codecs.fetcher is not None
            asyncio.run(codecs.fetcher.fetch(needed.value.key))
            return codecs.decoder.decode(record)

        event = read(made.schema_id)
        assert (event.customer_id, event.attributes) == ("CONNOR", {"shop": "42"})
    with closing(open_codecs(told, Stats())) as codecs, pytest.raises(Rejected, match="UnknownSchemaId"):
        read(999_999)


def test_the_commands_publish_and_check(registry: AnyRegistry) -> None:
    """Nothing by a dry run; then the output's schema; then it is there."""
    topic = unique_name("out")
    told = settings(registry, topic)
    arguments = [f"--set=schema_registry.url={registry.url}", f"--set=output.topic={topic}"]

    def publish(*words: str) -> str:
        result = CliRunner().invoke(app, ["publish", *words, *arguments])
        assert result.exit_code == 0
        return result.stdout

    assert "it would be registered" in publish("--dry-run")
    [missing] = check_registry(told)
    assert (missing.ok, "run `enricher schema publish`" in missing.remedy) == (False, True)
    assert publish().startswith(f"registered: {topic}-value has the id")
    assert json.loads(publish("--json"))["result"] == "registered already"
    [there] = check_registry(told)
    assert there.ok
    assert f"{topic}-value has the output's schema" in there.message


def test_a_command_tells_whom_it_would_break(registry: AnyRegistry, client: RegistryClient) -> None:
    """And registers nothing."""
    topic = unique_name("out")
    raw = json.loads(ENRICHED_CONTACT.text)
    raw["fields"] = [field for field in raw["fields"] if field["name"] != "enrichment"]
    ensure(client, f"{topic}-value", json.dumps(raw), register=True)
    client._client.set_compatibility(f"{topic}-value", "FULL")
    arguments = [f"--set=schema_registry.url={registry.url}", f"--set=output.topic={topic}"]
    result = CliRunner().invoke(app, ["publish", "--force", *arguments])
    assert result.exit_code == 3
    assert f"readers with this schema cannot read what is written with version 1 of {topic}-value" in result.stdout
    assert "the registry's own rules do not let it follow" in result.stdout
    assert len(client.versions(f"{topic}-value")) == 1


def test_a_registry_without_guids_is_told(registry: AnyRegistry) -> None:
    """Ids in headers are GUIDs, which Apicurio does not have."""
    wanted = ["schema_registry.framing=header", "schema_registry.auto_register=true"]
    told = settings(registry, unique_name("out"), *wanted)
    if isinstance(registry, RegistryServer):
        open_codecs(told, Stats()).close()
        return
    with pytest.raises(
        RegistryRefused, match=r"gives its schemas no GUIDs, which schema_registry\.framing: header needs"
    ):
        open_codecs(told, Stats())


def test_derived_schemas_follow_those_of_the_input(client: RegistryClient, subject: str) -> None:
    """Each version is taken where all have to read each other, even after the input's own, in one subject."""
    name = unique_name("R").replace("-", "_")
    inputs = [record(("a", "int"), name=name), record(("a", "int"), ("b", ["null", "string"], None), name=name)]
    schemas = [raw for version in inputs for raw in (version, derive(version))]
    first = ensure(client, subject, json.dumps(schemas[0]), register=True)
    client._client.set_compatibility(subject, "FULL_TRANSITIVE")
    assert client.latest(f"{subject}-no") is None
    for raw in schemas[1:]:
        made = ensure(client, subject, json.dumps(raw), register=True)
        assert made.schema_id != first.schema_id
        assert client.latest(subject) == made.schema_id
        found = client.writer_schema(made.schema_id)
        assert found is not None
        assert found.raw == raw
    with pytest.raises(RegistryRefused) as caught:
        ensure(client, subject, json.dumps(derive(record(("a", "string"), name=name))), register=False)
    assert not isinstance(caught.value, RegistryLacks)
    wider = record(("a", "int"), ("c", "int", 0), name=name)
    with pytest.raises(RegistryLacks, match="run `publish it`"):
        ensure(client, subject, json.dumps(derive(wider)), register=False, how="publish it")


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("topic", "out-value"), ("record", "enricher.E"), ("topic-record", "out-enricher.E")],
)
def test_subjects_are_named_as_confluents_clients_name_them(strategy: str, expected: str) -> None:
    """By the topic, the record, or both."""
    assert subject_of(SubjectStrategy(strategy), "out", "enricher.E") == expected
