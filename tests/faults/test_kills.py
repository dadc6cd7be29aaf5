"""Workers and drivers die by SIGKILL at any moment; nothing certified is lost, and nothing certified runs twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.ray_cluster import TOKEN, RayCluster
from tests.small_study import DATA, Command, SmallStudy, equal, predictors
from tests.study_fixtures import Run


def count(study: SmallStudy, prefix: str, name: str) -> int:
    return sum(1 for _ in (study.store / prefix / DATA).rglob(name))


def as_if_nothing_had_happened(study: SmallStudy, undisturbed: SmallStudy) -> None:
    assert study.recorded_bytes() == undisturbed.recorded_bytes()
    assert equal(study.tables(), undisturbed.tables()) == []
    assert study.objects("complete").keys() == undisturbed.objects("complete").keys()
    assert _hard(study) == _hard(undisturbed)
    assert len(study.objects(f"records/{DATA}")) == 42, "one record a unit: none ran again once it was certified"


def _hard(study: SmallStudy) -> dict[str, bytes]:
    return {key: body for key, body in study.objects("complete").items() if key.endswith("hard.parquet")}


class Killer(threading.Thread):
    """Kills a predictor whenever so many units are certified."""

    def __init__(self, study: SmallStudy, mark: str, chance: random.Random, deaths: int) -> None:
        super().__init__(daemon=True)
        self.study, self.mark, self.chance = study, mark, chance
        self.moments = sorted(chance.randrange(30) for _ in range(deaths))
        self.killed: list[int] = []
        self.stop = threading.Event()

    def run(self) -> None:
        for moment in self.moments:
            while not self.stop.is_set():
                found = [pid for pid in predictors(self.mark) if pid not in self.killed]
                if found and count(self.study, "records", "*.json") >= moment:
                    victim = self.chance.choice(sorted(found))
                    time.sleep(self.chance.uniform(0, 0.1))
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                    self.killed.append(victim)
                    break
                time.sleep(0.005)


@pytest.mark.parametrize("seed", [1, 2])
def test_predictors_are_killed(
    seed: int, fresh: SmallStudy, undisturbed: SmallStudy, cluster: RayCluster, run: Run
) -> None:
    killer = Killer(fresh, cluster.mark, random.Random(seed), deaths=3)
    killer.start()
    ran = run(fresh)
    killer.stop.set()
    killer.join()

    assert len(killer.killed) >= 2, "too few died for this to mean anything"
    assert ran.code == 0, ran
    assert ran.complaints == []
    assert ran.outcome["failed"] == {}
    as_if_nothing_had_happened(fresh, undisturbed)


def _units(low: int, high: int) -> Callable[[SmallStudy, random.Random], Callable[[], bool]]:
    """A moment while units are predicted."""

    def moment(study: SmallStudy, chance: random.Random) -> Callable[[], bool]:
        wanted = count(study, "records", "*.json") + chance.randint(low, high)
        return lambda: count(study, "records", "*.json") >= min(wanted, 41)

    return moment


def _after_prediction(study: SmallStudy, chance: random.Random) -> Callable[[], bool]:
    """A moment while checkpoints are completed or reduced."""
    wanted, delay = chance.randint(1, 7), chance.uniform(0, 1.5)

    def reached() -> bool:
        if count(study, "complete", "manifest.json") < wanted:
            return False
        time.sleep(delay)
        return True

    return reached


def test_the_driver_is_killed_again_and_again(
    fresh: SmallStudy, undisturbed: SmallStudy, scratch: Path, cluster: RayCluster, run: Run
) -> None:
    """First one that has started Ray itself, whose processes end with it; then two on a cluster, which stays."""
    moments = [
        (_units(1, 12), []),
        (_units(1, 12), ["--address", cluster.address]),
        (_after_prediction, ["--address", cluster.address]),
    ]
    before: dict[str, bytes] = {}
    for seed, (moment, arguments) in enumerate(moments):
        reached = moment(fresh, random.Random(seed))
        command = Command(
            *("run", str(fresh.path), "--json", *arguments), scratch=scratch, environment={"RAY_AUTH_TOKEN": TOKEN}
        )
        try:
            while not reached():
                assert command.process.poll() is None, "it ended before the moment came"
                time.sleep(0.005)
            command.kill()
        finally:
            command.end()
        until = time.monotonic() + 10
        while predictors(cluster.mark):  # the cluster ends those of a driver that is gone
            assert time.monotonic() < until
            time.sleep(0.05)
        now = fresh.objects(f"records/{DATA}")
        assert before.items() <= now.items(), "a record that was there is there, byte for byte"
        assert len(now) > len(before)
        before = now

    last = run(fresh)

    assert last.code == 0, last
    assert last.complaints == []
    assert last.outcome["computed"] == 42 - len(before)
    assert before.items() <= fresh.objects(f"records/{DATA}").items()
    as_if_nothing_had_happened(fresh, undisturbed)
