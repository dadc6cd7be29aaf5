"""One tick of the schedule: looks whether a study has anything to do, and only then creates a RayJob for it.

Runs in a pod of the CronJob, from a ConfigMap. Guarantees: nothing is created while a RayJob of this schedule has not
ended, and one tick creates at most one RayJob, however often it is tried, since the tick names it. The RayJob is a copy
of the suspended one that Kustomize applied. Exit code 0: nothing to do, or created; 2: a mistake in the study; 1: the
Kubernetes API refused or could not be reached, which is said in one line.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TEMPLATE = "overlap"
"""Name of the suspended RayJob that is copied."""
LABEL = "overlap/schedule"
"""RayJobs that a schedule created carry it, with the template's name."""
ENDED = ("Complete", "Failed", "ValidationFailed")
"""Deployment statuses after which nothing more happens."""
ANSWER_S = 30.0


class Refused(RuntimeError):
    """What the API server said, in one line."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RayJobs:
    """The RayJobs of the pod's namespace, as the pod's own account may see them."""

    def __init__(self, account: Path) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        namespace = (account / "namespace").read_text(encoding="utf-8").strip()
        self._path = f"/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
        self._server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        self._token = account / "token"
        self._context = ssl.create_default_context(cafile=str(account / "ca.crt"))

    def get(self, name: str) -> dict[str, Any]:
        """One RayJob."""
        return self._ask("GET", f"/{name}")

    def unfinished(self) -> list[str]:
        """Names of this schedule's RayJobs that have not ended."""
        items = self._ask("GET", f"?labelSelector={LABEL.replace('/', '%2F')}%3D{TEMPLATE}")["items"]
        return [
            item["metadata"]["name"]
            for item in items
            if item.get("status", {}).get("jobDeploymentStatus", "") not in ENDED
        ]

    def create(self, body: dict[str, Any]) -> bool:
        """Create a RayJob; False where one of this name is there already."""
        try:
            self._ask("POST", "", body)
        except Refused as refused:
            if refused.status == 409:
                return False
            raise
        return True

    def _ask(self, method: str, rest: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        # Read at each call: the kubelet renews the token in place.
        token = self._token.read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": "application/json"}
        request = Request(f"{self._server}{self._path}{rest}", data, headers, method=method)
        try:
            with urlopen(request, timeout=ANSWER_S, context=self._context) as answer:
                answered: dict[str, Any] = json.load(answer)
                return answered
        except HTTPError as error:
            raise Refused(f"{method} {self._path}{rest}: {error.code} {_said(error)}", error.code) from None
        except (URLError, OSError) as error:
            raise Refused(f"{self._server} does not answer: {getattr(error, 'reason', error)}") from None


def _said(error: HTTPError) -> str:
    """The API server's own message, where its answer has one."""
    try:
        return str(json.loads(error.read())["message"])
    except (ValueError, KeyError, TypeError):
        return error.reason


def copied(template: dict[str, Any], name: str) -> dict[str, Any]:
    """A RayJob that starts at once, otherwise as the template."""
    labels = template["metadata"].get("labels", {}) | {LABEL: template["metadata"]["name"]}
    return {
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "metadata": {"name": name, "labels": labels},
        "spec": template["spec"] | {"suspend": False},
    }


def news(study: Path) -> str | None:
    """What there is to do, in words; None where everything is as the last run left it."""
    from overlap.settled import look
    from overlap.study import load_study

    found = look(load_study(study))
    if found.nothing_new:
        return None
    if found.last is None:
        return "the study has not been run to its end"
    return f"changed: {', '.join(found.changed)}" if found.changed else "what failed is tried again"


def main(study: Path, tick: str, account: Path = ACCOUNT) -> int:
    """Look, and create what is needed; the exit code."""
    from overlap.errors import OverlapError

    try:
        why = news(study)
        if why is None:
            print("nothing new")
            return 0
        jobs = RayJobs(account)
        running = jobs.unfinished()
        if running:
            print(f"{why}; {', '.join(running)} has not ended, so nothing is created")
            return 0
        created = jobs.create(copied(jobs.get(TEMPLATE), tick))
        print(f"{why}; {'created' if created else 'there already:'} {tick}")
    except OverlapError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), os.environ["TICK"]))
