"""The manifests of cluster/kubernetes as Kustomize renders them, against schemas and what is asked of a pod."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overlap.study import load_study
from tests.infra.kinds import errors
from tests.infra.rendering import KUBERNETES, OVERLAYS, ROOT, Manifest, cluster_of, kustomize, pods, rendered, the

RUNNING = [overlay for overlay in OVERLAYS if not overlay.endswith("/queues")]
UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def number(quantity: str) -> float:
    """Bytes or cores of a Kubernetes quantity."""
    if quantity.endswith("m"):
        return float(quantity[:-1]) / 1000
    match = re.fullmatch(r"([0-9.]+)([KMGT]i)?", quantity)
    assert match, quantity
    return float(match[1]) * UNITS[match[2] or ""]


def test_there_is_an_overlay_for_each_way() -> None:
    wanted = ("standing", "job", "scheduled", "raycronjob", "kueue", "kueue/queues")
    assert sorted(f"overlays/{name}" for name in wanted) == OVERLAYS
    kinds = {overlay: {manifest["kind"] for manifest in rendered(overlay)} for overlay in OVERLAYS}
    assert {"RayCluster"} == {kind for kind in kinds["overlays/standing"] if kind.startswith("Ray")}
    assert {"RayJob"} == {kind for kind in kinds["overlays/job"] if kind.startswith("Ray")}
    assert {"RayCronJob"} == {kind for kind in kinds["overlays/raycronjob"] if kind.startswith("Ray")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_valid(overlay: str) -> None:
    for manifest in rendered(overlay):
        assert errors(manifest) == [], (manifest["kind"], manifest["metadata"]["name"])


def spoiled(manifest: Manifest, spoil: Callable[[Any], object]) -> list[str]:
    copied = copy.deepcopy(manifest)
    spoil(copied["spec"])
    return errors(copied)


def test_mistakes_are_found_all_of_them() -> None:
    job, cron = the("RayJob", "overlays/job"), the("CronJob", "overlays/scheduled")
    found = spoiled(job, lambda spec: spec.update(ttlSeconds=1, backoffLimit="one"))
    assert len(found) == 2
    assert "ttlSeconds" in found[0] + found[1]
    worker = "workerGroupSpecs"
    assert spoiled(job, lambda spec: spec["rayClusterSpec"][worker][0].pop("groupName"))
    deep = spoiled(job, lambda spec: pods(spec)[0]["containers"][0].update(imagePolicy="Always"))
    assert any("imagePolicy" in line for line in deep)
    assert spoiled(cron, lambda spec: spec.update(schedule=5))
    assert spoiled(cron, lambda spec: spec.pop("jobTemplate"))
    queue = the("ClusterQueue", "overlays/kueue/queues")
    assert spoiled(
        queue, lambda spec: spec["resourceGroups"][0]["flavors"][0]["resources"][0].update(nominalQuota="many")
    )


@pytest.mark.parametrize("overlay", RUNNING)
def test_pods_have_no_more_rights_than_they_need(overlay: str) -> None:
    found = [pod for manifest in rendered(overlay) for pod in pods(manifest)]
    assert found
    accounts = {one["metadata"]["name"]: one for one in rendered(overlay) if one["kind"] == "ServiceAccount"}
    for pod in found:
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["fsGroup"] == 1000
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert pod["serviceAccountName"] in accounts
        if pod["serviceAccountName"] != "overlap-head":
            assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["capabilities"] == {"drop": ["ALL"]}
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= {volume["name"] for volume in pod["volumes"]}
            assert any(mount["mountPath"] == "/tmp" for mount in container["volumeMounts"]), (
                "Ray and Python write there"
            )


@pytest.mark.parametrize("overlay", RUNNING)
def test_requests_limits_and_volumes_agree(overlay: str) -> None:
    for pod in (pod for manifest in rendered(overlay) for pod in pods(manifest)):
        for container in pod["containers"]:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert {"cpu", "memory"} <= set(requests)
            assert {"cpu", "memory"} <= set(limits)
            for name, quantity in requests.items():
                assert number(quantity) <= number(limits[name]), (container["name"], name)
        sizes = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        assert all("sizeLimit" in size for size in sizes)
        on_disk = sum(number(size["sizeLimit"]) for size in sizes if size.get("medium") != "Memory")
        if "ephemeral-storage" in pod["containers"][0]["resources"]["limits"]:
            assert on_disk <= number(pod["containers"][0]["resources"]["limits"]["ephemeral-storage"])


@pytest.mark.parametrize("overlay", RUNNING)
def test_the_cluster_is_one_that_overlap_can_use(overlay: str) -> None:
    if overlay == "overlays/scheduled":
        assert the("RayJob", overlay)["spec"]["suspend"] is True
    spec = cluster_of(overlay)
    assert spec["authOptions"] == {"mode": "token"}
    head, groups = spec["headGroupSpec"], {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert set(groups) == {"gpu", "cpu"}
    assert groups["cpu"]["minReplicas"] >= 1, "the head takes no tasks"
    for group in groups.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (head, *groups.values()):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        memory = number(container["resources"]["limits"]["memory"])
        (shm,) = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "shm"]
        store = int(group["rayStartParams"]["object-store-memory"])
        assert store < number(shm["sizeLimit"]) < memory, "memory of the object store is the container's"
        cache = {one["name"]: one["value"] for one in container["env"]}
        (scratch,) = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "scratch"]
        assert float(cache["OVERLAP_CACHE_GIB"]) * 2**30 < number(scratch["sizeLimit"])
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "scratch"]
        assert cache["OVERLAP_CACHE"].startswith(mount["mountPath"] + "/")
    gpu = groups["gpu"]["template"]["spec"]
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert any(toleration["key"] == "nvidia.com/gpu" for toleration in gpu["tolerations"])


def test_a_queued_job_asks_for_no_more_than_the_queue_has() -> None:
    job = the("RayJob", "overlays/kueue")
    assert job["spec"]["suspend"] is True
    assert (
        job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
        == the("LocalQueue", "overlays/kueue")["metadata"]["name"]
    )
    spec = job["spec"]["rayClusterSpec"]
    assert spec["enableInTreeAutoscaling"] is False
    assert "autoscalerOptions" not in spec
    (group,) = the("ClusterQueue", "overlays/kueue/queues")["spec"]["resourceGroups"]
    flavors = {flavor["name"]: flavor["resources"] for flavor in group["flavors"]}
    assert set(flavors) == {
        one["metadata"]["name"] for one in rendered("overlays/kueue/queues") if one["kind"] == "ResourceFlavor"
    }
    asked: dict[str, dict[str, float]] = {name: dict.fromkeys(group["coveredResources"], 0.0) for name in flavors}

    def add(flavor: str, pod: Manifest, count: int) -> None:
        for name, quantity in pod["containers"][0]["resources"]["requests"].items():
            asked[flavor][name] += number(quantity) * count

    add("cpu", spec["headGroupSpec"]["template"]["spec"], 1)
    add("cpu", job["spec"]["submitterPodTemplate"]["spec"], 1)
    for workers in spec["workerGroupSpecs"]:
        pod = workers["template"]["spec"]
        needs_gpu = "nvidia.com/gpu" in pod["containers"][0]["resources"]["requests"]
        assert workers["minReplicas"] == workers["maxReplicas"] == workers["replicas"], "admitted whole or not at all"
        add("gpu-spot" if needs_gpu else "cpu", pod, workers["replicas"])
    for name, resources in flavors.items():
        for resource in resources:
            assert asked[name][resource["name"]] <= number(str(resource["nominalQuota"])), (name, resource["name"])


def test_the_schedule_may_read_one_template_and_create() -> None:
    role = the("Role", "overlays/scheduled")
    assert role["rules"] == [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "resourceNames": ["overlap"], "verbs": ["get"]},
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["list", "create"]},
    ]
    binding = the("RoleBinding", "overlays/scheduled")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "overlap-schedule", "namespace": "overlap"}]
    cron = the("CronJob", "overlays/scheduled")
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    (pod,) = pods(cron)
    assert "nvidia.com/gpu" not in json.dumps(pod)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    maps = {
        one["metadata"]["name"]: one["data"] for one in rendered("overlays/scheduled") if one["kind"] == "ConfigMap"
    }
    script = maps[volumes["create-job"]["configMap"]["name"]]["create_job.py"]
    assert script == (KUBERNETES / "overlays/scheduled/create_job.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("overlay", RUNNING)
def test_the_study_in_the_config_map_is_one(overlay: str, tmp_path: Path) -> None:
    (text,) = [
        one["data"]["study.toml"]
        for one in rendered(overlay)
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "overlap-study"
    ]
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    study = load_study(path)
    assert study.store.uri.startswith("s3://"), "no folder is seen by every pod"


def with_site(tmp_path: Path, component: str) -> list[Manifest]:
    """The overlay `scheduled` of a copy whose site has another component."""
    import shutil

    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    site = tmp_path / "kubernetes/site/kustomization.yaml"
    lines = site.read_text(encoding="utf-8").splitlines()
    assert f"  # - ../components/{component}" in lines
    chosen = [line.replace(f"# - ../components/{component}", f"- ../components/{component}") for line in lines]
    site.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return kustomize(tmp_path / "kubernetes/overlays/scheduled")


def test_keys_can_come_from_a_secret(tmp_path: Path) -> None:
    manifests = with_site(tmp_path, "s3-secret")
    assert [error for manifest in manifests for error in errors(manifest)] == []
    for manifest in manifests:
        for pod in pods(manifest):
            for container in pod["containers"]:
                if container["name"] != "ray-job-submitter":  # it speaks to Ray alone
                    assert container["envFrom"] == [{"secretRef": {"name": "overlap-s3"}}], container["name"]


def test_gpu_workers_can_be_on_spot_nodes(tmp_path: Path) -> None:
    manifests = with_site(tmp_path, "spot")
    assert [error for manifest in manifests for error in errors(manifest)] == []
    (job,) = [manifest for manifest in manifests if manifest["kind"] == "RayJob"]
    spec = job["spec"]["rayClusterSpec"]
    gpu, cpu = (group["template"]["spec"] for group in spec["workerGroupSpecs"])
    assert "affinity" in gpu
    assert "affinity" not in cpu
    assert "affinity" not in spec["headGroupSpec"]["template"]["spec"]


def test_image_and_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    for overlay in RUNNING:
        assert cluster_of(overlay)["rayVersion"] == pinned["ray"]
        images = {one["image"] for manifest in rendered(overlay) for pod in pods(manifest) for one in pod["containers"]}
        assert images == {f"registry.example.com/{project['name']}:{project['version']}"}
