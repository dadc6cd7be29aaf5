"""The table of models: columns, order, and what only hard predictions leave null."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from overlap.analysis.calibration import Calibration
from overlap.analysis.models import ModelRow, models_table
from overlap.analysis.notes import model_notes

COLUMNS = [
    *("model", "fingerprint", "n", "accuracy", "top5", "nll", "ece", "temperature", "noise_floor_ei", "status"),
    *("dataset", "framework", "architecture", "hyper_parameters", "seed", "parent", "teacher"),
]


def test_rows_of_all_kinds() -> None:
    fitted = Calibration(1.25, np.ones(5), 0.5, 0.02, None)
    rows = models_table(
        [
            ModelRow("z-import", "f3", "imported", 10, 7),
            ModelRow("a-net", "f1", "complete", 10, 9, fitted, 0.004, {"dataset": "in1k", "seed": "0", "parent": None}),
            ModelRow("b-broken", None, "incomplete"),
        ]
    )
    assert rows.columns == COLUMNS
    first, broken, imported = rows.iter_rows(named=True)
    assert (first["model"], first["accuracy"], first["top5"], first["nll"]) == ("a-net", 0.9, None, 0.5)
    assert (first["ece"], first["temperature"], first["noise_floor_ei"]) == (0.02, 1.25, 0.004)
    assert (first["dataset"], first["seed"], first["parent"], first["teacher"]) == ("in1k", "0", None, None)
    assert (broken["n"], broken["accuracy"], broken["status"], broken["fingerprint"]) == (0, None, "incomplete", None)
    assert (imported["accuracy"], imported["nll"], imported["temperature"]) == (0.7, None, None)
    assert model_notes(rows) == [
        "1 model has no accuracy: not complete, or no image",
        "1 model has no calibration and no ensembles: only their hard predictions are known",
        "1 model has no top-5 accuracy: fewer than five classes",
    ]


def test_no_model_and_no_image() -> None:
    assert models_table([]).columns == COLUMNS
    nothing = models_table([ModelRow("a", "f", "complete", 0, 0, Calibration(1.0, np.ones(5), None, None, None))])
    assert nothing.select(pl.col(pl.Float64).null_count()).row(0) == (1,) * 6


def test_a_figure_that_is_not_a_number_becomes_null() -> None:
    fitted = Calibration(1.0, np.ones(5), float("nan"), 0.1, None)
    assert models_table([ModelRow("a", "f", "complete", 2, 1, fitted)])["nll"].to_list() == [None]


def test_doubles_and_foreign_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one row for a model: \\['a'\\]"):
        models_table([ModelRow("a", "f", "complete"), ModelRow("a", "g", "complete")])
    with pytest.raises(ValueError, match="no training columns: \\['epochs'\\]"):
        models_table([ModelRow("a", "f", "complete", training={"epochs": "3"})])
