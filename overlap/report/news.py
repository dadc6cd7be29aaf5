"""What is new since the reduction before, in words: sentences that stand beyond chance or not, and rows of a table."""

from __future__ import annotations

from collections.abc import Iterator

from overlap.news import Change, ModelNews, News, Place, SizeNews
from overlap.report.sentences.sentence import Sentence, listed, within
from overlap.report.wording import number, percent, points

KINDS: dict[Change, str] = {
    "added": "added",
    "replaced": "replaced under the same name",
    "back": "back again",
    "withdrawn": "withdrawn",
    "failed": "failed",
    "quarantined": "quarantined",
}
SHOWN = 12
"""Models of which a terminal tells more than the name."""


def headline(news: News) -> str:
    """Everything in one line."""
    parts = []
    for kind, words in KINDS.items():
        names = [one.model for one in news.models if one.change == kind]
        if names:
            parts.append(
                f"{len(names)} {words}: {', '.join(names[:3])}" + f" and {len(names) - 3} more" * (len(names) > 3)
            )
    if news.data_changed:
        parts.append("the images changed")
    if not parts:
        parts.append("the same checkpoints and images; settings, labels or imports changed")
    return "; ".join(parts)


def model_line(one: ModelNews) -> str:
    """What is told of one model."""
    told = [f"{one.model} ({KINDS[one.change]})"]
    if one.renamed:
        told.append(f"the same checkpoint that was called {one.renamed}")
    if one.reason:
        told.append(one.reason)
    if one.place is not None:
        told += _place(one.place, one.accuracy_before)
    elif one.change == "withdrawn" and one.accuracy_before is not None:
        told.append(f"its accuracy was {percent(one.accuracy_before)}; its predictions stay in the store")
    if one.fields:
        shown = [f"{name} {old} → {new}" for name, old, new in one.fields[:3]]
        told.append(f"changed: {', '.join(shown)}" + f" and {len(one.fields) - 3} more" * (len(one.fields) > 3))
    return f"{told[0]}: {'; '.join(told[1:])}" if told[1:] else told[0]


def _place(place: Place, before: float | None) -> Iterator[str]:
    was = "" if before is None else f", {percent(before)} before"
    yield f"accuracy {percent(place.accuracy)}{within(place.accuracy_low, place.accuracy_high, percent)}{was}"
    ranks = f" ({place.rank_low} to {place.rank_high})" if place.rank_low != place.rank_high else ""
    yield f"rank {place.rank}{ranks} of {place.of}"
    if place.nearest is not None:
        yield f"errs most like {place.nearest.model} (κ {number(place.nearest.kappa)})"
    if place.farthest is not None and place.nearest is not None and place.farthest.model != place.nearest.model:
        yield f"least like {place.farthest.model} (κ {number(place.farthest.kappa)})"
    yield f"alone right on {place.only_right:,} of {place.n:,} images"
    if place.sizes:
        yield f"in the best ensembles of {_sizes(place.sizes)}"
    else:
        yield "in none of the best ensembles"


def _sizes(sizes: tuple[int, ...]) -> str:
    if len(sizes) > 2 and sizes == tuple(range(sizes[0], sizes[-1] + 1)):
        return f"{sizes[0]} to {sizes[-1]} members"
    return f"{listed([str(size) for size in sizes])} member{'' if sizes == (1,) else 's'}"


def ensemble_sentence(news: News) -> Sentence | None:
    """Whether best ensembles became others, and better; None where no search was made before or now."""
    if not news.sizes:
        return None
    changed = [one for one in news.sizes if one.changed]
    if not changed:
        return Sentence(f"The best ensemble of each size, 1 to {len(news.sizes)}, is what it was.")
    text = f"The best ensemble changed for {len(changed)} of {len(news.sizes)} sizes"
    judged = [one for one in changed if one.gain is not None]
    if not judged:
        return Sentence(f"{text}; none of the earlier ones can be judged any more.")
    beyond = [one for one in judged if one.beyond]
    largest = max(judged, key=lambda one: abs(one.gain or 0.0))
    text += (
        f"; the largest difference on the test split is {points(largest.gain)} points"
        f"{within(largest.gain_low, largest.gain_high, points)}, of {largest.size} members. "
    )
    which = f"That of {_sizes(tuple(one.size for one in beyond))} is" if beyond else "None is"
    text += f"{which} beyond chance after Holm's correction over {len(judged)} size{'' if len(judged) == 1 else 's'}."
    return Sentence(text, "beyond" if beyond else "within")


def size_row(one: SizeNews) -> dict[str, str]:
    """One size as texts: members that came and went, accuracies, the difference, and how it stands."""
    came, went = _less(one.now, one.before), _less(one.before, one.now)
    if not one.changed:
        members = "as before"
    else:
        members = ", ".join([*(f"+ {name}" for name in came), *(f"− {name}" for name in went)]) or "members replaced"
    gain = f"{points(one.gain)}{within(one.gain_low, one.gain_high, points)}" if one.gain is not None else "–"
    standing = "" if not one.changed else one.reason or ("beyond chance" if one.beyond else "not beyond chance")
    before = one.accuracy_before if one.accuracy_before is not None else one.accuracy_then
    return {
        "size": str(one.size),
        "members": members,
        "before": percent(before),
        "now": percent(one.accuracy_now),
        "gain": gain,
        "standing": standing,
    }


def news_lines(news: News) -> list[str]:
    """What a terminal shows: the headline, the models, and what became of ensembles."""
    told = [model_line(one) for one in news.models[:SHOWN]]
    if len(news.models) > SHOWN:
        told.append(f"and {len(news.models) - SHOWN} more, which the report shows")
    sentence = ensemble_sentence(news)
    if sentence is not None:
        told.append(sentence.text)
        for one in news.sizes:
            if one.changed:
                row = size_row(one)
                figures = f"{row['before']} → {row['now']}, {row['gain']}, {row['standing']}"
                told.append(f"  {row['size']}: {figures}: {row['members']}")
    return told


def _less(members: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    """Members that the others lack, as often as they lack them."""
    left = list(others)
    found = []
    for name in members:
        if name in left:
            left.remove(name)
        else:
            found.append(name)
    return found
