"""Notifications as they arrive: on a command's standard input and at a real web server, once, or as one warning."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from overlap import notifying
from overlap.errors import NotifyError, StudyError
from overlap.store.folder import Folder
from overlap.study import Study, load_study
from tests.view.ensemble_frames import whole
from tests.view.news_frames import with_news
from workflows.changes import notices
from workflows.outcome import Outcome


@dataclass
class Hook:
    """A web server that answers what it is told to, and keeps what it hears."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    heard: list[dict] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = found.answers.pop(0) if found.answers else 204
            if code < 400:
                found.heard.append(json.loads(body) | {"path": self.path, "type": self.headers["Content-Type"]})
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/hooks/s3cr3t"
        yield found
        server.shutdown()
        thread.join()


def study_of(folder: Path, notify: str) -> Study:
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(f'name = "told"\n[tracking]\nuri = "none"\n{notify}', encoding="utf-8")
    return load_study(folder / "study.toml")


def script(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "tell.sh"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def outcome() -> Outcome:
    results = with_news(whole(9, 200, 6))
    return Outcome(
        results.data, results=results, reduced=True, failed={"broken": "weights do not fit"}, report="r.html"
    )


def test_both_hear_it_once_whoever_finishes(tmp_path: Path, hook: Hook, outcome: Outcome) -> None:
    script(tmp_path, "cat >> heard.jsonl; echo >> heard.jsonl")
    study = study_of(tmp_path, f'[notify]\ncommand = ["./tell.sh"]\nurl = "{hook.url}"\n')
    hook.answers = [503, 429]
    for _ in range(3):
        notices.tell(study, [outcome], Folder(tmp_path / "store"))
    assert outcome.notify_error is None
    (posted,) = hook.heard
    assert (posted.pop("path"), posted.pop("type")) == ("/hooks/s3cr3t", "application/json")
    (piped,) = [json.loads(line) for line in (tmp_path / "heard.jsonl").read_text().splitlines()]
    assert piped == posted
    assert (piped["event"], piped["study"], piped["exit_code"], piped["report"]) == ("news", "told", 3, "r.html")
    assert outcome.results is not None
    assert piped["news"] == json.loads(json.dumps(outcome.results.news))
    assert "2 added" in piped["text"].splitlines()[0]
    assert "failed: broken: weights do not fit" in piped["text"]
    outcome.failed["another"] = "no such file"
    notices.tell(study, [outcome], Folder(tmp_path / "store"))
    assert [one["event"] for one in hook.heard] == ["news", "failure"]


def test_what_nobody_asked_for_is_not_told_later_either(tmp_path: Path, hook: Hook, outcome: Outcome) -> None:
    store = Folder(tmp_path / "store")
    notices.tell(study_of(tmp_path, ""), [outcome], store)
    notices.tell(study_of(tmp_path, f'[notify]\nurl = "{hook.url}"\n'), [outcome], store)
    assert hook.heard == []
    outcome.failed = {"other": "no such file"}
    notices.tell(study_of(tmp_path, f'[notify]\nurl = "{hook.url}"\non = "news"\n'), [outcome], store)
    assert hook.heard == []


@pytest.mark.parametrize(
    ("answers", "error"),
    [([404], "notify.url at 127.0.0.1 answered 404 Not Found"), ([503] * 3, "notify.url at 127.0.0.1 answered 503")],
)
def test_a_hook_that_fails_is_named_without_its_secret(
    tmp_path: Path, hook: Hook, outcome: Outcome, answers: list[int], error: str
) -> None:
    script(tmp_path, "echo it is broken >&2; exit 4")
    hook.answers = answers
    study = study_of(tmp_path, f'[notify]\ncommand = ["./tell.sh"]\nurl = "{hook.url}"\n')
    notices.tell(study, [outcome], Folder(tmp_path / "store"))
    assert outcome.notify_error is not None
    assert outcome.notify_error.startswith(f"notify.command './tell.sh' ended with 4: it is broken; {error}")
    assert "s3cr3t" not in outcome.notify_error
    assert hook.heard == []


def test_nobody_there_and_a_command_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "COMMAND_SECONDS", 0.3)
    study = study_of(tmp_path, '[notify]\ncommand = ["sleep", "20"]\nurl = "http://127.0.0.1:9/s3cr3t"\n')
    with pytest.raises(NotifyError) as refused:
        notifying.deliver(study, {})
    assert str(refused.value) == (
        "notify.command 'sleep' took more than 0 s and was ended; notify.url at 127.0.0.1 does not answer"
    )


def test_an_address_may_stand_in_the_environment(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(tmp_path, '[notify]\nurl = "env:HOOK"\n')
    with pytest.raises(StudyError, match=r"study.toml: notify.url: the variable HOOK is not set here"):
        notifying.check(study)
    monkeypatch.setenv("HOOK", "s3cr3t")
    with pytest.raises(StudyError) as refused:
        notifying.check(study)
    assert str(refused.value).endswith("the variable HOOK holds no http(s)://HOST address here")
    monkeypatch.setenv("HOOK", hook.url)
    notifying.check(study)
    notifying.deliver(study, {"text": "hello"})
    assert hook.heard[0]["text"] == "hello"


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ("", "key 'notify': names nobody to tell; give command or url"),
        ("command = []", "key 'notify': names nobody to tell; give command or url"),
        ('url = "hooks.example/x"', "key 'notify': url is no http(s)://HOST address, nor env:NAME"),
        ('url = "ftp://hooks.example"', "key 'notify': url is no http(s)://HOST address, nor env:NAME"),
        ('url = "https://me:pass@hooks.example"', "key 'notify': holds a user name or password"),
        ('command = ["true"]\non = "sometimes"', "key 'notify.on.0': Input should be 'news' or 'failure'"),
        ('comand = ["true"]', "unknown key 'notify.comand'; did you mean 'command'?"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, notify: str, said: str) -> None:
    with pytest.raises(StudyError) as refused:
        study_of(tmp_path, f"[notify]\n{notify}\n")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_command_that_is_not_there_is_said_before_anything_runs(tmp_path: Path) -> None:
    for name in ("./nowhere.sh", "no-such-program-here"):
        study = study_of(tmp_path, f'[notify]\ncommand = ["{name}"]\n')
        with pytest.raises(StudyError) as refused:
            notifying.check(study)
        assert str(refused.value).endswith(
            f"study.toml: notify.command: '{name}' is no program here; give its path, or install it"
        )
