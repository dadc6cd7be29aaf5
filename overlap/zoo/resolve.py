"""From a study to the checkpoints it names: candidates that can be run, and those that cannot, each with its reason."""

from __future__ import annotations

from overlap.errors import CheckpointError
from overlap.study import CheckpointEntry, Study
from overlap.zoo.checkpoint import Architecture, Candidate, Numeric, Rejected
from overlap.zoo.factories import source_digest
from overlap.zoo.preprocessing import Preprocessing, override
from overlap.zoo.sources import select_timm, source


def resolve(study: Study, classes: int) -> tuple[list[Candidate], list[Rejected]]:
    """Resolve every checkpoint of a study for a data set of so many classes.

    Returns:
        Candidates and rejected checkpoints, each in the study's order; a query's in order of name, less those that the
        study lists itself.

    Raises:
        StudyError: a query matches nothing.
    """
    listed = {entry.id for entry in study.checkpoint}
    entries = [*study.checkpoint]
    for query in study.zoo:
        for name in select_timm(query.select, classes):
            if name not in listed:
                listed.add(name)
                entries.append(CheckpointEntry(id=name, source=f"{query.source}:{name}"))
    candidates: list[Candidate] = []
    rejected: list[Rejected] = []
    for entry in entries:
        try:
            candidates.append(_candidate(entry, study, classes))
        except CheckpointError as error:
            rejected.append(Rejected(entry.id, str(error)))
    return candidates, rejected


def _candidate(entry: CheckpointEntry, study: Study, classes: int) -> Candidate:
    if entry.factory is not None:
        folder = str(study.path.parent)
        architecture = Architecture(
            source="factory",
            name=entry.factory,
            arguments=dict(entry.arguments),
            source_digest=source_digest(entry.factory, folder),
            search_path=folder,
        )
        if entry.preprocess.input_size is None:
            raise CheckpointError(f"'{entry.id}' is built by a factory; give preprocess.input_size")
        base = Preprocessing(input_size=entry.preprocess.input_size)
    else:
        library, _, name = str(entry.source).partition(":")
        if not name:
            raise CheckpointError(f"source '{entry.source}' is not SOURCE:NAME, for instance timm:resnet50.a1_in1k")
        base = source(library).preprocessing(name)
        own = source(library).classes(name)
        if entry.weights is None and own != classes:
            raise CheckpointError(
                f"the weights of {entry.source} tell {own} classes apart, the data has {classes}; "
                "give weights of your own, or leave it out"
            )
        architecture = Architecture(source=library, name=name, arguments=dict(entry.arguments))
    return Candidate(
        id=entry.id,
        architecture=architecture,
        preprocessing=override(base, entry.preprocess),
        numeric=Numeric.of(study.predict.dtype),
        classes=classes,
        weights=entry.weights or str(entry.source),
        allow_pickle=entry.allow_pickle,
        training=entry.training,
        published_top1=entry.published_top1,
    )
