"""From a study to the checkpoints it names: candidates that can be run, and those that cannot, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from overlap.checkpoint_sections import CheckpointEntry, ZooQuery
from overlap.errors import CheckpointError, StudyError
from overlap.sections import Data
from overlap.study import Study
from overlap.zoo import clip
from overlap.zoo.checkpoint import CLASSIFIER, Architecture, Candidate, Rejected
from overlap.zoo.class_spaces import ClassMap, ClassSpace, class_map, class_space, known_space, spaces_of_size
from overlap.zoo.derived import study_names, training
from overlap.zoo.factories import source_digest
from overlap.zoo.folders import checkpoints_in, tame
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing, override
from overlap.zoo.probe_head import ProbeHead
from overlap.zoo.queries import select
from overlap.zoo.sources import source
from overlap.zoo.texts import ZeroShot, zero_shot

COMMON = "imagenet-1k"
"""What the source's own weights with 1,000 classes tell apart, on data whose class numbers are said to be synsets."""


def data_space(name: str, data: Data) -> ClassSpace | None:
    """What the class numbers of a data set stand for; None where the study does not say.

    Raises:
        StudyError: no such class space, an unreadable list, or another number of classes.
    """
    space = class_space(data.class_space, data.synsets)
    if space is not None and len(space) != data.classes:
        raise StudyError(f"data.{name}: {space.name} has {len(space)} classes, but classes = {data.classes}; mend one")
    return space


def resolve(
    study: Study, classes: int, space: ClassSpace | None = None, names: Sequence[str] = ()
) -> tuple[list[Candidate], list[Rejected]]:
    """Resolve every checkpoint of a study for a data set of so many classes.

    Args:
        study: the study.
        classes: number of the data's classes.
        space: what they stand for; without it no head is mapped.
        names: what they are called, for zero-shot heads.

    Returns:
        Candidates and rejected checkpoints, each in the study's order; a query's or folder's in order of name, less
        those that the study lists itself.

    Raises:
        StudyError: a query matches nothing, a folder holds nothing, or there is no such class space.
    """
    entries, rejected = _entries(study, classes, space)
    candidates: list[Candidate] = []
    kin = study_names(entries)
    for entry in entries:
        try:
            candidate = _candidate(entry, study, classes, space, names)
            candidates.append(replace(candidate, training=training(entry, kin)))
        except CheckpointError as error:
            rejected.append(Rejected(entry.id, str(error)))
    return candidates, rejected


def resolve_for(study: Study, name: str) -> tuple[list[Candidate], list[Rejected]]:
    """Resolve every checkpoint of a study for one of its data sets, by that one's role.

    On a downstream set heads stay those of the study's first other set and are not mapped, since the classes of the two
    have nothing to do with each other. Where only features are wanted, checkpoints that store none are left out.

    Raises:
        StudyError: as `resolve` and `data_space`.
    """
    role, heads = study.data[name].role, name
    if role == "downstream":
        heads = next(other for other, data in study.data.items() if data.role != "downstream")
    data = study.data[heads]
    candidates, rejected = resolve(study, data.classes, data_space(heads, data), data.names)
    if role == "downstream":
        candidates = [replace(candidate, class_map=None) for candidate in candidates]
    if role != "evaluate":
        candidates = [candidate for candidate in candidates if candidate.features is not None]
    return candidates, rejected


def _entries(study: Study, classes: int, space: ClassSpace | None) -> tuple[list[CheckpointEntry], list[Rejected]]:
    """The study's own checkpoints, then those of its queries and folders, less those whose name is taken."""
    own = {entry.id for entry in study.checkpoint}
    taken = set(own)
    entries, rejected = [*study.checkpoint], list[Rejected]()
    for query in study.zoo:
        for one in _expanded(query, study, classes, space):
            if one.id in own or (one.id in taken and query.folder is None):
                continue  # the study lists it itself, or another query has selected the very same weights
            if one.id in taken:
                folder = str(query.folder)
                named = tame(f"{one.id}@{folder.rstrip('/').rpartition('/')[2]}")
                reason = one.reason if isinstance(one, Rejected) else f"another checkpoint is called '{one.id}' too"
                rejected.append(Rejected(named, f"zoo: folder {folder}: {reason}; rename one, or give it an id"))
            elif isinstance(one, Rejected):
                rejected.append(one)
            else:
                entries.append(one)
            taken.add(one.id)
    return entries, rejected


def _expanded(
    query: ZooQuery, study: Study, classes: int, space: ClassSpace | None
) -> list[CheckpointEntry] | list[CheckpointEntry | Rejected]:
    if query.folder is not None:
        return checkpoints_in(query, study.path.parent, study.store.endpoint_url)
    asked = known_space(query.class_space or COMMON) if query.class_space or space else None
    return [
        CheckpointEntry(id=called(name), source=f"{query.source}:{name}", class_space=query.class_space)
        for name in select(query, classes if asked is None else len(asked))
    ]


def called(name: str) -> str:
    """What a query calls a library's name: as it is, open_clip's MODEL/TAG with a point between."""
    return name.replace("/", ".")


def _head(
    entry: CheckpointEntry, own: int | None, classes: int, space: ClassSpace | None
) -> tuple[int, ClassMap | None]:
    """Number of classes of a head, and how they are mapped to the data's; `own` is that of the source's own weights."""
    head = class_space(entry.class_space, entry.synsets)
    if head is None and space is not None and own == len(known_space(COMMON)):
        head = known_space(COMMON)
    if head is None:
        if own not in (None, classes):
            known = " or ".join(f'"{name}"' for name in spaces_of_size(own or 0))
            hint = f", map it (class_space = {known} here, and the data's in its section)" if known else ""
            raise CheckpointError(
                f"the weights of {entry.source} tell {own} classes apart, the data has {classes}; "
                f"give weights of your own{hint}, or leave it out"
            )
        return classes, None
    if space is None:
        raise CheckpointError(
            f"'{entry.id}' has a class space ({head.name}), the data has none; give the data class_space or synsets"
        )
    if own not in (None, len(head)):
        raise CheckpointError(
            f"the weights of {entry.source} tell {own} classes apart, {head.name} has {len(head)}; mend class_space"
        )
    return len(head), class_map(head, space)


def _texts(entry: CheckpointEntry, name: str, classes: int, space: ClassSpace | None, names: Sequence[str]) -> ZeroShot:
    if entry.class_space is not None or entry.synsets is not None:
        raise CheckpointError(
            f"'{entry.id}' has a zero-shot head, made for the data's classes; leave out its class space"
        )
    if entry.weights is None and not clip.has_tag(name):
        known = ", ".join(clip.tags(name)) or "none"
        raise CheckpointError(f"open_clip:{name} does not say which weights; known: {known}, or give weights a file")
    return zero_shot(name, entry.arguments, entry.templates, names, classes, space, allow_pickle=entry.allow_pickle)


def _probe(
    entry: CheckpointEntry, study: Study, architecture: Architecture, classes: int, space: ClassSpace | None
) -> tuple[ProbeHead, ClassMap | None]:
    """The place of a linear probe, and how the training set's classes are mapped to the data's."""
    trained = [name for name, data in study.data.items() if data.role == "train"]
    if len(trained) != 1:
        raise CheckpointError(
            f"'{entry.id}': its linear probe is fitted on one set with the role train, and there "
            f"{'is none' if not trained else f'are {len(trained)}'}; add [data.train], or leave it out"
        )
    train = study.data[trained[0]]
    known = data_space(trained[0], train)
    if known is not None and space is not None:
        mapped = class_map(known, space)
    elif train.classes == classes:
        mapped = None
    else:
        raise CheckpointError(
            f"'{entry.id}': its linear probe tells the {train.classes} classes of data.{trained[0]} apart, the data "
            f"has {classes}; give both their class_space or synsets"
        )
    name, arguments = architecture.name, architecture.arguments
    return ProbeHead(architecture.source, name, train.classes, arguments, entry.allow_pickle), mapped


def _candidate(
    entry: CheckpointEntry, study: Study, classes: int, space: ClassSpace | None, names: Sequence[str]
) -> Candidate:
    own: int | None = None
    texts: ZeroShot | None = None
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
        if library == clip.SOURCE:
            if entry.head is not None:
                raise CheckpointError(f"'{entry.id}' has a zero-shot head; leave out head = \"{entry.head}\"")
            texts = _texts(entry, name, classes, space, names)
        else:
            own = source(library).classes(name) if entry.weights is None and entry.head is None else None
        architecture = Architecture(source=library, name=name, arguments=dict(entry.arguments))
    if entry.templates and texts is None:
        raise CheckpointError(
            f"'{entry.id}' has templates, which are for zero-shot heads (open_clip:…); leave them out"
        )
    probe: ProbeHead | None = None
    if entry.head is not None and texts is None:
        probe, mapped = _probe(entry, study, architecture, classes, space)
        head = probe.classes
    else:
        head, mapped = _head(entry, own, classes, space) if texts is None else (classes, None)
    return Candidate(
        id=entry.id,
        architecture=architecture,
        preprocessing=override(replace(base, decoder=study.predict.decoder), entry.preprocess),
        numeric=Numeric.of(study.predict.dtype, compiled=study.predict.compile and entry.compile),
        classes=head,
        class_map=mapped,
        zero_shot=texts,
        probe=probe,
        weights=entry.weights or str(entry.source),
        allow_pickle=entry.allow_pickle,
        published_top1=entry.published_top1,
        features=_features(entry) if study.predict.features else None,
        top=study.predict.output == "top",
    )


def _features(entry: CheckpointEntry) -> str | None:
    if isinstance(entry.features, str):
        return entry.features
    return CLASSIFIER if entry.features else None
