"""One heavy checkpoint: the share of a loop that overlaps decoding and forward passes perfectly."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.comparison import Comparison, Found, Said, ratio
from tests.benchmarks.fanout import Networks, Race, make_study
from tests.benchmarks.options import Options

SIZE = 224
SHARE = 0.93


def compared(options: Options) -> Iterator[Found]:
    """Rows of resnet50 at 224; with `quick` of resnet18."""
    images, shards, name = (16, 4, "resnet18") if options.quick else (256, 8, "resnet50")
    networks: Networks = ((name, {}),)
    study = make_study(options.folder, images, shards, networks, SIZE)
    race = Race(options.folder, study, networks, SIZE, data=False)
    times = race.run(options.rounds)
    what = f"{name} × {images} photographs, input {SIZE}"
    limit = {"limit": "decode and forward, perfectly overlapped", "bare": times.work}
    yield Comparison("heavy checkpoint", what, times.ours, "timm's evaluation loop", race.loop.settings, times.loop,
                     **limit, wanted="of the limit", bound=1 / SHARE)  # fmt: skip
    share = ratio(times.work, times.ours)
    assert share is not None
    yield Said(
        "heavy checkpoint", f"share of the perfect loop, at least {SHARE}", share.show(), {"median": share.median}
    )
