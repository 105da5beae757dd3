"""The chart, the alerts and the dashboard say what the worker is: its version, settings, metrics, commands.

What Helm makes of the chart is checked by ``make chart``, which needs Helm; this needs nothing.
"""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

import enricher
from enricher.cli.app import app
from enricher.config import ConfigError, load
from enricher.observability.metrics import METRICS, Kind
from scripts.chart_check import EXAMPLES, FOREIGN
from scripts.chart_files import DASHBOARD, HELM, SCHEMA, files
from tests.readme import ROOT

CHART = HELM / "enricher"
RUNBOOKS = ROOT / "docs" / "runbooks"
TEMPLATES = "".join(path.read_text("utf-8") for path in sorted((CHART / "templates").rglob("*.*")))
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = [
    panel for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if panel["type"] != "row"
]
EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in ALERTS},
    **{f"{panel['title']} {line['refId']}": line["expr"] for panel in PANELS for line in panel["targets"]},
}
SCRAPED = {"namespace", "job", "instance", "le"}
"""Labels that are not the worker's own."""


def _known() -> dict[str, set[str]]:
    """Each name that can be asked for, with its labels."""
    known = {"enricher_build_info": {"version", "librdkafka"}}
    for metric in METRICS:
        endings = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        known |= {f"{metric.exposed}{ending}": set(metric.labels) for ending in endings}
    return known


KNOWN = _known()


@pytest.mark.parametrize("path", [SCHEMA, DASHBOARD], ids=lambda path: path.name)
def test_the_generated_files_are_current(path: Path) -> None:
    """`make chart-files` was run after the last change of settings, of values or of the dashboard."""
    assert path.read_text("utf-8") == files()[path], "run `make chart-files`"


def test_the_chart_is_of_this_version() -> None:
    """Its image is that of the worker that it was tested with."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == enricher.__version__


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_schema_takes_the_examples(example: Path) -> None:
    """And the values that the chart brings."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    validator.validate(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")))
    validator.validate(yaml.safe_load(example.read_text("utf-8")))


def test_the_schema_knows_each_value_and_no_other() -> None:
    """What is in values.yaml is in the schema, and the other way round."""
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    known = json.loads(SCHEMA.read_text("utf-8"))["properties"]
    assert set(values) == set(known) - {"global"}
    for name, value in values.items():
        inside = known[name].get("properties")
        if inside is not None:
            assert set(value) == set(inside), name


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 3},
        {"keda": {"polling": 3}},
        {"config": {"service": {"max_inflight": 3}}},
        {"config": {"service": {"timeout": "5"}}},
        {"replay": {"config": {"nonsense": 1}}},
    ],
)
def test_the_schema_refuses_what_is_unknown_or_wrong(wrong: dict[str, Any]) -> None:
    """On each level, and under `config` as the worker itself does."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(wrong)


def test_the_settings_that_the_chart_gives_exist() -> None:
    """Each variable of the environment that a template sets is a setting, or where the file of settings is."""
    given = set(re.findall(r"\bENRICHER_[A-Z_]+\b", TEMPLATES)) - {"ENRICHER_CONFIG", "ENRICHER_PORT"}
    assert given
    for name in given:
        with pytest.raises(ConfigError) as refused:  # for the settings that are missing
            load(None, {name: "x"}, [])
        assert name not in str(refused.value)
    with pytest.raises(ConfigError, match="ENRICHER_NONSENSE"):
        load(None, {"ENRICHER_NONSENSE": "x"}, [])


def test_the_commands_that_the_chart_runs_exist() -> None:
    """Each word that a container begins with is a command."""
    run = set(re.findall(r'"args" \(list "([a-z-]+)"', TEMPLATES))
    jobs = set(re.findall(r'range \$command := list "([a-z]+)" "([a-z]+)"', TEMPLATES)[0])
    assert run == {"run", "check"}
    assert run | jobs <= set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # it is a group


def test_only_kinds_of_other_makers_go_without_a_schema() -> None:
    """A kind of Kubernetes' own is never on the list of those that are not validated."""
    kinds = dict(re.findall(r"^apiVersion: (\S+)\nkind: ([A-Za-z]+)$", TEMPLATES, re.MULTILINE))
    own = {"v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1"}
    assert {kind for group, kind in kinds.items() if group not in own} <= FOREIGN


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions_ask_for_what_is_measured(name: str) -> None:
    """Each metric exists, and has the labels by which it is chosen or grouped."""
    expression = EXPRESSIONS[name]
    metrics = set(re.findall(r"\benricher_[a-z_]+\b", expression))
    assert metrics or "process_" in expression
    assert metrics <= set(KNOWN)
    labels = set(re.findall(r"(\w+)(?:=~|!=|!~|=)\"", expression))
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        labels |= {label.strip() for label in group.split(",")}
    assert labels - SCRAPED <= set().union(*(KNOWN[metric] for metric in metrics))


def test_the_outcomes_in_expressions_are_the_worker_s() -> None:
    """Values of labels are spelled as the worker spells them."""
    text = (ROOT / "enricher" / "model.py").read_text("utf-8") + (
        ROOT / "enricher" / "observability" / "metrics.py"
    ).read_text("utf-8")
    values = {
        value
        for expression in EXPRESSIONS.values()
        for found in re.findall(r'(?:outcome|stage)(?:=~|!=|=)"([^"]+)"', expression)
        for value in found.split("|")
    }
    assert values
    assert {value for value in values if f'"{value}"' not in text} == set()


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """By its name; the index names all, with their severity."""
    index = (RUNBOOKS / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| (.+) \|$", index, re.MULTILINE)
    told = [(r["alert"], r["alert"], r["labels"]["severity"], r["annotations"]["summary"]) for r in ALERTS]
    assert rows == told
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {"README", *(rule["alert"] for rule in ALERTS)}
    for rule in ALERTS:
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"


def test_each_alert_is_tested() -> None:
    """The tests of promtool have each alert fire."""
    tests = (HELM / "alerts_test.yaml").read_text("utf-8")
    fired = set(re.findall(r'labels: .\{alertname="(\w+)"', tests)) | set(re.findall(r"- alertname: (\w+)", tests))
    assert fired == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_runbooks_name_what_exists(path: Path) -> None:
    """Their metrics, their links."""
    text = path.read_text("utf-8")
    assert set(re.findall(r"\benricher_[a-z_]+\b", text)) <= set(KNOWN) | {metric.name for metric in METRICS}
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert (path.parent / target).exists(), target


def test_the_links_of_the_chart_s_readme_lead_somewhere() -> None:
    """Each to a file of ours."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (CHART / "README.md").read_text("utf-8")):
        assert (CHART / target).exists(), target
