"""`overlap gc` takes away what nothing refers to, and nothing else: over random stores, on a bucket, beside a run."""

from __future__ import annotations

import json
import os
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.errors import StudyError
from overlap.fields import seconds
from overlap.identity import digest
from overlap.keeping.clearing import clear
from overlap.keeping.kinds import KINDS, parse
from overlap.keeping.references import STAGED
from overlap.keeping.removal import remove, survey
from overlap.keeping.rules import RULES
from overlap.published import Snapshot, write_results, write_snapshot
from overlap.service_sections import Retention
from overlap.store import Location, kept, layout, memo, open_objects
from overlap.store.folder import Folder
from overlap.store.kept import Asked
from overlap.store.ledger import Ledger
from overlap.store.tables import encode
from overlap.study import load_study
from tests.keeping.stores import DAY, FINGERPRINTS, RandomStore, readings, results_of, sha, unit
from tests.servers import SeaweedFS
from tests.small_study import DATA, Command, SmallStudy, equal, net
from tests.study_fixtures import invoke

SEEDS = st.integers(0, 2**32 - 1)


def clean(objects: Folder, retention: Retention) -> list[str]:
    return [one.key for one in remove(objects, retention, survey(objects, retention))[0]]


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_all_that_could_be_read_can_be_read_afterwards(seed: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        objects = RandomStore(Path(scratch) / "store", seed).objects
        before = readings(objects)
        held = {info.key: info for info in objects.list("")}
        gone = clean(objects, Retention(results=1))
        assert readings(objects) == before
        left = {info.key for info in objects.list("")}
        assert held.keys() - left == set(gone), "what it says it removed, and nothing else"
        assert all(held[key].modified <= time.time() - DAY for key in gone), "nothing young"
        assert not any(parse(key) is None for key in gone), "nothing unknown"
        assert clean(objects, Retention(results=1)) == []
        assert survey(objects, Retention(results=1)).unfinished == ()


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_withdrawn_checkpoints_go_and_the_others_stay_as_they_are(seed: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        objects = RandomStore(Path(scratch) / "store", seed).objects
        retention = Retention(withdrawn="30d")
        before, held = readings(objects), {info.key: info for info in objects.list("")}
        gone = clean(objects, retention)
        after = readings(objects)
        withdrawn = {key.split("/")[2] for key in gone if key.startswith("records/")}
        for name, said in after.items():
            if not any(one in str(said) for one in withdrawn) or name.startswith("results"):
                assert said == before[name], name
        for data in ("val", "val.first4"):
            snapshot = before[f"snapshot {data}"]
            if snapshot is not None and not isinstance(snapshot, str):
                assert not withdrawn & set(snapshot.models.values()), "a study has it"
        for _, data, fingerprint, _ in (key.split("/") for key in gone if key.startswith("records/")):
            its = [
                info.modified
                for key, info in held.items()
                if f"/{data}/" in key and fingerprint in key and not key.startswith("answers/")
            ]
            assert max(its) <= time.time() - 30 * DAY, "all of it is as old as that"
            assert not [info.key for info in objects.list(f"records/{data}/{fingerprint}/")], "none of it is left"
        assert not any(parse(key) is None for key in gone)
        assert clean(objects, retention) == []


def aged(objects: Folder, days: float = 2) -> Folder:
    moment = time.time() - days * DAY
    for path in objects.root.rglob("*"):
        if path.is_file():
            os.utime(path, (moment, moment))
    return objects


def test_each_kind_goes_for_its_reason_and_stays_otherwise(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    ledger, shard = Ledger(objects, "val"), sha("shard")
    told = {"seconds": 1.0, "provenance": {}}
    first = ledger.certify(FINGERPRINTS[0], shard, unit(0, 1), **told)
    second = ledger.certify(FINGERPRINTS[0], shard, unit(0, 2), replaces=first, **told)
    late = layout.predictions("val", FINGERPRINTS[0], shard, digest(encode(unit(0, 3))))
    objects.put(late, encode(unit(0, 3)))
    objects.put(layout.weights(sha("nobody's")), b"1")
    objects.put(layout.shards(sha("whose?")), b"1")
    objects.put("check/00ff", b"1")
    objects.put("mine/notes", b"1")
    aged(objects)
    found = survey(objects, Retention())
    assert {one.key: one.why for one in found.removals} == {
        first.object: "no record names it",
        late: "no record names it",
        layout.weights(sha("nobody's")): "no identity refers to it",
        "check/00ff": "a run that was killed left it",
    }
    assert [info.key for info in found.unknown] == ["mine/notes"]
    assert found.doubts == {}
    objects.put(late, encode(unit(0, 3)))  # an attempt under way: its record may come any moment
    gone, _ = remove(objects, Retention(), found)
    assert late not in {one.key for one in gone}
    assert ledger.read(second).logits.shape == (4, 3)
    assert survey(objects, Retention()).young == 1


def test_a_record_that_cannot_be_read_keeps_all_of_its_unit(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    told = {"seconds": 1.0, "provenance": {}}
    first = Ledger(objects, "val").certify(FINGERPRINTS[0], sha("shard"), unit(0, 1), **told)
    second = Ledger(objects, "val").certify(FINGERPRINTS[0], sha("shard"), unit(0, 2), replaces=first, **told)
    objects.put(second.key, objects.get(second.key)[:-9])
    assert survey(aged(objects), Retention()).removals == ()


def test_a_snapshot_that_cannot_be_read_keeps_every_checkpoint(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    Ledger(objects, "val").certify(FINGERPRINTS[0], sha("shard"), unit(0, 1), seconds=1.0, provenance={})
    retention = Retention(withdrawn="1d")
    assert {one.kind for one in survey(aged(objects), retention).removals} == {"record", "predictions"}
    objects.put(layout.snapshot("other"), b"{")
    found = survey(aged(objects), retention)
    assert (found.removals, found.doubts) == ((), {"named": "studies/other.json"})


def test_weights_go_with_the_last_identity_that_refers_to_them(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    for name, fingerprint, weights in (("a", "0" * 16, "one"), ("b", "1" * 16, "one"), ("c", "2" * 16, "two")):
        objects.put(layout.identity(name, fingerprint), json.dumps({"weights": sha(weights)}).encode())
        objects.put(layout.weights(sha(weights)), b"1")
        memo.remember(memo.key("weights", name), {"digest": sha(weights), "bytes": 1}, objects)
    write_results(results_of("val", "inputs", ["0" * 16]), objects)  # the newest results name it: it stays
    assert survey(aged(objects, 40), Retention()).removals == ()
    gone = clean(objects, Retention(withdrawn="30d"))
    assert gone == [layout.weights(sha("two")), layout.identity("b", "1" * 16), layout.identity("c", "2" * 16)]


def reduced(objects: Folder, name: str, inputs: str, context: str, fingerprints: list[str]) -> None:
    """A reduction that asks for answers, as a run publishes it."""
    asked = Asked.of(sha(context), sha(f"pairs {context}"), [(one, sha(one)) for one in fingerprints])
    asked.write(objects, name, sha(inputs))
    write_results(results_of(name, inputs, fingerprints), objects)


def keep(objects: Folder, context: str, fingerprints: list[str]) -> dict[str, str]:
    """Answers of some checkpoints under a context, and the pairs of each with the next; keys by what they are of."""
    keys = {
        one: kept.write(
            objects,
            lambda digest, one=one: layout.answers("val", sha(context), one, sha(one), digest),
            {"a": np.ones(1)},
        )
        for one in fingerprints
    }
    for both in pairwise(fingerprints):
        about = {kept.MODELS: " ".join(both), kept.SOURCES: " ".join(sha(one) for one in both)}
        keys["+".join(both)] = kept.write(
            objects,
            lambda digest: layout.pairs("val", sha(f"pairs {context}"), digest),
            {kept.PAIRS: np.array([[0, 1]], np.int32)},
            about,
        )
    return keys


def test_answers_and_pairs_go_when_no_results_that_stay_ask_for_them(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    first, second, third, _ = FINGERPRINTS
    old, new, real, nobody = (keep(objects, one, FINGERPRINTS) for one in ("old", "new", "real", "nobody's"))
    reduced(objects, "val", "first", "old", FINGERPRINTS)
    reduced(objects, "val", "second", "new", [first, second])
    reduced(objects, "val@real", "real", "real", [second, third])
    everything = {*old.values(), *new.values(), *real.values(), *nobody.values()}
    assert {one.kind for one in survey(objects, Retention()).removals} == set(), "all is young"
    aged(objects, 40)
    staying = {new[first], new[second], new[f"{first}+{second}"], real[second], real[third], real[f"{second}+{third}"]}
    assert all("no results that stay ask for it" in one.why for one in survey(objects, Retention()).removals)
    assert going(objects, Retention()) == everything - staying - {*old.values()}
    assert going(objects, Retention(results=0)) == everything - staying
    assert going(objects, Retention(results=0, grace="50d")) == set()

    # A reduction that is published between the two looks asks for what the first one had named.
    retention = Retention(results=0)
    found = survey(objects, retention)
    reduced(objects, "val", "third", "new", FINGERPRINTS)
    gone = {one.key for one in remove(objects, retention, found)[0]}
    assert gone & everything == everything - {*new.values()} - staying
    assert going(objects, retention) == set()


def test_answers_and_pairs_go_with_their_checkpoint(tmp_path: Path) -> None:
    """Earlier results name it for ever: what is left of it goes nevertheless, where the retention says so."""
    objects = Folder(tmp_path)
    first, second, third, fourth = FINGERPRINTS
    held = keep(objects, "same", FINGERPRINTS)
    for one in FINGERPRINTS:
        Ledger(objects, "val").certify(one, sha("shard"), unit(0, 1), seconds=1.0, provenance={})
    reduced(objects, "val", "first", "same", FINGERPRINTS)
    reduced(objects, "val", "second", "same", [first, second, third])
    aged(objects, 40)
    assert going(objects, Retention(results=9)) == set()
    assert going(objects, Retention(withdrawn="30d")) == {held[fourth], held[f"{third}+{fourth}"]}
    assert clean(objects, Retention(withdrawn="30d")) != []
    assert going(objects, Retention(withdrawn="30d")) == set()


@pytest.mark.parametrize("name", ["val", "val@real"])
def test_what_results_ask_for_is_not_said_or_cannot_be_read(tmp_path: Path, name: str) -> None:
    """Results of an older version do not say it, and a disk may damage it: then everything over the data set stays."""
    objects = Folder(tmp_path)
    held = keep(objects, "new", FINGERPRINTS)
    reduced(objects, name, "first", "old", FINGERPRINTS)
    said = layout.results(name, kept.ASKED, inputs=sha("first"))
    body = objects.get(said)
    assert going(aged(objects), Retention()) == {*held.values()}
    objects.put(said, body[:-1])
    found = survey(aged(objects), Retention())
    assert (found.removals, found.doubts) == ((), {"kept val": said})
    objects.delete([said])
    assert survey(objects, Retention()).removals == ()


def going(objects: Folder, retention: Retention) -> set[str]:
    kinds = ("answers", "answers of pairs")
    return {one.key for one in survey(objects, retention).removals if one.kind in kinds}


def test_staged_shards_go_when_no_study_has_them(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    write_snapshot(Snapshot("s", "val", sha("d"), 3, {sha("kept")[:16]: 4}, {}, {}), objects)
    for name in ("kept", "gone"):
        objects.put(layout.shards(sha(f"file {name}")), b"1")
        memo.remember(memo.key(STAGED, sha(f"file {name}")), sha(name)[:16], objects)
    objects.put(layout.shards(sha("not remembered")), b"1")
    assert clean(aged(objects), Retention()) == [layout.shards(sha("file gone"))]


def test_every_key_of_the_layout_is_of_a_kind() -> None:
    digest_of, name = sha("x"), "a" * 16
    keys = [
        layout.predictions("val", name, digest_of, digest_of), layout.features("val", name, digest_of, digest_of),
        layout.record("val", name, digest_of), layout.record("val", name, digest_of, 3),
        layout.failure("val", "m@1", digest_of), layout.failure("val", "m"), layout.manifest("val", digest_of, name),
        layout.hard("val", digest_of, name), layout.labels("val"), layout.labels("val", "real"),
        layout.identity("m", name), layout.weights(digest_of), layout.shards(digest_of), layout.memo("k", digest_of),
        layout.imported("val", "m"), layout.imported_table("val", "m", digest_of), layout.snapshot("val.first4"),
        layout.results("val@real", "reduction.json"), layout.results("val", "a.parquet", inputs=digest_of),
        layout.across("across.parquet"), "results/val/news.json", layout.job("overlap-small-1"),
        layout.schedule("val", 1, "x"), layout.turn_of("news", 3), layout.results("val", kept.ASKED, inputs=digest_of),
        layout.answers("val", name, name, digest_of, digest_of), layout.pairs("val", name, digest_of),
    ]  # fmt: skip
    assert {key for key in keys if parse(key) is None} == set()
    assert {kind.rule for kind in KINDS if kind.rule} == set(RULES)
    assert parse("predictions/val/x") is None


def test_on_a_bucket_nothing_outside_the_prefix_is_seen(s3_server: SeaweedFS) -> None:
    bucket = s3_server.create_bucket("cleared")
    objects = open_objects(Location(f"s3://{bucket}/mine", s3_server.endpoint_url))
    beside = open_objects(Location(f"s3://{bucket}/mine-too", s3_server.endpoint_url))
    record = Ledger(objects, "val").certify(FINGERPRINTS[0], sha("shard"), unit(0, 1), seconds=1.0, provenance={})
    for store in (objects, beside):
        store.put(layout.weights(sha("nobody's")), b"1")
    client = s3_server.client()
    for prefix in ("mine", "mine-too"):
        key = f"{prefix}/weights/{'0' * 64}"
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"1" * (5 << 20))
    assert survey(objects, Retention()).removals == ()
    now = Retention(grace="0s")
    found = survey(objects, now)
    assert [one.key for one in found.removals] == [layout.weights(sha("nobody's"))]
    assert [(left.key, left.size) for left in found.unfinished] == [(f"weights/{'0' * 64}", 5 << 20)]
    gone, swept = remove(objects, now, found)
    assert ([one.key for one in gone], swept) == ([layout.weights(sha("nobody's"))], 1)
    assert Ledger(objects, "val").damaged(record) is None
    assert [info.key for info in beside.list("")] == [layout.weights(sha("nobody's"))]
    assert len(list(beside.unfinished())) == 1


def test_a_run_goes_on_undisturbed(complete: SmallStudy, undisturbed: SmallStudy, scratch: Path) -> None:
    objects = aged(Folder(complete.store))
    fingerprint = complete.fingerprints()["narrow-0"]
    orphan = layout.predictions(DATA, fingerprint, sha("late"), sha("late"))
    objects.put(orphan, b"late")
    old = time.time() - 2 * DAY
    os.utime(objects.path(orphan), (old, old))
    added = net("added", 7, delay=0.3)
    complete.add(added)
    study = load_study(complete.path)
    command = Command("run", str(complete.path), "--json", scratch=scratch)
    rounds, gone = 0, list[str]()
    try:
        while command.process.poll() is None:
            gone += [one.key for one in clear(study, delete=True).removed]
            rounds += 1
        ran = command.wait(300)
    finally:
        command.end()
    assert ran.code == 0, ran
    assert (ran.outcome["computed"], rounds > 1, gone) == (6, True, [orphan])
    assert not equal(
        {"pairs": complete.tables()["pairs"].filter(~_of("added"))}, {"pairs": undisturbed.tables()["pairs"]}
    )


def _of(model: str) -> pl.Expr:
    return (pl.col("model_a") == model) | (pl.col("model_b") == model)


def test_the_verb_first_says_and_then_does(complete: SmallStudy) -> None:
    objects = aged(Folder(complete.store))
    objects.put("check/00", b"1")
    os.utime(objects.path("check/00"), (0, 0))
    objects.put("theirs", b"1")
    ran = invoke("gc", str(complete.path))
    assert "1 probe, 1 bytes: a run that was killed left it" in ran.stdout
    assert "--delete removes them" in ran.stdout
    assert "1 objects are none of overlap's and stay: theirs" in ran.stdout
    assert objects.head("check/00") is not None
    told = json.loads(invoke("gc", str(complete.path), "--delete", "--json").stdout)
    assert (told["keys"], told["unknown"]) == (["check/00"], ["theirs"])
    assert "nothing to remove" in invoke("gc", str(complete.path), "--dry-run").stdout


@pytest.mark.parametrize("wrong", ["", "24", "1 d", "-1h", "h", "1w"])
def test_a_time_has_a_unit(complete: SmallStudy, wrong: str) -> None:
    complete.write(retention={"withdrawn": wrong})
    with pytest.raises(StudyError, match=r"retention.withdrawn.*90m, 24h, 30d"):
        load_study(complete.path)
    assert [seconds("90m"), seconds("0.5d")] == [5400, 43200]
