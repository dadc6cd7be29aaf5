"""A broken checkpoint is named, with the mend, and never stops the others."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.small_study import DATA, Entry, SmallStudy, net, save_weights
from tests.study_fixtures import Run

SEED = 11


class Foreign:
    """What no file of weights should need."""


def _wrong_shapes(study: SmallStudy) -> Entry:
    entry = net("wrong-shapes", SEED, width=32)
    save_weights(study.folder, net("wrong-shapes", SEED))
    return entry


def _other_tensors(study: SmallStudy) -> Entry:
    return net("other-tensors", SEED) | {"weights": "weights/resnet.safetensors"}


def _missing_file(study: SmallStudy) -> Entry:
    return net("missing-file", SEED) | {"weights": "weights/nowhere.safetensors"}


def _truncated_file(study: SmallStudy) -> Entry:
    path = save_weights(study.folder, net("truncated-file", SEED))
    path.write_bytes(path.read_bytes()[:-50])
    return net("truncated-file", SEED)


def _unknown_architecture(study: SmallStudy) -> Entry:
    entry = {name: value for name, value in net("unknown-architecture", SEED).items() if name not in {"factory"}}
    return entry | {"source": "timm:test_resnett", "arguments": {}, "weights": "weights/resnet.safetensors"}


def _no_such_factory(study: SmallStudy) -> Entry:
    return net("no-such-factory", SEED, factory="nobody_wrote_this:build") | {"weights": "weights/narrow-0.safetensors"}


def _factory(name: str, attribute: str, **arguments: Any) -> Any:
    def entry(study: SmallStudy) -> Entry:
        made = net(name, SEED, factory=f"small_nets:{attribute}", **arguments)
        return made | {"weights": "weights/narrow-0.safetensors"}

    return entry


def _wrong_classes(study: SmallStudy) -> Entry:
    """A factory with eight classes, and weights that fit it."""
    from tests import small_nets

    torch.manual_seed(SEED)
    torch.save(small_nets.Net.build(classes=8).state_dict(), study.folder / "weights" / "wrong-classes.pth")
    return net("wrong-classes", SEED, classes=8) | {"weights": "weights/wrong-classes.pth"}


def _pickle_that_needs_more(study: SmallStudy) -> Entry:
    state = torch.load(_pth(study), weights_only=True)
    torch.save({"state_dict": state, "made by": Foreign()}, study.folder / "weights" / "needs-more.pth")
    return net("needs-more", SEED) | {"weights": "weights/needs-more.pth"}


def _bare_pickle(study: SmallStudy) -> Entry:
    path = study.folder / "weights" / "bare-pickle.pth"
    path.write_bytes(pickle.dumps({"a": Foreign()}, protocol=2))
    return net("bare-pickle", SEED) | {"weights": "weights/bare-pickle.pth"}


def _pth(study: SmallStudy) -> Path:
    from safetensors.torch import load_file

    path = study.folder / "weights" / "narrow-0.pth"
    torch.save(load_file(study.folder / "weights" / "narrow-0.safetensors"), path)
    return path


BROKEN: dict[str, tuple[Any, str, str]] = {
    # entry, what its line says, how models.parquet lists it
    "wrong-shapes": (
        _wrong_shapes,
        r"weights \S+wrong-shapes.safetensors do not fit small_nets:Net.build: 3 of another shape: .*"
        r"\(16, 48\) in the file, \(32, 48\) in the module.*; check architecture, arguments and classes",
        "incomplete",
    ),
    "other-tensors": (_other_tensors, r"do not fit small_nets:Net.build: 4 missing: .*not in the module", "incomplete"),
    "missing-file": (_missing_file, r"\S+nowhere.safetensors: No such file.*; check the path", "rejected"),
    "truncated-file": (
        _truncated_file,
        r"\S+truncated-file.safetensors cannot be read .*; copy or export",
        "incomplete",
    ),
    "unknown-architecture": (
        _unknown_architecture,
        r"timm has no model 'test_resnett'; nearest: test_resnet",
        "rejected",
    ),
    "no-such-factory": (_no_such_factory, r"no module 'nobody_wrote_this'; put it beside the study file", "rejected"),
    "raising-factory": (
        _factory("raising-factory", "refuse"),
        r"factory 'small_nets:refuse' raised ValueError: no such arguments",
        "incomplete",
    ),
    "no-module": (
        _factory("no-module", "list_of_layers"),
        r"returned list; it must return a torch.nn.Module",
        "incomplete",
    ),
    "no-attribute": (_factory("no-attribute", "Nets.build"), r"has no attribute 'Nets'", "incomplete"),
    "wrong-classes": (_wrong_classes, r"returned \(\d+, 8\), not logits of shape \(\d+, 10\)", "incomplete"),
    "two-too-few": (_factory("two-too-few", "TwoTooFew.build"), r"\(\d+, 8\), not logits of shape", "incomplete"),
    "not-a-number": (
        _factory("not-a-number", "NotANumber.build"),
        r"sample '?digit-\d+'?: .*nan.*; check the weights",
        "incomplete",
    ),
    "raising-forward": (
        _factory("raising-forward", "Raises.build"),
        r"forward raised RuntimeError: the forward pass gave up$",
        "incomplete",
    ),
    "needs-more": (_pickle_that_needs_more, r"\S+needs-more.pth .*refused.*allow_pickle = true", "incomplete"),
    "bare-pickle": (_bare_pickle, r"\S+bare-pickle.pth .*refused.*allow_pickle = true", "incomplete"),
}


@pytest.fixture(scope="module")
def ran(undisturbed: SmallStudy, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One run of a study of good checkpoints and of every kind of broken one."""
    study = undisturbed.copy(tmp_path_factory.mktemp("broken") / "study")
    for make, _, _ in BROKEN.values():
        study.add(make(study), weights=False)
    return study, run(study)


def test_the_others_are_published(ran: Any, undisturbed: SmallStudy) -> None:
    study, done = ran
    assert done.code == 3, done
    assert set(done.outcome["failed"]) == set(BROKEN)
    assert done.outcome["computed"] == 0, "what was certified is kept"
    good = set(undisturbed.fingerprints())
    tables, before = study.tables(), undisturbed.tables()
    for name in ("pairs", "pair_ensembles", "ensembles", "categories"):
        assert tables[name].equals(before[name]), name
    models = tables["models"].filter(pl.col("model").is_in(good))
    assert models.equals(before["models"].filter(pl.col("model").is_in(good)))
    assert (study.store / "results" / DATA / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", BROKEN)
def test_one_line_names_it_and_the_mend(ran: Any, name: str) -> None:
    study, done = ran
    _, pattern, status = BROKEN[name]
    lines = [line for line in done.complaints if re.match(rf"failed: ({name}: |checkpoint '{name}'|.*'{name}')", line)]
    assert len(lines) == 1, done.stderr
    assert re.search(pattern, lines[0]), lines[0]
    assert "\x1b" not in lines[0]
    row = study.tables()["models"].filter(pl.col("model") == name).row(0, named=True)
    assert row["status"] == status
    assert row["n"] in {0, None}
    assert row["accuracy"] is None


def test_nothing_else_is_said(ran: Any) -> None:
    _, done = ran
    assert len(done.complaints) == len(BROKEN), done.complaints


def test_pickles_never_ran(ran: Any) -> None:
    """The refused file is one that would have run: with `allow_pickle` it does, and the model is complete."""
    study, _ = ran
    with zipfile.ZipFile(study.folder / "weights" / "needs-more.pth") as file:
        assert any(b"Foreign" in file.read(name) for name in file.namelist())


def test_mended_ones_alone_are_computed(ran: Any, run: Run, undisturbed: SmallStudy) -> None:
    study, _ = ran
    save_weights(study.folder, net("wrong-shapes", SEED, width=32))
    for entry in study.entries:
        if entry["id"] == "needs-more":
            entry["allow_pickle"] = True
    for name in set(BROKEN) - {"wrong-shapes", "needs-more"}:
        study.remove(name)

    done = run(study)

    assert done.code == 0, done
    assert done.outcome["computed"] == 12, done
    models = study.tables()["models"]
    assert set(models["model"]) == {*undisturbed.fingerprints(), "wrong-shapes", "needs-more"}
    assert set(models["status"]) == {"complete"}
    assert list((study.store / "failures" / DATA).rglob("*.json")) == []


def test_a_network_that_ends_its_process(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    """It is given up after a few processes; what stood behind it in the queue is not."""
    complete.add(_factory("crashes", "Crashes.build")(complete), weights=False)
    complete.add(net("new-0", 5))
    complete.add(net("new-1", 6))

    done = run(complete)

    assert done.code == 3, done
    assert done.complaints == [
        "failed: crashes: its worker died again and again while running it",
    ]
    assert done.outcome["computed"] == 12
    models = complete.tables()["models"]
    assert dict(zip(models["model"], models["status"], strict=True)) == {
        **dict.fromkeys([*undisturbed.fingerprints(), "new-0", "new-1"], "complete"),
        "crashes": "incomplete",
    }


def test_a_rejected_checkpoint_comes_and_goes(complete: SmallStudy, undisturbed: SmallStudy, run: Run) -> None:
    """It changes no number, but the tables list it as long as the study names it."""
    complete.add(_missing_file(complete), weights=False)
    first = run(complete)
    assert first.code == 3, first
    assert "missing-file" in set(complete.tables()["models"]["model"])
    complete.remove("missing-file")
    second = run(complete)
    assert second.code == 0, second
    assert complete.tables()["models"].equals(undisturbed.tables()["models"])
