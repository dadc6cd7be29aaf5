"""Nodes come and go while a study runs: what they had not certified is computed elsewhere, and nothing is given up."""

from __future__ import annotations

import threading
import time

from tests.faults.test_kills import as_if_nothing_had_happened, count
from tests.ray_cluster import RayCluster
from tests.small_study import SmallStudy, marked, predictors
from tests.study_fixtures import Run


def test_a_node_is_lost(fresh: SmallStudy, undisturbed: SmallStudy, cluster: RayCluster, run: Run) -> None:
    """Killed as by a power cut, once some units are certified and predictors are at work there."""
    node = cluster.add_node(cpus=2)
    lost = threading.Event()

    def cut() -> None:
        while not (count(fresh, "records", "*.json") >= 6 and predictors(node)):
            time.sleep(0.005)
        cluster.kill_node(node)
        lost.set()

    cutter = threading.Thread(target=cut, daemon=True)
    try:
        cutter.start()
        ran = run(fresh)
        assert lost.is_set()
    finally:
        cutter.join(5)
        cluster.kill_node(node)

    assert ran.code == 0, ran
    assert ran.complaints == []
    assert marked(node) == {}
    as_if_nothing_had_happened(fresh, undisturbed)
