"""A run does what is new and nothing else: the same again, one more checkpoint, a smoke run, a read-only look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import overlap
from tests.small_study import DATA, ROOT, SmallStudy, equal, net
from tests.study_fixtures import Run


def _ray_sessions(scratch: Path) -> set[str]:
    return {path.name for path in (scratch / "ray").glob("session_2*")}


def test_the_same_again_computes_nothing_and_starts_no_ray(undisturbed: SmallStudy, scratch: Path) -> None:
    kept = ("records", "predictions", "complete", "results", "weights", "memo", "labels", "identities")
    before = {prefix: undisturbed.objects(prefix) for prefix in kept}
    sessions = _ray_sessions(scratch)
    assert sessions, "the first run had started one there"

    ran = undisturbed.run(scratch=scratch)

    assert ran.code == 0, ran
    assert ran.stderr == ""
    assert ran.cpu < 10, "ten seconds, on a machine that does nothing else"
    assert (ran.outcome["units"], ran.outcome["computed"], ran.outcome["images_decoded"]) == (0, 0, 0)
    assert not ran.outcome["reduced"]
    assert _ray_sessions(scratch) == sessions
    after = {prefix: undisturbed.objects(prefix) for prefix in kept}
    # The memo of all weights together is made of those of each when they are recalled for the first time.
    after["memo"] = {key: body for key, body in after["memo"].items() if not key.startswith("memo/weights-index/")}
    assert after == before


def test_a_new_checkpoint_computes_its_units_only(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    complete.add(net("newcomer", 7, width=24))

    ran = run(complete)

    assert ran.code == 0, ran
    assert ran.outcome["units"] == ran.outcome["computed"] == 6
    assert ran.outcome["images_decoded"] == 240
    before, after = undisturbed.objects("records"), complete.objects("records")
    assert before.items() <= after.items()
    mine = complete.fingerprints()["newcomer"]
    assert {key.split("/")[2] for key in after.keys() - before.keys()} == {mine}
    tables, earlier = complete.tables(), undisturbed.tables()
    assert tables["pairs"].height == 28
    for name in ("pairs", "pair_ensembles"):
        old = tables[name].filter((pl.col("model_a") != "newcomer") & (pl.col("model_b") != "newcomer"))
        assert old.equals(earlier[name]), f"{name} of two models does not depend on a third"


def test_another_name_for_a_checkpoint_computes_nothing(complete: SmallStudy, run: Run) -> None:
    twin = dict(complete.entries[0]) | {"id": "twin"}
    complete.add(twin, weights=False)
    ran = run(complete)
    assert ran.code == 0, ran
    assert ran.outcome["computed"] == 0
    pair = complete.tables()["pairs"].filter((pl.col("model_a") == "narrow-0") & (pl.col("model_b") == "twin"))
    assert pair["category"].to_list() == ["duplicate"]
    assert pair["error_inconsistency"].to_list() == [0.0]


def test_a_smoke_run_stands_apart(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    smoke = f"{DATA}.first50"
    ran = run(complete, "--limit", "50")

    assert ran.code == 0, ran
    assert ran.outcome["data"] == smoke
    assert ran.outcome["computed"] == 14, "one whole shard and a part of the next, for each checkpoint"
    assert ran.outcome["images_decoded"] == 50
    assert set(complete.tables(smoke)["models"]["n"]) == {50}
    for prefix in ("records", "predictions", "complete", "results"):
        assert complete.objects(f"{prefix}/{DATA}") == undisturbed.objects(f"{prefix}/{DATA}"), prefix
    assert (complete.store / "results" / smoke / "report.html").exists()

    whole = run(complete)
    assert whole.code == 0, whole
    assert (whole.outcome["data"], whole.outcome["computed"], whole.outcome["reduced"]) == (DATA, 0, False)
    assert equal(complete.tables(), undisturbed.tables()) == []
    assert overlap.open(str(complete.store)).data == DATA, "the whole, unless the smoke run is named"
    assert set(overlap.open(str(complete.store), smoke).models()["n"]) == {50}


READ = """
import json, sys
import overlap
study = overlap.open(sys.argv[1])
shapes = {
    "models": study.models().shape, "pairs": study.pairs().shape, "pair_ensembles": study.pair_ensembles().shape,
    "ensembles": study.ensembles().shape, "categories": study.categories().shape, "labels": study.labels().shape,
}
logits = study.logits("wide-2")
right = (logits.argmax(1) == study.labels()["label"].to_numpy()).mean()
heavy = sorted({"ray", "torch", "mlflow", "timm", "torchvision", "matplotlib", "boto3"} & set(sys.modules))
print(json.dumps({"shapes": shapes, "logits": [str(logits.dtype), *logits.shape], "right": right, "heavy": heavy}))
"""


def test_reading_in_python_imports_nothing_heavy(undisturbed: SmallStudy) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(undisturbed.store)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    said = json.loads(done.stdout)
    assert said["heavy"] == []
    assert said["logits"] == ["float16", 240, 10]
    accuracy = undisturbed.tables()["models"].filter(pl.col("model") == "wide-2")["accuracy"].item()
    assert said["right"] == pytest.approx(accuracy, abs=1e-12)
    assert {name: tuple(shape) for name, shape in said["shapes"].items()} == {
        **{name: table.shape for name, table in undisturbed.tables().items()},
        "labels": (240, 2),
    }


def test_more_gpus_than_there_are(fresh: SmallStudy, run: Run) -> None:
    """Ray itself would wait for ever."""
    fresh.write(predict={"gpus_per_worker": 2})
    ran = run(fresh)
    assert ran.code == 2, ran
    assert ran.stdout == ""
    assert ran.complaints == [
        "error: predict.gpus_per_worker = 2, but no node of the cluster has more than 0 GPUs; lower it"
    ]
    assert ran.seconds < 30
    assert not (fresh.store / "records").exists()
