"""`enricher test`: files of cases, run by the real worker in memory."""

import json
import textwrap
from base64 import b64encode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from typer.testing import CliRunner

from enricher.cli.app import app
from enricher.codec.framing import fingerprint_of
from enricher.config import ConfigError
from enricher.testing.cases.loading import load_suite
from tests.avro_strategies import record as avro
from tests.readme import ROOT, blocks
from tests.unit.test_codec_derived import body

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))


class Files:
    """Writes files of cases, and runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "cases.yaml") -> Path:
        """A file of this text."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    def run(self, text: str) -> list[dict[str, Any]]:
        """The results of a file of this text."""
        code, stdout, stderr = invoke(str(self.write(text)), "--json")
        assert stderr == ""
        told = json.loads(stdout)
        assert code == (1 if told["failed"] else 0)
        [file] = told["files"]
        return list(file["tests"])

    def problems(self, text: str) -> list[tuple[str, str, str]]:
        """Name, line and message of each mistake in a file of this text."""
        path = self.write(text)
        with pytest.raises(ConfigError) as caught:
            load_suite(path)
        return [(p.name, p.origin.removeprefix(str(path)).lstrip(":"), p.message) for p in caught.value.problems]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """In a folder of their own."""
    return Files(tmp_path)


def invoke(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `enricher test`."""
    result = CliRunner().invoke(app, ["test", *arguments])
    return result.exit_code, result.stdout, result.stderr


# ---- the examples, and what they show ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_pass(path: Path) -> None:
    """As those do who take them for a start."""
    code, stdout, stderr = invoke(str(path))
    assert (code, stderr) == (0, ""), stdout
    assert stdout.splitlines()[-1] == f"{stdout.count('pass  ')} passed"
    assert "\x1b" not in stdout


def test_the_examples_can_fail(files: Files) -> None:
    """Each expectation of the examples bites: with other outcomes, offers or causes, every test fails."""
    assert len(EXAMPLES) == 2
    for example in EXAMPLES:
        tree = yaml.safe_load(example.read_text("utf-8"))
        if "config" in tree:
            tree["config"] = str(example.parent / tree["config"])
        for test in tree["tests"]:
            every = test["expect"] if isinstance(test["expect"], list) else [test["expect"]]
            test["expect"] = [{"output": {"enrichment.attempts": 99}} for _ in every]
        path = files.write(yaml.safe_dump(tree, default_flow_style=False))
        code, stdout, _ = invoke(str(path))
        assert code == 1
        assert "pass  " not in stdout


def test_the_documentation_is_a_file_of_cases(files: Files) -> None:
    """The example in docs/testing.md passes, and its output is the one that is shown."""
    document = ROOT / "docs" / "testing.md"
    path = files.write(blocks("yaml", document)[0])
    code, stdout, _ = invoke(str(path))
    assert stdout.replace(f"{path}", "cases.yaml") == blocks("text", document)[0]
    assert code == 1


# ---- what comes out ------------------------------------------------------------------------------------------------


def test_what_differs_is_told(files: Files) -> None:
    """By event and path; times in the way in which they were expected."""
    [result] = files.run("""
        answers:
          C: {offers: [{Name: Basic}, {Name: Ultra, OutcomeTime: 20260225T125501.526 GMT}]}
        tests:
          - name: differs
            input:
              - {value: {customerId: C, channel: Web}, key: k, headers: {a: b}, timestamp: 5}
              - {value: {customerId: D}}
              - {value: {}}
            expect:
              - key: other
                headers: {a: c, d: e}
                timestamp: 6
                output:
                  contact: {channel: Mail, agentId: null}
                  offerHistory:
                    offers: [{name: Plus}, {name: Ultra, outcomeTime: 2026-02-25T12:55:00Z}]
                  nonsense: 1
              - output: {offerHistory.offers: [{name: Basic}]}
              - dead_letter: {stage: lookup, cause: BadRequest, message: no such thing}
    """)
    found = [(d["event"], d["path"], d["expected"], d["actual"]) for d in result["differences"]]
    assert found[:9] == [
        (1, "output.contact.channel", '"Mail"', '"Web"'),
        (1, "output.offerHistory.offers[0].name", '"Plus"', '"Basic"'),
        (1, "output.offerHistory.offers[1].outcomeTime", '"2026-02-25T12:55:00Z"', '"2026-02-25T12:55:01.526Z"'),
        (1, "output.nonsense", "1", "nothing there"),
        (1, "key", '"other"', '"k"'),
        (1, "timestamp", "6", "5"),
        (1, "headers.a", '"c"', '"b"'),
        (1, "headers.d", '"e"', "nothing there"),
        (2, "output.offerHistory.offers", "1 items", "0 items: []"),
    ]
    assert [path for _, path, _, _ in found[9:]] == ["dead_letter.stage", "dead_letter.cause", "dead_letter.message"]
    assert not result["passed"]


def test_another_outcome_is_told(files: Files) -> None:
    """An output for a dead letter, the other way round, one that should wait, and one that never comes."""
    [result] = files.run("""
        answers: {DOWN: {fails: connection}}
        tests:
          - name: others
            within: 30s
            input:
              - {value: {customerId: C}}
              - {value: {}}
              - {value: {customerId: C}}
              - {value: {customerId: DOWN}}
            expect:
              - {dead_letter: {}}
              - {output: {}}
              - {waits: true}
              - {output: {}}
    """)
    told = [(d["expected"], d["actual"]) for d in result["differences"]]
    assert told[0] == ("a dead letter", "an output: NO_HISTORY with 0 offers, 1 attempts")
    assert told[1][0] == "an output"
    assert told[1][1].startswith("a dead letter: decode, MissingCustomerId: ")
    assert told[2][0] == "nothing, within 30 s"
    assert told[3] == ("an output", "nothing, within 30 s")


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
@pytest.mark.parametrize("method", ["post", "get"])
def test_the_settings_hold(files: Files, guarantee: str, method: str) -> None:
    """Of the suite, and of the test over them; paths of the input, limits, topics."""
    results = files.run(f"""
        settings:
          delivery: {{guarantee: {guarantee}}}
          service: {{method: {method}, max_response: 200B}}
          input: {{topics: [one, two], fields: {{customer_id: who}}}}
        answers:
          "A&B": {{offers: [{{Name: Basic}}]}}
          LARGE: {{offers: [{{Name: {"x" * 200}}}]}}
        tests:
          - name: of the suite
            input:
              - {{topic: two, partition: 3, value: {{who: "A&B"}}}}
              - {{value: {{who: LARGE}}}}
            expect:
              - output: {{enrichment: {{topic: two, partition: 3}}, offerHistory.offers.0.name: Basic}}
              - dead_letter: {{cause: ResponseTooLarge}}
          - name: of the test
            settings: {{input: {{fields: {{customer_id: customer}}}}, service: {{max_response: 300B}}}}
            input: {{value: {{customer: LARGE}}}}
            expect: {{output: {{enrichment.status: ENRICHED}}}}
    """)
    assert [result["differences"] for result in results] == [[], []]


def test_answers_come_in_their_order(files: Files) -> None:
    """Each so many times, and the last one for ever; a test's own come before the suite's."""
    results = files.run("""
        answers:
          C: {status: 400}
          D: {status: 400}
        tests:
          - name: in order
            settings: {history: {coalesce: false}}
            answers:
              C: [{status: 500, times: 3}, {after: 6s}, {offers: [{Name: Late}], after: 100ms}]
            input: [{key: C, value: {customerId: C}}, {key: C, value: {customerId: C}}, {value: {customerId: D}}]
            expect:
              - output: {enrichment.attempts: 5, offerHistory.offers: [{name: Late}]}
              - output: {enrichment.attempts: 1, offerHistory.offers: [{name: Late}]}
              - dead_letter: {cause: BadRequest}
    """)
    assert [result["differences"] for result in results] == [[]]


def test_values_of_every_kind(files: Files) -> None:
    """JSON, text, base64 and none; and the clock that the look-up tells."""
    results = files.run("""
        tests:
          - name: kinds
            now: 2026-05-01T12:00:00Z
            input:
              - value: {customerId: "007", when: 2026-05-01}
              - raw: '{"customerId": "007"}'
              - base64: eyJjdXN0b21lcklkIjogIjAwNyJ9
              - value: null
            expect:
              - output:
                  contact: {customerId: "007", attributes: {when: 2026-05-01}, contactTime: 2026-05-01T12:00:00Z}
                  offerHistory.lookedUpAt: 2026-05-01T12:00:00Z
              - output: {contact.customerId: "007"}
              - output: {contact.customerId: "007"}
              - dead_letter: {cause: EmptyValue}
    """)
    assert [result["differences"] for result in results] == [[]]


def test_no_registry_is_asked(files: Files) -> None:
    """Even if the settings name one; outputs are read in either format."""
    results = files.run("""
        settings: {schema_registry: {url: http://registry.invalid:8081}}
        tests:
          - name: avro
            input: [{value: {customerId: C}}, {base64: AAAAMDkCYQ==}]
            expect: [{output: {contact.customerId: C}}, {dead_letter: {stage: decode}}]
          - name: json
            settings: {output: {format: json}}
            input: {value: {customerId: C}}
            expect: {output: {contact.customerId: C, enrichment.status: NO_HISTORY}}
    """)
    assert [result["differences"] for result in results] == [[], []]


def test_a_worker_that_fails_is_told(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the worker fails the test, whatever was expected."""

    def broken(*_: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr("enricher.codec.decoder.Decoder.decode", broken)
    [result] = files.run("""
        tests:
          - {name: a fault, input: {value: {customerId: C}}, expect: {waits: true}}
    """)
    assert result["failure"] == "the worker failed: it broke"
    assert not result["passed"]


def test_a_run_that_breaks_is_told(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keeps a test from being run fails that test, without a traceback."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("it cannot be built")

    monkeypatch.setattr("enricher.cli.case_runs.build_pipeline", broken)
    results = files.run("""
        tests:
          - {name: a fault, input: {value: {customerId: C}}, expect: {waits: true}}
          - {name: no text, input: {value: 1, key: "\\ud800"}, expect: {waits: true}}
    """)
    assert results[0]["failure"] == "the test broke: RuntimeError: it cannot be built"
    assert results[1]["failure"].startswith("the test broke: UnicodeEncodeError")


# ---- the command ---------------------------------------------------------------------------------------------------

ONE_OF_TWO = """
    tests:
      - {name: "works <so>", input: {value: {customerId: C}}, expect: {output: {}}}
      - {name: fails, input: {value: {customerId: C}}, expect: {output: {contact.channel: "a\\u0001b"}}}
"""


def test_the_text_has_a_line_for_each(files: Files) -> None:
    """And what differs below those that fail."""
    path = files.write(ONE_OF_TWO)
    code, stdout, _ = invoke(str(path))
    assert code == 1
    assert stdout.splitlines() == [
        f"pass  {path}:3  works <so>",
        f"FAIL  {path}:4  fails",
        "      event 1, output.contact.channel",
        '        expected  "a\\u0001b"',
        "        came      null",
        "1 passed, 1 failed",
    ]


def test_some_can_be_chosen(files: Files) -> None:
    """By a part of the name; a name that none has is a mistake."""
    path = str(files.write(ONE_OF_TWO))
    assert invoke(path, "-k", "works")[1].splitlines()[-1] == "1 passed"
    code, _, stderr = invoke(path, "--only", "nothing")
    assert (code, stderr) == (2, "enricher test: no test has 'nothing' in its name\n")


def test_junit(files: Files) -> None:
    """A suite for each file, a failure for each test that fails."""
    report = files.folder / "report.xml"
    assert invoke(str(files.write(ONE_OF_TWO)), "--junit", str(report))[0] == 1
    [suite] = ET.parse(report).getroot()  # noqa: S314  it is ours
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [(case.get("name"), case.get("line"), len(case)) for case in suite] == [
        ("works <so>", "3", 0),
        ("fails", "4", 1),
    ]
    assert "event 1, output.contact.channel" in (suite[1][0].text or "")
    code, _, stderr = invoke(str(files.write(ONE_OF_TWO)), "--junit", str(files.folder))
    assert (code, stderr) == (1, f"enricher test: {files.folder}: is a directory\n")


def test_wrong_files_are_told_all_at_once(files: Files) -> None:
    """On stderr, or as JSON; nothing is run then."""
    good, bad = files.write(ONE_OF_TWO, "good.yaml"), files.write("tests: []", "bad.yaml")
    none = files.folder / "none.yaml"
    code, stdout, stderr = invoke(str(good), str(bad), str(none))
    assert (code, stdout) == (2, "")
    assert stderr.startswith("enricher: the tests are refused, for 2 reasons:\n")
    assert f"- tests ({bad}:1)\n    is empty" in stderr
    assert "cannot be read: no such file or directory" in " ".join(stderr.split())
    code, stdout, _ = invoke(str(bad), "--json")
    assert (code, json.loads(stdout)["problems"][0]["message"]) == (2, "is empty")


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [("", "1", "is no file of tests")]),
        ("- 1", [("", "1", "is no file of tests")]),
        ("tests: {", [("", "1", "is no YAML: expected the node content, but found '<stream end>' at column 9")]),
        ("tests: 1\n\ntests: 2", [("tests", "3", "is given twice, first on line 1")]),
        ("? [a]\n: 1", [("", "1", "has a key that is no text")]),
        ("tests: &a [*a]", [("tests[0]", "1", "is an alias within what it stands for")]),
        ("testes: 1", [("tests", "1", "is required"), ("testes", "1", "there is no such field")]),
        ("tests:\n  - name: a\n", [("tests[0].input", "2", "is required"), ("tests[0].expect", "2", "is required")]),
        ("tests:\n  - 1\n", [("tests[0]", "2", "must be a map")]),
    ],
)
def test_no_file_of_tests(files: Files, text: str, problems: list[tuple[str, str, str]]) -> None:
    """Each mistake, with its place."""
    found = files.problems(text)
    assert [(name.removeprefix(str(files.folder / "cases.yaml")), line, what) for name, line, what in found] == problems


@pytest.mark.parametrize(
    ("field", "name", "message"),
    [
        ("input: {key: a}", "input", "needs exactly one of value, raw and base64"),
        ("input: {value: 1, raw: a}", "input", "needs exactly one of value, raw and base64"),
        ("input: {base64: a}", "input.base64", "is no base64"),
        ("input: {value: 1, topic: other}", "input[0].topic", "is not read"),
        ("input: [{value: 1}, {value: 1}]", "", "has 2 in input and 1 in expect"),
        ("input: []", "input", "is empty"),
        ("input: {value: 1, timestamp: soon}", "input.timestamp", "is no time"),
        ("input: {value: 1, timestamp: 2026-05-01}", "input.timestamp", "has no time zone"),
        ("input: {value: 1, partition: a}", "input.partition", "must be a whole number"),
        ("expect: {}", "expect", "needs exactly one of output, dead_letter and waits"),
        (
            "expect: {dead_letter: {stage: look-up}}",
            "expect.dead_letter.stage",
            "must be decode, lookup, encode or produce",
        ),
        ("answers: {C: {offers: [], body: a}}", "answers.C", "has more than one of offers, body and fails"),
        ("answers: {C: {after: 5}}", "answers.C.after", "is a number without a unit"),
        ("answers: {C: []}", "answers.C", "is empty"),
        ("settings: {service: {timeout: 5}}", "service.timeout", "is a number without a unit"),
        ("settings: {service: {timout: 5s}}", "service.timout", "there is no such setting"),
    ],
)
def test_what_a_test_may_not_hold(files: Files, field: str, name: str, message: str) -> None:
    """Each mistake, with the line that it stands on."""
    changed = field.partition(":")[0]
    lines = {"name": "name: a", "input": "input: {value: 1}", "expect": "expect: {output: {}}", changed: field}
    text = "tests:\n" + "\n".join(f"  {'-' if key == 'name' else ' '} {line}" for key, line in lines.items())
    at = str(2 + list(lines).index(changed)) if name else "2"
    place = name if field.startswith("settings") else f"tests[0].{name}".removesuffix(".")
    assert files.problems(text) == [(place, at, message)]


def test_the_settings_file_is_found_beside_the_tests(files: Files) -> None:
    """And its mistakes are told with its own lines."""
    files.write("service:\n  timeout: 5\n", "settings.yaml")
    text = "config: settings.yaml\ntests:\n  - {name: a, input: {value: 1}, expect: {output: {}}}\n"
    [(name, origin, _)] = files.problems(text)
    assert (name, origin.rpartition("/")[2]) == ("service.timeout", "settings.yaml:2")


def test_the_environment_has_no_say(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file means the same on every machine."""
    monkeypatch.setenv("ENRICHER_SERVICE__TIMEOUT", "1s")
    path = files.write("tests:\n  - {name: a, input: {value: 1}, expect: {output: {}}}\n")
    assert load_suite(path).tests[0].settings.service.timeout == 5.0


def test_no_text_no_file(files: Files) -> None:
    """Bytes that are no UTF-8."""
    path = files.folder / "cases.yaml"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is no UTF-8 text"):
        load_suite(path)


def test_derived_outputs_have_the_fields_of_their_schema(files: Files) -> None:
    """The event's own, and the history with how it came; an event in JSON is refused."""
    raw = avro(("customerId", "string"), ("at", {"type": "long", "logicalType": "timestamp-millis"}), name="Call")
    files.write(json.dumps(raw), "call.avsc")
    value = b"\xc3\x01" + fingerprint_of(raw) + body(raw, {"customerId": "CONNOR", "at": 0})
    ripley = b"\xc3\x01" + fingerprint_of(raw) + body(raw, {"customerId": "RIPLEY", "at": 0})
    [right, wrong, away] = files.run(f"""\
        settings:
          output: {{schema: derived}}
          schemas: {{path: {files.folder / "call.avsc"}}}
        answers:
          CONNOR: {{offers: [{{Name: Phone, Outcome: Accepted}}]}}
          RIPLEY: {{status: 503}}
        tests:
          - name: right
            input:
              - base64: {b64encode(value).decode()}
              - value: {{customerId: CONNOR}}
            expect:
              - output:
                  customerId: CONNOR
                  at: "1970-01-01T00:00:00Z"
                  offerHistory.offers: [{{name: Phone}}]
                  offerHistory.enrichment: {{status: ENRICHED, attempts: 1}}
              - dead_letter: {{stage: decode, cause: NotAvro}}
          - name: wrong
            input:
              base64: {b64encode(value).decode()}
            expect:
              output: {{contact.customerId: CONNOR}}
          - name: away
            settings: {{failures: {{on_unavailable: pass-through}}}}
            input:
              base64: {b64encode(ripley).decode()}
            expect:
              output: {{customerId: RIPLEY, offerHistory.offers: [], offerHistory.enrichment.status: UNAVAILABLE}}
        """)
    assert (right["passed"], away["passed"]) == (True, True), (right, away)
    assert not wrong["passed"]
