"""What is truncated, altered or deleted in the store after the fact is found when it is read, named, and made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.small_study import DATA, Ran, SmallStudy, equal
from tests.study_fixtures import Run


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def alter(path: Path) -> None:
    """Flip one bit in the middle."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 4
    path.write_bytes(body)


def alter_rows(path: Path) -> None:
    """Leave it valid JSON that says something else."""
    held = json.loads(path.read_bytes())
    held["rows"] += 1
    path.write_text(json.dumps(held))


def _prediction(study: SmallStudy, model: str) -> Path:
    fingerprint = study.fingerprints()[model]
    return sorted((study.store / "predictions" / DATA / fingerprint).iterdir())[2]


def _record(study: SmallStudy, model: str) -> Path:
    fingerprint = study.fingerprints()[model]
    return sorted((study.store / "records" / DATA / fingerprint).iterdir())[3]


def _complete(study: SmallStudy, model: str, name: str) -> Path:
    found = (study.store / "complete" / DATA).glob(f"*/{study.fingerprints()[model]}/{name}")
    return next(iter(found))


UNITS = {
    "truncated predictions": ("wide-0", _prediction, truncate),
    "altered predictions": ("wide-1", _prediction, alter),
    "deleted predictions": ("narrow-1", _prediction, Path.unlink),
}
VIEWS = {
    "altered hard predictions": ("wide-2", lambda study, model: _complete(study, model, "hard.parquet"), alter),
    "deleted hard predictions": ("resnet", lambda study, model: _complete(study, model, "hard.parquet"), Path.unlink),
    "altered manifest": ("narrow-2", lambda study, model: _complete(study, model, "manifest.json"), alter_rows),
    "truncated manifest": ("narrow-0", lambda study, model: _complete(study, model, "manifest.json"), truncate),
}
Fault = tuple[str, Callable[[SmallStudy, str], Path], Callable[[Path], None]]


def _inflict(study: SmallStudy, fault: Fault) -> Path:
    model, find, spoil = fault
    path = find(study, model)
    spoil(path)
    return path.relative_to(study.store)


def _mended(study: SmallStudy, undisturbed: SmallStudy, ran: Ran, units: int) -> None:
    """Everything is as if nothing had happened, but for `units` records of a new generation."""
    assert ran.code == 0, ran
    assert ran.outcome["computed"] == units, ran
    assert equal(study.tables(), undisturbed.tables()) == []
    assert study.recorded_bytes() == undisturbed.recorded_bytes()
    assert study.objects("complete").keys() == undisturbed.objects("complete").keys()
    before, after = undisturbed.objects(f"records/{DATA}"), study.objects(f"records/{DATA}")
    new = after.keys() - before.keys()
    assert len(new) == units
    assert all(key.endswith(".1.json") for key in new)


@pytest.mark.parametrize("name", ["truncated predictions", "deleted predictions", *VIEWS])
def test_reductions_find_it(name: str, complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    fault = (UNITS | VIEWS)[name]
    path = _inflict(complete, fault)
    (complete.store / "results" / DATA / "reduction.json").unlink()
    shutil.rmtree(complete.store / "answers")  # what is made of predictions: while it is there, they are not read again

    ran = run(complete)

    told = [line for line in ran.stderr.splitlines() if line.startswith("damaged: ")]
    assert any(path.as_posix() in line or complete.fingerprints()[fault[0]] in line for line in told), ran
    assert "Traceback" not in ran.stderr
    assert all("\x1b" not in line for line in told)
    _mended(complete, undisturbed, ran, 1 if name in UNITS else 0)
    assert complete.objects(f"records/{DATA}").items() >= undisturbed.objects(f"records/{DATA}").items()


def test_verify_finds_all_at_once(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    faults = UNITS | VIEWS
    paths = {name: _inflict(complete, fault) for name, fault in faults.items()}
    record = _inflict(complete, ("wide-0", _record, truncate))
    strange = _inflict(complete, ("wide-1", _record, alter_rows))

    ran = run(complete, "--verify")

    for path in [*(paths[name] for name in UNITS), record]:
        assert f"damaged: {path.as_posix()}; its unit is computed again" in ran.stderr.splitlines(), (path, ran)
    told = json.loads((complete.store / strange).read_bytes())["object"]
    assert f"damaged: {told}; its unit is computed again" in ran.stderr.splitlines(), ran
    _mended(complete, undisturbed, ran, 5)


def test_altered_record_is_found_where_units_are_put_together(
    complete: SmallStudy, undisturbed: SmallStudy, run: Run
) -> None:
    record = _inflict(complete, ("narrow-1", _record, truncate))
    _complete(complete, "narrow-1", "manifest.json").unlink()

    ran = run(complete)

    assert f"damaged: {record.as_posix()}; its unit is computed again" in ran.stderr.splitlines(), ran
    _mended(complete, undisturbed, ran, 1)


@pytest.mark.parametrize("spoil", [truncate, Path.unlink])
def test_tables_are_made_again(
    complete: SmallStudy, undisturbed: SmallStudy, run: Run, spoil: Callable[[Path], None]
) -> None:
    path = next((complete.store / "results" / DATA).glob("*/pairs.parquet"))
    spoil(path)
    (complete.store / "results" / DATA / "pairs.parquet").write_bytes(b"")

    ran = run(complete)

    assert path.relative_to(complete.store).as_posix() in ran.stderr, ran
    assert ran.outcome["reduced"]
    _mended(complete, undisturbed, ran, 0)
    assert path.read_bytes() == (complete.store / "results" / DATA / "pairs.parquet").read_bytes()


def test_unreadable_notes_are_written_anew(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    """What only saves work (memos) or sums up (reduction.json, the snapshot) may be lost without harm."""
    for path in [*(complete.store / "memo").rglob("*.json"), *(complete.store / "studies").glob("*.json")]:
        truncate(path)
    truncate(complete.store / "results" / DATA / "reduction.json")

    ran = run(complete)

    _mended(complete, undisturbed, ran, 0)
    assert ran.outcome["reduced"]


def test_worker_finds_damaged_weights(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    from overlap.identity import digest_file

    assert run(complete).code == 0  # remembers the weights where they are now
    weights = complete.store / "weights" / digest_file(complete.folder / "weights" / "wide-2.safetensors")
    alter(weights)
    _inflict(complete, ("wide-2", _prediction, Path.unlink))
    _complete(complete, "wide-2", "manifest.json").unlink()

    first = run(complete)
    assert first.code == 3, first
    assert len(first.complaints) == 1, first
    assert "wide-2" in first.complaints[0]
    assert weights.name in first.complaints[0]
    assert "--verify" in first.complaints[0]

    _mended(complete, undisturbed, run(complete, "--verify"), 1)
