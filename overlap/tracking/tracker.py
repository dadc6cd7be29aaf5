"""Bringing MLflow in line with a study's results: find, else create; fill, unless already filled.

An experiment per study; a run per (checkpoint, data) whose metrics hang on a LoggedModel and on the dataset by digest;
a run per reduction with tables and figures; a run per invocation as their parent, made only when something new is.
A run is marked as filled last of all, so an interrupted one is filled again; metrics of the same value are not doubled
by that, since they carry the run's own start as their time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from overlap.report.figures import Figure
from overlap.report.results import Results
from overlap.tracking import artifacts, entries
from overlap.tracking.catalogue import CONTENT, Catalogue, dataset_of, tags_of
from overlap.tracking.entries import Entry
from overlap.tracking.server import connect, told

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

SERVER_THREADS = 8
"""Requests in flight against a server; SQLite has one writer and gets one thread."""
PARENT = "mlflow.parentRunId"


@dataclass
class Synced:
    """What one `sync` did: numbers of runs."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    opened: list[str] = field(default_factory=list)
    """Ids of the runs that were created or filled."""

    def __add__(self, other: Synced) -> Synced:
        """Sums, for a study of several data sets."""
        return Synced(
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.opened + other.opened,
        )


class Tracker:
    """The MLflow experiment of one study. Create it where results are published, on the driver alone."""

    def __init__(self, uri: str, study: str, *, invocation: str, about: Mapping[str, str] | None = None) -> None:
        """Connect and find or create the experiment.

        Args:
            uri: tracking URI: `sqlite:////absolute/path/mlflow.db` or a server's address.
            study: name of the study, which becomes the experiment's.
            invocation: identifies this call of a verb; runs it creates get one parent of this identity.
            about: what the parent run says of the call (`command`, versions, ...), at most 100 short texts.

        Raises:
            TrackingError: MLflow does not answer or refuses.
        """
        self.uri = uri
        self._client = connect(uri)
        self._invocation = entries.invocation(invocation, about or {})
        with told(uri):
            self._catalogue = Catalogue(self._client, uri, study)

    def sync(
        self,
        results: Results,
        draw: Callable[[], Sequence[Figure]],
        page: Callable[[], str] | None = None,
    ) -> Synced:
        """Make MLflow say what the results say. A second call with the same results writes nothing.

        Args:
            results: the tables.
            draw: gives the figures; called only where the reduction's run has to be filled.
            page: gives the report's HTML; called likewise.

        Raises:
            TrackingError: MLflow stopped answering or refused; what was written stays and the next call completes it.
        """
        with told(self.uri):
            runs = self._catalogue.runs()
            wanted = [*entries.checkpoints(results), entries.reduction(results)]
            stale = [one for one in wanted if not _filled(one, runs.get(one.key))]
            done = Synced(unchanged=len(wanted) - len(stale))
            if not stale:
                return done
            models = self._catalogue.models() if any(one.kind == "checkpoint" for one in stale) else {}
            parent = self._parent(runs, dataset_of(results))

            def bring(entry: Entry) -> tuple[bool, str]:
                run = runs.get(entry.key)
                if run is not None and _contradicts(entry, run):  # params cannot be changed, only left behind
                    self._client.delete_run(run.info.run_id)
                    run = None
                kept = run or self._catalogue.create_run(entry, {PARENT: parent})
                self._fill(entry, kept, models, results, draw, page)
                return run is None, kept.info.run_id

            threads = SERVER_THREADS if self.uri.startswith("http") else 1
            with ThreadPoolExecutor(threads) as pool:
                for created, identifier in pool.map(bring, stale):
                    done += Synced(int(created), int(not created), 0, [identifier])
            return done

    def _parent(self, runs: Mapping[str, Run], dataset: tuple[str, str]) -> str:
        entry = self._invocation
        run = runs.get(entry.key) or self._catalogue.create_run(entry, {})
        if CONTENT not in run.data.tags:
            self._log(entry, run, None, None)
            self._close(entry, run)
        # Before the threads start: MLflow creates a dataset on first sight, and trips over two first sights at once.
        self._catalogue.link(run, dataset, None)
        return str(run.info.run_id)

    def _fill(
        self,
        entry: Entry,
        run: Run,
        models: Mapping[str, LoggedModel],
        results: Results,
        draw: Callable[[], Sequence[Figure]],
        page: Callable[[], str] | None,
    ) -> None:
        dataset = dataset_of(results)
        if entry.kind == "checkpoint":
            model = self._catalogue.model(entry, run, models)
            self._catalogue.link(run, dataset, model)
            self._log(entry, run, model.model_id, dataset)
        else:
            self._catalogue.link(run, dataset, None)
            with tempfile.TemporaryDirectory(prefix="overlap-") as folder:
                artifacts.write(Path(folder), results, draw(), page() if page else None)
                self._client.log_artifacts(run.info.run_id, folder)
            self._log(entry, run, None, dataset)
        self._close(entry, run)

    def _close(self, entry: Entry, run: Run) -> None:
        self._client.set_terminated(run.info.run_id)
        self._client.set_tag(run.info.run_id, CONTENT, entry.content)

    def _log(self, entry: Entry, run: Run, model_id: str | None, dataset: tuple[str, str] | None) -> None:
        from mlflow.entities import Metric, Param, RunTag

        first = CONTENT not in run.data.tags
        moment = int(run.info.start_time) if first else int(time() * 1000)
        name, digest = dataset or (None, None)
        self._client.log_batch(
            run.info.run_id,
            metrics=[
                Metric(metric, value, moment, step, model_id=model_id, dataset_name=name, dataset_digest=digest)
                for metric, value, step in (*entry.metrics, *entry.beside)
            ],
            params=[Param(key, value) for key, value in entry.params.items()],
            tags=[RunTag(key, value) for key, value in tags_of(entry).items()],
        )


def _filled(entry: Entry, run: Run | None) -> bool:
    return run is not None and run.data.tags.get(CONTENT) == entry.content


def _contradicts(entry: Entry, run: Run) -> bool:
    return any(run.data.params[key] != entry.params.get(key) for key in entries.TRAINING if key in run.data.params)
