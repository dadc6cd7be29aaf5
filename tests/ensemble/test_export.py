"""`overlap export`: what is loaded from its folder says what the study says, with overlap and with torch alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import overlap
from overlap.ensemble import export as exporting
from overlap.ensemble import load
from overlap.errors import CheckpointError, DamagedObject, DataError
from overlap.images.shards import Sample, expand, read_samples
from tests.small_study import DATA, SmallStudy
from tests.study_fixtures import Run, invoke


def samples_of(study: SmallStudy) -> list[Sample]:
    return [sample for uri in expand([str(study.folder / "data")]) for sample in read_samples(uri)]


def told(study: SmallStudy, weights: dict[str, float]) -> np.ndarray:
    """(N, K): what the store's logits come to at the temperatures of the table."""
    opened = overlap.open(str(study.store), DATA)
    temperatures = dict(opened.models().select("model", "temperature").iter_rows())
    total = np.zeros((len(opened.labels()), 10))
    for model, weight in weights.items():
        logits = opened.logits(model).astype(np.float64) / temperatures[model]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        total += weight * odds / odds.sum(axis=1, keepdims=True)
    return total


@pytest.fixture(scope="module")
def exported(undisturbed: SmallStudy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("exported") / "best"
    ran = invoke("export", str(undisturbed.path), str(folder), "--models", "resnet,wide-0,wide-0,narrow-1", "--json")
    assert ran.code == 0, ran
    return folder, json.loads(ran.stdout)


def test_it_says_what_the_store_says(undisturbed: SmallStudy, exported: tuple[Path, dict[str, Any]]) -> None:
    folder, said = exported
    assert said["members"] == {"resnet": 0.25, "wide-0": 0.5, "narrow-1": 0.25}
    assert said["no_program"] == {}
    assert said["checked"]["module"] < 1e-6
    assert said["checked"]["programs"] < 1e-5
    samples, expected = samples_of(undisturbed), told(undisturbed, said["members"])
    images = [sample.image for sample in samples]
    ensemble = load(folder)
    found = ensemble.predict(images)
    assert found.shape == (240, 10)
    assert np.abs(found - expected).max() < 2e-3, "the store's logits are float16"
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.99
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-5
    prepared = ensemble.prepare(images[:5])
    assert [tuple(batch.shape) for batch in prepared] == [(5, 3, 24, 24), (5, 3, 12, 12), (5, 3, 8, 8)]
    assert np.abs(ensemble(prepared).numpy() - found[:5]).max() < 1e-6
    opened = [exporting_image(image) for image in images[:5]]
    assert np.array_equal(ensemble.predict(opened), ensemble.predict(images[:5])), "opened or not, it is one image"
    assert np.abs(load(folder, programs=True).predict(images) - found).max() < 1e-5
    right = found.argmax(axis=1) == np.array([sample.label for sample in samples])
    judged = said["tested"]["accuracy"]  # out of fold, on the test split
    assert abs(right.mean() - judged) < 0.1


def exporting_image(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data))


def test_its_description_says_what_it_is(undisturbed: SmallStudy, exported: tuple[Path, dict[str, Any]]) -> None:
    described = json.loads((exported[0] / "ensemble.json").read_text())
    assert (described["study"], described["data"], described["search"], described["size"]) == (
        "small",
        DATA,
        "models",
        4,
    )
    assert described["class_names"] == [*"0123456789"]
    by_name = {member["model"]: member for member in described["members"]}
    assert {name: member["fingerprint"] for name, member in by_name.items()} == {
        name: fingerprint for name, fingerprint in undisturbed.fingerprints().items() if name in by_name
    }
    assert by_name["resnet"]["architecture"]["source"] == "timm"
    assert by_name["wide-0"]["factory"][0]["file"] == "factories/small_nets.py"
    assert by_name["wide-0"]["preprocessing"]["input_size"] == [12, 12]
    assert not any(str(undisturbed.folder) in line for line in (exported[0] / "ensemble.json").read_text().splitlines())
    tested = described["tested"]
    assert tested["gain_low"] <= tested["gain"] <= tested["gain_high"]


def test_the_best_of_the_main_search_is_taken_as_the_tables_have_it(undisturbed: SmallStudy, tmp_path: Path) -> None:
    said = json.loads(invoke("export", str(undisturbed.path), str(tmp_path / "a"), "--no-programs", "--json").stdout)
    opened = overlap.open(str(undisturbed.store), DATA)
    row = opened.table("searches").row(by_predicate=pl.col("search") == "greedy", named=True)
    weights = dict(opened.table("ensemble_weights").filter(search="greedy").select("model", "weight").iter_rows())
    assert said["members"] == pytest.approx(weights)
    assert (said["size"], said["tested"]["accuracy"]) == (row["size"], row["accuracy_test"])
    assert said["tested"]["gain"] == pytest.approx(row["gain"])
    assert (said["tested"]["gain_low"], said["tested"]["gain_high"]) == (row["gain_low"], row["gain_high"])
    assert set(said["no_program"].values()) == {"not asked for"}
    steps = opened.ensembles().filter(search="greedy").sort("step")
    arguments = ("export", str(undisturbed.path), str(tmp_path / "a"), "--no-programs", "--json")
    smaller = json.loads(invoke(*arguments, "--size", "2").stdout)
    assert (smaller["size"], smaller["tested"]["accuracy"]) == (2, steps["accuracy_test"][1])
    weighed = json.loads(invoke(*arguments, "--search", "weights by nll").stdout)
    assert weighed["members"] == dict(
        opened.table("ensemble_weights").filter(search="weights by nll").select("model", "weight").iter_rows()
    )


def test_named_models_are_judged_like_the_searches(undisturbed: SmallStudy, tmp_path: Path) -> None:
    steps = overlap.open(str(undisturbed.store), DATA).ensembles().filter(search="greedy").sort("step")
    arguments = ("export", str(undisturbed.path), str(tmp_path / "a"), "--no-programs", "--json")
    for size in (1, 3):
        row = steps.row(size - 1, named=True)
        said = json.loads(invoke(*arguments, "--models", ",".join(steps["model"].to_list()[:size])).stdout)
        assert said["tested"]["accuracy"] == row["accuracy_test"]
        if size > 1:
            assert said["tested"]["gain_low"] == pytest.approx(row["gain_low"])


def test_programs_need_torch_alone(
    undisturbed: SmallStudy, exported: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = exported
    ensemble, images = load(folder), [sample.image for sample in samples_of(undisturbed)[:3]]
    batches = ensemble.prepare(images)
    torch.save(batches, tmp_path / "batches.pt")
    code = f"""
import sys, json, pathlib
for name in ("overlap", "timm", "torchvision", "small_nets"):
    sys.modules[name] = None
import torch
folder = pathlib.Path({str(folder)!r})
members = json.loads((folder / "ensemble.json").read_text())["members"]
batches = torch.load({str(tmp_path / "batches.pt")!r})
programs = [torch.export.load(folder / member["program"]["file"]).module() for member in members]
mixed = sum(member["weight"] * program(batch.float()) for member, program, batch in zip(members, programs, batches))
print(json.dumps(mixed.tolist()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.abs(np.array(json.loads(done.stdout)) - ensemble.predict(images)).max() < 1e-5


def test_only_an_earlier_export_is_replaced(undisturbed: SmallStudy, tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "best"
    folder.mkdir()
    arguments = ("export", str(undisturbed.path), str(folder), "--no-programs")
    (folder / "thesis.tex").write_text("the only copy")
    ran = invoke(*arguments)
    assert (ran.code, ran.stdout) == (2, "")
    assert "is no earlier export" in ran.stderr
    assert (folder / "thesis.tex").read_text() == "the only copy"
    (folder / "thesis.tex").unlink()
    assert invoke(*arguments, "--size", "1").code == 0, "an empty folder will do"
    before = (folder / "ensemble.json").read_bytes()

    def fails(*_: object) -> None:
        raise CheckpointError("no")

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "check", fails)
        assert invoke(*arguments, "--size", "2").code == 2
    assert (folder / "ensemble.json").read_bytes() == before, "the earlier one is whole"
    assert [path.name for path in tmp_path.iterdir()] == ["best"], "and nothing lies beside it"
    assert invoke(*arguments, "--size", "2").code == 0
    assert len(list((folder / "weights").iterdir())) == len(load(folder).networks)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--search", "greedi"), "no search 'greedi'; there are: greedy, "),
        (("--size", "99"), "search 'greedy' has sizes 1 to "),
        (("--search", "weights by nll", "--size", "2"), "weighs its models and has no sizes"),
        (("--models", "wide-0,nobody"), "no model 'nobody' with predictions; there are: narrow-0"),
        (("--models", "wide-0", "--size", "1"), "leave --search and --size out"),
        (("--data", "other"), "has no data set 'other'; it has digits"),
    ],
)
def test_what_there_is_not_is_said(
    undisturbed: SmallStudy, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    ran = invoke("export", str(undisturbed.path), str(tmp_path / "a"), *arguments)
    assert ran.code == 2
    assert complaint in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_nothing_is_exported_of_a_checkpoint_that_has_changed(complete: SmallStudy, tmp_path: Path) -> None:
    arguments = ("export", str(complete.path), str(tmp_path / "a"), "--models", "wide-0,narrow-0")
    code = complete.folder / "small_nets.py"
    for entry in complete.entries:
        if entry["id"] == "narrow-0":
            entry["preprocess"] = {**entry["preprocess"], "crop_pct": 0.9}
    complete.write()
    assert "'narrow-0': is not what it was when it ran (preprocessing.crop_pct)" in invoke(*arguments).stderr
    complete.remove("narrow-0")
    assert "'narrow-0': the study does not name it any more" in invoke(*arguments).stderr
    assert code.exists()


def test_a_damaged_export_is_refused(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(exported[0], folder)
    weights = next((folder / "weights").iterdir())
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"\0\0\0\0")
    with pytest.raises(DamagedObject, match="not what was exported"):
        load(folder)
    weights.write_bytes(whole)
    text = (folder / "ensemble.json").read_text()
    (folder / "ensemble.json").write_text(text.replace('"tf32": false', '"tf32": true', 1))
    with pytest.raises(DamagedObject, match="is not described as it was"):
        load(folder)
    for wrong, complaint in (
        ("{", "is no description"),
        (text.replace('"schema": 1', '"schema": 2'), "has schema 2, this version knows 1"),
        (text.replace('"temperature": ', '"temperature": "x", "was": '), "temperature"),
        (text.replace('"file": "weights/', '"file": "../'), "which is not in its folder"),
    ):
        (folder / "ensemble.json").write_text(wrong)
        with pytest.raises(overlap.errors.StudyError, match=complaint):
            load(folder)
    with pytest.raises(overlap.errors.StudyError, match="overlap export"):
        load(tmp_path)


def test_an_image_that_cannot_be_decoded_is_named(exported: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="image 1 cannot be decoded"):
        load(exported[0]).predict([exported_png(), b"\xff\xd8 no JPEG"])


def exported_png() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (30, 20)).save(buffer, "png")
    return buffer.getvalue()


def test_pickled_weights_become_safetensors_and_random_factories_are_found_out(
    fresh: SmallStudy, run: Run, tmp_path: Path
) -> None:
    (fresh.folder / "moody_nets.py").write_text((fresh.folder / "small_nets.py").read_text() + MOODY)
    (fresh.folder / "leaning_nets.py").write_text("from small_nets import Net\n")
    for entry in list(fresh.entries):
        if entry["id"] not in ("narrow-0", "wide-0", "wide-1"):
            fresh.remove(entry["id"])
    for entry in fresh.entries:
        entry["arguments"]["delay"] = 0.0
        if entry["id"] == "narrow-0":
            state = torch.nn.Module.state_dict(_module(fresh, entry))
            torch.save({"state_dict": state}, fresh.folder / "weights" / "narrow-0.pth")
            entry["weights"] = "weights/narrow-0.pth"
        else:
            entry["factory"] = "moody_nets:Moody.build" if entry["id"] == "wide-0" else "leaning_nets:Net.build"
    fresh.write()
    assert run(fresh).code == 0
    said = invoke("export", str(fresh.path), str(tmp_path / "a"), "--models", "narrow-0", "--json")
    assert json.loads(said.stdout)["checked"]["module"] < 1e-6
    member = json.loads((tmp_path / "a" / "ensemble.json").read_text())["members"][0]
    assert member["weights"]["file"].endswith(".safetensors")
    assert member["weights"]["digest"] != member["stored"]
    moody = invoke("export", str(fresh.path), str(tmp_path / "b"), "--models", "wide-0")
    assert "the export's module gives other probabilities than the study" in moody.stderr
    leaning = invoke("export", str(fresh.path), str(tmp_path / "b"), "--models", "wide-1")
    assert "the export cannot be loaded from its folder alone: " in leaning.stderr
    assert "No module named 'small_nets'" in leaning.stderr
    assert not (tmp_path / "b").exists()


def _module(study: SmallStudy, entry: dict[str, Any]) -> torch.nn.Module:
    from tests.small_study import module_of

    return module_of(entry)


MOODY = """

import sys


class Moody(Net):
    def forward(self, images):
        mood = 3.0 if sys.argv[0].endswith("check.py") else 0.0
        return super().forward(images) + mood * images[:, 0, 0, :1].abs() * torch.arange(10)
"""
