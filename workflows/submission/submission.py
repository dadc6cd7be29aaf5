"""One job of a study on a cluster, as whoever sent it or found it knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from overlap.store.location import Location

State = Literal["submitted", "attached", "finished"]


@dataclass(frozen=True)
class Submission:
    """One job of a study on a cluster."""

    id: str
    attempt: int
    """From 1."""
    state: State
    """Whether this call sent it, found it running, or found it done."""
    address: str
    """Of the dashboard."""
    mark: str
    """What this job's outcome in the store must carry."""
    store: Location
    """Of the study, as seen from here."""
    unreadable: str | None = None
    """Why the store cannot be read from here; None where it can."""
