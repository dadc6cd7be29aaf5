"""Weights files as people keep them, and those that are refused or unreadable."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from overlap.errors import CheckpointError
from overlap.zoo.state_dicts import is_safetensors, read_state_dict, without_prefixes

STATE = {"conv.weight": torch.arange(12.0).view(3, 4), "bias": torch.tensor([1.5, -2.0])}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> bool:
    return set(found) == set(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


def refused(path: Path, *, allow_pickle: bool = False) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path, "zoo/a.pth", allow_pickle=allow_pickle)
    message = str(caught.value)
    assert message.startswith("weights zoo/a.pth ")
    assert "\n" not in message
    return message


WRAPPED: dict[str, Any] = {
    "bare": STATE,
    "state_dict": {"state_dict": STATE, "epoch": 3, "arch": "resnet50"},
    "model": {"model": STATE, "optimizer": {"state": {}, "lr": 0.1}},
    "the average before the last": {"model": {"x": torch.zeros(1)}, "state_dict_ema": STATE},
    "model_ema": {"state_dict": {"x": torch.zeros(1)}, "model_ema": STATE},
}


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torch_files_in_their_wrappers(kind: str, zipped: bool, tmp_path: Path) -> None:
    torch.save(WRAPPED[kind], tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert not is_safetensors(tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth", "w"))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w"])
def test_content_and_not_the_name_says_what_a_file_is(name: str, tmp_path: Path) -> None:
    save_file(STATE, tmp_path / name)
    assert same(read_state_dict(tmp_path / name, "w"))


def test_a_safetensors_header_of_any_length_is_one(tmp_path: Path) -> None:
    """Its length comes first: 128 looks like a pickle (0x80), 19280 like a zip file (PK)."""
    first_bytes = set()
    for length in (128, 384, 0x4B50, 4224):
        header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        data = struct.pack("<Q", length) + header.ljust(length) + struct.pack("<f", 2.5)
        (tmp_path / "w").write_bytes(data)
        first_bytes.add(data[:2])
        assert same(read_state_dict(tmp_path / "w", "w"), {"a": torch.tensor([2.5])}), length
    assert {b"\x80\x00", b"PK"} <= first_bytes


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_is_refused_named_and_nothing_runs(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = tmp_path / "ran"
    monkeypatch.setenv("EVIL_FOLDER", str(evidence))
    torch.save({"model": STATE, "x": Evil()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    message = refused(tmp_path / "evil.pth")
    assert "posix.mkdir" in message
    assert "set allow_pickle = true for this checkpoint only if you trust who made the file" in message
    assert not evidence.exists()
    assert same(read_state_dict(tmp_path / "evil.pth", "w", allow_pickle=True))
    assert evidence.exists()


def test_training_arguments_are_refused_unless_allowed(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "args": argparse.Namespace(lr=0.1)}, tmp_path / "w.pth")
    assert "(argparse.Namespace)" in refused(tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth", "w", allow_pickle=True))


def test_a_whole_module_is_read_where_pickles_are_allowed(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 3))
    torch.save(module, tmp_path / "w.pth")
    assert "torch.nn.modules.container.Sequential" in refused(tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth", "w", allow_pickle=True), dict(module.state_dict()))
    torch.save({"model": module}, tmp_path / "w.pth")
    assert same(read_state_dict(tmp_path / "w.pth", "w", allow_pickle=True), dict(module.state_dict()))


def torch_bytes(value: Any, *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


UNREADABLE = {
    "safetensors cut": save(STATE)[:-5],
    "safetensors cut in its header": save(STATE)[:40],
    "zip cut": torch_bytes(STATE, zipped=True)[:-200],
    "legacy cut": torch_bytes(STATE, zipped=False)[:-20],
    "legacy cut early": torch_bytes(STATE, zipped=False)[:30],
    "empty": b"",
    "one byte": b"\x80",
    "a page of a login": b"<!doctype html><title>Sign in</title>" * 30,
    "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "some other zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("allow_pickle", [False, True])
def test_unreadable_files_are_not_taken_for_dangerous_ones(kind: str, allow_pickle: bool, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(UNREADABLE[kind])
    message = refused(tmp_path / "w", allow_pickle=allow_pickle)
    assert "cannot be read" in message
    assert "allow_pickle" not in message
    if kind.startswith("a p"):
        assert "no safetensors and no torch file" in message


@pytest.mark.parametrize("value", [[1, 2], {"epoch": 3}, {"state_dict": {"a": 1}}, torch.zeros(2)])
def test_what_holds_no_state_dict_says_so(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "w.pth")
    assert "hold no state dict; save module.state_dict()" in refused(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_plain_pickle_of_python_values_is_no_state_dict(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": [1, 2, 3]}))
    assert "cannot be read" in refused(tmp_path / "w.pkl")


EXPECTED = {"conv.weight", "bias"}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_fall(prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in STATE.items()}
    assert same(without_prefixes(state, EXPECTED))


def test_a_prefix_that_is_the_modules_own_stays() -> None:
    own = {f"module.{name}": tensor for name, tensor in STATE.items()}
    assert same(without_prefixes(own, set(own)), own)
    twice = {f"module.{name}": tensor for name, tensor in own.items()}
    assert same(without_prefixes(twice, set(own)), own)


def test_a_prefix_that_not_all_bear_stays() -> None:
    mixed = {"module.conv.weight": STATE["conv.weight"], "other": STATE["bias"]}
    assert without_prefixes(mixed, EXPECTED) == mixed
    assert without_prefixes({}, EXPECTED) == {}
