"""Arrays under the name of their digest: whole or not there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from overlap.analysis.ensembles.soft_scores import SoftScores
from overlap.analysis.splits import FOLDS
from overlap.analysis.tally import Together
from overlap.store import kept, layout
from overlap.store.folder import Folder
from overlap.store.kept import Asked
from workflows.reductions.pair_rows import PairRows

FP, SOURCE, CONTEXT = "f" * 16, "a" * 64, "c" * 64
ARRAYS = {
    "halves": np.arange(6, dtype=np.float16).reshape(2, 3)[:, ::-1],
    "nothing": np.empty((0, 4), np.uint16),
    "flags": np.array([True, False]),
}


def write(objects: Folder) -> str:
    return kept.write(objects, lambda digest: layout.answers("val", CONTEXT, FP, SOURCE, digest), ARRAYS)


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    key = write(objects)
    assert write(objects) == key
    assert layout.parse_answers(key) == (CONTEXT[:16], FP, SOURCE[:16])
    assert layout.parse_answers(key + "x") is None
    found = kept.read(objects, key)
    assert found is not None
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_is_not_whole_is_not_there(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    key = write(objects)
    body = objects.get(key)
    for damaged in (b"", body[:-1], body[:50], body[:-3] + b"\1" + body[-2:], body + b"\0"):
        objects.put(key, damaged)
        assert kept.read(objects, key) is None
    objects.delete([key])
    assert kept.read(objects, key) is None
    assert kept.header(objects, key) == {}
    write(objects)
    assert kept.read(objects, key) is not None


Pair = tuple[tuple[str, str], tuple[str, str]]


def pairs_of(objects: Folder, pairs: list[Pair], context: str = CONTEXT) -> str:
    """An object of these pairs, as reductions keep them."""
    soft = SoftScores(0, np.empty((3, len(pairs))), np.empty((3, len(pairs))), np.empty((len(pairs), FOLDS, 2)))
    together = Together(np.empty((len(pairs), 3, 4), np.int64), np.empty(0, np.uint8), np.zeros(len(pairs) + 1, int))
    return PairRows(tuple(pairs), soft, together).write(objects, "val", context)


def short(pairs: list[Pair]) -> set[Pair]:
    return {((one[0], one[1][:16]), (two[0], two[1][:16])) for one, two in pairs}


def test_an_object_says_which_pairs_it_holds(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    names = [(f"{number:016x}", f"{number:064x}") for number in range(3000)]
    for pairs in ([*pairwise(names)], [(names[0], names[2])], []):
        key = pairs_of(objects, pairs)
        assert kept.pairs_in(objects, key) == short(pairs)
        assert PairRows.read(objects, key) is not None
    for damaged in (b"", b"\xff" * 100, objects.get(key)[:90]):
        objects.put(key, damaged)
        assert kept.pairs_in(objects, key) == frozenset()
    objects.delete([key])
    assert kept.pairs_in(objects, key) == frozenset()


def test_what_a_reduction_asks_for_is_read_as_it_was_said(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    asked = Asked.of("1" * 64, "2" * 64, [(FP, SOURCE), ("e" * 16, "b" * 64)])
    asked.write(objects, "val@real", "3" * 64)
    body = objects.get(f"results/val@real/{'3' * 16}/kept.json")
    assert Asked.from_json(body) == asked
    assert asked.less([FP]).names == {("e" * 16, "b" * 16)}
    for damaged in (b"", body[:-3], b"[]", b"{}", b"1", b'{"answers":"1","pairs":"2","names":[["one"]]}'):
        assert Asked.from_json(damaged) is None


def test_what_nobody_asks_for_is_unreachable(tmp_path: Path) -> None:
    """Another context, another checkpoint, other units of the same one, and pairs of which fewer than two are left."""
    objects = Folder(tmp_path)
    names = [(f"{number:016x}", f"{number:064x}") for number in range(4)]
    other = "d" * 64
    answers = {
        (context, *name): layout.answers("val", context, *name, "0" * 64)
        for context in (CONTEXT, other)
        for name in names
    }
    answers[CONTEXT, names[0][0], other] = layout.answers("val", CONTEXT, names[0][0], other, "0" * 64)
    several = {"012": [(0, 1), (0, 2), (1, 2)], "row of 3": [(0, 3), (1, 3), (2, 3)], "23": [(2, 3)]}
    pairs = {
        (context, name): pairs_of(objects, [(names[one], names[two]) for one, two in some], context)
        for context in (CONTEXT, other)
        for name, some in several.items()
    }
    renewed = pairs_of(objects, [(names[0], (names[1][0], other))])
    keys = [*answers.values(), *pairs.values(), renewed]
    assert set(kept.unreachable(objects, keys, [])) == set(keys)
    one, two = Asked.of(CONTEXT, CONTEXT, names[:3]), Asked.of(CONTEXT, other, names[2:])
    reached = {*(answers[CONTEXT, *name] for name in names[:3]), pairs[CONTEXT, "012"]}
    assert set(kept.unreachable(objects, keys, [one])) == set(keys) - reached
    reached |= {answers[CONTEXT, *names[3]], pairs[other, "row of 3"], pairs[other, "23"]}
    assert set(kept.unreachable(objects, keys, [one, two])) == set(keys) - reached
    objects.put(pairs[other, "23"], b"\xff" * 100)
    assert set(kept.unreachable(objects, keys, [one, two])) == set(keys) - reached | {pairs[other, "23"]}
