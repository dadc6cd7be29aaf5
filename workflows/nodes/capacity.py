"""What an autoscaler is asked for: the first GPU of a study that insists on GPUs, and as many as its units can use.

On a cluster of fixed nodes nothing is asked of anybody, and a study that insists on GPUs is refused if there is none.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.utils import is_autoscaler_v2

from overlap.errors import StudyError
from overlap.study import Study
from workflows.nodes.cluster import nodes
from workflows.outcome import Tell

WAIT_S = 900.0
"""Seconds that an autoscaler may take to bring a GPU; OVERLAP_NODE_WAIT sets others."""
POLL_S = 1.0
MOST = 1024
"""Predictors that are asked for at most; the autoscaler's own limit is what counts."""


def await_gpus(study: Study, may_grow: bool, tell: Tell) -> None:
    """Return once a node has as many GPUs as one predictor wants, where the study insists on GPUs.

    Args:
        study: its `predict.device` says whether it does.
        may_grow: whether an autoscaler may be asked; not of Ray on this machine alone.
        tell: hears that there is something to wait for.

    Raises:
        StudyError: there is none, and none will come.
    """
    if study.predict.device != "gpu" or _most() >= study.predict.gpus_per_worker:
        return
    wanted = f'predict.device = "gpu" with {study.predict.gpus_per_worker:g} a predictor'
    mend = 'start a node with GPUs, or set device = "auto" to predict on CPUs'
    if not (may_grow and grows()):
        raise StudyError(f"{wanted}, but no node has more than {_most():g} GPUs; {mend}")
    limit = float(os.environ.get("OVERLAP_NODE_WAIT", WAIT_S))
    tell.say(f"no node has a GPU yet; the autoscaler is asked for one, and given {limit:.0f} s")
    request_resources(bundles=[{"GPU": study.predict.gpus_per_worker}])
    until = time.monotonic() + limit
    try:
        while _most() < study.predict.gpus_per_worker:
            if time.monotonic() > until:
                raise StudyError(f"{wanted}: the autoscaler brought none within {limit:.0f} s; {mend}")
            time.sleep(POLL_S)
    finally:
        request_resources(bundles=[])


def call_for(predictors: int, gpus: float) -> None:
    """Ask the autoscaler for room for so many predictors of so many GPUs each, those that are there among them.

    It is asked for no less until the next call; with 0 nodes go as they fall idle.
    """
    request_resources(bundles=[{"GPU": gpus}] * min(predictors, MOST))


def _most() -> float:
    """GPUs of the node that has most."""
    return max((node.gpus for node in nodes()), default=0.0)


def grows() -> bool:
    """Whether an autoscaler looks after the cluster.

    The second version of Ray's autoscaler, which KubeRay starts, says so. The first runs on every head; where nodes are
    started by hand it calls each node's kind by the node's id.
    """
    if is_autoscaler_v2(fetch_from_server=True):
        return True
    told = _kv("__autoscaling_status")
    report: dict[str, Any] = json.loads(told).get("autoscaler_report") or {} if told else {}
    kinds = (report.get("node_type_mapping") or {}).values()
    return any(not kind.startswith("node_") for kind in kinds)


def _kv(key: str) -> bytes | None:
    from ray.experimental.internal_kv import _internal_kv_get

    found: bytes | None = _internal_kv_get(key)
    return found
