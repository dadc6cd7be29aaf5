"""A cluster is looked at before any GPU is taken: can each of its nodes do what the study will ask of it.

Every node that is there must run the same overlap, Python and torch as the driver, reach the store and the buckets that
the driver reaches, and have a clock that S3 accepts (`look`); where the study wants GPUs there must be some. Nodes that
join later are looked at before they get a predictor (`admission`). Not guaranteed: anything about what else runs there.

Where a study wants a GPU and no node has one, a cluster with an autoscaler is asked for one and given time; any other
is refused at once (`capacity`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import ray

from overlap import files
from overlap.errors import OverlapError, StudyError
from overlap.images.shards import expand
from overlap.store.location import open_objects
from overlap.store.objects import Objects
from overlap.study import Study, is_uri
from workflows.nodes import look
from workflows.nodes.admission import Admission
from workflows.nodes.capacity import await_gpus
from workflows.nodes.cluster import Cluster, Node, nodes
from workflows.nodes.look import Answer, Errand, Fault
from workflows.outcome import Tell
from workflows.plan import location


class CheckedCluster(Cluster):
    """A cluster whose nodes are looked at when it is first needed; of Ray that is started here, only its GPUs."""

    def __init__(self, address: str | None, study: Study, tell: Tell) -> None:
        """Nothing starts yet."""
        super().__init__(address, study.path.parent)
        self._study = study
        self._tell = tell
        self._checked = False
        self.door = self._admission = Admission(study, tell)

    def __exit__(self, *exception: object) -> None:
        self._admission.close()
        super().__exit__(*exception)

    def start(self) -> None:
        """As of `Cluster`.

        Raises:
            StudyError: also where a node cannot do what the study asks for.
        """
        super().start()
        if not self._checked:
            if self.address is not None:
                first = nodes()  # whoever comes after this is looked at, if not now then later
                check(self._study, open_objects(location(self._study)), self._tell)
                self._admission.watch(first, reached_here(self._study))
            await_gpus(self._study, self.address is not None, self._tell)
            self._checked = True


def check(study: Study, objects: Objects, tell: Tell) -> None:
    """Refuse a cluster one of whose nodes cannot do what the study asks for; what may matter later is told.

    Raises:
        StudyError: the node is named, with the mend.
    """
    faults = inspect(study, objects)
    grave = [fault for fault in faults if fault.grave]
    if grave:
        more = f" (and {len(grave) - 1} more nodes)" if len(grave) > 1 else ""
        raise StudyError(f"node {grave[0].node} {grave[0].said}{more}")
    for fault in faults:
        tell.say(f"warning: node {fault.node} {fault.said}")


def inspect(study: Study, objects: Objects) -> list[Fault]:
    """Look at every node of the cluster that this process is connected to; in the order of their ids."""
    alive = nodes()
    errand = look.prepare(study, objects, reached_here(study))
    try:
        found = _ask(errand, alive)
    finally:
        look.tidy(errand, objects, alive)
    return [fault for node in alive if node in found and (fault := look.fault(node, found[node], errand)) is not None]


def _ask(errand: Errand, alive: Sequence[Node]) -> dict[Node, Answer]:
    """Ask all nodes at once; one that is gone meanwhile is left out."""
    asked = time.time()
    waiting = {look.send(errand, node): node for node in alive}
    answers: dict[Node, Answer] = {}
    until = time.monotonic() + look.ANSWER_S
    while waiting and time.monotonic() < until:
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=until - time.monotonic())
        for reference in ready:
            node, said = waiting.pop(reference), look.got(reference)
            answers[node] = Answer(asked, time.time(), said)
    for reference, node in waiting.items():
        ray.cancel(reference, force=True)
        answers[node] = Answer(asked, time.time(), look.SILENT)
    here = {node.id for node in nodes()}
    return {node: answer for node, answer in answers.items() if node.id in here}


def reached_here(study: Study) -> tuple[str, ...]:
    """First shards that other machines can have, and this one reaches; what it does not is for the plan to say."""
    reached = []
    for data in study.data.values():
        try:
            first = next((uri for uri in expand(data.shards[:1], study.store.endpoint_url) if is_uri(uri)), None)
            if first is not None:
                files.version(first, study.store.endpoint_url)
                reached.append(first)
        except OverlapError:
            continue
    return tuple(reached)
