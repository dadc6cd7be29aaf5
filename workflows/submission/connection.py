"""The connection to a cluster's job server, which is its dashboard: waits are bounded, refusals are one line.

Guarantees that the address is the one that was given, that a server of another Ray is found out with both versions, and
that no message holds a token.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from overlap.errors import ClusterError, StudyError, gist

TIMEOUT_S = (5, 60)
"""For a connection, and for an answer to begin."""

_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that Ray's client prefers to the address it is given."""

_TALKATIVE = (
    *("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"),
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray that tell of every upload and every connection."""


class Jobs(JobSubmissionClient):
    """Ray's client with waits that end: its own has none."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        return super()._do_request(method, endpoint, timeout=TIMEOUT_S, **options)

    @property
    def address(self) -> str:
        """Of the dashboard."""
        return str(self.get_address())

    @property
    def ray_version(self) -> str:
        """Of the cluster."""
        return str(self._server_ray_version)

    def session(self) -> str:
        """Name of the cluster's session, which no other cluster has; empty where the server does not say."""
        return str(self._do_request("GET", "/api/version").json().get("session_name") or "")


def connect(address: str) -> Jobs:
    """A connection to the job server at http(s)://HOST:PORT.

    Raises:
        StudyError: the address is no dashboard's, or its cluster runs another Ray.
        ClusterError: nobody answers there, or the token is refused.
    """
    if not re.match(r"https?://[^/]", address):
        raise StudyError(
            f"address '{address}' is no dashboard's; jobs are sent to http://HOST:8265, where the head shows itself"
        )
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    with _speaking(address), _unset(_OVERRIDES):
        jobs = Jobs(address)
    if jobs._ssl_context is None:
        jobs._ssl_context = True  # the same, as the library underneath wants it said now
    theirs, ours = jobs.ray_version, ray.__version__
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        raise StudyError(
            f"the cluster at {address} runs Ray {theirs}, and here is {ours}, which overlap is made for; "
            f"start the cluster from an image with Ray {ours}"
        )
    return jobs


@contextmanager
def _speaking(address: str) -> Iterator[None]:
    try:
        yield
    except AuthenticationError as error:
        said = str(error).partition("\n\n")[0]
        if "authentication token" not in said:  # some other server, or a gate in front of the cluster
            raise StudyError(
                f"{address} refuses, and not as the dashboard of a Ray cluster does; give the head's, mostly port "
                "8265, or forward it: `kubectl port-forward`, `ssh -L`"
            ) from None
        raise ClusterError(refusal(address, error)) from None
    except (ConnectionError, requests.exceptions.ConnectionError, requests.exceptions.Timeout):
        raise ClusterError(
            f"nobody answers at {address}; start the cluster, or forward its port: `kubectl port-forward`, "
            "`ray dashboard`, `ssh -L`"
        ) from None
    except (RuntimeError, KeyError, TypeError, requests.exceptions.RequestException) as error:
        # Not found, no JSON, JSON without a version, a redirection to a log-in page.
        raise StudyError(
            f"{address} is not the dashboard of a Ray cluster ({gist(error)}); give the head's, mostly port 8265"
        ) from None


@contextmanager
def asking(address: str) -> Iterator[None]:
    """What goes wrong with a question to a job server that was there comes out as one line.

    Raises:
        ClusterError: it does not answer, refuses the token, or says that it failed.
    """
    try:
        yield
    except AuthenticationError as error:
        raise ClusterError(refusal(address, error)) from None
    except (ConnectionError, requests.exceptions.RequestException) as error:
        raise ClusterError(f"the cluster at {address} does not answer ({gist(error)}); ask again") from None
    except (RuntimeError, ValueError) as error:
        said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ClusterError(f"the cluster at {address} refuses: {said[-1].strip()}") from None


def refusal(address: str, error: BaseException) -> str:
    """What is said where a cluster refuses a token, or misses one."""
    missing = "required" in str(error)
    return (
        f"the cluster at {address} {'asks for a token' if missing else 'refuses the token'}; set RAY_AUTH_MODE=token, "
        "and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's own"
    )


@contextmanager
def _unset(names: tuple[str, ...]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
