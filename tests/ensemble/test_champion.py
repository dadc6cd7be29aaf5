"""The best ensemble so far in a real MLflow: registered once, asked as a model, moved by a gain beyond chance alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas
import polars as pl
import pytest
from mlflow import MlflowClient

import overlap
from overlap.ensemble.challenge import challenge
from overlap.ensemble.rights import Judge
from overlap.errors import StudyError
from overlap.published import read_results, read_snapshot
from overlap.report import Results
from overlap.store import layout
from overlap.store.folder import Folder
from overlap.study import load_study
from tests.ensemble.test_export import samples_of, told
from tests.servers import free_ports
from tests.small_study import DATA, SmallStudy, net
from tests.study_fixtures import Run, invoke
from tests.view.mlflow_server import mlflow_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), free_ports(1)[0]) as address:
        yield address


@pytest.fixture
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Loads a champion as a user would, who tells MLflow where it is; into a folder, as its own is left behind."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()

    def load(uri: str, name: str = "small") -> Any:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        return mlflow.pyfunc.load_model(f"models:/{name}@champion", dst_path=str(tmp_path_factory.mktemp("champion")))

    yield load
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def champion_of(uri: str, name: str = "small") -> Any:
    return MlflowClient(uri, uri).get_model_version_by_alias(name, "champion")


def versions_of(uri: str, name: str = "small") -> int:
    return len(MlflowClient(uri, uri).search_model_versions(f"name = '{name}'"))


def greedy(study: SmallStudy) -> dict[str, float]:
    table = overlap.open(str(study.store), DATA).table("ensemble_weights").filter(search="greedy")
    return dict(table.select("model", "weight").iter_rows())


def test_it_is_asked_as_a_model(complete: SmallStudy, run: Run, server: str, model_of: Any) -> None:
    complete.write(tracking={"uri": server}, champion={"register": True})
    before = mlflow.get_tracking_uri()
    ran = run(complete)
    assert ran.code == 0, ran
    assert ran.outcome["tracking_error"] is None
    assert mlflow.get_tracking_uri() == before, "the process-wide address is the user's"
    first = champion_of(server)
    assert (first.version, versions_of(server)) in (("1", 1), (1, 1))
    assert json.loads(first.tags["overlap.members"])[0] in complete.fingerprints().values()
    assert "overlap.gain" not in first.tags

    model = model_of(server)
    samples = samples_of(complete)
    images = [sample.image for sample in samples]
    said = model.predict(pandas.DataFrame({"image": images}), params={"probabilities": True})
    expected = told(complete, greedy(complete))
    found = np.array(said["probabilities"].tolist())
    assert np.abs(found - expected).max() < 2e-3, "the store's logits are float16"
    assert said["prediction"].tolist() == found.argmax(axis=1).tolist()
    assert said["class"].tolist() == [str(number) for number in found.argmax(axis=1)]
    assert np.abs(said["confidence"] - found.max(axis=1)).max() < 1e-9
    assert [*model.predict(images[:2]).columns] == ["prediction", "class", "confidence"]
    assert model.metadata.signature.inputs.to_dict()[0]["type"] == "binary"
    requirements = Path(mlflow.pyfunc.get_model_dependencies("models:/small@champion")).read_text()
    assert f"overlap=={overlap.__version__}\n" in requirements

    again = invoke("sync", str(complete.path))
    assert again.code == 0, again
    assert versions_of(server) == 1, "nothing is registered twice"

    member = next(iter(greedy(complete)))
    complete.remove(member)  # withdrawn, and the champion stays: its version holds all it needs
    assert run(complete).code == 0
    assert champion_of(server).version == first.version
    assert len(model_of(server).predict(images[:1])) == 1


def best_is(results: Results, *members: str) -> Results:
    """The same results, had the main search found these members."""
    steps = results.ensembles.filter(search="greedy")
    row = steps.row(0, named=True)
    found = pl.DataFrame([row | {"step": step, "model": model} for step, model in enumerate(members, 1)], steps.schema)
    greedy = pl.col("search") == "greedy"
    searches = results.table("searches").with_columns(size=pl.when(greedy).then(len(members)).otherwise("size"))
    return replace(results, ensembles=found, more={**results.more, "searches": searches})


def test_the_alias_moves_on_a_gain_beyond_chance_alone(complete: SmallStudy, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    complete.write(tracking={"uri": uri}, champion={"register": True})
    study, objects = load_study(complete.path), Folder(complete.store)
    results = read_results(DATA, objects)
    assert results is not None
    names = complete.fingerprints()
    first = challenge(study, best_is(results, "narrow-1", "narrow-1"), objects)
    assert first is not None
    assert (first.champion, first.changed, first.gain) == ("1", True, None)
    judge = Judge(objects, DATA, results.dataset_digest)
    old, chance = judge.rights([names["narrow-1"]]), judge.rights([names["narrow-2"]])
    gain, low, _ = judge.compare(chance, old)
    assert low <= 0 < gain, "it is better here, and not beyond chance"
    second = challenge(study, best_is(results, "narrow-2"), objects)
    assert second is not None
    assert (second.champion, second.changed, second.gain, second.low) == ("1", False, gain, low)
    assert versions_of(uri) == 1, "what is no champion is not registered"
    last = json.loads(MlflowClient(uri, uri).get_registered_model("small").tags["overlap.last_challenge"])
    assert (last["models"], last["changed"], last["champion"]) == (["narrow-2"], False, "1")
    third = challenge(study, best_is(results, "wide-2", "wide-1"), objects)
    assert third is not None
    assert (third.champion, third.changed) == ("2", True)
    assert third.low is not None
    assert third.low > 0
    tags = champion_of(uri).tags
    assert (tags["overlap.previous"], float(tags["overlap.gain_low"])) == ("1", third.low)
    assert json.loads(tags["overlap.members"]) == [names["wide-2"], names["wide-1"]]
    again = challenge(study, best_is(results, "wide-1", "wide-2"), objects)  # the same ensemble, found in another order
    assert again is not None
    assert (again.champion, again.changed, versions_of(uri)) == ("2", False, 2)
    client = MlflowClient(uri, uri)
    client.set_registered_model_alias("small", "champion", "1")  # somebody moves it back: the version is found again
    back = challenge(study, best_is(results, "wide-1", "wide-2"), objects)
    assert back is not None
    assert (back.champion, back.changed, versions_of(uri)) == ("2", True, 2)


def test_without_a_server_and_when_it_was_down(complete: SmallStudy, run: Run, model_of: Any) -> None:
    uri = f"sqlite:///{complete.folder / 'tracking' / 'mlflow.db'}"
    complete.write(
        tracking={"uri": f"http://127.0.0.1:{free_ports(1)[0]}"}, champion={"register": True, "name": "best"}
    )
    down = run(complete)
    assert down.code == 0
    assert "does not answer" in down.outcome["tracking_error"]
    complete.write(tracking={"uri": uri})
    synced = invoke("sync", str(complete.path))
    assert synced.code == 0, synced
    images = [sample.image for sample in samples_of(complete)[:20]]
    said = model_of(uri, "best").predict(images, params={"probabilities": True})
    found = np.array(said["probabilities"].tolist())
    assert np.abs(found - told(complete, greedy(complete))[:20]).max() < 2e-3
    assert invoke("sync", str(complete.path)).code == 0
    assert versions_of(uri, "best") == 1


def test_a_champion_that_is_not_overlaps_is_left_alone(complete: SmallStudy, run: Run, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    complete.write(tracking={"uri": uri}, champion={"register": True})
    client = MlflowClient(uri, uri)
    client.create_registered_model("small")
    client.create_model_version("small", (tmp_path / "theirs").as_uri())
    client.set_registered_model_alias("small", "champion", "1")
    ran = run(complete)
    assert ran.code == 0
    assert "version 1, which overlap did not register" in ran.outcome["tracking_error"]
    assert versions_of(uri) == 1


def test_rights_are_the_same_remembered_and_computed(complete: SmallStudy, run: Run, tmp_path: Path) -> None:
    complete.write(tracking={"uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}, champion={"register": True})
    complete.add(net("added", 11))
    assert run(complete).code == 0
    objects = Folder(complete.store)
    snapshot = read_snapshot(DATA, objects)
    results = read_results(DATA, objects)
    assert snapshot is not None
    assert results is not None
    judge = Judge(objects, DATA, snapshot.dataset)
    row = results.table("searches").row(by_predicate=pl.col("search") == "greedy", named=True)
    steps = results.ensembles.filter(search="greedy").sort("step")
    members = [snapshot.models[model] for model in steps["model"].to_list()[: row["size"]]]
    assert objects.head(judge._place(members)) is not None, "the reduction has remembered it"
    remembered = judge.rights(members)
    assert np.array_equal(judge._computed(members), remembered)
    assert remembered[judge.test].mean() == row["accuracy_test"]
    assert remembered[~judge.test].mean() == row["accuracy_select"]
    reference = judge.rights([snapshot.models[steps["model"][0]]])
    gain, low, high = judge.compare(remembered, reference)
    if row["size"] > 1:
        assert (gain, low, high) == pytest.approx((row["gain"], row["gain_low"], row["gain_high"]))
    objects.put(judge._place(members), b"damaged")
    assert np.array_equal(judge.rights(members), remembered)

    study = load_study(complete.path)
    assert champion_of(study.tracking.uri).tags["overlap.members"] == json.dumps(members)
    judge.rights([snapshot.models["added"]] * row["size"])
    objects.delete([judge._place(members)])
    objects.delete([info.key for info in objects.list(layout.complete_prefix(DATA, snapshot.dataset))])
    worse = results.ensembles.with_columns(model=pl.lit("added"))
    with pytest.raises(StudyError, match=r"the champion \(version 1\) stays: it cannot be compared on 'digits'"):
        challenge(study, replace(results, ensembles=worse), objects)
