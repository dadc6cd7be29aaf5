"""What a reduction asks for of the answers and pairs that are kept, said beside its tables: `overlap gc` goes by it."""

from __future__ import annotations

from overlap.analysis.ensembles.lanes import sample_size
from overlap.store.kept import Asked
from workflows.reductions import pair_rows
from workflows.reductions.answers import Answers


def asked(answers: Answers) -> Asked:
    """Of all models that have logits, and their pairs."""
    sample = answers.sample(sample_size(answers.classes))
    return Asked.of(answers.context, pair_rows.context(answers.context, len(sample.keys)), answers.names)
