"""Pairs of models, image by image: the formulas of paper.md 1.1, 4.1 and 4.2 in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb

Cells = tuple[int, int, int, int]


def cells(right_a: Sequence[bool], right_b: Sequence[bool]) -> Cells:
    """Images that both, only a, only b, neither get right."""
    both = only_a = only_b = neither = 0
    for a, b in zip(right_a, right_b, strict=True):
        if a and b:
            both += 1
        elif a:
            only_a += 1
        elif b:
            only_b += 1
        else:
            neither += 1
    return both, only_a, only_b, neither


def disagreements(classes_a: Sequence[int], classes_b: Sequence[int]) -> int:
    count = 0
    for a, b in zip(classes_a, classes_b, strict=True):
        if a != b:
            count += 1
    return count


def inconsistency(table: Cells) -> Fraction | None:
    n = sum(table)
    return Fraction(table[1] + table[2], n) if n else None


def kappa(table: Cells) -> Fraction | None:
    """Geirhos: (c_obs - c_exp) / (1 - c_exp); None where c_exp = 1."""
    both, only_a, only_b, neither = table
    n = sum(table)
    if n == 0:
        return None
    a, b = Fraction(both + only_a, n), Fraction(both + only_b, n)
    observed = Fraction(both + neither, n)
    expected = a * b + (1 - a) * (1 - b)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def all_cells(right_a: int, right_b: int, n: int) -> list[Cells]:
    """Every table that has these margins."""
    tables = []
    for both in range(n + 1):
        table = (both, right_a - both, right_b - both, n - right_a - right_b + both)
        if min(table) >= 0:
            tables.append(table)
    return tables


def attainable_kappa(right_a: int, right_b: int, n: int) -> tuple[Fraction, Fraction] | None:
    """Least and greatest kappa, by trying every table."""
    kappas = [found for table in all_cells(right_a, right_b, n) if (found := kappa(table)) is not None]
    return (min(kappas), max(kappas)) if kappas else None


def independent_kappa(right_a: int, right_b: int, n: int) -> tuple[Fraction, Fraction] | None:
    """2.5% and 97.5% quantiles of kappa when which images each gets right is drawn independently: exact counting."""
    total = comb(n, right_a)
    cumulative, low, high = Fraction(0), None, None
    for table in all_cells(right_a, right_b, n):
        cumulative += Fraction(comb(right_b, table[0]) * comb(n - right_b, right_a - table[0]), total)
        if low is None and cumulative >= Fraction(25, 1000):
            low = kappa(table)
        if high is None and cumulative >= Fraction(975, 1000):
            high = kappa(table)
    return None if low is None or high is None else (low, high)
