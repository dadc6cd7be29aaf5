"""Which imported models fit a data set, and what they got right, by plain loops over dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def number_of(text: str, names: Sequence[str]) -> str:
    """Class names stand for their numbers; anything else stands for itself."""
    return str(list(names).index(text)) if text in names else text


def fits(truth: Mapping[str, str], rows: Mapping[str, tuple[str, str]], names: Sequence[str]) -> bool:
    """Whether a model's (label, prediction) by key are about exactly these samples with exactly these labels."""
    if set(rows) != set(truth):
        return False
    return all(number_of(rows[key][0], names) == number_of(truth[key], names) for key in truth)


def right(truth: Mapping[str, str], rows: Mapping[str, tuple[str, str]], names: Sequence[str]) -> list[bool]:
    """Per key of the truth, whether the model's prediction is its label."""
    return [number_of(rows[key][1], names) == number_of(truth[key], names) for key in truth]
