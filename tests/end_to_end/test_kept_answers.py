"""What is kept of logits: a later run reads those of new checkpoints only, and equals a run from nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl

from overlap.keeping.removal import remove, survey
from overlap.service_sections import Retention
from overlap.store.folder import Folder
from tests.small_study import DATA, SmallStudy, net
from tests.study_fixtures import Run

NEW = net("newcomer", 7, width=24)
FIRST = net("a-first", 8, width=24)


def every_table(study: SmallStudy) -> dict[str, pl.DataFrame]:
    return {path.stem: pl.read_parquet(path) for path in sorted((study.store / "results" / DATA).glob("*.parquet"))}


def assert_equal(one: SmallStudy, other: SmallStudy) -> None:
    tables, expected = every_table(one), every_table(other)
    assert len(expected) > 15
    assert tables.keys() == expected.keys()
    timed = ("searches", "ensembles", "ensemble_weights")  # how long inference took is among the costs
    for name, table in expected.items():
        if name == "pareto":  # ensembles that were found for their measured time are on the fronts of all costs
            continue
        if name in timed:
            drop = [column for column in ("milliseconds",) if column in table.columns]
            assert tables[name].drop(drop).equals(table.drop(drop)), name
        else:
            assert tables[name].equals(table), name


def told(study: SmallStudy) -> dict[str, str]:
    return dict(json.loads((study.store / "results" / DATA / "reduction.json").read_bytes())["provenance"])


def test_added_checkpoints_read_no_logits_of_the_others(
    complete: SmallStudy, undisturbed: SmallStudy, run: Run, tmp_path: Path
) -> None:
    """Predictions of the others are gone: had anything read them, it would have failed or made them again."""
    before = undisturbed.objects(f"answers/{DATA}"), undisturbed.objects(f"pairs/{DATA}")
    assert all(before)
    for number, entry in enumerate((NEW, FIRST)):
        shutil.rmtree(complete.store / "predictions")
        complete.add(entry)
        ran = run(complete)
        assert ran.code == 0, ran
        assert ran.outcome["computed"] == 6
        about = told(complete)
        assert about["logits_read"] == f"1 of {8 + number} checkpoints"
        assert about["logits_looked_up"] == "0 images of the others"
    after = complete.objects(f"answers/{DATA}"), complete.objects(f"pairs/{DATA}")
    for earlier, later in zip(before, after, strict=True):
        assert earlier.items() < later.items()
    assert len(after[0]) == len(before[0]) + 2

    whole = undisturbed.copy(tmp_path / "whole")
    shutil.rmtree(whole.store)
    whole.add(NEW)
    whole.add(FIRST)
    ran = run(whole)
    assert ran.code == 0, ran
    assert told(whole)["logits_read"] == "9 of 9 checkpoints"
    assert_equal(complete, whole)


def test_what_is_damaged_or_gone_is_made_again(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    answers = sorted((complete.store / "answers" / DATA).glob("*/*/*"))
    pairs = sorted((complete.store / "pairs" / DATA).glob("*/*"))
    answers[0].write_bytes(answers[0].read_bytes()[:-1])
    answers[1].unlink()
    body = bytearray(answers[2].read_bytes())
    body[-5] ^= 1
    answers[2].write_bytes(body)
    pairs[0].write_bytes(b"")
    (complete.store / "results" / DATA / "reduction.json").unlink()

    ran = run(complete)

    assert ran.code == 0, ran
    assert ran.outcome["computed"] == 0
    assert told(complete)["logits_read"] == "3 of 7 checkpoints"
    for prefix in (f"answers/{DATA}", f"pairs/{DATA}"):
        assert complete.objects(prefix) == undisturbed.objects(prefix), "the same bytes under the same names"
    assert_equal(complete, undisturbed)


def test_what_later_results_do_not_ask_for_goes(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    """A checkpoint comes and goes: what was kept of it stays as long as the reduction that has it, and no longer."""
    objects = Folder(complete.store)
    before = kept_in(undisturbed)
    complete.add(NEW)
    assert run(complete).code == 0
    complete.remove(NEW["id"])
    assert run(complete).code == 0
    assert survey(objects, Retention(grace="0s")).removals == (), "an earlier reduction asks for it"
    fresh = kept_in(complete) - before
    assert {key.split("/")[0] for key in fresh} == {"answers", "pairs"}

    assert not set(removed(objects, Retention(results=0))) & (fresh | before), "all is young"
    gone = removed(objects, Retention(results=0, grace="0s"))
    assert set(gone) >= fresh
    assert kept_in(complete) == before

    (complete.store / "results" / DATA / "reduction.json").unlink()
    ran = run(complete)
    assert (ran.code, ran.outcome["computed"]) == (0, 0), ran
    assert told(complete)["logits_read"] == "0 of 7 checkpoints"
    assert_equal(complete, undisturbed)


def removed(objects: Folder, retention: Retention) -> list[str]:
    return [one.key for one in remove(objects, retention, survey(objects, retention))[0]]


def kept_in(study: SmallStudy) -> set[str]:
    return {*study.objects(f"answers/{DATA}"), *study.objects(f"pairs/{DATA}")}
