"""`overlap run`: plan, predict, certify, reduce, publish, for every data set of a study.

Idempotent and incremental: what the store certifies is not computed again, and a run that finds nothing new starts no
cluster. A broken checkpoint is named and left out, a damaged object is computed again; MLflow is told last, and may be
down.
"""

from __future__ import annotations

from functools import partial

from overlap import notifying, settled
from overlap.images.dataset import in_process
from overlap.imports import DEFAULT_DATA, imported_data_sets
from overlap.store.location import open_objects
from overlap.store.objects import check
from overlap.study import Study
from overlap.versions import Versions, versions
from overlap.zoo import hub
from workflows import across
from workflows.changes import notices
from workflows.heads import probe_fits
from workflows.nodes.cluster import Cluster
from workflows.nodes.preflight import CheckedCluster
from workflows.outcome import Outcome, Tell
from workflows.plan import location, make_plan, no_network
from workflows.predicting.crew import Crew
from workflows.reductions.rows import UNFINISHED
from workflows.stages import Stages, truths_of


def run(
    study: Study,
    tell: Tell,
    *,
    address: str | None = None,
    limit: int | None = None,
    verify: bool = False,
    offline: bool = False,
    patient: bool = False,
    cluster: Cluster | None = None,
) -> list[Outcome]:
    """Bring every data set of a study up to date.

    Args:
        study: what to do.
        tell: hears of the progress.
        address: of a running Ray cluster; None starts Ray on this machine, if there is anything to do.
        limit: only so many leading images, for a smoke run; kept apart from the whole.
        verify: trust no memo and check every certified object.
        offline: ask no hub and no web server for weights; which files that leaves missing is said at once.
        patient: leave checkpoints alone that failed as they are now, less than a day ago.
        cluster: to run on, in place of the one at the address.

    Raises:
        StudyError: a mistake in the study; StoreError: the store cannot be used.
    """
    objects = open_objects(location(study))
    check(objects)
    notifying.check(study)
    whole = limit is None and not offline
    seen = versions(study) if whole else None  # before anything is done: what comes later is new again
    with cluster or CheckedCluster(address, study, tell) as wanted:
        stages = Stages(study, objects, wanted, Crew(study, wanted.door), tell, patient)
        outcomes = _run(stages, address, limit, verify=verify, offline=offline)
    if limit is None:
        notices.tell(study, outcomes, objects)
    if seen is not None:
        _settle(study, seen, outcomes)
    return outcomes


def _settle(study: Study, seen: Versions, outcomes: list[Outcome]) -> None:
    """Remember that nothing is left to do; with MLflow down, or units missing that did not fail, something is."""
    if any(outcome.tracking_error or UNFINISHED in outcome.failed.values() for outcome in outcomes):
        return
    models = sum(len(outcome.results.models) for outcome in outcomes if outcome.results is not None)
    unreached = any(mark in reason for one in outcomes for reason in one.failed.values() for mark in hub.NO_NETWORK)
    settled.remember(study, seen, max(outcome.exit_code for outcome in outcomes), models, unreached=unreached)


def _run(stages: Stages, address: str | None, limit: int | None, *, verify: bool, offline: bool) -> list[Outcome]:
    study, objects, cluster, tell = stages.study, stages.objects, stages.cluster, stages.tell
    if not study.data:
        names = imported_data_sets(objects) or [DEFAULT_DATA]
        outcomes = [stages.reduce_imports(name) for name in names]
        across.compare(outcomes, objects, stages.show_across)
        return outcomes
    # Another machine does not have this one's files: then they are hashed here.
    mapper = in_process if address is not None and study.names_local_files else cluster.map
    planned = partial(make_plan, study, limit=limit, verify=verify, offline=offline, mapper=mapper)
    plans = [planned(name) for name in study.data]
    for line in no_network([rejected for plan in plans for rejected in plan.rejected]):
        tell.say(line)
    for plan in plans:
        truths_of(plan)  # a mistake in one is said before anything is predicted
    plans, done = probe_fits.before(plans, stages, planned, verify=verify)
    outcomes = [
        done.get(plan.dataset.name) or Outcome(plan.dataset.name, plan.role, units=plan.units) for plan in plans
    ]
    # Sets of every role are predicted before any is reduced: reductions of features read all of them.
    predicted = [stages.predict(*each, verify=verify) for each in zip(plans, outcomes, strict=True)]
    further = stages.reduce_all(predicted, outcomes)
    if limit is None:
        across.compare(outcomes, objects, stages.show_across)
    return outcomes + further
