"""From certified units to complete checkpoints: one manifest and one table of hard predictions each."""

from __future__ import annotations

from functools import partial

from overlap.images.dataset import Mapper
from overlap.store.ledger import DamagedUnits, Ledger, Record
from overlap.store.location import Location, open_objects
from workflows.plan import Plan, location


def certify(plan: Plan, mapper: Mapper) -> list[Record]:
    """Complete every checkpoint whose units are all recorded.

    Args:
        plan: fresh; checkpoints that it holds as complete are left alone.
        mapper: where the units are read through.

    Returns:
        Records whose objects are damaged; their checkpoints stay incomplete.
    """
    ready = [fingerprint for fingerprint, missing in plan.missing.items() if not missing]
    shards = [shard.name for shard in plan.dataset.shards]
    if not shards:
        return []
    job = partial(_complete, location(plan.study), plan.dataset.name, plan.dataset.digest, shards)
    return [record for damaged in mapper(job, ready) for record in damaged]


def _complete(where: Location, data: str, dataset: str, shards: list[str], fingerprint: str) -> list[Record]:
    ledger = Ledger(open_objects(where), data)
    records = ledger.records(fingerprint)
    try:
        ledger.complete(fingerprint, dataset, shards, records)
    except DamagedUnits as error:
        return list(error.records)
    return []
