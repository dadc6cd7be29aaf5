"""Networks that leave a device are gone soon, though they refer to themselves."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from torch import nn

from overlap.residents import UNSEEN, Resident, Residents

LIMIT, EACH = 100, 10


def circular() -> nn.Module:
    module = nn.Linear(1, 1)
    module.forward = lambda images, own=module: own.weight * images  # type: ignore[method-assign]
    return module


@pytest.fixture
def unhurried() -> Any:
    """No collection but those that are asked for."""
    gc.disable()
    yield
    gc.enable()


def test_what_left_is_gone_before_it_is_much(unhurried: None) -> None:
    residents = Residents(LIMIT)
    made: list[weakref.ref[nn.Module]] = []
    most = 0
    for number in range(40):
        residents.make_room(EACH)
        made.append(weakref.ref(residents.add(str(number), Resident(circular(), EACH)).module))
        most = max(most, EACH * sum(one() is not None for one in made))
    assert LIMIT < most <= LIMIT + UNSEEN * LIMIT
    assert [*residents] == [str(number) for number in range(30, 40)]


def test_all_that_left_is_gone_where_memory_ran_out(unhurried: None) -> None:
    residents = Residents(LIMIT)
    modules = [residents.add(str(number), Resident(circular(), 1)).module for number in range(3)]
    made = [weakref.ref(module) for module in modules]
    del modules
    assert residents.leave(but="1")
    assert [one() is None for one in made] == [True, False, True]
    assert not residents.leave(but="1")
