"""The schedule on clusters that nobody has here: 1,000 of timm's networks on 64 shards, by a simulated clock."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from tests.workflows.simulator import GIB, Machine, Ran, Simulator, pinned, seconds_per_image, zoo
from tests.workflows.timm_costs import rows

NODES = tuple(Machine(f"node{number}") for number in range(8))
SLOWER = ((2.5,) * 8, (1.0,) * 8, (0.5,) * 8)
SCENARIOS: dict[str, tuple[tuple[Machine, ...], float]] = {
    "8 x 8 GPUs": (NODES, 1.1),
    "12 GiB for decoded images": (tuple(replace(node, budget=12 * GIB) for node in NODES), 1.15),
    "16 CPUs": (tuple(replace(node, cpus=16) for node in NODES), 1.15),
    "four nodes late": ((*NODES[:4], *(replace(node, joins=600.0) for node in NODES[4:])), 1.15),
    "two nodes vanish": (
        (*NODES[:6], *(replace(node, leaves=1000.0 + 200 * n) for n, node in enumerate(NODES[6:]))),
        1.15,
    ),
    "three kinds of GPU": (tuple(replace(node, speeds=SLOWER[n % 3]) for n, node in enumerate(NODES)), 1.25),
}
"""Machines, and how many times the bound the makespan may be."""


@cache
def ran(scenario: str) -> Ran:
    return Simulator(SCENARIOS[scenario][0], zoo()).run()


def test_the_zoo_is_a_real_one() -> None:
    """The dearest tenth of the networks is more than half of the work."""
    costs = sorted(map(seconds_per_image, zoo()), reverse=True)
    assert len(rows()) > 1300
    assert sum(costs[:100]) > 0.5 * sum(costs)
    assert len({row.signature for row in zoo()}) > 50


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_makespan_is_near_what_is_possible(scenario: str) -> None:
    found = ran(scenario)
    assert found.units == 64_000
    assert 1.0 <= found.ratio <= SCENARIOS[scenario][1], found


def test_equal_bundles_pinned_to_gpus_are_several_times_off() -> None:
    assert pinned(zoo(), 64) > 4 * ran("8 x 8 GPUs").ratio


def test_weights_are_loaded_by_few() -> None:
    """Each network by some of the 64 GPUs, although none is pinned; windows of shards cost little more."""
    assert ran("8 x 8 GPUs").loads < 2 * 1000
    assert ran("12 GiB for decoded images").loads < 3 * 1000


def test_nodes_that_vanish_cost_their_running_units() -> None:
    found = ran("two nodes vanish")
    assert 0 < found.lost <= 2 * 8 * 4, "what their sixteen GPUs were running, at most four units each"
    assert found.rerun <= 2 * found.lost + 2 * 8 * 4, "and what stood in their queues"


def test_decisions_are_cheap() -> None:
    """The driver is not to be what 64 GPUs wait for: less than a hundredth of the time, even on a slow machine."""
    found = ran("8 x 8 GPUs")
    assert found.deciding < 0.01 * found.makespan
    assert found.decisions > 64_000


def test_costs_are_learned() -> None:
    """Estimates from sizes alone put networks in the wrong order; measured seconds set them right."""
    unlearned = Simulator(NODES, zoo(), learns=False).run()
    assert ran("8 x 8 GPUs").ratio < unlearned.ratio
