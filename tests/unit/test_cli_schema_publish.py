"""``enricher schema publish`` and what ``enricher check`` finds, against a schema registry in this process."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from enricher.avroschema.derived import derive
from enricher.cli.registry_checks import check_registry
from enricher.cli.schema import app
from enricher.config import load
from enricher.schemas import ENRICHED_CONTACT
from enricher.testing.registry import RegistryServer
from tests.avro_strategies import record

REQUIRED = ["kafka.bootstrap_servers=a:9092", "input.topics=in", "output.topic=out", "service.url=http://host/path"]


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    """A registry that has nothing yet."""
    with RegistryServer() as server:
        yield server


def arguments(*overrides: str) -> list[str]:
    """All that is required, and these."""
    return [f"--set={override}" for override in (*REQUIRED, *overrides)]


def publish(server: RegistryServer, *words: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["publish", *words, *arguments(f"schema_registry.url={server.url}")])


def registered(server: RegistryServer, subject: str) -> int:
    """How many versions the subject has."""
    status, answer = server.answer("GET", f"/subjects/{subject}/versions", None, None)
    return len(answer) if status == 200 else 0


def another_output(server: RegistryServer) -> None:
    """Let the subject have a version that ours cannot read: it lacks a field without a default."""
    raw = copy.deepcopy(ENRICHED_CONTACT.raw)
    raw["fields"] = [field for field in raw["fields"] if field["name"] != "enrichment"]
    server.register("out-value", raw)


def test_the_output_is_published_once(server: RegistryServer) -> None:
    """Under the subject that the worker will look for it, and again without effect."""
    first, again = publish(server), publish(server, "--json")
    assert (first.exit_code, first.stdout) == (0, "registered: out-value has the id 1\n")
    told = json.loads(again.stdout)
    assert (again.exit_code, told["result"], told["id"], len(told["guid"])) == (0, "registered already", 1, 32)
    assert registered(server, "out-value") == 1


def test_a_dry_run_registers_nothing(server: RegistryServer) -> None:
    """It tells what would be done."""
    result = publish(server, "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["there is no version of out-value yet", "it would be registered"]
    assert json.loads(publish(server, "--dry-run", "--json").stdout)["ok"]
    assert registered(server, "out-value") == 0


def test_what_breaks_somebody_is_not_published(server: RegistryServer) -> None:
    """Neither against the registry's own rules, nor, unless forced, where these allow it."""
    another_output(server)
    for words in ((), ("--force",), ("--dry-run",)):
        result = publish(server, *words)
        assert result.exit_code == 3
        assert "enrichment: it is not written, and the reader has no default for it" in result.stdout
        assert "the registry's own rules do not let it follow under out-value" in result.stdout
    server.answer("PUT", "/config/out-value", {"compatibility": "NONE"}, None)
    told = publish(server, "--json")
    assert told.exit_code == 3
    assert (json.loads(told.stdout)["accepted"], len(json.loads(told.stdout)["breaks"])) == (True, 1)
    assert registered(server, "out-value") == 1
    assert publish(server, "--force").exit_code == 0
    assert registered(server, "out-value") == 2


def test_the_inputs_schema_may_be_published_too(server: RegistryServer) -> None:
    """For who writes events, once it is said where they are."""
    nowhere = publish(server, "CustomerContact")
    assert (nowhere.exit_code, "say with --subject" in nowhere.stderr) == (2, True)
    assert publish(server, "CustomerContact", "--subject", "in-value").exit_code == 0
    assert registered(server, "in-value") == 1


def test_publishing_takes_no_configuration_of_a_worker(server: RegistryServer) -> None:
    """Who deploys schemas has the registry, and the topic or the subject."""
    told = f"--set=schema_registry.url={server.url}"
    result = CliRunner().invoke(app, ["publish", "CustomerContact", "--subject", "in-value", told])
    assert (result.exit_code, registered(server, "in-value")) == (0, 1)
    result = CliRunner().invoke(app, ["publish", told, "--set=output.topic=out"])
    assert (result.exit_code, registered(server, "out-value")) == (0, 1)
    result = CliRunner().invoke(app, ["publish", told, "--json"])
    assert result.exit_code == 2
    assert [problem["name"] for problem in json.loads(result.stdout)["problems"]] == ["output.topic"]


def test_what_cannot_be_done_is_told(server: RegistryServer, tmp_path: Path) -> None:
    """Without a registry, without its certificate, and without its answer; as JSON, too."""
    without = CliRunner().invoke(app, ["publish", *arguments()])
    assert (without.exit_code, "set schema_registry.url" in without.stderr) == (2, True)
    absent = f"schema_registry.auth.bearer.token_file={tmp_path / 'absent'}"
    url = f"schema_registry.url={server.url}"
    unreadable = CliRunner().invoke(app, ["publish", "--json", *arguments(url, absent)])
    assert unreadable.exit_code == 2
    assert json.loads(unreadable.stdout)["problems"][0]["name"] == "schema_registry.auth.bearer.token_file"
    server.failing = 503
    failed = publish(server, "--json")
    assert (failed.exit_code, "answered 503" in json.loads(failed.stdout)["error"]) == (1, True)


def findings(server: RegistryServer, *overrides: str) -> list[tuple[str, bool, str]]:
    """What ``enricher check`` finds of the registry."""
    settings = load(None, {}, [*REQUIRED, f"schema_registry.url={server.url}", *overrides]).settings
    return [(found.what, found.ok, f"{found.message} / {found.remedy}") for found in check_registry(settings)]


def test_a_check_tells_whether_the_worker_could_write(server: RegistryServer) -> None:
    """Registered, to be registered, missing, incompatible; nothing is registered by it."""
    [(what, ok, words)] = findings(server)
    assert (what, ok, "run `enricher schema publish`" in words) == ("schema registry", False, True)
    [(_, ok, words)] = findings(server, "schema_registry.auto_register=true")
    assert (ok, "will be registered under out-value" in words) == (True, True)
    assert registered(server, "out-value") == 0
    publish(server)
    [(_, ok, words)] = findings(server)
    assert (ok, "out-value has the output's schema, with the id 1" in words) == (True, True)
    server.failing = 500
    [(_, ok, words)] = findings(server)
    assert (ok, "check schema_registry.url" in words) == (False, True)


def test_a_check_tells_what_is_incompatible(server: RegistryServer) -> None:
    """And with whom, in words."""
    another_output(server)
    [(_, ok, words)] = findings(server, "schema_registry.auto_register=true")
    assert not ok
    assert "it would not take the output's schema under out-value" in words
    assert "readers with this schema cannot read what is written with version 1 of out-value" in words
    [(_, ok, words)] = findings(server, "output.format=json")
    assert (ok, "answers" in words) == (True, True)


def test_a_check_tells_what_was_registered_all_the_same(server: RegistryServer) -> None:
    """The worker would start, and somebody cannot read."""
    another_output(server)
    server.register("out-value", ENRICHED_CONTACT.raw)
    [(_, ok, words)] = findings(server)
    assert ok
    assert "out-value has the output's schema, with the id 2, and versions that it does not go with:" in words
    assert "readers with this schema cannot read what is written with version 1 of out-value" in words


def test_a_check_tells_of_files(server: RegistryServer, tmp_path: Path) -> None:
    """Of schemas and of secrets; and of credentials that are refused."""
    publish(server)
    found = findings(server, f"schemas.path={tmp_path}", f"schema_registry.auth.bearer.token_file={tmp_path / 'a'}")
    assert [(what, ok) for what, ok, _ in found] == [("schemas", False), ("schema registry", False)]
    (tmp_path / "a").write_text("token", "utf-8")
    (tmp_path / "a.avsc").write_text(ENRICHED_CONTACT.text, "utf-8")
    found = findings(server, f"schemas.path={tmp_path}", f"schema_registry.auth.bearer.token_file={tmp_path / 'a'}")
    assert [(what, ok) for what, ok, _ in found] == [("schemas", True), ("schema registry", True)]
    server.failing = 401
    [(_, ok, words)] = findings(server)
    assert (ok, "check schema_registry.auth" in words) == (False, True)


CALL = record(("customerId", "string"), ("shop", "int"), name="acme.Call")


@pytest.mark.parametrize(
    ("strategy", "subject"), [("topic", "out-value"), ("record", "acme.Call"), ("topic-record", "out-acme.Call")]
)
def test_what_is_derived_is_published_where_it_belongs(
    server: RegistryServer, tmp_path: Path, strategy: str, subject: str
) -> None:
    """Of a file, and of a subject of the registry; a second time it is there already."""
    file = tmp_path / "Call.avsc"
    file.write_text(json.dumps(CALL), "utf-8")
    server.register("in-value", CALL)
    told = [f"--set=schema_registry.subject_strategy={strategy}", "--set=output.schema=derived"]
    first, again = publish(server, "--derived", str(file), *told), publish(server, "--derived", "in-value", *told)
    assert (first.exit_code, first.stdout) == (0, f"registered: {subject} has the id 2\n")
    assert (again.exit_code, again.stdout) == (0, f"registered already: {subject} has the id 2\n")
    status, answer = server.answer("GET", f"/subjects/{subject}/versions/latest", None, None)
    assert (status, json.loads(answer["schema"])) == (200, derive(CALL))


def test_what_refers_to_other_subjects_is_published_whole(server: RegistryServer) -> None:
    """Of a subject, as no file has what it refers to."""
    server.register("shops", record(("n", "int"), name="acme.Shop"))
    outer = record(("customerId", "string"), ("shop", "acme.Shop"), name="acme.Visit")
    server.register("in-value", outer, references=[{"name": "acme.Shop", "subject": "shops", "version": 1}])
    result = publish(server, "--derived", "in-value", "--subject=elsewhere")
    assert (result.exit_code, result.stdout) == (0, "registered: elsewhere has the id 3\n")


def test_of_what_nothing_can_be_derived(server: RegistryServer, tmp_path: Path) -> None:
    """It is told why, as a name that stands for nothing is."""
    file = tmp_path / "Taken.avsc"
    file.write_text(json.dumps(record(("offerHistory", "int"), name="Taken")), "utf-8")
    result = publish(server, "--derived", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Taken has a field called offerHistory already: rename it in the input" in result.stderr
    assert json.loads(publish(server, "--derived", str(file), "--json").stdout)["error"] == "not-derivable"
    nothing = publish(server, "--derived", "no-value")
    assert (nothing.exit_code, "there is no schema no-value" in nothing.stderr) == (2, True)
