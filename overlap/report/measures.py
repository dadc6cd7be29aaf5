"""The measures of how differently two models predict: what a reader calls them, and which way they point.

`MEASURES` is in the order in which a reader meets them; the names are those of columns and of the tests' rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One measure of a pair."""

    label: str
    """With its unit, as an axis carries it."""
    short: str
    """As a sentence carries it."""
    differs: int
    """+1 where more means that the two differ more, -1 where more means that they are more alike."""
    percent: bool = False
    """Whether it is a share of images, shown in percent."""


MEASURES: Mapping[str, Measure] = {
    "error_inconsistency": Measure("error inconsistency (% of images)", "error inconsistency", +1, percent=True),
    "kappa": Measure("error consistency κ", "κ", -1),
    "kappa_by_difficulty": Measure("κ adjusted for difficulty", "κ adjusted for difficulty", -1),
    "kappa_between": Measure("κ on images in between", "κ on the images in between", -1),
    "error_inconsistency_between": Measure(
        "error inconsistency in between (%)", "error inconsistency on the images in between", +1, percent=True
    ),
    "capa": Measure("CAPA κp (calibrated probabilities)", "CAPA", -1),
    "jensen_shannon": Measure("Jensen–Shannon divergence (nats)", "Jensen–Shannon divergence", +1),
    "symmetric_kl": Measure("symmetric KL divergence (nats)", "symmetric KL divergence", +1),
    "disagreement": Measure("disagreement (% of images)", "disagreement", +1, percent=True),
    "yule_q": Measure("Yule's Q", "Yule's Q", -1),
    "correlation": Measure("correlation of correctness ρ", "the correlation of correctness", -1),
    "log_odds_ratio": Measure("log odds ratio of correctness", "the log odds ratio", -1),
    "double_fault": Measure("double fault (% of images)", "double fault", -1, percent=True),
    "gain_best": Measure("gain over the better (points)", "gain over the better of the two", +1, percent=True),
    "conversion_rate": Measure("conversion rate (%)", "the conversion rate", +1, percent=True),
}

CHOICES: Mapping[str, tuple[str, str]] = {
    "EI and κ": ("error_inconsistency", "kappa"),
    "adjusted for difficulty": ("kappa_by_difficulty", "kappa_between"),
    "probabilistic": ("capa", "jensen_shannon"),
    "symmetric KL, disagreement": ("symmetric_kl", "disagreement"),
    "gain and conversion": ("gain_best", "conversion_rate"),
    "association": ("yule_q", "correlation"),
    "odds, double fault": ("log_odds_ratio", "double_fault"),
}
"""The panels of the figure by category that stand side by side, by what a reader chooses."""


def label(name: str) -> str:
    """What an axis carries; the name itself where it is none of ours."""
    return MEASURES[name].label if name in MEASURES else name.replace("_", " ")


def short(name: str) -> str:
    """What a sentence carries; the name itself where it is none of ours."""
    return MEASURES[name].short if name in MEASURES else name.replace("_", " ")


def percent(name: str) -> bool:
    """Whether a measure is shown in percent."""
    return name in MEASURES and MEASURES[name].percent
