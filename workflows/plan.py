"""What is to be done: checkpoints x shards, less what the store certifies. Decides everything, computes nothing.

The only work here is identifying: shards and weights never seen before are read and hashed, by the given mapper.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from overlap import smoke
from overlap.errors import CheckpointError
from overlap.images import dataset as datasets
from overlap.images.dataset import Dataset, Mapper
from overlap.images.shards import Shard
from overlap.store.ledger import Ledger, Record
from overlap.store.location import Location, open_objects
from overlap.store.objects import READERS, Objects
from overlap.study import Study
from overlap.zoo import hub
from overlap.zoo.checkpoint import Candidate, Checkpoint, Rejected
from overlap.zoo.resolve import resolve_for
from overlap.zoo.weights import Staged, is_remote, out_of_reach, recall, recall_named, stage
from workflows.heads import probe_heads

PAGE = 1000
"""Keys in one answer of S3 to a listing."""


@dataclass(frozen=True)
class Plan:
    """What one data set still needs before its reductions."""

    study: Study
    dataset: Dataset
    checkpoints: tuple[Checkpoint, ...]
    rejected: tuple[Rejected, ...]
    complete: frozenset[str]
    """Fingerprints with a manifest on exactly these shards."""
    missing: dict[str, tuple[Shard, ...]] = field(default_factory=dict)
    """By fingerprint, the shards without a record; a fingerprint with all records but no manifest has none."""

    @property
    def distinct(self) -> dict[str, Checkpoint]:
        """One checkpoint for each fingerprint: two names of the same thing are computed once."""
        return {checkpoint.fingerprint: checkpoint for checkpoint in reversed(self.checkpoints)}

    def less(self, fingerprints: Collection[str]) -> Plan:
        """The plan without what is missing of some checkpoints."""
        return replace(self, missing={one: what for one, what in self.missing.items() if one not in fingerprints})

    @property
    def role(self) -> str:
        """What the study has the data set for: `evaluate`, `train` or `downstream`."""
        data = self.study.data.get(smoke.whole(self.dataset.name))
        return "evaluate" if data is None else data.role

    @property
    def units(self) -> int:
        """Number of units to compute."""
        return sum(len(shards) for shards in self.missing.values())


def location(study: Study) -> Location:
    """Where the study's store is."""
    return Location(study.store.uri, study.store.endpoint_url)


def make_plan(
    study: Study,
    name: str,
    *,
    limit: int | None = None,
    verify: bool = False,
    offline: bool = False,
    mapper: Mapper = datasets.in_process,
) -> Plan:
    """Plan one data set of a study.

    Args:
        study: the study.
        name: the data set, a key of `study.data`.
        limit: only so many leading images, kept in the store apart as `NAME.firstN`.
        verify: hash shards and weights again, and check every certified object.
        offline: ask no hub and no web server for weights; the environment can say so too.
        mapper: where hashing runs.
    """
    objects = open_objects(location(study))
    data = study.data[name]
    candidates, rejected = resolve_for(study, name)
    checkpoints, unusable = _identify(candidates, location(study), verify, mapper, offline or hub.offline())
    dataset = datasets.load(name, data, objects, study.store.endpoint_url, limit=limit, verify=verify, mapper=mapper)
    if limit is not None:
        dataset = replace(dataset, name=smoke.part(name, limit))
    if data.role != "train":
        checkpoints, waiting = probe_heads.settle(study, checkpoints, objects, limit)
        unusable += waiting
    plan = Plan(study, dataset, tuple(checkpoints), (*rejected, *unusable), frozenset())
    return refresh(plan, objects, verify=verify)


def refresh(plan: Plan, objects: Objects, *, damaged: Sequence[Record] = (), verify: bool = False) -> Plan:
    """The same plan against what the store certifies now, from listed keys.

    Manifests are listed first. Records are listed only of what is incomplete: each checkpoint by itself where few are,
    else all together.

    Args:
        plan: what to look at again.
        objects: the store.
        damaged: records that certify nothing any more; their units are missing.
        verify: believe no manifest, so that every checkpoint is completed anew from its verified units.
    """
    ledger = Ledger(objects, plan.dataset.name)
    spoilt = {(record.fingerprint, record.name) for record in damaged}
    distinct = set(plan.distinct)
    complete = set() if verify else ledger.completed(plan.dataset.digest) & distinct
    complete -= {fingerprint for fingerprint, _ in spoilt}
    incomplete = distinct - complete
    # All together come in pages one after the other, of which the complete ones' records fill so many at least.
    pages = len(complete) * len(plan.dataset.shards) / PAGE
    recorded = ledger.recorded(incomplete if len(incomplete) / READERS < pages else None) if incomplete else {}
    missing = {
        fingerprint: tuple(
            shard
            for shard in plan.dataset.shards
            if shard.name not in recorded.get(fingerprint, set()) or (fingerprint, shard.name) in spoilt
        )
        for fingerprint in plan.distinct
        if fingerprint not in complete
    }
    return replace(plan, complete=frozenset(complete), missing=missing)


def no_network(rejected: Iterable[Rejected]) -> list[str]:
    """What is to be said at once of weights that no network gives: a line for each file, or for each host."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for one in rejected:
        if one.reason.startswith(hub.NO_NETWORK):
            names[one.reason][one.id] = None
    return [f"{_some([*ids])}: {reason}" for reason, ids in names.items()]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def imports_only(study: Study, data: str) -> Plan:
    """The plan of a study that names no images: there is nothing to compute."""
    return Plan(study, Dataset(data, 0, ()), (), (), frozenset())


def _identify(
    candidates: list[Candidate], where: Location, verify: bool, mapper: Mapper, offline: bool
) -> tuple[list[Checkpoint], list[Rejected]]:
    """Candidates with their weights' digests, recalled or else staged; and those whose weights cannot be had."""
    objects = open_objects(where)
    found: list[Staged | str | None] = [None] * len(candidates)
    if not verify:
        texts = [one.made for one in candidates]
        known = recall([one.weights for one in candidates], objects, where.endpoint_url, texts, local=offline)
        found = [
            f"checkpoint '{candidate.id}': {told}" if isinstance(told, CheckpointError) else told
            for candidate, told in zip(candidates, known, strict=True)
        ]
    unknown = {one.weights for one, told in zip(candidates, found, strict=True) if told is None}
    remote = sorted(filter(is_remote, unknown))
    reach: dict[str, str | bool | None] = {}
    if remote:
        reach = dict(zip(remote, next(mapper(partial(out_of_reach, local=offline), [remote])), strict=True))
        lost = [one for one, told in zip(candidates, found, strict=True) if told is None and one.weights in reach]
        why = {one.id: told for one in lost if isinstance(told := reach[one.weights], str)}
        lost = [one for one in lost if one.id in why]
        kept = recall_named([one.weights for one in lost], objects, [one.made for one in lost])
        settled = {one.id: staged or why[one.id] for one, staged in zip(lost, kept, strict=True)}
        found = [settled.get(one.id) if told is None else told for one, told in zip(candidates, found, strict=True)]
    unstaged = [
        (one, offline or reach.get(one.weights, True) is None)
        for one, told in zip(candidates, found, strict=True)
        if told is None
    ]
    staged = mapper(partial(_stage, where), unstaged)
    pairs = [
        (candidate, next(staged) if told is None else told) for candidate, told in zip(candidates, found, strict=True)
    ]
    return (
        [Checkpoint(candidate, one.digest, one.bytes) for candidate, one in pairs if isinstance(one, Staged)],
        [Rejected(candidate.id, one) for candidate, one in pairs if isinstance(one, str)],
    )


def _stage(where: Location, asked: tuple[Candidate, bool]) -> Staged | str:
    candidate, local = asked
    try:
        return stage(candidate.weights, open_objects(where), where.endpoint_url, candidate.made, local=local)
    except CheckpointError as error:
        return f"checkpoint '{candidate.id}': {error}"
