"""What can go wrong, and what a person is told.

Every expected failure is one of these, its text is one line that names the file, key or model and the mend, and the
command line prints that line alone. Anything else that escapes is a bug and shows its traceback.
"""


class OverlapError(Exception):
    """An expected failure. The message is one line: what is wrong, where, and what mends it."""

    exit_code = 2


class StudyError(OverlapError):
    """A mistake in the study file, in the command, or in what they name; nothing was computed because of it."""


class StoreError(OverlapError):
    """The object store cannot be reached, refuses, or is full."""


class ObjectMissing(StoreError):
    """The store holds no object under this key."""


class DamagedObject(StoreError):
    """A certified object is gone, or its bytes are not those that its record certifies."""


class DataError(OverlapError):
    """A shard, image or label that cannot be used; confined to the shard it names."""


class CheckpointError(OverlapError):
    """A checkpoint that cannot be loaded or run; confined to the checkpoint it names."""


class ClusterError(OverlapError):
    """A cluster's job server cannot be reached or refuses, or what became of a job cannot be found out."""


class TrackingError(OverlapError):
    """The tracking server cannot be reached or refuses; never stops a study."""


class NotifyError(OverlapError):
    """A notification that did not arrive; never stops a study."""


def gist(error: BaseException) -> str:
    """An error of somebody else's in one line: its type, and the first line of its text where it has one."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
