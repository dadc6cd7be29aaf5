"""Turns: one at a time, the next one after a death, on a folder and on S3."""

from __future__ import annotations

import threading
import time

import pytest

from overlap.store import layout, turns
from overlap.store.objects import Objects
from overlap.store.turns import turn


def test_one_at_a_time(objects: Objects) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with turn(objects, "work"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1, 1, 1, 1]
    left = [info.key for info in objects.list(layout.turns("work"))]
    assert left == [layout.turn_of("work", 3)], "one object remains, whatever the number of turns"


def test_an_error_ends_a_turn(objects: Objects) -> None:
    with pytest.raises(KeyError), turn(objects, "work"):
        raise KeyError
    started = time.monotonic()
    with turn(objects, "work"):
        assert time.monotonic() - started < turns.STALE_SECONDS / 2


def test_the_dead_are_waited_for_no_longer_than_said_and_the_living_as_long_as_they_live(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.05)
    objects.put(layout.turn_of("dead", 7), turns._sign("nobody", 3))
    started = time.monotonic()
    with turn(objects, "dead", stale=0.5):
        assert 0.5 <= time.monotonic() - started < 20
        assert [info.key for info in objects.list(layout.turns("dead"))][-1] == layout.turn_of("dead", 8)
    monkeypatch.setattr(turns, "RENEW_SECONDS", 0.1)
    ended, waited = threading.Event(), threading.Event()

    def wait() -> None:
        with turn(objects, "alive", stale=2.0):
            assert ended.is_set()
            waited.set()

    with turn(objects, "alive"):
        other = threading.Thread(target=wait)
        other.start()
        other.join(4.0)
        assert other.is_alive(), "twice as long as a dead one is waited for"
        ended.set()
    other.join(30)
    assert waited.is_set()
