"""`overlap plan`: how long it takes and what it asks of the store at full size, and what it says of costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from overlap.images.shards import Shard
from overlap.study import load_study
from overlap.zoo import costs as costing
from overlap.zoo.checkpoint import Architecture, Candidate, Checkpoint
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing
from tests.store.counting import counted
from tests.workflows import large_study
from workflows import explain
from workflows.explain import explain_plan

GIB = 1 << 30


@pytest.mark.parametrize(("half_done", "most_requests", "most_seconds"), [(0, 75, 5), (10, 210, 15)])
def test_a_thousand_checkpoints_on_64_shards_are_planned_in_seconds(
    tmp_path: Path, half_done: int, most_requests: int, most_seconds: float
) -> None:
    study = large_study.make(tmp_path, 1000, 64)
    large_study.certify(study, half_done)
    explain_plan(load_study(study.path))  # the memo of all weights is made of those of each
    with counted() as requests:
        started = monotonic()
        planned = explain_plan(load_study(study.path))
        seconds = monotonic() - started
    print(f"{seconds:.2f} s, {dict(requests)}")
    (total,) = planned.totals
    halves = 100 if half_done else 0
    assert (total.units, total.reused) == (halves * 32, 64_000 - halves * 32)
    assert sum(requests.values()) <= most_requests, dict(requests)
    assert requests["put"] == requests["head"] == 0
    assert seconds < most_seconds


def test_a_partly_new_study_is_costed_from_measured_units(tmp_path: Path) -> None:
    study = large_study.make(tmp_path, 20, 4)
    plan = large_study.certify(study, 2)
    planned = explain_plan(study)
    (total,) = planned.totals
    flops = {c.fingerprint: costing.guess(c).flops for c in plan.checkpoints}
    rates = sorted(flops[c.fingerprint] * 4 * 781 / 96 for c in plan.checkpoints[1::2])
    speed = (rates[4] + rates[5]) / 2
    for checkpoint, row in zip(plan.checkpoints, planned.rows, strict=True):
        assert row.fingerprint == checkpoint.fingerprint
        if row.units:
            assert row.images == 2 * 781
            assert row.seconds == pytest.approx(flops[checkpoint.fingerprint] * 2 * 781 / speed)
        else:
            assert row.seconds is None
    assert total.seconds == pytest.approx(sum(row.seconds or 0 for row in planned.rows))
    assert total.images == 2 * 781
    assert total.decoded_bytes == 2 * 781 * 3 * 224 * 224
    assert total.weights_bytes == sum(c.weights_bytes for c in plan.checkpoints[::2])
    assert total.speed.startswith("as measured of 10 checkpoints on NVIDIA H100; operations of 10 guessed")
    text = explain.lines(planned, explain=False)
    assert "reads 1,562 images (0.0 kB), decodes them to 235.1 MB" in text


def test_without_history_the_assumption_is_said_and_what_does_not_fit_is_named(tmp_path: Path) -> None:
    study = large_study.make(tmp_path, 3, 2)
    planned = explain_plan(study, gpu_memory=GIB // 4)
    (total,) = planned.totals
    assert total.units == 6
    assert total.speed.startswith("10 TFLOP/s, which is assumed")
    assert [row.fits for row in planned.rows] == [False] * 3
    text = explain.lines(planned, explain=False)
    assert text.count("will not fit: it takes 0.5 GiB at least") == 3
    assert all(row.fits for row in explain_plan(study, gpu_memory=GIB).rows)
    assert [row.fits for row in explain_plan(study).rows] == [None] * 3
    assert explain.as_json(planned)["totals"][0]["units"] == 6


def candidate(name: str, size: int = 224, library: str = "timm") -> Candidate:
    return Candidate("one", Architecture(library, name), Preprocessing((size, size)), Numeric(), 1000, "weights")


def test_operations_are_those_that_the_papers_state() -> None:
    """ResNet-50: 4.1 billion multiplications (torchvision); ViT-B/16: 86 million weights (Dosovitskiy et al. 2021)."""
    resnet = costing.count(candidate("resnet50"))
    assert resnet is not None
    assert resnet.flops == pytest.approx(2 * 4.1e9, rel=0.02)
    assert resnet.parameters == 25_557_032
    assert resnet.activation_bytes == 4 * 2 * 64 * 112 * 112
    same = costing.count(candidate("resnet50", library="torchvision"))
    assert same == resnet
    half = costing.count(candidate("vit_base_patch16_224"))
    assert half is not None
    assert half.parameters == 86_567_656
    assert costing.count(candidate("no_such_model")) is None


def test_what_was_counted_is_remembered_and_a_budget_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from overlap.store.folder import Folder

    store = Folder(tmp_path)
    zoo = [Checkpoint(replace(candidate("test_resnet"), classes=n), f"{n:064x}", 4_000_000) for n in (10, 20)]
    guessed = costing.costs(zoo, store, budget=0)
    assert [cost.counted for cost in guessed.values()] == [False, False]
    assert guessed[zoo[0].fingerprint] == costing.guess(zoo[0])
    assert guessed[zoo[0].fingerprint].flops == 300 * 1_000_000
    counted_now = costing.costs(zoo, store)
    assert [cost.counted for cost in counted_now.values()] == [True, True]
    monkeypatch.setattr(costing, "count", lambda _: pytest.fail("was counted before"))
    assert costing.costs(zoo, store) == counted_now


def test_shards_without_a_size_leave_their_bytes_unsaid(tmp_path: Path) -> None:
    gone = Shard(str(tmp_path / "gone.tar"), "0" * 64, ("a",), (0,))
    assert explain._bytes([gone.uri], None) is None
