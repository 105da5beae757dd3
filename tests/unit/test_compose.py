"""What docker-compose.yml promises: nothing open to the network, nothing that changes by itself, nothing in the way."""

from typing import Any

import pytest
import yaml

from enricher.config import load
from tests.readme import ROOT

COMPOSITION: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSITION["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("enricher:")}


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_alone(name: str) -> None:
    """And each can be moved where it is taken."""
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:${"), port


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_a_version_and_containers_no_fixed_name(name: str) -> None:
    """So that nothing changes by itself, and two of the set-up fit on one machine."""
    service = SERVICES[name]
    default = service["image"].partition(":-")[2].rstrip("}")
    assert ":" in default or default == "dev"
    assert "latest" not in service["image"]
    assert "container_name" not in service


def test_each_service_that_stays_can_tell_its_health() -> None:
    """The workers by their image; the generator has nobody who waits for it; the topics are made once."""
    silent = {name for name, service in SERVICES.items() if "healthcheck" not in service}
    assert silent == {"topics", "worker", "worker-2", "worker-3"}
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_run_as_the_chart_has_them(name: str) -> None:
    """With a file system that is read only, and no capabilities."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_profiles_are_those_that_the_readme_names() -> None:
    """And what has none starts by default."""
    profiles = {name: set(service.get("profiles", [])) for name, service in SERVICES.items()}
    assert {name for name, of in profiles.items() if not of} == {
        "generator", "history-service", "kafka", "topics", "worker",
    }  # fmt: skip
    readme = (ROOT / "README.md").read_text("utf-8")
    for profile in set().union(*profiles.values()):
        assert f"--profile {profile}" in readme


def test_the_workers_settings_are_accepted() -> None:
    """All of them are settings, and whole."""
    environment = SERVICES["worker"]["environment"]
    shell = {"ENRICHER_SCHEMA_REGISTRY__URL": "http://schema-registry:8081"}
    shell["ENRICHER_SCHEMA_REGISTRY__AUTO_REGISTER"] = "true"
    assert {name for name, value in environment.items() if value is None} == set(shell)
    given = {name: value for name, value in environment.items() if value is not None}
    assert load(None, given, []).settings.schema_registry.url == ""
    assert load(None, given | shell, []).settings.schema_registry.auto_register is True


def test_prometheus_looks_at_each_worker() -> None:
    """By the names that Compose gives them, and reads the alerts that it is given."""
    prometheus = yaml.safe_load((ROOT / "compose" / "prometheus.yml").read_text("utf-8"))
    [job] = prometheus["scrape_configs"]
    workers = {name for name in SERVICES if name.startswith("worker")}
    assert set(job["dns_sd_configs"][0]["names"]) == workers
    mounts = [volume.split(":") for name in ("prometheus", "grafana") for volume in SERVICES[name]["volumes"]]
    assert [path for path, *_ in mounts if not (ROOT / path).exists()] == []
    assert [f"/etc/prometheus/{name}" for name in prometheus["rule_files"]] == [
        target for path, target, _ in mounts if path.endswith("alerts.yaml")
    ]
