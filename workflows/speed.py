"""How fast a worker is: from times measured in the store, on one kind of device, else assumed and said to be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from overlap.errors import DamagedObject
from overlap.store.ledger import Ledger, Manifest
from overlap.store.objects import READERS
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.costs import Cost
from workflows.plan import Plan

HISTORY = 32
"""Complete checkpoints whose measured times an estimate is taken from."""
SUSTAINED = 1e13
"""Operations a second that are assumed of a GPU in float32 where nothing was measured: half of what an A100 states."""
ASSUMED = f"{SUSTAINED / 1e12:.0f} TFLOP/s, which is assumed"


@dataclass(frozen=True)
class Speed:
    """How fast a worker is."""

    flops: float
    """Floating-point operations a second."""
    basis: str


def history(plan: Plan, ledger: Ledger) -> dict[str, Manifest]:
    """Manifests of some complete checkpoints, by fingerprint, spread over the sizes of their weights."""
    complete = sorted(
        (c for c in plan.distinct.values() if c.fingerprint in plan.complete), key=lambda c: c.weights_bytes
    )
    step = max(1, len(complete) // HISTORY)

    def read(checkpoint: Checkpoint) -> Manifest | None:
        try:
            return ledger.manifest(checkpoint.fingerprint, plan.dataset.digest)
        except DamagedObject:
            return None  # a run finds and mends it

    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(read, complete[::step][:HISTORY])
    return {manifest.fingerprint: manifest for manifest in found if manifest is not None}


def speed_of(manifests: Mapping[str, Manifest], priced: Mapping[str, Cost]) -> Speed:
    """The median over checkpoints on the device that most of them were measured on."""
    rates: dict[str, list[float]] = defaultdict(list)
    for fingerprint, manifest in manifests.items():
        devices = {str(record.provenance.get("device", "one device")) for record in manifest.records}
        if len(devices) == 1 and manifest.seconds > 0 and manifest.rows:
            rates[devices.pop()].append(priced[fingerprint].flops * manifest.rows / manifest.seconds)
    if not rates:
        return Speed(SUSTAINED, ASSUMED)
    device, measured = max(rates.items(), key=lambda each: len(each[1]))
    return Speed(max(median(measured), 1.0), f"as measured of {len(measured)} checkpoints on {device}")
