"""`overlap plan`: what a run would compute, why, what it reuses, and how long that should take. Starts no cluster."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from overlap.identity import differences
from overlap.store import layout
from overlap.store.ledger import Ledger
from overlap.store.objects import Objects, get_many, open_objects
from overlap.study import Study
from overlap.zoo.checkpoint import Checkpoint
from workflows.fanout import cost
from workflows.plan import Plan, location, make_plan

HISTORY = 64
"""Complete checkpoints whose measured times an estimate is taken from."""


@dataclass(frozen=True)
class Row:
    """What a run would do with one checkpoint on one data set."""

    data: str
    model: str
    fingerprint: str | None
    units: int
    """Units to compute."""
    reused: int
    """Units that are certified already."""
    images: int
    """Images in the units to compute."""
    why: str
    seconds: float | None
    """Estimated time on one worker, from times measured in this store; None without any."""


def explain_plan(study: Study) -> list[Row]:
    """One row a checkpoint and data set, in the study's order."""
    objects = open_objects(location(study))
    return [row for name in study.data for row in _explain(make_plan(study, name), objects)]


def lines(rows: list[Row], explain: bool) -> str:
    """The rows as text; without `explain` only their sums and what cannot be run."""
    said = []
    for data in dict.fromkeys(row.data for row in rows):
        mine = [row for row in rows if row.data == data]
        known = [row.seconds for row in mine if row.units and row.seconds is not None]
        unknown = sum(1 for row in mine if row.units and row.seconds is None)
        estimate = f"about {sum(known):.0f} s on one worker" if known else "no measured times yet"
        if known and unknown:
            estimate += f", and {unknown} checkpoints without an estimate"
        said.append(
            f"{data}: {sum(row.units for row in mine)} units to compute, {sum(row.reused for row in mine)} reused"
            + (f"; {estimate}" if any(row.units for row in mine) else "; nothing to predict")
        )
        shown = [row for row in mine if explain or row.fingerprint is None]
        said += [f"  {row.model}: {row.units} to compute, {row.reused} reused: {row.why}" for row in shown]
    return "\n".join(said) or "the study names no data; imports are reduced by `overlap run`"


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows as plain JSON."""
    return [asdict(row) for row in rows]


def _explain(plan: Plan, objects: Objects) -> list[Row]:
    ledger = Ledger(objects, plan.dataset.name)
    earlier = _identities(plan, objects)
    failed = {failure.model: failure.reason for failure in ledger.failures()}
    seconds = _seconds_per_cost(plan, ledger)
    total = len(plan.dataset.shards)
    rows = [
        Row(plan.dataset.name, one.id, None, 0, 0, 0, f"cannot be run: {one.reason}", None) for one in plan.rejected
    ]
    for checkpoint in plan.checkpoints:
        missing = plan.missing.get(checkpoint.fingerprint, ())
        images = sum(len(shard) for shard in missing)
        rows.append(
            Row(
                plan.dataset.name,
                checkpoint.id,
                checkpoint.fingerprint,
                len(missing),
                total - len(missing),
                images,
                _why(checkpoint, len(missing), total, earlier[checkpoint.id], failed.get(checkpoint.id)),
                None if seconds is None else seconds * cost(checkpoint) * images,
            )
        )
    rows += [
        Row(plan.dataset.name, file, None, 0, 0, 0, f"unreadable: {why}", None) for file, why in plan.dataset.unreadable
    ]
    return rows


def _why(checkpoint: Checkpoint, missing: int, total: int, earlier: dict[str, Any], failed: str | None) -> str:
    if not missing:
        return "all of its units are certified"
    if failed is not None:
        return f"failed before: {failed}"
    if missing < total:
        return f"resumes: {total - missing} of {total} units are certified"
    if checkpoint.fingerprint in earlier:
        return "identified before, without certified units on these shards"
    changes = [differences(identity, checkpoint.identity()) for identity in earlier.values()]
    if not changes:
        return "new"
    nearest = min(changes, key=len)
    return "changed: " + "; ".join(f"{name} {_short(old)} -> {_short(new)}" for name, old, new in nearest)


def _identities(plan: Plan, objects: Objects) -> dict[str, dict[str, Any]]:
    """Earlier identities by checkpoint name and fingerprint, of the checkpoints that have units to compute."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    changed = [c for c in plan.checkpoints if plan.missing.get(c.fingerprint)]
    keys = [info.key for c in changed for info in objects.list(layout.identities_prefix(c.id))]
    for key, body in get_many(objects, keys).items():
        model, _, name = key.removeprefix("identities/").partition("/")
        found[model][name.removesuffix(".json")] = json.loads(body)
    return found


def _seconds_per_cost(plan: Plan, ledger: Ledger) -> float | None:
    """Median measured seconds per image and unit of relative cost, over complete checkpoints."""
    known = [c for c in plan.distinct.values() if c.fingerprint in plan.complete][:HISTORY]
    manifests = [(c, ledger.manifest(c.fingerprint, plan.dataset.digest)) for c in known]
    rates = [m.seconds / m.rows / cost(c) for c, m in manifests if m is not None and m.rows]
    return median(rates) if rates else None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else text[:21] + "…" + '"' * text.startswith('"')
