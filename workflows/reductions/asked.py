"""What a reduction asks for of the answers and pairs that are kept, said beside its tables: `overlap gc` goes by it."""

from __future__ import annotations

from overlap.store.kept import Asked
from workflows.reductions import pair_rows
from workflows.reductions.participants import Calibrated


def asked(answers: Calibrated) -> Asked:
    """Of all models that have logits, and their pairs."""
    return Asked.of(answers.context, pair_rows.context(answers.context, answers.paired), answers.names)
