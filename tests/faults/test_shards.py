"""Bad shards are named with the mend; the rest is predicted, and after the mend only what is missing."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.small_study import CLASSES, DATA, SmallStudy, equal
from tests.study_fixtures import Run

Members = list[tuple[str, bytes]]
PATTERN = "data/part-{000000..000005}.tar"


def _rewritten(path: Path, change: Callable[[Members], None]) -> None:
    with tarfile.open(path) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))


def corrupt_image(path: Path) -> None:
    def change(members: Members) -> None:
        place = next(n for n, (name, _) in enumerate(members) if n > 20 and name.endswith(".png"))
        name, body = members[place]
        members[place] = (name, body[: len(body) // 2])

    _rewritten(path, change)


def no_label(path: Path) -> None:
    _rewritten(path, lambda members: members.remove(next(m for m in members[9:] if m[0].endswith(".cls"))))


def strange_label(path: Path) -> None:
    def change(members: Members) -> None:
        place = next(n for n, (name, _) in enumerate(members) if n > 9 and name.endswith(".cls"))
        members[place] = (members[place][0], str(CLASSES).encode())

    _rewritten(path, change)


def doubled_key(path: Path) -> None:
    _rewritten(path, lambda members: members.extend(members[:2]))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD: list[tuple[Callable[[Path], None], str]] = [
    (corrupt_image, r"image 'digit-\d+' is corrupt \(.*\); mend the shard, or name \S+ under allow_missing_shards"),
    (truncate, r"truncated.*; copy or pack it again"),
    (no_label, r"sample 'digit-\d+' has no label \(a .cls file\); pack it again"),
    (doubled_key, r"key 'digit-\d+' stands there twice; keys must be unique"),
    (Path.unlink, r"No such file or directory; check the path in the study"),
    (strange_label, r"sample 'digit-\d+' has label 10, outside 0..9; mend the .cls file or `classes` in the study"),
]


def _part(study: SmallStudy, number: int) -> Path:
    return study.folder / "data" / f"part-{number:06d}.tar"


def test_bad_shards_block_what_they_must_and_no_more(fresh: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    """Five of six shards are bad, each in another way."""
    fresh.write(**{DATA: {"shards": PATTERN}})
    bad = {number: fault for number, fault in enumerate(BAD) if number < 5}
    whole = {number: _part(fresh, number).read_bytes() for number in bad}
    for number, (spoil, _) in bad.items():
        spoil(_part(fresh, number))

    first = run(fresh)

    assert first.code == 3, first
    assert first.outcome["computed"] == 7, "one good shard for each checkpoint"
    assert first.outcome["failed"] == {}, "no checkpoint is at fault"
    assert not first.outcome["reduced"]
    assert not (fresh.store / "results").exists()
    lines = [line for line in first.complaints if line.startswith("unreadable: ")]
    assert len(lines) == len(bad), first.stderr
    for number, (_, pattern) in bad.items():
        line = next(line for line in lines if line.startswith(f"unreadable: part-{number:06d}.tar: "))
        assert re.search(pattern, line), line
        assert f"part-{number:06d}.tar" in line.removeprefix(f"unreadable: part-{number:06d}.tar: ")
    certified = fresh.objects(f"records/{DATA}")
    assert len(certified) == 7

    fresh.write(**{DATA: {"shards": PATTERN, "allow_missing_shards": [_part(fresh, n).name for n in bad]}})
    second = run(fresh)

    assert second.code == 0, second
    assert second.outcome["computed"] == 0
    assert set(fresh.tables()["models"]["n"]) == {40}
    assert set(fresh.tables()["pairs"]["n"]) == {40}
    page = (fresh.store / "results" / DATA / "report.html").read_text()
    assert all(f"shard {_part(fresh, number).name} is left out" in page for number in bad)

    for number, body in whole.items():
        _part(fresh, number).write_bytes(body)
    fresh.write(**{DATA: {"shards": PATTERN}})
    third = run(fresh)

    assert third.code == 0, third
    assert third.outcome["computed"] == 35
    assert third.outcome["images_decoded"] == 200
    assert certified.items() <= fresh.objects(f"records/{DATA}").items()
    assert fresh.recorded_bytes() == undisturbed.recorded_bytes()
    assert equal(fresh.tables(), undisturbed.tables()) == []


def test_a_label_that_is_no_class(complete: SmallStudy, run: Run) -> None:
    spoil, pattern = BAD[5]
    spoil(_part(complete, 2))
    before = (complete.store / "results" / DATA / "reduction.json").read_bytes()
    ran = run(complete)
    assert ran.code == 3, ran
    assert ran.outcome["computed"] == 0, ran
    assert len(ran.complaints) == 1, ran
    assert re.search(pattern, ran.complaints[0])
    assert "digits: nothing reduced: mend the shards, or name them in allow_missing_shards" in ran.stderr
    assert (complete.store / "results" / DATA / "reduction.json").read_bytes() == before


def test_one_key_in_two_shards(complete: SmallStudy, run: Run) -> None:
    """Samples could not be told apart by key: refused before anything runs."""
    shard, other = _part(complete, 0), complete.folder / "data" / "part-000006.tar"
    other.write_bytes(shard.read_bytes())
    _rewritten(other, lambda members: members.__delitem__(slice(2, None)))
    ran = run(complete)
    assert ran.code == 2, ran
    assert ran.stdout == ""
    assert len(ran.complaints) == 1, ran
    assert re.fullmatch(
        r"error: key 'digit-\d+' stands in \S+part-000000.tar and in \S+part-000006.tar; .*", ran.complaints[0]
    )


def test_other_labels_cost_no_prediction(complete: SmallStudy, run: Run) -> None:
    """Labels are in no fingerprint: relabelling one sample reduces again, and predicts nothing."""

    def relabel(members: Members) -> None:
        place = next(n for n, (name, _) in enumerate(members) if name.endswith(".cls"))
        members[place] = (members[place][0], str((int(members[place][1]) + 1) % CLASSES).encode())

    before = complete.tables()["models"]
    _rewritten(_part(complete, 3), relabel)
    ran = run(complete)
    assert ran.code == 0, ran
    assert ran.outcome["computed"] == 0
    assert ran.outcome["reduced"]
    after = complete.tables()["models"]
    shift = (after["accuracy"] - before["accuracy"]).abs() * 240
    assert shift.max() == pytest.approx(1)
    assert after.filter(pl.col("n") != 240).is_empty()
