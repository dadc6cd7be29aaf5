"""A data set beside two others of its study: correlations with intervals, one without, and none."""

from __future__ import annotations

import dataclasses

import polars as pl

from overlap.analysis.across import SUMMARY_SCHEMA
from overlap.report import Results


def with_across(results: Results) -> Results:
    """The results, with how their pairs compare with those on `after` and `before`."""
    rows = [
        (results.data, "after", "kappa", 300, 44850, 0.9125, 0.8, 0.96, None),
        (results.data, "after", "error_inconsistency", 4, 6, -0.5, None, None, "no interval over 4 models"),
        (results.data, "after", "gain_best", 300, 0, None, None, None, "0 pairs have no order to compare"),
        ("before", results.data, "kappa", 1200, 719400, 0.25, -0.125, 0.5, None),
    ]
    return dataclasses.replace(results, across=pl.DataFrame(rows, SUMMARY_SCHEMA, orient="row"))
