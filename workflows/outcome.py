"""What a run says while it goes on, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from overlap.report.results import Results


class Tell(Protocol):
    """Where a run says what it is doing."""

    def say(self, text: str) -> None:
        """One line for the reader."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage is."""


@dataclass
class Outcome:
    """What a run came to on one data set."""

    data: str
    role: str = "evaluate"
    """What the study has the data set for; only those to evaluate on are reduced."""
    units: int = 0
    """Units that were missing at the start."""
    computed: int = 0
    images_decoded: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Models that are not in the results, with the reason."""
    blocked: dict[str, str] = field(default_factory=dict)
    """Shards that nobody can read, with the reason: nothing was reduced because of them."""
    reduced: bool = False
    """Whether results were computed by this run; False where they were there already, or could not be."""
    results: Results | None = None
    report: str | None = None
    """Where the report is."""
    tracking_error: str | None = None
    notify_error: str | None = None
    """Why nobody could be notified."""
    across: list[dict[str, Any]] = field(default_factory=list)
    """How its pairs compare with those of the study's data sets before it: rows of `across-summary.parquet`."""

    @property
    def exit_code(self) -> int:
        """0 where everything the study names is in the results, else 3."""
        return 3 if self.failed or self.blocked else 0

    @property
    def reasons(self) -> dict[str, list[str]]:
        """What failed, by reason: a hub that does not answer is one, whatever the number of models."""
        found: dict[str, list[str]] = {}
        for model, reason in self.failed.items():
            found.setdefault(reason, []).append(model)
        return found

    def summary(self) -> dict[str, Any]:
        """The outcome as plain JSON, without the tables."""
        return {name: value for name, value in vars(self).items() if name != "results"} | {
            "inputs": self.results.inputs_digest if self.results is not None else None,
            "news": self.results.news if self.results is not None else None,
        }
