"""Telling somebody what a run came to: a command that reads JSON, or a web address that it is posted to.

Guarantees: no shell is involved; an address is named by its host alone, since many hold a secret; whatever goes wrong
is one NotifyError. Not guaranteed: that a server which never answered has not heard.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from overlap.errors import NotifyError, StudyError
from overlap.identity import canonical_json
from overlap.service_sections import Notify
from overlap.study import Study

COMMAND_SECONDS = 60.0
POST_SECONDS = (5.0, 20.0)
"""To connect, and to answer."""
ATTEMPTS = 3
BUSY = (408, 429, 500, 502, 503, 504)
"""Answers after which it is tried again."""


def check(study: Study) -> None:
    """See that a study's notification could be sent from here.

    Raises:
        StudyError: the command is not there, or the variable that holds the address is not set or holds none.
    """
    notify = study.notify
    if notify is None:
        return
    if notify.command and _program(notify, study.path.parent) is None:
        raise StudyError(
            f"{study.path}: notify.command: '{notify.command[0]}' is no program here; give its path, or install it"
        )
    if notify.url is not None:
        try:
            _address(notify.url)
        except NotifyError as error:
            raise StudyError(f"{study.path}: {error}") from None


def deliver(study: Study, summary: Mapping[str, Any]) -> None:
    """Run the command, and post to the address, of a study that names them; both are tried.

    Raises:
        NotifyError: one of them failed.
    """
    failed = []
    if study.notify is not None:
        body = canonical_json(summary)
        for way in (_run, _post):
            try:
                way(study.notify, study.path.parent, body)
            except NotifyError as error:
                failed.append(str(error))
    if failed:
        raise NotifyError("; ".join(failed))


def _run(notify: Notify, folder: Path, body: bytes) -> None:
    if not notify.command:
        return
    program = _program(notify, folder)
    name = notify.command[0]
    try:
        done = subprocess.run(
            [program or name, *notify.command[1:]],
            input=body,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotifyError(f"notify.command '{name}' took more than {COMMAND_SECONDS:.0f} s and was ended") from None
    except OSError as error:
        raise NotifyError(f"notify.command '{name}' cannot be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise NotifyError(f"notify.command '{name}' ended with {done.returncode}" + (f": {said[-1]}" if said else ""))


def _program(notify: Notify, folder: Path) -> str | None:
    """The command's program: a path is one from the study's folder, a bare name is looked for as a shell would."""
    name = notify.command[0]
    return shutil.which(str(folder / name) if os.sep in name else name)


def _post(notify: Notify, folder: Path, body: bytes) -> None:
    if notify.url is None:
        return
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    address = _address(notify.url)
    host = urlsplit(address).hostname
    again = Retry(
        total=ATTEMPTS - 1,
        backoff_factor=0.5,
        status_forcelist=BUSY,
        allowed_methods=None,  # also POST, which is not repeated otherwise
        raise_on_status=False,
    )
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            headers = {"Content-Type": "application/json"}
            answer = session.post(address, data=body, headers=headers, timeout=POST_SECONDS)
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout):
        raise NotifyError(f"notify.url at {host} does not answer") from None
    except requests.exceptions.RequestException as error:  # its text may hold the address
        raise NotifyError(f"notify.url at {host} cannot be reached ({type(error).__name__})") from None
    if answer.status_code >= 400:
        raise NotifyError(f"notify.url at {host} answered {answer.status_code} {answer.reason}")


def _address(url: str) -> str:
    """The address itself, from the environment where it is kept there."""
    if not url.startswith("env:"):
        return url
    name = url.removeprefix("env:")
    held = os.environ.get(name, "")
    try:
        good = held.startswith(("http://", "https://")) and bool(urlsplit(held).hostname)
    except ValueError:
        good = False
    if not good:
        state = "holds no http(s)://HOST address" if held else "is not set"
        raise NotifyError(f"notify.url: the variable {name} {state} here")
    return held
