"""A study whose weights come over a network that is not there: what is missing is said, and the rest runs."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from overlap.study import load_study
from overlap.zoo.checkpoint import Rejected
from tests.small_study import SmallStudy, net, timm_net
from tests.study_fixtures import Run
from tests.web_server import WebServer
from workflows.plan import make_plan, no_network


def over_the_web(entry: dict[str, Any], server: WebServer, weights: Path) -> dict[str, Any]:
    copyfile(weights, server.folder / weights.name)
    return entry | {"weights": f"{server.url}/{weights.name}"}


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    return SmallStudy.make(tmp_path / "study", [net("a", 0), net("b", 1), timm_net("c", 2)])


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine whose libraries have fetched nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.mark.usefixtures("away")
def test_an_offline_plan_names_every_missing_file_and_keeps_what_the_store_has(
    study: SmallStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLAP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "www").mkdir()
    with WebServer(tmp_path / "www", parts=True).running() as server:
        for place in (0, 1):
            study.entries[place] = over_the_web(
                study.entries[place], server, study.folder / f"weights/{'ab'[place]}.safetensors"
            )
        both, study.entries = study.entries, [study.entries[0], study.entries[2]]
        study.write()
        server.faults["/a.safetensors"] = ("cut", 1)
        online = make_plan(load_study(study.path), "digits")
        assert {one.id for one in online.checkpoints} == {"a", "c"}
        assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []
    study.entries = [*both, {"id": "d", "source": "torchvision:resnet18"}]
    study.write(digits={"classes": 10})
    plan = make_plan(load_study(study.path), "digits", offline=True)  # the server is gone, and is not asked for
    assert {one.id: one.weights_digest for one in plan.checkpoints} == {
        one.id: one.weights_digest for one in online.checkpoints
    }
    [line] = no_network(plan.rejected)
    assert line == f"b: offline: {server.url}/b.safetensors is not in the store"
    anew = make_plan(load_study(study.path), "digits", offline=True, verify=True)
    assert [one.id for one in anew.checkpoints] == [one.id for one in plan.checkpoints]


def test_hosts_are_said_once() -> None:
    reason = "unreachable: https://hub does not answer (ConnectTimeout)"
    said = no_network(
        [
            *(Rejected(name, reason) for name in "abcde"),
            Rejected("f", "no such architecture"),
            Rejected("a", reason),  # of another data set
            Rejected("g", "offline: org/g model.safetensors is missing"),
        ]
    )
    assert said == [
        f"a, b, c and 2 more: {reason}",
        "g: offline: org/g model.safetensors is missing",
    ]


@pytest.mark.usefixtures("away")
def test_an_offline_run_publishes_the_rest(study: SmallStudy, run: Run) -> None:
    study.add(net("away", 3) | {"weights": "http://127.0.0.1:9/away.safetensors"}, weights=False)
    done = run(study, "--offline")
    missing = "away: offline: http://127.0.0.1:9/away.safetensors is not in the store"
    assert done.code == 3, done
    assert missing in done.stderr.splitlines()
    assert f"failed: {missing}" in done.stderr.splitlines()
    models = study.tables()["models"]
    assert dict(zip(models["model"], models["status"], strict=True)) == {
        **dict.fromkeys("abc", "complete"),
        "away": "rejected",
    }
