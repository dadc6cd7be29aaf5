"""The benchmarks themselves: their cheap stages run, on small sizes, and a stage that fails is a row that says so."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.comparison import Comparison, Growth, Said, Spread, ratio, read
from tests.small_study import ROOT


def benchmarks(record: Path, *arguments: str) -> tuple[int, dict, str]:
    """Exit code, record and what was printed."""
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--json", str(record), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    return done.returncode, json.loads(record.read_text(encoding="utf-8")), done.stdout


def test_the_cheap_stages_run_and_say_what_is_not_installed(tmp_path: Path) -> None:
    code, record, printed = benchmarks(tmp_path / "record.json", "--only", "pairs", "--only", "greedy")
    assert code == 0, printed
    assert {name: told["failed"] for name, told in record["stages"].items()} == {"pairs": "", "greedy": ""}
    rows = [read(row) for row in record["rows"]]
    compared = [row for row in rows if isinstance(row, Comparison)]
    (absent,) = [row for row in compared if row.absent]
    assert "EnsembleSelection" in absent.beside
    assert "pip install" in absent.absent
    assert absent.reached is None
    others = [row for row in compared if not row.absent and row.beside]
    assert {row.stage for row in others} == {"pairs", "greedy search"}
    for row in others:
        assert row.faster is not None
        assert 0 < row.faster.low <= row.faster.median <= row.faster.high < math.inf
        assert row.settings, f"{row.beside}: its settings are not said"
    peaks = [row for row in rows if isinstance(row, Said) and row.what.startswith("peak")]
    assert len(peaks) == 2, "one for each process"
    assert "cohen_kappa_score" in printed


def test_a_stage_that_fails_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # nothing can be installed below it
    arguments = ("--only", "greedy", "--only", "pairs", "--cache", str(tmp_path / "file"))
    code, record, printed = benchmarks(tmp_path / "record.json", *arguments)
    assert code == 1
    assert record["stages"]["greedy"]["failed"]
    assert not record["stages"]["pairs"]["failed"]
    assert "greedy: failed: " in printed


def test_ratios_are_of_figures_of_the_same_round() -> None:
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0]) == Spread(2.0, 2.0, 3.0)
    assert ratio([6.0], [1.0, 2.0, 3.0]) == Spread(3.0, 2.0, 6.0)
    assert ratio([], [1.0]) is None
    with pytest.raises(AssertionError):
        ratio([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("wanted", "bound", "reached"),
    [("faster", 4, True), ("faster", 5, False), ("of the limit", 2, True), ("of the limit", 1.9, False),
     ("seconds", 1, True), ("seconds", 0.5, False), ("", 0, None)],
)  # fmt: skip
def test_what_is_wanted_is_judged_by_the_median(wanted: str, bound: float, reached: bool | None) -> None:
    row = Comparison("s", "w", [1.0, 1.0, 9.0], "b", "how", [4.0, 4.0, 4.0], "l", [0.5, 0.5, 0.5], wanted, bound)
    assert row.reached is reached
    assert read(json.loads(json.dumps(row.record()))).record() == row.record()


def test_the_exponent_is_the_slope_of_the_logarithms() -> None:
    sizes = [1, 2, 4, 8]
    exact = Growth("s", "w", "models", sizes, [3 * size**1.5 for size in sizes], "s")
    assert exact.exponent == pytest.approx((1.5, 0), abs=1e-9)
    noisy = Growth("s", "w", "models", sizes, [1.0, 2.5, 3.5, 9.0], "s")
    covariance = np.polyfit(np.log(sizes), np.log(noisy.figures), 1, cov=True)
    assert noisy.exponent[0] == pytest.approx(covariance[0][0])
    assert noisy.exponent[1] == pytest.approx(math.sqrt(covariance[1][0, 0]))
    assert math.isnan(Growth("s", "w", "models", [1, 2], [1.0, 2.0], "s").exponent[1])
