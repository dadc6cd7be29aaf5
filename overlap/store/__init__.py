"""The store: a folder or a bucket of objects, their keys, the prediction tables, and the ledger of what is done.

Importing this package imports neither boto3 nor pyarrow, and does no I/O.
"""

from overlap.store.location import Location, open_objects
from overlap.store.objects import ObjectInfo, Objects, check, get_many

__all__ = ["Location", "ObjectInfo", "Objects", "check", "get_many", "open_objects"]
