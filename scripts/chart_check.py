"""Check the Helm chart, its alerts and their tests: ``python -m scripts.chart_check`` (``make chart``).

Every example in ``helm/examples`` is linted and rendered; each manifest is held against Kubernetes' schemas and
kube-score, and each configuration file in it is given to the worker's own loader. The tools are those on the PATH.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from enricher.config import ConfigError, load
from scripts.chart_files import HELM, stale

CHART = HELM / "enricher"
EXAMPLES = sorted((HELM / "examples").glob("*.yaml"))
ALERTS = CHART / "files" / "alerts.yaml"
ALERT_TESTS = HELM / "alerts_test.yaml"
TOOLS = ("helm", "helm-unittest", "helm-docs", "kube-score", "promtool")
VERSIONS = ("1.33", kubernetes_validate.latest_version())
"""Of Kubernetes, whose schemas the manifests must fit."""

FOREIGN = frozenset(
    {
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
        "ScaledObject",
        "TriggerAuthentication",
        "KafkaTopic",
        "KafkaUser",
    }
)
"""Kinds that are not Kubernetes' own, so that it has no schema of them."""

EXCEPTIONS = {
    "container-image-pull-policy": "an image is named by a version or a digest, which never changes; Always would make "
    "each start depend on the registry",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints spread the pods, over zones too",
    "statefulset-has-host-podantiaffinity": "likewise",
}
"""Findings of kube-score that are not followed, and why."""

OPEN_NETWORK = {
    "pod-networkpolicy": "networkPolicy.enabled is off unless asked for: the chart cannot know what must be reached. "
    "The example production.yaml has it on, and is checked for it"
}


SCALED = {"deployment-replicas": "KEDA sets their number, which kube-score does not know"}


class Failed(Exception):  # noqa: N818  says what happened
    """Something is not as it should be."""


def call(*command: str, stdin: str | None = None) -> str:
    """Run a tool; return what it printed.

    Raises:
        Failed: its exit code was not 0.
    """
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def render(example: Path) -> str:
    """The manifests of an example."""
    return call(
        "helm", "template", "release", str(CHART), "--namespace", "crm", "--kube-version", "1.33.0", "-f", str(example)
    )


def validate(manifest: dict[str, Any]) -> None:
    """Hold one manifest against Kubernetes' schemas; unknown fields are refused.

    Raises:
        Failed: it does not fit.
    """
    if manifest["kind"] in FOREIGN:
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = f"{manifest['kind']} {manifest['metadata']['name']}"
            raise Failed(f"{place} is none of Kubernetes {version}: {error.message}") from error


def _environments(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Of each pod, the name of its ConfigMap and the environment that its worker gets; secrets are made up."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        pod = spec if manifest["kind"] == "Pod" else spec.get("template", {}).get("spec")
        if pod:
            [container] = [c for c in pod["containers"] if c["name"] == "enricher"]
            [volume] = [v for v in pod["volumes"] if v["name"] == "config"]
            yield volume["configMap"]["name"], {item["name"]: item.get("value", "x") for item in container["env"]}


def check_settings(manifests: list[dict[str, Any]]) -> int:
    """Load each pod's settings as its worker would; returns how many.

    Raises:
        Failed: the worker would refuse them.
    """
    texts = {m["metadata"]["name"]: m["data"].get("enricher.yaml") for m in manifests if m["kind"] == "ConfigMap"}
    count = 0
    for name, environment in _environments(manifests):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "enricher.yaml"
            file.write_text(texts[name], "utf-8")
            try:
                load(file, {key: value for key, value in environment.items() if key != "ENRICHER_CONFIG"}, ())
            except ConfigError as error:
                raise Failed(f"the worker refuses the settings of {name}: {error}") from error
        count += 1
    return count


def check_example(example: Path) -> None:
    """Lint, render, validate, score."""
    call("helm", "lint", "--strict", str(CHART), "-f", str(example))
    text = render(example)
    manifests = [document for document in yaml.safe_load_all(text) if document]
    for manifest in manifests:
        validate(manifest)
    pods = check_settings(manifests)
    kinds = {manifest["kind"] for manifest in manifests}
    exceptions = {
        **EXCEPTIONS,
        **({} if "NetworkPolicy" in kinds else OPEN_NETWORK),
        **(SCALED if "ScaledObject" in kinds else {}),
    }
    ignored = [word for name in exceptions for word in ("--ignore-test", name)]
    native = yaml.safe_dump_all(manifest for manifest in manifests if manifest["kind"] not in FOREIGN)
    call("kube-score", "score", "--output-format", "human", "--exit-one-on-warning", *ignored, "-", stdin=native)
    for manifest in manifests:
        if manifest["kind"] == "PrometheusRule":
            check_rules(yaml.safe_dump(manifest["spec"]))
    print(f"chart: {example.name}: {len(manifests)} manifests, {pods} pods' settings")


def check_rules(text: str) -> None:
    """Have promtool read alerts as Prometheus does."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yaml"
        file.write_text(text, "utf-8")
        call("promtool", "check", "rules", str(file))


def check_readme() -> None:
    """See that the README is what helm-docs makes of the values.

    Raises:
        Failed: it is not.
    """
    made = call("helm-docs", "--chart-search-root", str(HELM), "--dry-run", "--log-level", "error")
    if made.strip() != (CHART / "README.md").read_text("utf-8").strip():
        raise Failed("helm/enricher/README.md is not current: make chart-files")


def check() -> None:
    """All of it.

    Raises:
        Failed: something is wrong.
    """
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise Failed(f"not on the PATH: {', '.join(missing)}; CONTRIBUTING.md tells where they come from")
    if old := stale():
        raise Failed(f"not current: {', '.join(path.name for path in old)}: make chart-files")
    check_readme()
    for example in EXAMPLES:
        check_example(example)
    [ran] = [line for line in call("helm-unittest", str(CHART)).splitlines() if line.startswith("Tests:")]
    print(f"chart: unit tests: {ran.removeprefix('Tests:').strip()}")
    check_rules(ALERTS.read_text("utf-8"))
    call("promtool", "test", "rules", str(ALERT_TESTS))
    call("promtool", "check", "config", "--syntax-only", str(HELM.parent / "compose" / "prometheus.yml"))
    print("chart: alerts and their tests")


def main() -> int:
    """Check, and tell what is wrong."""
    try:
        check()
    except Failed as failure:
        with contextlib.suppress(BrokenPipeError):
            print(f"chart: FAILED: {failure}", file=sys.stderr)
        return 1
    print("chart: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
