from __future__ import annotations

from hypothesis import settings

from tests.servers import s3_server
from tests.study_fixtures import cluster, complete, fresh, head, run, scratch, undisturbed

__all__ = ["cluster", "complete", "fresh", "head", "run", "s3_server", "scratch", "undisturbed"]

settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", max_examples=1000)
# A change is judged by the same examples every time; look for others with --hypothesis-profile=explore.
settings.load_profile("fixed")
