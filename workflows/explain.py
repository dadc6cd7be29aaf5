"""`overlap plan`: what a run would compute, why, what it reuses, and what that costs. Starts no cluster.

Seconds are of one worker. They come from times measured in this store on one kind of device, scaled by floating-point
operations; without any from operations and an assumed speed, which the text says. What an image's decoding costs is
not in them: it goes on beside the predictions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from overlap import files
from overlap.errors import DataError
from overlap.identity import canonical_json, differences
from overlap.images.shards import Shard
from overlap.store import layout
from overlap.store.ledger import Ledger
from overlap.store.location import open_objects
from overlap.store.objects import READERS, Objects, get_many
from overlap.study import Study
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.costs import costs
from workflows.plan import Plan, location, make_plan
from workflows.speed import Speed, history, speed_of

GIB = 1 << 30


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
    seconds: float | None = None
    """Estimated time of the units to compute on one worker."""
    gflops: float | None = None
    """Of one image."""
    counted: bool = False
    """Whether the operations were counted; else they are guessed from the size of the weights."""
    least_bytes: int | None = None
    """Device memory below which not one image can be run."""
    fits: bool | None = None
    """Whether that is there; None where the device's memory is not known."""


@dataclass(frozen=True)
class Total:
    """What a run would do on one data set."""

    data: str
    units: int
    reused: int
    images: int
    """Images to read: those of shards with a unit to compute."""
    shard_bytes: int | None
    """Bytes of those shards; None where a file's size cannot be had."""
    decoded_bytes: int
    """Bytes of the prepared pixels, each image once for each preprocessing that wants it."""
    weights_bytes: int
    """Bytes of the weights to load."""
    seconds: float
    """Estimated on one worker."""
    speed: str
    """What the estimate rests on."""


@dataclass(frozen=True)
class Explanation:
    """The plan of a whole study."""

    rows: tuple[Row, ...]
    """One a checkpoint and data set, in the study's order."""
    totals: tuple[Total, ...]
    """One a data set."""


def explain_plan(study: Study, gpu_memory: int | None = None) -> Explanation:
    """Explain what a run would do; `gpu_memory` in bytes says what a checkpoint must fit into."""
    objects = open_objects(location(study))
    parts = [_explain(make_plan(study, name), objects, gpu_memory) for name in study.data]
    return Explanation(tuple(row for rows, _ in parts for row in rows), tuple(total for _, total in parts))


def lines(explanation: Explanation, explain: bool) -> str:
    """The explanation as text; without `explain` only sums, what cannot be run, and what will not fit."""
    said = []
    for total in explanation.totals:
        said.append(f"{total.data}: {total.units} units to compute, {total.reused} reused" + _cost_line(total))
        for row in explanation.rows:
            if row.data == total.data and (explain or row.fingerprint is None):
                said.append(f"  {row.model}: {row.units} to compute, {row.reused} reused: {row.why}")
            if row.data == total.data and row.fits is False and row.units:
                said.append(f"  {row.model} will not fit: it takes {(row.least_bytes or 0) / GIB:.1f} GiB at least")
    return "\n".join(said) or "the study names no data; imports are reduced by `overlap run`"


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain JSON."""
    return asdict(explanation)


def _cost_line(total: Total) -> str:
    if not total.units:
        return "; nothing to predict"
    read = "" if total.shard_bytes is None else f" ({_size(total.shard_bytes)})"
    return (
        f"\n  reads {total.images:,} images{read}, decodes them to {_size(total.decoded_bytes)}, loads "
        f"{_size(total.weights_bytes)} of weights; about {total.seconds:,.0f} s on one worker ({total.speed})"
    )


def _explain(plan: Plan, objects: Objects, gpu_memory: int | None) -> tuple[list[Row], Total]:
    ledger = Ledger(objects, plan.dataset.name)
    earlier = _identities(plan, objects)
    failed = {failure.model: failure.reason for failure in ledger.failures()}
    manifests = history(plan, ledger) if plan.units else {}
    known = plan.distinct
    pending = [checkpoint for fingerprint, checkpoint in known.items() if plan.missing.get(fingerprint)]
    priced = costs([*pending, *(known[fingerprint] for fingerprint in manifests)], objects)
    speed = speed_of(manifests, priced)
    data, count = plan.dataset.name, len(plan.dataset.shards)
    rows = [Row(data, one.id, None, 0, 0, 0, f"cannot be run: {one.reason}") for one in plan.rejected]
    for checkpoint in plan.checkpoints:
        missing = plan.missing.get(checkpoint.fingerprint, ())
        images = sum(len(shard) for shard in missing)
        cost = priced.get(checkpoint.fingerprint) if missing else None
        rows.append(
            Row(
                data,
                checkpoint.id,
                checkpoint.fingerprint,
                len(missing),
                count - len(missing),
                images,
                _why(checkpoint, len(missing), count, earlier[checkpoint.id], failed.get(checkpoint.id)),
                seconds=None if cost is None else cost.flops * images / speed.flops,
                gflops=None if cost is None else cost.flops / 1e9,
                counted=cost is not None and cost.counted,
                least_bytes=None if cost is None else cost.least_bytes,
                fits=None if cost is None or gpu_memory is None else cost.least_bytes <= gpu_memory,
            )
        )
    rows += [Row(data, file, None, 0, 0, 0, f"unreadable: {why}") for file, why in plan.dataset.unreadable]
    return rows, _total(plan, rows, pending, speed)


def _total(plan: Plan, rows: list[Row], pending: list[Checkpoint], speed: Speed) -> Total:
    wanted: dict[Any, dict[str, Shard]] = defaultdict(dict)
    pixels = {}
    for checkpoint in pending:
        signature = checkpoint.preprocessing.signature
        pixels[signature] = checkpoint.preprocessing.bytes_per_image
        wanted[signature] |= {shard.name: shard for shard in plan.missing[checkpoint.fingerprint]}
    shards = {name: shard for each in wanted.values() for name, shard in each.items()}
    once = {row.fingerprint: row.seconds or 0.0 for row in rows}  # two names of one checkpoint are computed once
    counted = sum(row.counted for row in rows if row.units)
    guessed = sum(not row.counted for row in rows if row.units)
    basis = speed.basis + (
        f"; operations of {guessed} guessed from their weights, of {counted} counted" * bool(guessed)
    )
    return Total(
        plan.dataset.name,
        plan.units,
        sum(row.reused for row in rows),
        sum(len(shard) for shard in shards.values()),
        _bytes([shard.uri for shard in shards.values()], plan.study.store.endpoint_url),
        sum(pixels[name] * sum(len(shard) for shard in each.values()) for name, each in wanted.items()),
        sum({one.weights_digest: one.weights_bytes for one in pending}.values()),
        sum(once.values()),
        basis,
    )


def _bytes(uris: list[str], endpoint_url: str | None) -> int | None:
    together = files.listed(uris, endpoint_url)
    try:
        with ThreadPoolExecutor(READERS) as pool:
            alone = pool.map(lambda uri: files.version(uri, endpoint_url), [uri for uri in uris if uri not in together])
            return sum(version.size for version in (*together.values(), *alone))
    except DataError:
        return None


def _why(checkpoint: Checkpoint, missing: int, total: int, earlier: dict[str, Any], failed: str | None) -> str:
    if not missing:
        return "all of its units are certified"
    if failed is not None:
        return f"failed before: {failed}"
    if missing < total:
        return f"resumes: {total - missing} of {total} units are certified"
    if checkpoint.fingerprint in earlier:
        return "identified before, without certified units on these shards"
    now = json.loads(canonical_json(checkpoint.identity()))  # as earlier ones were read: without tuples
    changes = [differences(identity, now) for identity in earlier.values()]
    if not changes:
        return "new"
    nearest = min(changes, key=len)
    return "changed: " + "; ".join(f"{name} {_short(old)} -> {_short(new)}" for name, old, new in nearest)


def _identities(plan: Plan, objects: Objects) -> dict[str, dict[str, Any]]:
    """Earlier identities by checkpoint name and fingerprint, of the checkpoints of which nothing is certified."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    untouched = [c.id for c in plan.checkpoints if len(plan.missing.get(c.fingerprint, ())) == len(plan.dataset.shards)]
    prefixes = {layout.identities_prefix(model) for model in untouched}
    listed = {layout.identities_prefix()} if len(prefixes) > READERS else prefixes
    keys = [info.key for prefix in sorted(listed) for info in objects.list(prefix)]
    for key, body in get_many(objects, [key for key in keys if key.rpartition("/")[0] + "/" in prefixes]).items():
        model, _, name = key.removeprefix("identities/").partition("/")
        found[model][name.removesuffix(".json")] = json.loads(body)
    return found


def _size(count: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.1f} kB"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else text[:21] + "…" + '"' * text.startswith('"')
