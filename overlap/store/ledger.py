"""The ledger: which units are done, which checkpoints are complete, and what failed.

A unit is certified in two steps: its data object under a name that holds its own digest, then its record put if absent.
Guarantees: a record that can be read names an object that was wholly there before it; of racing writers one is
recorded and the others adopt it; certified bytes are verified whenever they are read, and damage is an error that
names the object and says which units to compute again. Not guaranteed: that objects without a record mean anything
(they are orphans, which anything may remove that knows their age).

Whatever takes a shard takes its digest or the first 16 hex digits of it; whatever is keyed by shard has those 16.
"""

from __future__ import annotations

import datetime
from collections import ChainMap, defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from overlap.errors import DamagedObject, ObjectMissing
from overlap.identity import digest, digest_keys
from overlap.store import layout
from overlap.store.features import Features, put_features
from overlap.store.objects import READERS, Objects, get_many
from overlap.store.records import Failure, Manifest, Record
from overlap.store.tables import Hard, Predictions, decode_hard, encode, encode_hard
from overlap.store.tops import Tops, encode_tops
from overlap.store.units import UNIT_READERS, DamagedUnits, read_either, read_features, read_hard, read_tops, read_unit

__all__ = ["DamagedUnits", "Failure", "Ledger", "Manifest", "Record"]


@dataclass(frozen=True)
class Ledger:
    """The ledger of one data set in a store; plain data, for use in any process. Every method may raise StoreError."""

    objects: Objects
    data: str

    def certify(
        self,
        fingerprint: str,
        shard: str,
        predictions: Predictions | Tops,
        *,
        seconds: float,
        provenance: Mapping[str, Any],
        features: Features | None = None,
        replaces: Record | None = None,
    ) -> Record:
        """Store a unit and its record; the record that counts, which is another's where that came first.

        Args:
            fingerprint: of the checkpoint.
            shard: digest or name of the shard.
            predictions: in the order of the shard, of either kind.
            seconds: what the unit took.
            provenance: plain JSON without NaN.
            features: of the same samples, where the unit has any; a second object that the same record names.
            replaces: a damaged record, which the new one supersedes.
        """
        named = {"data": self.data, "fingerprint": fingerprint, "shard": layout.shard_name(shard)}
        body = encode_tops(predictions, named) if isinstance(predictions, Tops) else encode(predictions, named)
        bytes_digest = digest(body)
        place = layout.predictions(self.data, fingerprint, shard, bytes_digest)
        # A plain put, though equal bytes may be there: it mends them if they were damaged, and makes them young, so
        # that no clean-up takes them for an old orphan before the record is there.
        self.objects.put(place, body)
        if features is not None and features.keys != predictions.keys:
            raise ValueError("features of other samples than the predictions")
        held = None if features is None else put_features(self.objects, named, features)
        generation = 0 if replaces is None else replaces.generation + 1
        while True:
            record = Record(
                data=self.data,
                fingerprint=fingerprint,
                shard=shard,
                object=place,
                generation=generation,
                rows=len(predictions),
                keys_digest=digest_keys(predictions.keys),
                bytes_digest=bytes_digest,
                seconds=float(seconds),
                provenance=dict(provenance),
                features=held,
            )
            if self.objects.put_if_absent(record.key, record.to_json()):
                return record
            newest = self.record(fingerprint, shard) or self._load(fingerprint, shard, generation)
            if newest.readable and newest.generation >= generation:
                return newest
            generation = max(newest.generation, generation) + 1

    def record(self, fingerprint: str, shard: str) -> Record | None:
        """The newest record of a unit; None where it was never certified. It may be a stand-in (`Record.readable`)."""
        found = self._listed(layout.record(self.data, fingerprint, shard).removesuffix(".json"))
        generation = found.get(fingerprint, {}).get(layout.shard_name(shard))
        return None if generation is None else self._load(fingerprint, shard, generation)

    def records(self, fingerprint: str, threads: int = READERS) -> dict[str, Record]:
        """The newest record of every certified unit of a checkpoint, by shard, stand-ins included; one listing."""
        newest = self._listed(layout.records_prefix(self.data, fingerprint)).get(fingerprint, {})
        keys = {layout.record(self.data, fingerprint, shard, newest[shard]): shard for shard in sorted(newest)}
        read = get_many(self.objects, keys, threads)
        return {
            shard: self._trusted(read[key], fingerprint, shard, newest[shard])
            for key, shard in keys.items()
            if key in read
        }

    def recorded(self, fingerprints: Collection[str] | None = None) -> dict[str, set[str]]:
        """The shards that are certified, by fingerprint, from listed keys alone; nothing is read.

        Args:
            fingerprints: of the checkpoints asked about, each then listed by itself; None for all in one listing.
        """
        if fingerprints is None:
            listed = self._listed(layout.records_prefix(self.data))
        else:
            prefixes = [layout.records_prefix(self.data, fingerprint) for fingerprint in fingerprints]
            with ThreadPoolExecutor(READERS, thread_name_prefix="store") as pool:
                listed = dict(ChainMap(*pool.map(self._listed, prefixes)))
        return {fingerprint: set(shards) for fingerprint, shards in listed.items()}

    def read(self, record: Record) -> Predictions:
        """The predictions that a record certifies, verified; raises as `read_unit`."""
        return read_unit(self.objects, record)

    def read_tops(self, record: Record) -> Tops:
        """The largest logits that a record certifies, verified; raises as `units.read_tops`."""
        return read_tops(self.objects, record)

    def read_features(self, record: Record) -> Features:
        """The penultimate features that a record certifies, verified; raises as `read`, ObjectMissing without any."""
        return read_features(self.objects, record)

    def damaged(self, record: Record) -> str | None:
        """What is wrong with a certified unit; None where it is as certified."""
        try:
            read_either(self.objects, record)
            if record.features is not None:
                self.read_features(record)
        except DamagedObject as error:
            return str(error)
        return None

    def complete(
        self,
        fingerprint: str,
        dataset_digest: str,
        shards: Sequence[str],
        records: Mapping[str, Record],
        threads: int = UNIT_READERS,
    ) -> Manifest:
        """Verify every unit of a checkpoint and write its hard predictions, then its manifest.

        Args:
            fingerprint: of the checkpoint.
            dataset_digest: of the ordered shards.
            shards: digests or names, in order.
            records: as `records` gives them.
            threads: units read side by side.

        Raises:
            DamagedUnits: some units must be computed again: all of them are in its `records`.
            DataError: a sample is in two shards; names it.
            ValueError: a shard has no record.
        """
        names = [layout.shard_name(shard) for shard in shards]
        if missing := [name for name in names if name not in records]:
            raise ValueError(
                f"{fingerprint} is not complete: {len(missing)} shards have no record, the first {missing[0]}"
            )
        ordered = [records[name] for name in names]
        whole = read_hard(self.objects, ordered, threads)
        named = {"data": self.data, "fingerprint": fingerprint, "dataset": layout.shard_name(dataset_digest)}
        body = encode_hard(whole, named)
        manifest = Manifest(
            data=self.data,
            fingerprint=fingerprint,
            dataset=dataset_digest,
            records=tuple(ordered),
            rows=len(whole),
            keys_digest=digest_keys(whole.keys),
            hard_digest=digest(body),
            seconds=sum(record.seconds for record in ordered),
        )
        # Both are functions of the records, so that racing drivers write equal bytes. In this order a manifest never
        # stands without its table; between the two puts of a replacement `hard` reports damage, and is asked again.
        self.objects.put(layout.hard(self.data, dataset_digest, fingerprint), body)
        self.objects.put(layout.manifest(self.data, dataset_digest, fingerprint), manifest.to_json())
        return manifest

    def completed(self, dataset: str) -> set[str]:
        """The fingerprints that are complete over the data set of this digest; one listing, nothing is read."""
        listed = (
            layout.parse_manifest(info.key) for info in self.objects.list(layout.complete_prefix(self.data, dataset))
        )
        return {parsed[1] for parsed in listed if parsed is not None}

    def manifest(self, fingerprint: str, dataset: str) -> Manifest | None:
        """The manifest of a complete checkpoint; None of another.

        Raises:
            DamagedObject: it cannot be read; `complete` writes it anew.
        """
        key = layout.manifest(self.data, dataset, fingerprint)
        try:
            manifest = Manifest.from_json(self.objects.get(key))
        except ObjectMissing:
            return None
        if manifest is None or (manifest.data, manifest.fingerprint) != (self.data, fingerprint):
            raise DamagedObject(f"{self.objects.uri}/{key}: the manifest cannot be read; run with --verify")
        return manifest

    def hard(self, fingerprint: str, dataset: str) -> Hard:
        """The hard predictions of a complete checkpoint in the order of the shards, verified.

        Raises:
            ObjectMissing: it is not complete.
            DamagedObject: they are gone, or not those of the manifest; `complete` writes them anew.
        """
        manifest = self.manifest(fingerprint, dataset)
        key = layout.hard(self.data, dataset, fingerprint)
        if manifest is None:
            raise ObjectMissing(f"{self.objects.uri}/{key}: {fingerprint} is not complete; run the study")
        try:
            data = self.objects.get(key)
        except ObjectMissing:
            raise DamagedObject(f"{self.objects.uri}/{key}: is gone; run with --verify") from None
        if digest(data) != manifest.hard_digest:
            raise DamagedObject(
                f"{self.objects.uri}/{key}: holds other bytes than its manifest says; run with --verify"
            )
        return decode_hard(data)

    def fail(self, model: str, shard: str | None, fingerprint: str | None, reason: str, kind: str) -> Failure:
        """Write down why a unit, or (shard None) a checkpoint as such, could not be done; the last word counts."""
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        failure = Failure(self.data, model, shard, fingerprint, kind, reason, at)
        self.objects.put(layout.failure(self.data, model, shard), failure.to_json())
        return failure

    def failures(self, threads: int = READERS) -> list[Failure]:
        """What is written down as failed, by model and shard; a note that cannot be read is one itself."""
        listed = [
            (info.key, layout.parse_failure(info.key)) for info in self.objects.list(layout.failures_prefix(self.data))
        ]
        parsed = {key: unit for key, unit in listed if unit is not None}
        read = get_many(self.objects, parsed, threads)
        unreadable = "the note on this failure cannot be read; run again"
        return [
            Failure.from_json(read[key]) or Failure(self.data, model, shard, None, "unreadable", unreadable, "")
            for key, (model, shard) in parsed.items()
            if key in read
        ]

    def clear_failures(self, model: str) -> None:
        """Forget a model's failures, since it is tried again or done."""
        self.objects.delete([info.key for info in self.objects.list(layout.failures_prefix(self.data, model))])

    def _listed(self, prefix: str) -> dict[str, dict[str, int]]:
        """The newest generation of every record under a prefix, by fingerprint and shard."""
        newest: dict[str, dict[str, int]] = defaultdict(dict)
        for info in self.objects.list(prefix):
            if parsed := layout.parse_record(info.key):
                fingerprint, shard, generation = parsed
                newest[fingerprint][shard] = max(generation, newest[fingerprint].get(shard, 0))
        return dict(newest)

    def _load(self, fingerprint: str, shard: str, generation: int) -> Record:
        try:
            data = self.objects.get(layout.record(self.data, fingerprint, shard, generation))
        except ObjectMissing:
            data = b""
        return self._trusted(data, fingerprint, shard, generation)

    def _trusted(self, data: bytes, fingerprint: str, shard: str, generation: int) -> Record:
        """A record as read, if it is of the unit and generation that its key says; else its stand-in."""
        record = Record.from_json(data)
        told = None if record is None else (record.data, record.fingerprint, record.shard[:16], record.generation)
        if record is None or told != (self.data, fingerprint, layout.shard_name(shard), generation):
            return Record.unreadable(self.data, fingerprint, shard, generation)
        return record
