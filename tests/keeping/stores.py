"""Random stores as years of runs, kills and damage leave them; and everything that can be read from one."""

from __future__ import annotations

import hashlib
import io
import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from overlap.errors import OverlapError
from overlap.identity import canonical_json, digest
from overlap.imports import load_imports, store_predictions
from overlap.keeping.references import STAGED
from overlap.published import Snapshot, read_inputs_digest, read_results, read_snapshot, write_results, write_snapshot
from overlap.report import Results
from overlap.store import kept, layout, memo
from overlap.store.atomic import PREFIX, SUFFIX
from overlap.store.features import from_features
from overlap.store.folder import Folder
from overlap.store.kept import Asked
from overlap.store.ledger import Ledger
from overlap.store.tables import Predictions, encode, from_logits
from tests.view.frames import pairs_of, right_bits, zoo

DAY = 86_400.0
DATA = ("val", "val.first4")
FINGERPRINTS = [f"{number:016x}" for number in range(4)]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def unit(shard: int, seed: int, rows: int = 4) -> Predictions:
    logits = np.random.default_rng((shard, seed)).normal(size=(rows, 3))
    return from_logits([f"s{shard}-{row}" for row in range(rows)], logits)


def results_of(data: str, inputs: str, models: list[str]) -> Results:
    """A reduction that names these fingerprints."""
    rows = zoo(max(2, len(models)))
    named = pl.Series("fingerprint", [*models, *[None] * (rows.height - len(models))], pl.String)
    told = rows.with_columns(named).with_columns(
        n=pl.lit(8), accuracy=pl.lit(0.5), status=pl.lit("complete"), top5=pl.lit(0.5), nll=pl.lit(1.0),
        ece=pl.lit(0.1), temperature=pl.lit(1.0), noise_floor_ei=pl.lit(None, pl.Float64),
    )  # fmt: skip
    pairs = pairs_of(rows, right_bits(rows, 8, np.random.default_rng(0)))
    return Results("small", data, sha(f"dataset {data}"), sha(inputs), told, pairs)


class RandomStore:
    """A folder store filled by a seed. `age` gives every file an age of its own: minutes, or days."""

    def __init__(self, root: Path, seed: int) -> None:
        self.objects = Folder(root)
        self.random = random.Random(seed)
        for data in DATA[: self.random.randint(1, 2)]:
            self._units(data)
            self._results(data)
            self._kept(data)
            self._imports(data, root.parent)
        self._weights()
        self._strange()
        self._damage()
        self._age()

    def _units(self, data: str) -> None:
        ledger, chance = Ledger(self.objects, data), self.random.random
        shards = [sha(f"{data} {number}") for number in range(2)]
        for fingerprint in FINGERPRINTS:
            for number, shard in enumerate(shards):
                if chance() < 0.2:
                    continue
                told = unit(number, int(fingerprint, 16))
                features = from_features(told.keys, np.ones((len(told), 2))) if chance() < 0.4 else None
                rest: dict[str, Any] = {"seconds": 1.0, "provenance": {}}
                record = ledger.certify(fingerprint, shard, told, features=features, **rest)
                if chance() < 0.3:
                    ledger.certify(fingerprint, shard, unit(number, 99), replaces=record, **rest)
                if chance() < 0.3:  # a late attempt: its object, and no record
                    body = encode(unit(number, 7))
                    self.objects.put(layout.predictions(data, fingerprint, shard, digest(body)), body)
            records = ledger.records(fingerprint)
            if len(records) == len(shards) and chance() < 0.8:
                ledger.complete(fingerprint, sha(f"dataset {data}"), shards, records)
                if chance() < 0.2:
                    ledger.certify(fingerprint, shards[0], unit(0, 98), replaces=records[shards[0][:16]], **rest)
            elif chance() < 0.3:
                self.objects.put(layout.hard(data, sha(f"dataset {data}"), fingerprint), b"half a completion")
        named = {f"model-{one}": one for one in FINGERPRINTS if chance() < 0.6}
        write_snapshot(
            Snapshot("small", data, sha(f"dataset {data}"), 3, {one[:16]: 4 for one in shards}, {}, named), self.objects
        )

    def _results(self, data: str) -> None:
        for number in range(self.random.randint(0, 3)):
            named = [one for one in FINGERPRINTS if self.random.random() < 0.3]
            if self.random.random() < 0.9:  # else an older version made it
                context = self.random.choice("ab")
                asked = Asked.of(sha(context), sha(f"pairs {context}"), [(one, sha(one)) for one in named])
                asked.write(self.objects, data, sha(f"{data} {number}"))
            write_results(results_of(data, f"{data} {number}", named), self.objects)
            self.objects.put(layout.results(data, "report.html"), b"<html>")

    def _kept(self, data: str) -> None:
        for context in (sha("a"), sha("b")):
            for one in FINGERPRINTS:
                if self.random.random() < 0.6:
                    self._keep(partial(layout.answers, data, context, one, sha(one)), [one])
        for context in (sha("pairs a"), sha("pairs b")):
            for both in combinations(FINGERPRINTS, 2):
                if self.random.random() < 0.4:
                    self._keep(partial(layout.pairs, data, context), both)

    def _keep(self, key: Callable[[str], str], models: Sequence[str]) -> None:
        about = {kept.MODELS: " ".join(models), kept.SOURCES: " ".join(sha(one) for one in models)}
        kept.write(self.objects, key, {kept.PAIRS: np.array([[0, 1]], np.int32)}, about)

    def _imports(self, data: str, scratch: Path) -> None:
        for seed in range(self.random.randint(0, 2)):
            table = scratch / "imports.csv"
            rows = "".join(f"human,k{row},{row % 2},{(row + seed) % 2}\n" for row in range(4))
            table.write_text("model,key,label,prediction\n" + rows)
            store_predictions(table, data, self.objects)

    def _weights(self) -> None:
        for number, fingerprint in enumerate(FINGERPRINTS):
            digest_of = sha(f"weights {number % 3}")
            self.objects.put(layout.weights(digest_of), b"weights")
            if self.random.random() < 0.8:
                identity = {"weights": digest_of, "architecture": "net"}
                self.objects.put(layout.identity(f"model-{fingerprint}", fingerprint), canonical_json(identity))
        self.objects.put(layout.weights(sha("orphan")), b"nobody's")
        if self.random.random() < 0.5:
            self.objects.put(layout.weights(sha("planned")), b"of a plan")
            memo.remember(memo.key("weights", "planned"), {"digest": sha("planned"), "bytes": 9}, self.objects)
        for shard in ("val 0", "gone"):
            self.objects.put(layout.shards(sha(f"file {shard}")), b"tar")
            if self.random.random() < 0.8:
                memo.remember(memo.key(STAGED, sha(f"file {shard}")), sha(shard)[:16], self.objects)

    def _strange(self) -> None:
        for key in ("notes.txt", "predictions/val/readme", "strange/thing.parquet", "check/0123456789abcdef"):
            if self.random.random() < 0.5:
                self.objects.put(key, b"?")
        self.objects.put("jobs/overlap-small-1.json", b"{}")
        self.objects.put("mlartifacts/1/x/artifacts/y", b"tracking")
        if self.random.random() < 0.5:
            (self.objects.root / "records" / f"{PREFIX}1-2{SUFFIX}").write_bytes(b"half")

    def _damage(self) -> None:
        for info in list(self.objects.list("")):
            if self.random.random() < 0.03 and not info.key.startswith("mlartifacts"):
                body = self.objects.get(info.key)
                self.objects.put(info.key, self.random.choice([b"", body[:-3], body[: len(body) // 2]]))
            elif self.random.random() < 0.01:
                self.objects.delete([info.key])

    def _age(self) -> None:
        now = time.time()
        for path in sorted(self.objects.root.rglob("*")):
            if path.is_file():
                age = self.random.choice([60.0, 2 * DAY, 2 * DAY, 10 * DAY, 60 * DAY])
                os.utime(path, (now - age, now - age))


def readings(objects: Folder) -> dict[str, Any]:
    """What every reader says of a store: the answer, or the error's text."""
    said: dict[str, Any] = {}

    def ask(name: str, question: Any) -> None:
        try:
            said[name] = question()
        except (OverlapError, ValueError) as error:
            said[name] = f"{type(error).__name__}: {error}"

    fingerprints = {info.key.split("/")[2] for info in objects.list("records/")}
    for data in DATA:
        ledger, dataset = Ledger(objects, data), sha(f"dataset {data}")
        ask(f"snapshot {data}", lambda data=data: read_snapshot(data, objects))
        ask(f"results {data}", lambda data=data: _plain(read_results(data, objects)))
        ask(f"imports {data}", lambda data=data: [one.table.to_dicts() for one in load_imports(data, objects)])
        ask(f"kept {data}", lambda data=data: _kept(data, objects))
        ask(f"completed {data}", lambda ledger=ledger, dataset=dataset: ledger.completed(dataset))
        ask(f"recorded {data}", ledger.recorded)
        for one in sorted(fingerprints):
            ask(f"hard {data} {one}", lambda ledger=ledger, dataset=dataset, one=one: ledger.hard(one, dataset).keys)
            for record in ledger.records(one).values():
                ask(f"logits {record.key}", lambda led=ledger, rec=record: led.read(rec).logits.tobytes())
                ask(f"features {record.key}", lambda led=ledger, rec=record: led.read_features(rec).features.tobytes())
            ask(f"manifest {data} {one}", lambda ledger=ledger, dataset=dataset, one=one: ledger.manifest(one, dataset))
            manifest = said[f"manifest {data} {one}"]
            for record in () if manifest is None or isinstance(manifest, str) else manifest.records:
                ask(f"complete {record.key}", lambda led=ledger, rec=record: led.read(rec).logits.tobytes())
    for info in objects.list("identities/"):
        said[info.key] = objects.get(info.key)
        held = said[info.key]
        if held.endswith(b"}"):
            name = held.partition(b'"weights":"')[2][:64].decode()
            said[f"weights of {info.key}"] = objects.head(layout.weights(name)) is not None
    return said


def _kept(data: str, objects: Folder) -> dict[str, Any]:
    """What the newest results ask for of what is kept, as it is read."""
    inputs = read_inputs_digest(data, objects)
    said = layout.results(data, kept.ASKED, inputs=inputs or "0" * 16)
    asked = Asked.from_json(objects.get(said)) if inputs is not None and objects.head(said) is not None else None
    if asked is None:
        return {}
    answers = {(asked.answers, *name) for name in asked.names}
    found = {}
    for prefix in (layout.answers_prefix(data, asked.answers), layout.pairs_prefix(data, asked.pairs)):
        for info in objects.list(prefix):
            both = any(one in asked.names and two in asked.names for one, two in kept.pairs_in(objects, info.key))
            if both or layout.parse_answers(info.key) in answers:
                arrays = kept.read(objects, info.key)
                found[info.key] = None if arrays is None else {name: one.tobytes() for name, one in arrays.items()}
    return found


def _plain(results: Results | None) -> Any:
    if results is None:
        return None
    tables = {}
    for name, table in results.tables().items():
        buffer = io.BytesIO()
        table.write_ipc(buffer)
        tables[name] = digest(buffer.getvalue())
    return results.inputs_digest, tables
