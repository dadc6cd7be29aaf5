"""The largest logits beside all of them, on 1,000 and 21,843 classes: python -m tests.benchmarks --only top

Bytes an image, writing and reading (this processor, from memory to memory: digests and the network come on top), how
narrow the bounds of the normaliser are, and what share of ensembles they certify; picks of a greedy search are those of
all logits, step by step, or the stage fails. Logits are drawn: models that find the same classes likely.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from overlap.analysis import truths
from overlap.analysis.calibration import probabilities
from overlap.analysis.combining import COMBINERS
from overlap.analysis.pairs import pair_indices
from overlap.analysis.tops.bounded import Bounded, bounded
from overlap.analysis.tops.counts import Whole, count
from overlap.analysis.tops.ensembles import Range
from overlap.analysis.tops.search import grow
from overlap.store.tables import decode, encode, from_logits
from overlap.store.tops import decode_tops, encode_tops, tops_from_logits
from tests.benchmarks.comparison import Comparison, Found, Said
from tests.benchmarks.options import Options, seconds

STAGE = "top"
TEMPERATURES = (0.4, 0.6, 0.85, 1.0, 1.2, 1.7, 2.5)
STEPS = 6


def compared(options: Options) -> Iterator[Found]:
    """Rows of both numbers of classes."""
    sizes = ((1000, 8, 5000), (21_843, 4, 1200))
    for classes, models, images in ((1000, 3, 200), (21_843, 3, 60)) if options.quick else sizes:
        yield from of(classes, models, images, options.rounds)


def zoo(classes: int, models: int, images: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Stored logits of models that are right on most images, the last ones weaker; and labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, images).astype(np.int32)
    common = 2 * random.standard_normal((images, classes), np.float32)
    common[np.arange(images), labels] += random.normal(9, 5, images).astype(np.float32)
    found = []
    for model in range(models):
        own = np.random.default_rng(model + 1).standard_normal((images, classes), np.float32)
        found.append((common + (0.6 + 1.2 * model / models) * own).astype(np.float16))
    return found, labels


def of(classes: int, models: int, images: int, rounds: int) -> Iterator[Found]:
    """All rows of one size."""
    held, labels = zoo(classes, models, images)
    keys = [f"ILSVRC2012_val_{number:08d}" for number in range(images)]
    what = f"{images:,} images × {classes:,} classes"
    full = encode(from_logits(keys, held[0]))
    tops = tops_from_logits(keys, held[0])
    top = encode_tops(tops)
    samples = tops.logits.nbytes
    yield Said(
        STAGE,
        f"{what}: bytes an image",
        f"{(len(top) - samples) / images:,.0f}, samples {samples / images:,.0f}; all logits {len(full) / images:,.0f}",
        {"top": (len(top) - samples) / images, "samples": samples / images, "logits": len(full) / images},
    )
    writing = [[], []]
    reading = [[], []]
    for _ in range(rounds):
        writing[0].append(seconds(lambda: encode_tops(tops_from_logits(keys, held[0]))))
        writing[1].append(seconds(lambda: encode(from_logits(keys, held[0]))))
        reading[0].append(seconds(lambda: decode_tops(top)))
        reading[1].append(seconds(lambda: decode(full)))
    beside = "all logits"
    yield Comparison(STAGE, f"{what}: written", writing[0], beside, "as they are stored without top", writing[1])
    yield Comparison(STAGE, f"{what}: read", reading[0], beside, "a view of the bytes; nothing is copied", reading[1])
    yield from widths(what, held[0], tops)

    temperature = np.linspace(0.7, 1.4, models)
    kept = []
    for z, t in zip(held, temperature, strict=True):
        one = tops_from_logits(keys, z)
        kept.append(bounded(one.largest, one.classes, one.least, one.moments, np.full(images, t), classes))
    yield from pairs(what, kept, labels, classes)
    yield from greedy(what, kept, held, labels, temperature)


def widths(what: str, logits: np.ndarray, tops) -> Iterator[Found]:
    """How far the bounds of the sum over all classes are apart, relatively; they hold the sum, or this fails."""
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    told, figures = [], {}
    for t in TEMPERATURES:
        parts = (tops.largest, tops.classes, tops.least, tops.moments)
        one = bounded(*parts, np.full(len(z), t), tops.among)
        exact = np.log(np.exp(z / t).sum(axis=1))
        assert ((one.low[1] <= exact + 1e-12) & (exact <= one.high[1] + 1e-12)).all(), "a bound does not hold"
        width = float((one.high[1] - one.low[1]).mean())
        told.append(f"{t:g}: {width:.0e}")
        figures[f"width at {t:g}"] = width
    yield Said(STAGE, f"{what}: width of the normaliser by temperature", ", ".join(told), figures)


def pairs(what: str, kept: list[Bounded], labels: np.ndarray, classes: int) -> Iterator[Found]:
    """The share of decisions on which a pair disagrees that bounds certify, by combiner."""
    images, models = len(labels), len(kept)
    first, second = pair_indices(models)
    weights = np.full((len(first), 5, 2), 0.5)
    nothing = Whole(np.empty(0, np.int64), (np.empty((0, classes), np.float16),) * models, np.empty(0, np.bool_))
    folds = (np.arange(images) % 5).astype(np.int8)
    count(kept, labels, folds, first[:1], second[:1], weights[:1], nothing)  # compile
    found = None

    def work() -> None:
        nonlocal found
        found = count(kept, labels, folds, first, second, weights, nothing)

    spent = seconds(work)
    assert found is not None
    said = np.stack([one.prediction for one in kept])
    differ = int((said[first] != said[second]).sum())
    shares = 1 - found.undecided.sum(axis=(0, 2)) / max(1, differ)
    told = ", ".join(f"{name} {100 * share:.3f}%" for name, share in zip(COMBINERS, shares.tolist(), strict=True))
    yield Said(
        STAGE,
        f"{what}: certified of {differ:,} disagreements of {len(first)} pairs ({spent:.2f} s)",
        told,
        {name: float(share) for name, share in zip(COMBINERS, shares.tolist(), strict=True)} | {"seconds": spent},
    )


def greedy(
    what: str, kept: list[Bounded], held: list[np.ndarray], labels: np.ndarray, temperature: np.ndarray
) -> Iterator[Found]:
    """A search on all images; its picks and counts are those of all logits."""
    images, models = len(labels), len(kept)
    nothing = Whole(np.empty(0, np.int64), tuple(z[:0] for z in held), np.empty(0, np.bool_))
    part = Range(tuple(kept), labels, np.ones(images, np.bool_), nothing)
    single = np.array([int(truths.right(one.prediction, labels).sum()) for one in kept])
    scored: list[np.ndarray] = []

    def counted(members, candidates):
        scored.append(part.counted(members, candidates))
        return scored[-1]

    part.counted((0,), (1,))  # compile
    found = None

    def work() -> None:
        nonlocal found
        found = grow("greedy", counted, single, max_size=STEPS, patience=STEPS)

    spent = seconds(work)
    assert found is not None
    total = np.zeros(held[0].shape)
    for step, model in enumerate(found.members):
        if step:
            counts = []
            for z, t in zip(held, temperature, strict=True):
                both = total + probabilities(z, np.full(images, t))
                counts.append(int((both.argmax(axis=1) == labels).sum()))
            assert int(np.argmax(counts)) == model, "not the pick of all logits"
            assert found.low[step] <= counts[model] <= found.low[step] + found.undecided[step], "not its count"
        total += probabilities(held[model], np.full(images, temperature[model]))
    is_open = sum(int(each[1].sum()) for each in scored)
    share = 1 - is_open / max(1, images * models * len(scored))
    ended = found.reason or "to its end"
    yield Said(
        STAGE,
        f"{what}: greedy search, {models} models, {len(found.members)} steps ({spent:.2f} s)",
        f"{100 * share:.4f}% of candidates' images certified; picks are those of all logits; {ended}",
        {"certified": share, "seconds": spent},
    )
