"""What each model costs: parameters, operations, and the time its predictions were measured to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.store.ledger import Manifest
from overlap.store.location import Location, open_objects
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.costs import Cost, costs
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.plan import Plan, location


def count(plan: Plan) -> Any:
    """A reference to what one image costs each checkpoint of a plan, for `of`; counted while other things are done."""
    return _count.remote(location(plan.study), plan.checkpoints)


def of(
    models: Sequence[str], plan: Plan, manifests: dict[str, Manifest], counted: Any
) -> dict[str, NDArray[np.float64]]:
    """Parameters, GFLOPs and milliseconds of an image of each model, (M,) each; NaN where they are not known.

    Guessed operations count as unknown. Milliseconds are those of the forward passes, on whatever ran them.
    """
    found: dict[str, Cost] = fetch(counted)
    priced = {one.id: found[one.fingerprint] for one in plan.checkpoints}
    costs_ = [priced[model] for model in models]
    seconds = [manifests[model].seconds / max(1, manifests[model].rows) for model in models]
    return {
        "parameters": np.array([float(cost.parameters) for cost in costs_]),
        "gflops": np.array([cost.flops / 1e9 if cost.counted else np.nan for cost in costs_]),
        "milliseconds": np.array([1000 * each for each in seconds]),
    }


@remote(num_cpus=1)
def _count(where: Location, checkpoints: Sequence[Checkpoint]) -> dict[str, Cost]:
    return costs(checkpoints, open_objects(where), math.inf)
