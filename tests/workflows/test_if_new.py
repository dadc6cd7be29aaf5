"""`overlap run --if-new`: what ends at once, what does not, and that it is all told once."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from overlap import settled
from overlap.news import of_plain
from overlap.store import layout, memo
from overlap.store.folder import Folder
from overlap.study import load_study
from tests.small_study import DATA, Ran, SmallStudy, net, save_weights
from tests.store.counting import counted
from tests.study_fixtures import Run, invoke
from tests.workflows import large_study

HEARD = "heard.jsonl"


@pytest.fixture
def still(complete: SmallStudy) -> SmallStudy:
    """A copy of the complete study of which a look has been remembered: the copied files count as others."""
    ran = invoke("run", str(complete.path), "--if-new", "--json")
    assert (ran.code, ran.outcome["computed"], ran.outcome["reduced"]) == (0, 0, False), ran
    assert settled.look(load_study(complete.path)).nothing_new
    return complete


def listening(study: SmallStudy) -> None:
    """Let a command keep what a study tells."""
    script = study.folder / "tell.sh"
    script.write_text(f"#!/bin/sh\ncat >> {HEARD}; echo >> {HEARD}\n", encoding="utf-8")
    script.chmod(0o755)
    study.write(notify={"command": ["./tell.sh"]})


def heard(study: SmallStudy) -> list[dict]:
    path = study.folder / HEARD
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def elsewhere(path: Path) -> Iterator[None]:
    """A file is away for a while, and comes back as the same file."""
    away = path.with_name(f".{path.name}.away")
    path.rename(away)
    yield
    away.rename(path)


def test_nothing_new_ends_without_ray_or_tables(still: SmallStudy, scratch: Path) -> None:
    before = still.objects("")
    ran = still.run("--if-new", scratch=scratch, environment={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ran.code == 0, ran
    assert ran.outcome["new"] is False
    assert ran.outcome["models"] == 7
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert {"overlap", "click", "pydantic"} <= imported
    assert not imported & {"ray", "torch", "mlflow", "polars", "numpy", "workflows", "matplotlib"}
    assert still.objects("") == before, "a look writes nothing"


def test_every_change_is_seen(still: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files and settings, and of what the store holds; each is taken back before the next."""
    # Other studies of this test process have left their folders there, each with code of the same name.
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if not Path(folder, "small_nets.py").exists()])

    def changed() -> tuple[str, ...]:
        found = settled.look(load_study(still.path))
        assert not found.nothing_new
        return found.changed

    def one(pattern: str) -> Path:
        return sorted(path for path in still.store.glob(pattern) if path.is_file())[0]

    for pattern, part in (
        (f"complete/{DATA}/*/*/manifest.json", "manifests"),
        (f"complete/{DATA}/*/*/hard.parquet", "manifests"),
        (f"records/{DATA}/*/*.json", "records"),
        (f"results/{DATA}/reduction.json", "results"),
        (f"results/{DATA}/report.html", "results"),
        (f"results/{DATA}/*/pairs.parquet", "results"),
        ("weights/*", "weights"),
        (f"labels/{DATA}.parquet", "labels"),
    ):
        with elsewhere(one(pattern)):
            assert changed() == (part,), pattern
        assert settled.look(load_study(still.path)).nothing_new, pattern

    weights, shard, code = (
        still.folder / "weights/resnet.safetensors",
        still.folder / "data/part-000003.tar",
        "small_nets.py",
    )
    for path, part in ((weights, "zoo"), (still.folder / code, "zoo"), (shard, "data")):
        held, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
        path.write_bytes(held + b"\n")
        assert changed() == (part,), path
        with elsewhere(path):
            assert changed() == (part,), path
        path.write_bytes(held)
        os.utime(path, ns=times)
        assert settled.look(load_study(still.path)).nothing_new, path

    text = still.path.read_text()
    for old, new, part in (
        ('name = "small"', 'name = "small"\n[analysis]\nsample = 100\n', "settings"),
        ("classes = 10", "classes = 11", "data"),
        ('id = "resnet"', 'id = "resnet-again"', "zoo"),
    ):
        still.path.write_text(text.replace(old, new, 1))
        assert changed() == (part,), new
    still.path.write_text(text + "\n# a remark\n")
    assert settled.look(load_study(still.path)).nothing_new, "a remark is nothing new"
    Folder(still.store).put(layout.imported(DATA, "somebody"), b"{}")
    assert changed() == ("imports",)


def test_lost_records_and_manifests_come_back_without_a_prediction(still: SmallStudy, run: Run) -> None:
    records = still.objects(f"records/{DATA}")
    lost = sorted(records)[:3]
    for key in lost:
        (still.store / key).unlink()
    ran = invoke("run", str(still.path), "--if-new", "--json")
    assert ran.code == 0, ran
    assert ran.outcome["computed"] == 0
    assert "3 records were gone; written again from the manifests that hold them" in ran.stderr
    assert still.objects(f"records/{DATA}") == records

    manifest = sorted(still.store.glob(f"complete/{DATA}/*/*/manifest.json"))[2]
    body = manifest.read_bytes()
    manifest.unlink()
    ran = run(still, "--if-new")
    assert (ran.code, ran.outcome["computed"], ran.outcome["reduced"]) == (0, 0, False), ran
    assert manifest.read_bytes() == body


def test_a_checkpoint_comes_another_goes_a_third_is_broken(complete: SmallStudy, run: Run) -> None:
    listening(complete)
    complete.remove("narrow-2")
    complete.add(net("newcomer", 7, width=24))
    save_weights(complete.folder, net("broken", 3))
    complete.add(net("broken", 3, width=24), weights=False)
    replaced = next(entry for entry in complete.entries if entry["id"] == "narrow-0")
    replaced["preprocess"] = replaced["preprocess"] | {"input_size": 9}
    complete.write()
    gone = json.loads((complete.store / f"studies/{DATA}.json").read_bytes())["models"]["narrow-2"]

    first = run(complete, "--if-new")
    assert first.code == 3, first
    assert "new: 2 added: broken, newcomer; 1 replaced: narrow-0; 1 withdrawn: narrow-2" in first.stderr
    news = of_plain(first.outcome["news"])
    assert news is not None
    assert {one.model: one.change for one in news.models} == {
        "newcomer": "added",
        "narrow-0": "replaced",
        "narrow-2": "withdrawn",
        "broken": "failed",
    }
    _check_places(complete, {one.model: one for one in news.models})
    _check_sizes(complete, news)
    assert "narrow-2" not in set(complete.tables()["models"]["model"])
    assert len(complete.objects(f"predictions/{DATA}/{gone}")) == 6, "nothing of what was withdrawn is deleted"
    stored = json.loads((complete.store / f"results/{DATA}/news.json").read_bytes())
    assert stored == first.outcome["news"]
    (told,) = heard(complete)
    assert (told["event"], told["news"], list(told["failed"])) == ("news", stored, ["broken"])
    assert 'id="new"' in (complete.store / f"results/{DATA}/report.html").read_text()

    at = _failed_at(complete)
    second = invoke("run", str(complete.path), "--if-new", "--json")
    assert second.code == 3, "as the last run's"
    assert second.outcome == {"new": False, "since": second.outcome["since"], "models": 8, "exit_code": 3}

    # Something else is new: the broken one is left alone, and the news of these inputs are what they were.
    (complete.store / f"results/{DATA}/report.html").unlink()
    third = invoke("run", str(complete.path), "--if-new", "--json")
    assert (third.code, third.outcome["computed"], third.outcome["news"]) == (3, 0, stored), third
    assert _failed_at(complete) == at

    # After a day it is tried again, once.
    _grow_old(complete)
    fourth = run(complete, "--if-new")
    assert "what failed is tried again" in fourth.stderr
    assert (fourth.code, fourth.outcome["reduced"]) == (3, False), fourth
    assert _failed_at(complete) > at
    assert invoke("run", str(complete.path), "--if-new", "--json").outcome["new"] is False
    assert len(heard(complete)) == 1, "nothing was told twice"


def _check_places(study: SmallStudy, news: dict) -> None:
    """Places of newcomers, told from the tables and the hard predictions themselves."""
    tables = study.tables()
    accuracy = dict(tables["models"].drop_nulls("accuracy").select("model", "accuracy").iter_rows())
    labels = pl.read_parquet(study.store / f"labels/{DATA}.parquet")["label"].to_numpy()
    fingerprints = study.fingerprints()
    right = {
        name: pl.read_parquet(next(study.store.glob(f"complete/{DATA}/*/{fingerprints[name]}/hard.parquet")))[
            "prediction"
        ].to_numpy()
        == labels
        for name in accuracy
    }
    for name in ("newcomer", "narrow-0"):
        place = news[name].place
        assert place.accuracy == pytest.approx(accuracy[name]) == pytest.approx(right[name].mean())
        assert place.rank == 1 + sum(other > accuracy[name] for other in accuracy.values())
        assert place.of == len(accuracy) == 7
        others = sum(row for other, row in right.items() if other != name)
        assert place.only_right == int((right[name] & (others == 0)).sum())
        pairs = tables["pairs"].filter((pl.col("model_a") == name) | (pl.col("model_b") == name))
        assert (place.nearest.kappa, place.farthest.kappa) == (pairs["kappa"].max(), pairs["kappa"].min())
    assert [field for field, _, _ in news["narrow-0"].fields] == ["preprocessing.input_size"]
    assert news["narrow-0"].accuracy_before is not None
    assert news["broken"].place is None
    assert "do not fit" in news["broken"].reason


def _check_sizes(study: SmallStudy, news: object) -> None:
    """Every size is there, and one that lost a member is not judged."""
    steps = study.tables()["ensembles"].filter(pl.col("search") == "greedy").sort("step")
    now = [one for one in news.sizes if one.now]
    assert [one.now for one in now] == [tuple(steps["model"].head(size)) for size in range(1, steps.height + 1)]
    assert [one.accuracy_now for one in now] == steps["accuracy_test"].to_list()
    for one in news.sizes:
        if one.gain is not None:
            assert one.gain == pytest.approx(one.accuracy_now - one.accuracy_before)
            assert one.gain_low <= one.gain <= one.gain_high
            assert one.accuracy_before == pytest.approx(one.accuracy_then), "temperatures do not depend on other models"
        elif {"narrow-0", "narrow-2"} & set(one.before) and one.now:
            assert one.reason.startswith("it cannot be judged any more: ")


def _failed_at(study: SmallStudy) -> str:
    return str(json.loads((study.store / f"failures/{DATA}/broken/checkpoint.json").read_bytes())["at"])


def _grow_old(study: SmallStudy) -> None:
    """What is written down of failures and of the last look was so 25 hours ago."""
    note = study.store / f"failures/{DATA}/broken/checkpoint.json"
    held = json.loads(note.read_bytes())
    store, loaded = Folder(study.store), load_study(study.path)
    store.put(note.relative_to(study.store).as_posix(), json.dumps(held | {"at": "2020-01-01T00:00:00+00:00"}).encode())
    key = settled._key(loaded)
    known = memo.recall(key, store)
    now = settled.held(loaded, store)
    memo.remember(key, known | {"at": "2020-01-01T00:00:00+00:00", "store": now}, store)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--if-new", "--limit", "3"], "--if-new asks whether anything is new of the whole study; leave out --limit"),
        (["--if-new", "--verify"], "leave out --verify"),
        (["--detach"], "--detach is about a job: it needs --if-new and --address http(s)://HOST:8265"),
        (["--if-new", "--detach", "--address", "ray://host:10001"], "--detach is about a job"),
        (["--address", "http://head:8265"], "http://head:8265 takes jobs: use `overlap submit`, or --if-new"),
    ],
)
def test_options_that_contradict_each_other(complete: SmallStudy, arguments: list[str], said: str) -> None:
    ran = invoke("run", str(complete.path), *arguments)
    assert ran.code == 2
    assert said in ran.stderr.replace("\n", " ")


def test_a_thousand_complete_checkpoints_are_looked_at_in_seconds(tmp_path: Path, scratch: Path) -> None:
    """The whole process, with what else runs on this machine: half a second or so of it is this look."""
    study = large_study.make(tmp_path, 1000, 64)
    large_study.publish(study, large_study.certify(study, 0))
    small = SmallStudy(tmp_path)
    assert (first := small.run("--if-new", scratch=scratch)).code == 0, first
    ran: list[Ran] = [small.run("--if-new", scratch=scratch) for _ in range(3)]
    assert all(one.code == 0 and one.outcome["new"] is False for one in ran), ran
    print([round(one.seconds, 2) for one in ran], [round(one.cpu, 2) for one in ran])
    assert min(one.seconds for one in ran) < 5
    assert min(one.cpu for one in ran) < 3
    with counted() as requests:
        assert settled.look(load_study(study.path)).nothing_new
    assert sum(requests.values()) <= 110, dict(requests)
    assert requests["put"] == requests["put_if_absent"] == 0
    key = sorted((tmp_path / "store/records").rglob("*.json"))[31_000]
    key.unlink()
    assert settled.look(load_study(study.path)).changed == ("records",)
    shutil.rmtree(tmp_path / "store")
