"""How a fan-out ran, as the report and MLflow tell it: a view of the past that no result depends on."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import polars as pl
import pytest

from overlap.report import Results, draw_figures, render_page
from overlap.report.drawings.timeline import MOST
from overlap.report.schedule import balance, workers
from overlap.store import schedules
from overlap.tracking import entries
from tests.view.frames import simulated
from tests.view.holdings import holdings, of_kind, sync, zoo

START = 1_790_000_000.0


def ran(places: int = 3, leases: int = 5, seed: int = 0) -> pl.DataFrame:
    """Workers that each wait, load, compute and store a few times; the last lease of the last one is lost."""
    chance = random.Random(seed)
    rows = []
    for worker in range(places):
        now = START
        for number in range(leases):
            waiting, loading, computing, storing = (chance.uniform(0.1, 2.0) for _ in range(4))
            started = now + waiting
            now = started + loading + computing + storing
            lost = worker == places - 1 and number == leases - 1
            known = {
                "device": "a device",
                "started": started,
                "finished": now,
                "waiting": waiting,
                "loading": loading,
                "computing": computing,
                "storing": storing,
            }
            rows.append(
                dict.fromkeys(schedules.COLUMNS)
                | {
                    "node": f"node{worker % 2}",
                    "worker": f"node{worker % 2}/{worker}",
                    "model": "m",
                    "fingerprint": "f",
                }
                | {"shards": ["s", "t"], "units": 2, "failed": 0, "images": 20, "lost": lost, "submitted": START}
                | ({} if lost else known)
            )
    return schedules.table(rows)


@pytest.fixture(scope="module")
def results() -> Results:
    return dataclasses.replace(simulated(6, 60), schedule=ran())


def test_the_balance_is_that_of_the_rows() -> None:
    table = ran()
    rows = [row for row in table.to_dicts() if not row["lost"]]
    found = balance(table)
    assert found is not None
    work = dict.fromkeys({row["worker"] for row in rows}, 0.0)
    taken = []
    for row in rows:
        taken.append(row["loading"] + row["computing"] + row["storing"])
        work[row["worker"]] += taken[-1]
    end = max(row["finished"] for row in rows) - START
    assert found.makespan == pytest.approx(end)
    assert found.ideal == pytest.approx(max(sum(taken) / 3, *taken))
    assert found.ratio == pytest.approx(found.makespan / found.ideal)
    assert found.evenness == pytest.approx(sum(work.values()) / 3 / max(work.values()))
    assert found.waiting == pytest.approx(sum(row["waiting"] for row in rows) / (3 * end))
    assert found.busy == pytest.approx(sum(row["computing"] for row in rows) / (3 * end))
    assert (found.units, found.lost, found.leases, found.workers, found.nodes) == (28, 2, 14, 3, 2)
    each = workers(table)
    assert each["units"].to_list() == [10, 8, 10]
    assert each["worker"].to_list() == ["node0/0", "node0/2", "node1/1"]
    assert each["last"].max() == pytest.approx(end)


def test_one_lease_longer_than_all_else_is_the_ideal() -> None:
    table = ran().with_columns(computing=pl.when(pl.int_range(pl.len()) == 0).then(1000.0).otherwise("computing"))
    found = balance(table)
    assert found is not None
    assert found.ideal > 1000.0


def test_nothing_came_back() -> None:
    table = ran().with_columns(lost=True)
    assert balance(table) is None
    results = dataclasses.replace(simulated(6, 60), schedule=table)
    assert "schedule" not in {figure.name for figure in draw_figures(results)}
    assert "How it ran" not in render_page(results)


def test_the_page_tells_it(results: Results) -> None:
    figures = draw_figures(results)
    assert figures[-1].name == "schedule"
    page = render_page(results, figures)
    assert "How it ran" in page
    assert "28 units in 14 leases, by 3 workers on 2 nodes" in " ".join(page.split())
    assert "2 units were lost with their worker or node" in " ".join(page.split())
    assert "2026-09-21" in page, "the date of the fan-out"
    for name in ("node0/0", "node0/2", "node1/1"):
        assert f"<code>{name}</code>" in page
        assert f">{name}<" in figures[-1].svg
    assert draw_figures(results)[-1].svg == figures[-1].svg
    without = dataclasses.replace(results, schedule=None)
    assert "How it ran" not in render_page(without)


def test_many_workers_and_leases_stay_small() -> None:
    results = dataclasses.replace(simulated(6, 60), schedule=ran(80, 60))
    figure = draw_figures(results)[-1]
    assert figure.name == "schedule"
    assert len(figure.svg) < 400_000
    assert figure.svg.count(">node") == MOST


def test_mlflow_is_told_and_not_told_twice(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    results = dataclasses.replace(zoo("a study"), schedule=ran())
    first = sync(uri, results)
    assert first.created > 1
    client, runs, _, _ = holdings(uri, "a study")
    (run,) = of_kind(runs, "reduction")
    whole = balance(ran())
    assert whole is not None
    for name, value in whole.metrics.items():
        assert run.data.metrics[name] == pytest.approx(value)
    names = {file.path for folder in ("tables", "figures") for file in client.list_artifacts(run.info.run_id, folder)}
    assert {"tables/schedule.parquet", "tables/workers.csv", "figures/schedule.svg"} <= names

    later = dataclasses.replace(results, schedule=ran(seed=1))
    assert entries.reduction(later).beside != entries.reduction(results).beside
    assert entries.reduction(later).content == entries.reduction(results).content
    assert entries.reduction(dataclasses.replace(results, schedule=None)).content == entries.reduction(results).content
    second = sync(uri, later, call="second")
    assert (second.created, second.updated) == (0, 0)
