"""Groups of classes: from a table of the study, or from the WordNet ids that the classes stand for.

Synsets of WordNet 3.0 are numbered by their place in its file of nouns, in which the 26 lexicographer files (animal,
artifact, food …) follow each other: the number alone tells the file. `wordnet_files.csv` holds the first number of
each range, and for `wordnet-nature` whether what stands there is natural or anthropogenic; food, persons and what is
neither have no group there. What WordNet files under its 51 topmost synsets goes to the group of the same name, if any.

Guarantees: groups are in ascending order of their names; a class that a table does not name has no group.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from overlap.analysis.specialisation.groups import NONE, ClassGroups
from overlap.errors import StudyError
from overlap.fields import GROUPINGS
from overlap.sections import Data
from overlap.zoo.class_spaces import SYNSET, class_space


def class_groups(name: str, data: Data) -> ClassGroups | None:
    """The groups of a data set's classes, None where the study says nothing of them.

    Args:
        name: of the data set, for errors.
        data: its section of the study.

    Raises:
        StudyError: the table or the list of synsets cannot be read, or names no class of the data; the text says where.
    """
    if data.groups is None:
        return None
    space = class_space(data.class_space, data.synsets)
    synsets = () if space is None else space.classes
    if synsets and len(synsets) != data.classes:
        raise StudyError(
            f"data.{name}: {len(synsets)} synsets for {data.classes} classes; mend classes, or what lists the synsets"
        )
    if data.groups in GROUPINGS:
        return _numbered([wordnet_group(synset, data.groups) for synset in synsets])
    named = read_groups(Path(data.groups), data.classes, data.names, synsets)
    return _numbered([named.get(number) for number in range(data.classes)])


def wordnet_group(synset: str, grouping: str = "wordnet") -> str | None:
    """The group of a WordNet 3.0 id such as n01440764: its lexicographer file, or by `wordnet-nature` natural or not.

    Raises:
        ValueError: no id of a noun, or no such grouping.
    """
    if not SYNSET.fullmatch(synset) or grouping not in GROUPINGS:
        raise ValueError(f"'{synset}' is no WordNet id, or '{grouping}' none of {', '.join(GROUPINGS)}")
    starts, rows = _files()
    place = bisect_right(starts, int(synset[1:])) - 1
    return (rows[place][GROUPINGS.index(grouping)] or None) if place >= 0 else None


def read_groups(path: Path, classes: int, names: Sequence[str] = (), synsets: Sequence[str] = ()) -> dict[int, str]:
    """Group by class number, from a csv with the columns class and group.

    A class is given by its name where the data have names, by its synset where they have synsets, or by its number.

    Raises:
        StudyError: the table cannot be read, lacks a column, a line names no class or group, or a class stands twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = set(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"groups {path}: cannot be read ({error}); name a csv with the columns class, group") from None
    if missing := {"class", "group"} - columns:
        raise StudyError(f"groups {path}: has no column {min(missing)}; its first line must hold class,group")
    known: Mapping[str, int] = {
        **{str(number): number for number in range(classes)},
        **{synset: number for number, synset in enumerate(synsets)},
        **{name.strip(): number for number, name in enumerate(names)},
    }
    found: dict[int, str] = {}
    for line, row in rows:
        said, group = row["class"].strip(), row["group"].strip()
        if said not in known:
            kinds = ["a number below " + str(classes), *["a synset"] * bool(synsets), *["a name"] * bool(names)]
            raise StudyError(f"groups {path} line {line}: '{said}' is no class; give {' or '.join(kinds)} of the data")
        if not group:
            raise StudyError(f"groups {path} line {line}: class '{said}' has an empty group; name one, or leave it out")
        if known[said] in found:
            raise StudyError(f"groups {path} line {line}: class '{said}' stands there before; give each class one line")
        found[known[said]] = group
    if not found:
        raise StudyError(f"groups {path}: holds no class; give lines of a class and its group")
    return found


def _numbered(groups: Sequence[str | None]) -> ClassGroups:
    names = tuple(sorted({group for group in groups if group is not None}))
    return ClassGroups(names, np.array([NONE if group is None else names.index(group) for group in groups], np.int32))


@cache
def _files() -> tuple[list[int], list[tuple[str, str]]]:
    """First synset number of each range, ascending, and its groups in the order of `GROUPINGS`."""
    with Path(__file__).with_name("wordnet_files.csv").open(encoding="utf-8", newline="") as file:
        rows = [(int(row["first"]), (row["group"], row["contrast"])) for row in csv.DictReader(file)]
    return [first for first, _ in rows], [groups for _, groups in rows]
