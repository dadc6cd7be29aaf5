"""What workers say of what they were given to do: of a decoded shard, of a unit, of a lease."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decoded:
    """What a decode task says; the pixels travel beside it."""

    images: int = 0
    error: str | None = None
    """The shard cannot be read by anybody."""
    store_error: str | None = None
    unfit: str | None = None
    """Why this node can decode nothing."""


@dataclass(frozen=True)
class Outcome:
    """What became of one unit."""

    shard: str
    error: str | None = None
    """The checkpoint is at fault."""
    store_error: str | None = None
    seconds: float | None = None
    """Of the forward passes; None where nothing was computed."""


@dataclass(frozen=True)
class Report:
    """What became of a lease, and the seconds that it took on the worker."""

    outcomes: list[Outcome]
    device: str
    seconds: float
    """From beginning to end."""
    waiting: float | None
    """Since the lease before it ended, mostly for decoded images; None of the first lease of a fan-out."""
    loading: float
    """Spent on weights: fetching, building, copying to the device."""
    computing: float
    """Spent on forward passes."""
    resident: tuple[str, ...] = ()
    """Fingerprints of the checkpoints that need not be loaded."""
    brought: bool = False
    """Whether its checkpoint lay loaded in host memory before it began."""
    unfit: str | None = None
    """Why this worker can run nothing."""

    @property
    def computed(self) -> float | None:
        """Seconds of the forward passes where every unit of the lease was computed, else None."""
        known = [one.seconds for one in self.outcomes if one.seconds is not None]
        return sum(known) if known and len(known) == len(self.outcomes) else None
