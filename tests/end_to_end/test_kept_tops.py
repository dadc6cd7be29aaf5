"""What is kept of the largest logits: a later run reads those of new checkpoints only and equals a run from nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from overlap.keeping.removal import remove, survey
from overlap.service_sections import Retention
from overlap.store import kept
from overlap.store.folder import Folder
from tests import hundred
from tests.small_study import DATA, SmallStudy
from tests.study_fixtures import Run
from workflows.reductions.pair_rows import Name, PairRows

TIMED = ("searches",)
"""Tables with a column of how long inference took."""


def add(study: SmallStudy, name: str) -> None:
    """Add one more network of `hundred`."""
    (entry,) = [one for one in hundred.entries(6) if one["id"] == name]
    hundred.save(study.folder, entry)
    study.add(entry, weights=False)


def told(study: SmallStudy) -> dict[str, str]:
    return dict(json.loads((study.store / "results" / DATA / "reduction.json").read_bytes())["provenance"])


def assert_equal(one: SmallStudy, other: SmallStudy) -> None:
    """All tables, and what is kept."""
    names = {path.stem for path in (other.store / "results" / DATA).glob("*.parquet")}
    assert {"pair_ensembles", "pair_ensemble_bounds", "top_agreement", "ensembles", "models"} <= names
    for name in names:
        found, expected = (
            pl.read_parquet(study.store / "results" / DATA / f"{name}.parquet") for study in (one, other)
        )
        if name in TIMED:
            found, expected = found.drop("milliseconds"), expected.drop("milliseconds")
        assert found.equals(expected), name
    assert one.objects(f"answers/{DATA}") == other.objects(f"answers/{DATA}")
    assert pairs_of(one) == pairs_of(other)


def pairs_of(study: SmallStudy) -> dict[tuple[Name, Name], list[bytes]]:
    """What is kept of each pair, wherever it lies."""
    found = {}
    for key in study.objects(f"pairs/{DATA}"):
        rows = PairRows.read(Folder(study.store), key)
        assert rows is not None
        assert sorted(rows.more) == ["compared", "undecided"]
        assert rows.more["compared"].any()
        for place, pair in enumerate(rows.pairs):
            bits = rows.together.bits[slice(*rows.together.starts[place : place + 2])]
            soft = rows.soft.nll[:, place], rows.soft.ece[:, place], rows.soft.weights[place]
            more = (rows.more[name][place] for name in sorted(rows.more))
            found[pair] = [one.tobytes() for one in (bits, rows.together.counts[place], *soft, *more)]
    return found


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, run: Run) -> SmallStudy:
    study = hundred.make(tmp_path_factory.mktemp("kept") / "study", output="top")
    ran = run(study)
    assert ran.code == 0, ran
    assert told(study)["logits_read"].startswith("the largest of 4 of 4 checkpoints")
    assert told(study)["pairs_counted"] == "6 of 6 pairs"
    return study


def test_an_added_checkpoint_reads_nothing_of_the_others(before: SmallStudy, run: Run, tmp_path: Path) -> None:
    """Predictions of the others are gone: had anything read them, it would have failed or made them again."""
    study = before.copy(tmp_path / "study")
    shutil.rmtree(study.store / "predictions")
    add(study, "net-4")
    ran = run(study)
    assert ran.code == 0, ran
    assert ran.outcome["computed"] == hundred.SHARDS
    about = told(study)
    assert about["logits_read"].startswith("the largest of 1 of 5 checkpoints, all of ")
    assert about["pairs_counted"] == "4 of 10 pairs"
    fingerprint = study.fingerprints()["net-4"]
    for prefix in (f"answers/{DATA}", f"pairs/{DATA}"):
        earlier, later = before.objects(prefix), study.objects(prefix)
        assert earlier.items() < later.items()
        for key in later.keys() - earlier.keys():
            pairs = kept.pairs_in(Folder(study.store), key)
            assert f"/{fingerprint}/" in key or all(fingerprint in (one[0], two[0]) for one, two in pairs)

    whole = before.copy(tmp_path / "whole")
    shutil.rmtree(whole.store)
    add(whole, "net-4")
    ran = run(whole)
    assert ran.code == 0, ran
    assert told(whole)["logits_read"].startswith("the largest of 5 of 5 checkpoints")
    assert_equal(study, whole)


def test_what_is_damaged_or_gone_is_made_again(before: SmallStudy, run: Run, tmp_path: Path) -> None:
    study = before.copy(tmp_path / "study")
    answers = sorted((study.store / "answers" / DATA).glob("*/*/*"))
    (pairs,) = sorted((study.store / "pairs" / DATA).glob("*/*"))
    answers[0].write_bytes(answers[0].read_bytes()[:-1])
    answers[1].unlink()
    pairs.write_bytes(pairs.read_bytes()[:-2] + b"\1\2")
    (study.store / "results" / DATA / "reduction.json").unlink()
    ran = run(study)
    assert ran.code == 0, ran
    assert ran.outcome["computed"] == 0
    assert told(study)["logits_read"].startswith("the largest of 2 of 4 checkpoints")
    assert told(study)["pairs_counted"] == "6 of 6 pairs"
    assert study.objects(f"pairs/{DATA}") == before.objects(f"pairs/{DATA}")
    assert_equal(study, before)


def test_what_later_results_do_not_ask_for_goes(before: SmallStudy, run: Run, tmp_path: Path) -> None:
    study = before.copy(tmp_path / "study")
    objects, first = Folder(study.store), kept_in(before)
    add(study, "net-5")
    assert run(study).code == 0
    study.remove("net-5")
    assert run(study).code == 0
    assert survey(objects, Retention(grace="0s")).removals == (), "an earlier reduction asks for it"
    fresh = kept_in(study) - first
    assert {key.split("/")[0] for key in fresh} == {"answers", "pairs"}
    last = Retention(results=0, grace="0s")
    gone = {one.key for one in remove(objects, last, survey(objects, last))[0]}
    assert gone >= fresh
    assert kept_in(study) == first

    (study.store / "results" / DATA / "reduction.json").unlink()
    ran = run(study)
    assert (ran.code, ran.outcome["computed"]) == (0, 0), ran
    assert told(study)["logits_read"].startswith("the largest of 0 of 4 checkpoints")
    assert told(study)["pairs_counted"] == "0 of 6 pairs"
    assert_equal(study, before)


def test_one_checkpoint_has_no_pairs(before: SmallStudy, run: Run, tmp_path: Path) -> None:
    study = before.copy(tmp_path / "study")
    for name in ("net-1", "net-2", "net-3"):
        study.remove(name)
    ran = run(study)
    assert (ran.code, ran.outcome["computed"]) == (0, 0), ran
    assert told(study)["logits_read"].startswith("the largest of 0 of 1 checkpoints")
    assert told(study)["pairs_counted"] == "0 of 0 pairs"
    assert kept_in(study) == kept_in(before)


def kept_in(study: SmallStudy) -> set[str]:
    return {*study.objects(f"answers/{DATA}"), *study.objects(f"pairs/{DATA}")}
