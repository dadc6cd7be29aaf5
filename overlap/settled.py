"""That a run found nothing more to do: remembered, so that the next look costs listings and nothing else.

What is remembered is a digest of everything the run read (`versions`) and of what the store held at its end: manifests
with their ETags, the keys of all records, failures, imports, weights, results, and that MLflow was told. Guarantees: as
long as the digests are equal nothing was added, removed or replaced anywhere among these. Not looked at: whether the
bytes of predictions are still there, which is for their readers and for `overlap run --verify` to find.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from overlap.errors import ObjectMissing
from overlap.identity import canonical_json, digest
from overlap.store import layout, memo
from overlap.store.location import Location, open_objects
from overlap.store.objects import READERS, Objects
from overlap.study import Study
from overlap.versions import Versions, versions

SCHEMA = 1
"""Version of what is remembered."""
RETRY_HOURS = 24.0
"""After so long what failed is tried again though nothing changed, and so is what may have changed unseen."""
REACH_HOURS = 1.0
"""After so long a hub or server that did not answer is asked again."""
REDUCTION, REPORT, ACROSS = "reduction.json", "report.html", "across.json"


@dataclass(frozen=True)
class Settled:
    """The end of a run that left nothing to do."""

    inputs: dict[str, str]
    """What it read, by part (`versions.Versions.parts`)."""
    store: dict[str, str]
    """What the store held, by part."""
    exit_code: int
    at: str
    """UTC in ISO form."""
    models: int
    """Models in the results of all data sets together."""
    factories: tuple[str, ...] = ()
    hours: float | None = None
    """How long this holds while nothing changes; None for ever."""

    @property
    def expired(self) -> bool:
        """Whether it no longer counts: what failed is to be tried again."""
        return self.hours is not None and hours_since(self.at) >= self.hours


@dataclass(frozen=True)
class Look:
    """What a look found."""

    last: Settled | None
    """What was remembered last, whether it still holds or not."""
    inputs: Versions
    changed: tuple[str, ...] = ()
    """Parts that are not as they were: of inputs or of the store."""

    @property
    def nothing_new(self) -> bool:
        """Whether everything is as it was."""
        return self.last is not None and not self.changed and not self.last.expired


def look(study: Study) -> Look:
    """Compare zoo, study, data and store with what the last settled run saw. Computes and writes nothing."""
    objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
    last = _recall(study, objects)
    with ThreadPoolExecutor(1) as beside:
        store = beside.submit(held, study, objects)
        seen = versions(study, None if last is None else last.factories)
        now = store.result()
    if last is None:
        return Look(None, seen)
    pairs = [(last.inputs, seen.parts), (last.store, now)]
    changed = [name for then, these in pairs for name in sorted({*then, *these}) if then.get(name) != these.get(name)]
    return Look(last, seen, tuple(changed))


def remember(study: Study, inputs: Versions, exit_code: int, models: int, *, unreached: bool = False) -> None:
    """Remember the end of a run that left nothing to do.

    Args:
        study: the study.
        inputs: as they were looked at before the run began, so that what came later counts as new.
        exit_code: of the run.
        models: in the results of all data sets together.
        unreached: some weights could not be had since a hub or server did not answer.
    """
    objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    hours = REACH_HOURS if unreached else RETRY_HOURS if exit_code or not inputs.certain else None
    settled = Settled(inputs.parts, held(study, objects), exit_code, at, models, inputs.factories, hours)
    last = _recall(study, objects)
    if last is None or hours is not None or replace(last, at=at) != settled:
        memo.remember(_key(study), asdict(settled), objects)


def hours_since(at: str) -> float:
    """Hours since a moment in ISO form with its zone; for ever where it is none."""
    try:
        return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(at)).total_seconds() / 3600
    except (ValueError, TypeError):
        return math.inf


def nothing_new(last: Settled) -> str:
    """What is said where nothing is new."""
    failed = "; what failed then is tried again after a day, or by a plain `overlap run`" if last.exit_code else ""
    return f"nothing new since {last.at}: {last.models:,} models in the results{failed}"


def told(uri: str, data: str, inputs_digest: str) -> str:
    """The memo that MLflow was told of a reduction."""
    return layout.memo("tracking", digest(canonical_json([uri, data, inputs_digest])))


def held(study: Study, objects: Objects) -> dict[str, str]:
    """What the store holds of a study's data sets, as digests over listed keys."""
    names = list(study.data) or sorted({info.key.split("/")[1] for info in objects.list("imports/")})
    with ThreadPoolExecutor(READERS) as readers:

        def listing(prefixes: Iterable[str], *, keys_alone: bool = False) -> Any:
            return [readers.submit(_listed, objects, prefix, keys_alone) for prefix in prefixes]

        asked = {
            # Side by side by the first digit of a fingerprint: of a large zoo these are dozens of pages.
            "records": listing(
                (f"{layout.records_prefix(name)}{digit}" for name in names for digit in "0123456789abcdef"),
                keys_alone=True,
            ),
            "manifests": listing(f"complete/{layout.check_data(name)}/" for name in names),
            "failures": listing(layout.failures_prefix(name) for name in names),
            "imports": listing(layout.imports(name) for name in names),
            "weights": listing([layout.weights("")]),
            "labels": listing((layout.labels(name) for name in names), keys_alone=True),
            "results": [readers.submit(_results, study, objects, name) for name in _results_of(study, names)]
            + listing([layout.across(ACROSS)]),
        }
        return {part: digest(canonical_json([one.result() for one in each])) for part, each in asked.items()}


def _results_of(study: Study, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        section = study.data.get(name)
        if section is None or section.role == "evaluate":
            yield name
            yield from (f"{name}@{truth}" for truth in (section.truths if section is not None else ()))


def _listed(objects: Objects, prefix: str, keys_alone: bool) -> Any:
    """A digest over a listing, so that little is kept of tens of thousands of keys."""
    if keys_alone:
        return digest("\n".join(info.key for info in objects.list(prefix)).encode())
    return digest("\n".join(f"{info.key} {info.size} {info.etag}" for info in objects.list(prefix)).encode())


def _results(study: Study, objects: Objects, name: str) -> Any:
    """The newest results: what names them, the tables that it names, the report, and whether MLflow was told."""
    try:
        head = objects.get(layout.results(name, REDUCTION))
    except ObjectMissing:
        return None
    try:
        inputs = str(json.loads(head)["inputs_digest"])
    except (ValueError, KeyError, TypeError):
        return [digest(head)]
    uri = study.tracking.uri
    return [
        digest(head),
        _listed(objects, layout.results(name, "", inputs=inputs), False),
        objects.head(layout.results(name, REPORT)) is not None,
        uri == "none" or objects.head(told(uri, name, inputs)) is not None,
    ]


def _recall(study: Study, objects: Objects) -> Settled | None:
    fields = memo.recall(_key(study), objects)
    try:
        return None if fields is None else Settled(**{**fields, "factories": tuple(fields["factories"])})
    except (KeyError, TypeError):
        return None


def _key(study: Study) -> str:
    return memo.key("settled", {"schema": SCHEMA, "study": study.name, "file": study.path.name})
