"""What is new in a reduction since the one before, as data: models by what became of them, ensembles by size.

It depends on what was published before, and so is no table of results; it is stored beside them as JSON. Guarantees
that what is read back is what was written, and that two drivers which came from the same earlier reduction to the same
inputs give their news the same identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from overlap.identity import canonical_json, digest

SCHEMA = 1
Change = Literal["added", "withdrawn", "replaced", "back", "failed", "quarantined"]


@dataclass(frozen=True)
class Partner:
    """Another model beside a new one."""

    model: str
    kappa: float
    kappa_low: float | None = None
    kappa_high: float | None = None


@dataclass(frozen=True)
class Place:
    """Where a model stands now; fractions 0-1."""

    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    rank: int
    rank_low: int
    """Ranks that are not beyond chance, from this ..."""
    rank_high: int
    """... to this."""
    of: int
    only_right: int
    """Images that no other model gets right."""
    nearest: Partner | None = None
    """With the largest kappa."""
    farthest: Partner | None = None
    """With the smallest."""
    sizes: tuple[int, ...] = ()
    """Sizes of the best ensembles that it is in."""


@dataclass(frozen=True)
class ModelNews:
    """What became of one model."""

    model: str
    change: Change
    fingerprint: str | None = None
    reason: str | None = None
    """Why it failed or is quarantined."""
    fields: tuple[tuple[str, str, str], ...] = ()
    """Of a replaced one: what differs in its identity, as name, before, now."""
    renamed: str | None = None
    """The name under which the very same checkpoint was withdrawn."""
    accuracy_before: float | None = None
    place: Place | None = None
    """Of one that takes part now."""


@dataclass(frozen=True)
class SizeNews:
    """The best ensemble of one size, before and now."""

    size: int
    before: tuple[str, ...]
    """Members in the order of their selection; none where there was no ensemble of this size."""
    now: tuple[str, ...]
    changed: bool
    accuracy_then: float | None = None
    """On the test split, as it was published before."""
    accuracy_before: float | None = None
    """Of the earlier ensemble on the test split as it is now."""
    accuracy_now: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    """95% interval of this difference alone, paired."""
    gain_high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    """After Holm over all sizes that are compared."""
    beyond: bool | None = None
    """Whether the difference is beyond chance, by the adjusted p-value; None where nothing is compared."""
    reason: str | None = None
    """Why a changed ensemble is not compared."""


@dataclass(frozen=True)
class News:
    """What is new since the reduction before."""

    since: str
    """Digest of the inputs of the reduction before."""
    since_dataset: str
    since_reduced: str | None
    """When it was made."""
    inputs_digest: str
    previous: str | None
    """Identity of the news of the reduction before."""
    data_changed: bool
    models_before: int
    """Models that took part."""
    models_now: int
    models: tuple[ModelNews, ...] = ()
    search: str | None = None
    """The search whose ensembles are compared."""
    sizes: tuple[SizeNews, ...] = field(default=())

    @property
    def id(self) -> str:
        """What tells these news from any others."""
        return news_id(self.previous, self.since, self.inputs_digest)

    def plain(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"schema": SCHEMA, "id": self.id, **asdict(self)}


def news_id(previous: str | None, since: str | None, inputs_digest: str) -> str:
    """The identity of what is told of a reduction: also of a first one, which has nothing before it."""
    return digest(canonical_json([previous, since, inputs_digest]))[:16]


def of_plain(plain: Mapping[str, Any] | None) -> News | None:
    """News as they were stored; None of none, or of a newer schema."""
    if plain is None or plain.get("schema") != SCHEMA:
        return None
    fields = {name: value for name, value in plain.items() if name not in ("schema", "id", "models", "sizes")}
    models = tuple(_model(one) for one in plain["models"])
    return News(**fields, models=models, sizes=tuple(_size(one) for one in plain["sizes"]))


def _model(plain: Mapping[str, Any]) -> ModelNews:
    place = plain["place"]
    if place is not None:
        partners = {name: Partner(**place[name]) if place[name] else None for name in ("nearest", "farthest")}
        place = Place(**{**place, **partners, "sizes": tuple(place["sizes"])})
    fields = tuple((name, old, new) for name, old, new in plain["fields"])
    return ModelNews(**{**plain, "place": place, "fields": fields})


def _size(plain: Mapping[str, Any]) -> SizeNews:
    return SizeNews(**{**plain, "before": tuple(plain["before"]), "now": tuple(plain["now"])})
