"""Who is told what a run came to: once for each reduction and each set of failures, whoever finishes it.

Guarantees: of several drivers one tells (a memo in the store that is put if absent, before telling); nothing is told of
what was told before, so that a run which found nothing new tells nothing. Telling that fails is a warning, and is not
repeated: MLflow, the report and the store hold the same. What was published before anybody was to be told counts as
told as soon as it was published by a run that knew of notifications.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from overlap.errors import NotifyError
from overlap.identity import canonical_json
from overlap.news import news_id, of_plain
from overlap.notifying import deliver
from overlap.report.news import headline, news_lines
from overlap.store import memo
from overlap.store.objects import Objects
from overlap.study import Study
from overlap.tracking.server import NO_TRACKING, shown
from workflows.outcome import Outcome

KIND = "told"


def tell(study: Study, outcomes: Sequence[Outcome], objects: Objects) -> None:
    """Tell of each outcome what has not been told; what fails is left in the outcome.

    Raises:
        StoreError: what was told cannot be looked up.
    """
    for outcome in outcomes:
        new = [event for event, key in _events(outcome) if objects.head(key) is None and _claimed(key, event, objects)]
        wanted = [event for event in new if study.notify is not None and event in study.notify.on]
        if wanted:
            try:
                deliver(study, summary(study, outcome, wanted[0]))
            except NotifyError as error:
                outcome.notify_error = str(error)


def summary(study: Study, outcome: Outcome, event: str) -> dict[str, Any]:
    """What is sent: plain JSON, whose `text` alone says it all to a person."""
    results = outcome.results
    news = None if results is None else of_plain(results.news)
    text = [f"{study.name} on {outcome.data}: " + ("first results" if news is None else headline(news))]
    if event == "failure":
        text = [
            f"{study.name} on {outcome.data}: {len(outcome.failed)} failed, {len(outcome.blocked)} shards unreadable"
        ]
    elif news is not None:
        text += news_lines(news)
    text += [f"failed: {model}: {reason}" for model, reason in outcome.failed.items()]
    text += [f"unreadable: {file}: {reason}" for file, reason in outcome.blocked.items()]
    return {
        "event": event,
        "study": study.name,
        "data": outcome.data,
        "text": "\n".join(text),
        "exit_code": outcome.exit_code,
        "news": None if results is None else results.news,
        "inputs": None if results is None else results.inputs_digest,
        "models": None if results is None else len(results.models),
        "failed": outcome.failed,
        "blocked": outcome.blocked,
        "report": outcome.report,
        "tracking": None if study.tracking.uri == NO_TRACKING else shown(study.tracking.uri),
    }


def _events(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """What an outcome has to tell, and where it is remembered that it was told."""
    if outcome.results is not None:
        news = of_plain(outcome.results.news)
        inputs = outcome.results.inputs_digest
        identity = news.id if news is not None else news_id(None, None, inputs)
        yield "news", memo.key(KIND, {"data": outcome.data, "news": identity})
    if outcome.failed or outcome.blocked:
        failed = [sorted(outcome.failed.items()), sorted(outcome.blocked.items())]
        yield "failure", memo.key(KIND, {"data": outcome.data, "failed": failed})


def _claimed(key: str, event: str, objects: Objects) -> bool:
    """Whether it is for this driver to tell."""
    return objects.put_if_absent(key, canonical_json({"event": event}))
