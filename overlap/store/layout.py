"""Every key of the store, as functions and nothing else: state can be read from listed keys.

Digests are shortened to 16 hex digits in keys (names, not proofs). Guarantees that two different things never share a
key, and that no key is also the folder of another, since a folder store could not hold both.
"""

from __future__ import annotations

import re

from overlap.errors import StudyError
from overlap.identity import SHORT

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*")
_DATA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_RECORD = re.compile(r"records/[^/]+/([^/]+)/([0-9a-f]{16})(?:\.([1-9][0-9]*))?\.json")
_FAILURE = re.compile(r"failures/[^/]+/([^/]+)/(checkpoint|[0-9a-f]{16})\.json")
_ANSWERS = re.compile(r"answers/[^/]+/([0-9a-f]{16})/([^/]+)/([0-9a-f]{16})-[0-9a-f]{16}\.safetensors")
_PAIRS = re.compile(r"pairs/[^/]+/([0-9a-f]{16})/[0-9a-f]{16}\.safetensors")
_MANIFEST = re.compile(r"complete/[^/]+/([0-9a-f]{16})/([^/]+)/manifest\.json")


def check_model(name: str) -> str:
    """The name of a model itself, where it can be one: letters, digits and ._+@- after a letter or digit.

    Raises:
        StudyError: anything else.
    """
    if not _MODEL.fullmatch(name) or len(name) > 200:
        raise StudyError(
            f"model {name!r}: use at most 200 letters, digits and . _ + @ -, beginning with one of the first two"
        )
    return name


def check_data(name: str) -> str:
    """The name of a data set or truth itself, where it can be one: as of a model, without the @ that parts the two.

    Raises:
        StudyError: anything else.
    """
    if not _DATA.fullmatch(name) or len(name) > 100 or name.endswith((".json", ".parquet")):
        raise StudyError(
            f"data {name!r}: use at most 100 letters, digits and . _ + -, beginning with one of the first two, "
            "and not ending like a file"
        )
    return name


def shard_name(shard: str) -> str:
    """How a shard is called in keys: the first 16 hex digits of its digest (of a name, the name itself).

    Raises:
        ValueError: no digest, whole or short.
    """
    name = shard[:SHORT]
    if not re.fullmatch(r"[0-9a-f]{16}", name):
        raise ValueError(f"{shard!r} is no digest of a shard")
    return name


def predictions(data: str, fingerprint: str, shard: str, bytes_digest: str) -> str:
    """A unit's data object; its own digest in the name keeps late attempts off certified bytes."""
    return f"{predictions_prefix(data)}{fingerprint}/{shard_name(shard)}-{bytes_digest[:SHORT]}.parquet"


def features(data: str, fingerprint: str, shard: str, bytes_digest: str) -> str:
    """A unit's penultimate features, beside its predictions and under their own digest."""
    return f"{predictions_prefix(data)}{fingerprint}/{shard_name(shard)}-{bytes_digest[:SHORT]}.features.parquet"


def predictions_prefix(data: str) -> str:
    """All data objects of a data set, certified or not."""
    return f"predictions/{check_data(data)}/"


def record(data: str, fingerprint: str, shard: str, generation: int = 0) -> str:
    """A unit's record; generation 0 has no suffix, later ones supersede a damaged one."""
    suffix = f".{generation}" if generation else ""
    return f"{records_prefix(data, fingerprint)}{shard_name(shard)}{suffix}.json"


def records_prefix(data: str, fingerprint: str | None = None) -> str:
    """The records of one checkpoint, or of all, over a data set."""
    return f"records/{check_data(data)}/" + (f"{fingerprint}/" if fingerprint else "")


def parse_record(key: str) -> tuple[str, str, int] | None:
    """(fingerprint, shard's name, generation) of a record's key; None of any other."""
    match = _RECORD.fullmatch(key)
    return (match[1], match[2], int(match[3] or 0)) if match else None


def failure(data: str, model: str, shard: str | None = None) -> str:
    """Why a unit failed, or, without a shard, the checkpoint as such."""
    return f"{failures_prefix(data, model)}{shard_name(shard) if shard else 'checkpoint'}.json"


def failures_prefix(data: str, model: str | None = None) -> str:
    """The failures of one model, or of all, over a data set."""
    return f"failures/{check_data(data)}/" + (f"{check_model(model)}/" if model else "")


def parse_failure(key: str) -> tuple[str, str | None] | None:
    """(model, shard's name or None) of a failure's key; None of any other."""
    match = _FAILURE.fullmatch(key)
    return (match[1], None if match[2] == "checkpoint" else match[2]) if match else None


def manifest(data: str, dataset: str, fingerprint: str) -> str:
    """The manifest of a complete checkpoint; `dataset` is the digest of the ordered shards."""
    return f"{complete_prefix(data, dataset)}{fingerprint}/manifest.json"


def hard(data: str, dataset: str, fingerprint: str) -> str:
    """The hard predictions of a complete checkpoint, in the order of the shards."""
    return f"{complete_prefix(data, dataset)}{fingerprint}/hard.parquet"


def complete_prefix(data: str, dataset: str) -> str:
    """All complete checkpoints over a data set."""
    return f"complete/{check_data(data)}/{shard_name(dataset)}/"


def parse_manifest(key: str) -> tuple[str, str] | None:
    """(dataset's name, fingerprint) of a manifest's key; None of any other."""
    match = _MANIFEST.fullmatch(key)
    return (match[1], match[2]) if match else None


def answers(data: str, context: str, fingerprint: str, source: str, bytes_digest: str) -> str:
    """What a checkpoint's logits come to, kept so that they need not be read again.

    Args:
        data: the data set.
        context: digest of what else went in: images, labels, settings, version (`answers.Context`).
        fingerprint: of the checkpoint.
        source: digest of the units that were read.
        bytes_digest: of the object.
    """
    place = f"{answers_prefix(data)}{context[:SHORT]}/{fingerprint}/"
    return f"{place}{source[:SHORT]}-{bytes_digest[:SHORT]}.safetensors"


def answers_prefix(data: str, context: str | None = None) -> str:
    """All that is kept of checkpoints' answers over a data set, or of one context."""
    return f"answers/{check_data(data)}/" + (f"{context[:SHORT]}/" if context else "")


def parse_answers(key: str) -> tuple[str, str, str] | None:
    """(context, fingerprint, source) of a key of `answers`; None of any other."""
    match = _ANSWERS.fullmatch(key)
    return (match[1], match[2], match[3]) if match else None


def pairs(data: str, context: str, bytes_digest: str) -> str:
    """What some pairs of checkpoints come to together; which ones, its header says (`store.kept.pairs_in`)."""
    return f"{pairs_prefix(data, context)}{bytes_digest[:SHORT]}.safetensors"


def pairs_prefix(data: str, context: str | None = None) -> str:
    """All that is kept of pairs over a data set, or of one context."""
    return f"pairs/{check_data(data)}/" + (f"{context[:SHORT]}/" if context else "")


def parse_pairs(key: str) -> str | None:
    """The context of a key of `pairs`; None of any other."""
    match = _PAIRS.fullmatch(key)
    return match[1] if match else None


def labels(data: str, truth: str | None = None) -> str:
    """The labels of a data set, or another truth about it."""
    return f"labels/{_with_truth(data, truth)}.parquet"


def identity(model: str, fingerprint: str) -> str:
    """The identity behind a fingerprint, for `plan --explain`."""
    return f"{identities_prefix(model)}{fingerprint}.json"


def identities_prefix(model: str | None = None) -> str:
    """Every identity that a model has had, or that any has."""
    return "identities/" + (f"{check_model(model)}/" if model else "")


def weights(bytes_digest: str, suffix: str = "") -> str:
    """A weights file by its whole digest; `suffix` (".safetensors", ".pth") says how it is read."""
    return f"weights/{bytes_digest}{suffix}"


def shards(bytes_digest: str) -> str:
    """A local shard, brought into the store by the digest of its file."""
    return f"shards/{bytes_digest}.tar"


def memo(kind: str, inputs_digest: str) -> str:
    """What was once found out about a file (its digest), by a digest over where it is, its size and ETag or mtime."""
    return f"memo/{kind}/{inputs_digest}.json"


def imports(data: str) -> str:
    """All imports over a data set."""
    return f"imports/{check_data(data)}/"


def imported(data: str, model: str) -> str:
    """Which table holds a model's imported predictions; a changed import replaces it."""
    return f"{imports(data)}{check_model(model)}.json"


def imported_table(data: str, model: str, bytes_digest: str) -> str:
    """A table of imported predictions, by its digest."""
    return f"{imports(data)}{check_model(model)}-{bytes_digest[:SHORT]}.parquet"


def parted(name: str) -> tuple[str, str | None]:
    """The data set and the truth that a name of results stands for: `NAME@TRUTH`, or NAME and None."""
    data, at, truth = name.partition("@")
    return check_data(data), check_data(truth) if at else None


def results(data: str, name: str, truth: str | None = None, inputs: str | None = None) -> str:
    """A result: the newest, or, with the digest of what went into it, one of the earlier ones beside it.

    The data set may be named with its truth, `NAME@TRUTH`.
    """
    earlier = f"{inputs[:SHORT]}/" if inputs else ""
    return f"{results_prefix(data, truth)}{earlier}{name}"


def across(name: str) -> str:
    """A table about all data sets of a study together; no data set can be called like one."""
    return f"results/{name}"


def results_prefix(data: str, truth: str | None = None) -> str:
    """All results about a data set under one truth, which its name may hold, `NAME@TRUTH`."""
    if truth is None:
        data, truth = parted(data)
    return f"results/{_with_truth(data, truth)}/"


def _with_truth(data: str, truth: str | None) -> str:
    return check_data(data) + (f"@{check_data(truth)}" if truth else "")


def turns(name: str) -> str:
    """Who is at something that one driver does at a time."""
    return f"turns/{name}/"


def turn_of(name: str, number: int) -> str:
    """One turn, by its number."""
    return f"{turns(name)}{number:08}.json"


def snapshot(data: str) -> str:
    """What the last run resolved a data set to: checkpoints by name and fingerprint, shards, what was refused."""
    return f"studies/{check_data(data)}.json"


def job(submission: str) -> str:
    """What came of a Ray job, by its submission id."""
    return f"{jobs_prefix(submission)}.json"


def jobs_prefix(stem: str) -> str:
    """The outcomes of all jobs whose submission ids begin so."""
    return f"jobs/{stem}"


def schedule(data: str, started: int, identifier: str) -> str:
    """How a fan-out ran; `started` in UTC seconds, so that keys in order are fan-outs in order."""
    return f"{schedules_prefix(data)}{started:012d}-{identifier}.parquet"


def schedules_prefix(data: str) -> str:
    """How every fan-out over a data set ran."""
    return f"schedules/{check_data(data)}/"
