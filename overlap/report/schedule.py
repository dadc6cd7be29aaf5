"""How evenly a fan-out was shared out: what each worker did of the time, and how far the whole is from the ideal.

The ideal is the larger of what all leases took over the number of workers, and the longest lease: nobody can be done
earlier with these leases. Waiting is no part of it, so that a slow decode shows as a distance from the ideal.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import polars as pl

WORK = pl.col("loading") + pl.col("computing") + pl.col("storing")


@dataclass(frozen=True)
class Balance:
    """A fan-out as a whole."""

    began: datetime.datetime
    """UTC."""
    workers: int
    nodes: int
    leases: int
    units: int
    """That came back."""
    lost: int
    """Units whose worker or node was gone before they came back; they were given to others."""
    failed: int
    makespan: float
    """Seconds from the beginning until the last lease came back."""
    ideal: float
    """The larger of all work over the workers, and the longest lease, in seconds."""
    evenness: float
    """Mean over the workers of their work, over the largest: 1 where all had the same."""
    busy: float
    """Share of all workers' time in which devices computed."""
    waiting: float
    loading: float

    @property
    def ratio(self) -> float:
        """Makespan over the ideal; 1 is best."""
        return self.makespan / self.ideal if self.ideal else 1.0

    @property
    def metrics(self) -> dict[str, float]:
        """For MLflow."""
        return {
            "schedule/makespan_seconds": self.makespan,
            "schedule/ideal_seconds": self.ideal,
            "schedule/makespan_over_ideal": self.ratio,
            "schedule/evenness": self.evenness,
            "schedule/device_busy_share": self.busy,
            "schedule/decode_wait_share": self.waiting,
            "schedule/units_lost": float(self.lost),
        }


def began(schedule: pl.DataFrame) -> float:
    """When the fan-out began, UTC seconds."""
    back = schedule.filter(~pl.col("lost"))
    return float(back.select((pl.col("started") - pl.col("waiting")).min()).item())


def balance(schedule: pl.DataFrame) -> Balance | None:
    """Of a fan-out as a whole; None where no lease came back."""
    back = schedule.filter(~pl.col("lost"))
    if back.is_empty():
        return None
    start = began(schedule)
    makespan = float(back.select(pl.col("finished").max()).item()) - start
    table = workers(schedule)
    taken = back.select(work=WORK)["work"]
    each = table["work"]
    count = table.height

    def share(column: str) -> float:
        return float(back[column].sum()) / (makespan * count) if makespan > 0 else 0.0

    return Balance(
        began=datetime.datetime.fromtimestamp(start, datetime.UTC),
        workers=count,
        nodes=int(back["node"].n_unique()),
        leases=back.height,
        units=int(back["units"].sum()),
        lost=int(schedule.filter("lost")["units"].sum()),
        failed=int(back["failed"].sum()),
        makespan=makespan,
        ideal=max(float(taken.sum()) / count, float(taken.max() or 0.0)),  # type: ignore[arg-type]
        evenness=float(each.sum()) / count / float(each.max() or 1.0),  # type: ignore[arg-type]
        busy=share("computing"),
        waiting=share("waiting"),
        loading=share("loading"),
    )


def workers(schedule: pl.DataFrame) -> pl.DataFrame:
    """A row a worker that finished anything, by name: units, what it did of the time, and when it was done last.

    Columns: worker, device, units, leases, work (seconds), busy, loading, waiting (shares of the time from beginning to
    end of the fan-out), last (seconds from its beginning).
    """
    back = schedule.filter(~pl.col("lost"))
    if back.is_empty():
        return pl.DataFrame()
    start = began(schedule)
    whole = max(float(back.select(pl.col("finished").max()).item()) - start, 1e-9)
    return (
        back.group_by("worker")
        .agg(
            pl.col("device").first(),
            pl.col("units").sum(),
            pl.len().alias("leases"),
            WORK.sum().alias("work"),
            (pl.col("computing").sum() / whole).alias("busy"),
            (pl.col("loading").sum() / whole).alias("loading"),
            (pl.col("waiting").sum() / whole).alias("waiting"),
            (pl.col("finished").max() - start).alias("last"),
        )
        .sort("worker")
    )
