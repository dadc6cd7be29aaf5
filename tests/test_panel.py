"""Computed and imported predictions side by side: aligned by key, compared as text, refused with the count."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.imports import Imported
from overlap.panel import Panel, assemble
from tests.reference import panel as reference

KEYS = ["k2", "k0", "k1"]
LABELS = np.array([1, 0, 2], np.int32)


def imported(model: str, rows: dict[str, tuple[str, str]]) -> Imported:
    table = pl.DataFrame(
        [(key, *rows[key]) for key in sorted(rows)], schema=["key", "label", "prediction"], orient="row"
    )
    return Imported(model, "0" * 16, table)


RIGHT = {"k0": ("0", "0"), "k1": ("2", "2"), "k2": ("1", "1")}


def test_imports_are_aligned_by_key_beside_computed_ones() -> None:
    other = {"k0": ("0", "2"), "k1": ("2", "2"), "k2": ("1", "0")}
    panel = assemble(
        KEYS, LABELS, {"m": np.array([1, 1, 1], np.int32)}, [imported("z", other), imported("a", RIGHT)], 3
    )
    assert panel.models == ("a", "m", "z")
    assert panel.prediction.tolist() == [[1, 0, 2], [1, 1, 1], [0, 2, 2]]
    assert panel.prediction.dtype == np.int32
    assert panel.correct.tolist() == [[True, True, True], [True, False, False], [False, False, True]]
    assert panel.row("z") == 2
    assert panel.keys == KEYS
    assert panel.refused == {}


def test_what_does_not_fit_is_refused_with_the_count() -> None:
    cases = {
        "lacking": {key: RIGHT[key] for key in ("k0", "k1")},
        "foreign": {**RIGHT, "k9": ("1", "1")},
        "both": {"k0": ("0", "0"), "x": ("1", "1"), "y": ("1", "1")},
        "relabelled": {**RIGHT, "k0": ("1", "0"), "k1": ("0", "0")},
        "named": {key: (f"class {label}", f"class {label}") for key, (label, _) in RIGHT.items()},
        "m": RIGHT,
        "unfinished": RIGHT,
    }
    panel = assemble(
        KEYS,
        LABELS,
        {"m": LABELS},
        [imported(model, rows) for model, rows in cases.items()],
        3,
        reserved=["m", "unfinished"],
    )
    assert panel.models == ("m",)
    assert panel.refused == {
        "lacking": "lacks 1 of 3 keys and has 0 foreign ones; import it again",
        "foreign": "lacks 0 of 3 keys and has 1 foreign ones; import it again",
        "both": "lacks 2 of 3 keys and has 2 foreign ones; import it again",
        "relabelled": "was imported with other labels for 2 of 3 keys (first: 'k0'); check the label column, "
        "or map class names with `names` in the data section",
        "named": "was imported with other labels for 3 of 3 keys (first: 'k2'); check the label column, "
        "or map class names with `names` in the data section",
        "m": "is imported under the name of a checkpoint; rename one of them",
        "unfinished": "is imported under the name of a checkpoint; rename one of them",
    }


def test_class_names_map_to_numbers() -> None:
    names = ("cat", "dog", "1")  # even where a name looks like another class's number
    rows = {"k0": ("cat", "cat"), "k1": ("1", "dog"), "k2": ("dog", "a wolf")}
    panel = assemble(KEYS, LABELS, {}, [imported("a", rows)], 3, names)
    assert panel.refused == {}
    assert panel.prediction.tolist() == [[3, 0, 1]]
    numbers = {"k0": ("0", "0"), "k1": ("2", "cat"), "k2": ("dog", "2")}
    panel = assemble(KEYS, LABELS, {}, [imported("a", numbers)], 3, names)
    assert panel.prediction.tolist() == [[2, 0, 0]]


def test_imports_alone_make_their_own_codes() -> None:
    rows = {"b": ("dog", "cat"), "a": ("cat", "cat"), "c": ("07", "7")}
    other = {"a": ("cat", "ox"), "b": ("dog", "dog"), "c": ("07", "07")}
    panel = assemble(None, None, {}, [imported("x", rows), imported("y", other), imported("z", {"a": ("cat", "cat")})])
    assert list(panel.keys) == ["a", "b", "c"]
    assert panel.correct.tolist() == [[True, False, False], [False, True, True]]
    assert panel.refused == {"z": "lacks 2 of 3 keys and has 0 foreign ones; import it again"}


def test_nothing_at_all() -> None:
    for panel in (assemble(None, None, {}, []), assemble([], np.empty(0, np.int32), {}, [], 3)):
        assert panel == Panel((), panel.keys, panel.labels, panel.prediction, {})
        assert panel.prediction.shape == (0, 0)
        assert panel.correct.shape == (0, 0)


texts = st.sampled_from(["0", "1", "2", "cat", "dog", "x", "01"])
tables = st.dictionaries(st.sampled_from(["k0", "k1", "k2", "k3"]), st.tuples(texts, texts), min_size=1, max_size=4)


@given(st.lists(tables, min_size=1, max_size=5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_against_the_reference(zoo: list[dict[str, tuple[str, str]]], named: bool) -> None:
    names = ("cat", "dog", "fish") if named else ()
    imports = [imported(f"m{number}", rows) for number, rows in enumerate(zoo)]
    panel = assemble(None, None, {}, imports, 3 if named else 0, names)
    truth = {key: label for key, (label, _) in sorted(zoo[0].items())}
    fitting = [number for number, rows in enumerate(zoo) if reference.fits(truth, rows, names)]
    assert panel.models == tuple(f"m{number}" for number in fitting)
    assert set(panel.refused) == {f"m{number}" for number in range(len(zoo)) if number not in fitting}
    assert list(panel.keys) == list(truth)
    for row, number in enumerate(fitting):
        assert panel.correct[row].tolist() == reference.right(truth, zoo[number], names)
        for other_row, other in enumerate(fitting):  # one text, one code
            same = [
                reference.number_of(zoo[number][key][1], names) == reference.number_of(zoo[other][key][1], names)
                for key in truth
            ]
            assert (panel.prediction[row] == panel.prediction[other_row]).tolist() == same


def test_a_thousand_classes_of_many_imports_are_coded_quickly() -> None:
    keys = [f"k{number:05}" for number in range(5000)]
    texts = [f"class {number % 1000}" for number in range(5000)]
    table = pl.DataFrame({"key": keys, "label": texts, "prediction": texts[1:] + texts[:1]})
    started = perf_counter()
    panel = assemble(None, None, {}, [Imported(f"m{number:03}", "0", table) for number in range(60)])
    assert perf_counter() - started < 5
    assert panel.prediction.shape == (60, 5000)
    assert len(np.unique(panel.prediction)) == 1000
