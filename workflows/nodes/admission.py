"""Nodes that join while a study runs: each is looked at before it is used, and nobody waits for it.

Guarantees: a node that was not there when the cluster was looked at is used for nothing that asks here (predictors, and
what decodes for them) before it has passed the same look; one that fails is told once, by name and with the mend, and
never used; the others go on meanwhile. The driver only sends the look and hears of its end; beside that it writes and
removes one small object in the store. Not guaranteed: anything about other tasks, which Ray places where it likes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray

from overlap.errors import StoreError
from overlap.store.location import open_objects
from overlap.store.objects import Objects
from overlap.study import Study
from workflows.nodes import look
from workflows.nodes.cluster import Door, Node
from workflows.nodes.look import Answer, Errand
from workflows.outcome import Tell
from workflows.plan import location


@dataclass(frozen=True)
class Look:
    """A look that is under way."""

    node: Node
    errand: Errand
    asked: float
    """Seconds since 1970."""
    since: float
    """By a clock that only goes forward."""


class Admission(Door):
    """Lets nodes in that were looked at, and has the others looked at."""

    def __init__(self, study: Study, tell: Tell) -> None:
        """Everybody is let in until `watch`.

        Args:
            study: what nodes must be able to do.
            tell: hears of nodes that cannot, and of clocks.
        """
        self._study = study
        self._tell = tell
        self._passed: set[str] | None = None
        self._refused: set[str] = set()
        self._shards: tuple[str, ...] = ()
        self._looks: dict[Any, Look] = {}

    def watch(self, passed: Iterable[Node], shards: tuple[str, ...]) -> None:
        """From now on let nobody else in unseen.

        Args:
            passed: nodes that were looked at.
            shards: addresses that every node must reach.
        """
        self._passed, self._shards = {node.id for node in passed}, shards

    def admit(self, alive: Sequence[Node]) -> list[Node]:
        """As of `Door`; looks at nodes that are new begin, those that have ended are heard."""
        if self._passed is None:
            return [*alive]
        self._hear({node.id for node in alive})
        known = self._passed | self._refused | {one.node.id for one in self._looks.values()}
        for node in alive:
            if node.id in known:
                continue
            with suppress(StoreError):  # it is looked at when the store is there again
                errand = look.prepare(self._study, self._objects, self._shards)
                self._looks[look.send(errand, node)] = Look(node, errand, time.time(), time.monotonic())
        return [node for node in alive if node.id in self._passed]

    @property
    def looks(self) -> list[Any]:
        """As of `Door`."""
        return list(self._looks)

    @property
    def coming(self) -> list[Node]:
        """As of `Door`."""
        return [one.node for one in self._looks.values()]

    def close(self) -> None:
        """Give up the looks that are under way."""
        for reference in self.looks:
            self._end(reference)

    @property
    def _objects(self) -> Objects:
        return open_objects(location(self._study))

    def _hear(self, alive: set[str]) -> None:
        ready = set(ray.wait(self.looks, num_returns=len(self._looks), timeout=0)[0]) if self._looks else set()
        for reference, one in list(self._looks.items()):
            if one.node.id not in alive:
                self._end(reference)
            elif reference in ready or time.monotonic() - one.since > look.ANSWER_S:
                seen = look.got(reference) if reference in ready else look.SILENT
                self._end(reference)
                self._judge(one, Answer(one.asked, time.time(), seen))

    def _judge(self, one: Look, answer: Answer) -> None:
        fault = look.fault(one.node, answer, one.errand)
        grave = fault is not None and fault.grave
        (self._refused if grave or self._passed is None else self._passed).add(one.node.id)
        if fault is not None:
            said = f"node {fault.node} {fault.said}"
            self._tell.say(f"{said}; it joined late, and the others go on without it" if grave else f"warning: {said}")

    def _end(self, reference: Any) -> None:
        one = self._looks.pop(reference)
        ray.cancel(reference, force=True)
        with suppress(StoreError):  # `overlap gc` removes what is left
            look.tidy(one.errand, self._objects, [one.node])
