"""The state of a study, read from the store alone: while a run goes on, after it, and without a cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from overlap.published import Snapshot, data_sets, read_absent, read_snapshot
from overlap.store.ledger import Ledger
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects
from overlap.study import Study


@dataclass(frozen=True)
class ModelState:
    """How far one checkpoint is."""

    model: str
    fingerprint: str | None
    done: int
    """Certified units."""
    units: int
    state: str
    """`complete`, `quarantined`, `failed`, `rejected`, `partial` or `missing`."""
    reason: str | None = None


@dataclass(frozen=True)
class DataState:
    """How far one data set is."""

    data: str
    images: int
    shards: int
    bad_shards: dict[str, str]
    models: tuple[ModelState, ...]

    def count(self, state: str) -> int:
        """Number of checkpoints in a state."""
        return sum(model.state == state for model in self.models)


def state(study: Study) -> list[DataState]:
    """The state of every data set that was ever run, two listings each."""
    objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
    snapshots = [read_snapshot(data, objects) for data in data_sets(objects)]
    return [_data_state(snapshot, objects) for snapshot in snapshots if snapshot is not None]


def lines(states: list[DataState]) -> str:
    """The states as text: a line for each data set, then one for each checkpoint that is not complete."""
    if not states:
        return "nothing was run yet; `overlap run` first"
    said = []
    for one in states:
        done = sum(model.done for model in one.models)
        total = sum(model.units for model in one.models)
        said.append(
            f"{one.data}: {one.count('complete')} of {len(one.models)} checkpoints complete, {done} of {total} units, "
            f"{one.images} images in {one.shards} shards"
        )
        said += [f"  unreadable {file}: {reason}" for file, reason in one.bad_shards.items()]
        said += [
            f"  {model.state} {model.model}: {model.done} of {model.units} units"
            + (f"; {model.reason}" if model.reason else "")
            for model in one.models
            if model.state != "complete"
        ]
    return "\n".join(said)


def as_json(states: list[DataState]) -> list[dict[str, object]]:
    """The states as plain JSON."""
    return [asdict(one) for one in states]


def _data_state(snapshot: Snapshot, objects: Objects) -> DataState:
    ledger = Ledger(objects, snapshot.data)
    complete = ledger.completed(snapshot.dataset) if snapshot.shards else set()
    recorded = ledger.recorded() if set(snapshot.models.values()) - complete else {}
    reasons = {failure.model: failure.reason for failure in ledger.failures()}
    absent = read_absent(snapshot.data, objects)
    units = len(snapshot.shards)
    models = [ModelState(model, None, 0, units, "rejected", reason) for model, reason in snapshot.rejected.items()]
    for model, fingerprint in snapshot.models.items():
        if fingerprint in complete:
            why = absent.get(model, "")
            gated = why.startswith("quarantined")
            state, reason = ("quarantined", why) if gated else ("complete", None)
            models.append(ModelState(model, fingerprint, units, units, state, reason))
            continue
        done = len(recorded.get(fingerprint, set()) & set(snapshot.shards))
        state = "failed" if model in reasons else "partial" if done else "missing"
        models.append(ModelState(model, fingerprint, done, units, state, reasons.get(model)))
    return DataState(
        snapshot.data, snapshot.images, units, snapshot.bad_shards, tuple(sorted(models, key=lambda one: one.model))
    )
