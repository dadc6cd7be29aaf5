"""Records that vanished are written again, where a manifest still holds them word for word.

A manifest alone lets readers go on, but whoever clears away what no record names would take predictions for orphans.
"""

from __future__ import annotations

from overlap.errors import DamagedObject
from overlap.published import data_sets, read_snapshot
from overlap.store.ledger import Ledger, Manifest
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects
from overlap.study import Study


def restore_records(study: Study) -> dict[str, int]:
    """Put back the records of complete checkpoints; how many, by data set."""
    objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
    restored = {name: _restore(name, objects) for name in data_sets(objects) if name in study.data}
    return {name: number for name, number in restored.items() if number}


def _restore(name: str, objects: Objects) -> int:
    try:
        snapshot = read_snapshot(name, objects)
    except DamagedObject:
        return 0
    if snapshot is None:
        return 0
    ledger, number = Ledger(objects, name), 0
    recorded = ledger.recorded()
    for fingerprint in sorted(ledger.completed(snapshot.dataset)):
        lost = set(snapshot.shards) - recorded.get(fingerprint, set())
        manifest = _manifest(ledger, fingerprint, snapshot.dataset) if lost else None
        for record in manifest.records if manifest is not None else ():
            if record.name in lost:
                number += objects.put_if_absent(record.key, record.to_json())
    return number


def _manifest(ledger: Ledger, fingerprint: str, dataset: str) -> Manifest | None:
    try:
        return ledger.manifest(fingerprint, dataset)
    except DamagedObject:
        return None
