"""A study of the size that overlap is for, its store made as the ledger lays it out, without computing anything."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from overlap import files
from overlap.analysis.consistency import PairCounts
from overlap.analysis.models import ModelRow, models_table
from overlap.analysis.pairs import pairs_table
from overlap.identity import digest, digest_keys
from overlap.published import write_results
from overlap.report.results import Results
from overlap.store import layout, memo
from overlap.store.folder import Folder
from overlap.store.records import Manifest, Record
from overlap.study import Study, load_study
from workflows import publish as published
from workflows.gate import Gate
from workflows.plan import Plan, make_plan
from workflows.reductions.subject import Subject

DATA = "val"
PER_SHARD = 781
CLASSES = 1000


def make(folder: Path, checkpoints: int, shards: int) -> Study:
    """Study, weights and shards; what hashing would find is in the store's memos, as after an earlier plan."""
    (folder / "weights").mkdir(parents=True)
    (folder / "shards").mkdir()
    (folder / "net.py").write_text("", encoding="utf-8")
    for number in range(checkpoints):
        (folder / f"weights/{number:04}.safetensors").write_bytes(f"weights {number}".encode() * (1 + number % 50))
    entries = [
        f'[[checkpoint]]\nid = "net-{number:04}"\nfactory = "net:build"\nweights = "weights/{number:04}.safetensors"\n'
        "preprocess = { input_size = 224 }\n"
        for number in range(checkpoints)
    ]
    path = folder / "study.toml"
    head = f'name = "large"\n[data.{DATA}]\nshards = "shards"\nclasses = {CLASSES}\n[tracking]\nuri = "none"\n'
    path.write_text(head + "\n".join(entries), encoding="utf-8")
    study = load_study(path)
    store = Folder(folder / "store")
    for number in range(shards):
        tar = folder / f"shards/val-{number:06}.tar"
        tar.write_bytes(b"")
        keys = [f"image-{number:03}-{image:04}" for image in range(PER_SHARD)]
        known = {"digest": digest(tar.name.encode()), "keys": keys, "labels": [i % CLASSES for i in range(PER_SHARD)]}
        memo.remember(memo.key("shard", [asdict(files.version(str(tar))), CLASSES, None]), known, store)
    return study


def certify(study: Study, half_done: int) -> Plan:
    """Records of every unit and manifests of complete checkpoints; every so-manieth (0: none) is half done."""
    plan = make_plan(study, DATA)
    store = Folder(Path(study.store.uri))
    shards = plan.dataset.shards
    for number, checkpoint in enumerate(plan.checkpoints):
        partial = bool(half_done) and number % half_done == 0
        records = [
            Record(
                DATA,
                checkpoint.fingerprint,
                shard.name,
                layout.predictions(DATA, checkpoint.fingerprint, shard.name, digest(b"")),
                0,
                len(shard),
                digest_keys(shard.keys),
                digest(b""),
                1.5,
                {"device": "NVIDIA H100", "host": "node-1", "torch": "2.14.0", "batch_size": 256},
            )
            for shard in shards[: len(shards) // 2 if partial else None]
        ]
        bodies = {record.key: record.to_json() for record in records if partial}
        if not partial:
            rows = sum(record.rows for record in records)
            manifest = Manifest(
                DATA, checkpoint.fingerprint, plan.dataset.digest, tuple(records), rows, digest(b""), digest(b""), 96.0
            )
            bodies[layout.manifest(DATA, plan.dataset.digest, checkpoint.fingerprint)] = manifest.to_json()
            bodies[layout.hard(DATA, plan.dataset.digest, checkpoint.fingerprint)] = b""
            bodies[records[0].key] = records[0].to_json()
        for key, body in bodies.items():
            path = store.path(key)  # without the store's fsync, which would take minutes for so many
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        if not partial:  # the other records of complete checkpoints are there to be listed, and are never read
            for record in records[1:]:
                os.link(store.path(records[0].key), store.path(record.key))
    return plan


def publish(study: Study, plan: Plan) -> None:
    """Results of exactly these inputs, as after a run: tables of models and of no pairs, and a report."""
    store = Folder(Path(study.store.uri))
    published.plan(plan, store)
    fingerprints = {checkpoint.id: checkpoint.fingerprint for checkpoint in plan.checkpoints}
    subject = Subject(plan, None, dict(sorted(fingerprints.items())), (), Gate(plan), store)
    images = len(plan.dataset.keys)
    rows = [ModelRow(name, one, "complete", n=images, right=images // 2) for name, one in fingerprints.items()]
    results = Results(
        study.name,
        DATA,
        plan.dataset.digest,
        subject.digest,
        models_table(rows),
        pairs_table((), NO_PAIRS, NO_CATEGORIES),
    )
    write_results(results, store)
    store.put(layout.results(DATA, published.REPORT), b"<html></html>")


NO_PAIRS = PairCounts(PER_SHARD, np.zeros((0, 0), np.int64), np.zeros((0, 0), np.int64))
NO_CATEGORIES = np.empty((0, 0), np.object_)
