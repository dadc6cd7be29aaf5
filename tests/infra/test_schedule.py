"""The schedule's script against a real HTTPS server that answers as the Kubernetes API does, and a real study."""

from __future__ import annotations

import datetime
import importlib.util
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.infra.kinds import errors
from tests.infra.rendering import KUBERNETES, the
from tests.small_study import SmallStudy
from tests.study_fixtures import invoke

TOKEN = "token-of-the-pod"
NAMESPACE = "overlap"
PATH = f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayjobs"
TICK = "overlap-29398577"


def script() -> Any:
    """The script as a fresh module."""
    spec = importlib.util.spec_from_file_location("create_job", KUBERNETES / "overlays/scheduled/create_job.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Kubernetes(ThreadingHTTPServer):
    """Keeps RayJobs by name; refuses strangers and what the schema of RayJob refuses."""

    def __init__(self, jobs: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.jobs = jobs
        self.asked: list[str] = []


class Answers(BaseHTTPRequestHandler):
    server: Kubernetes

    def do_GET(self) -> None:
        self._answer(self._read)

    def do_POST(self) -> None:
        self._answer(self._create)

    def _answer(self, then: Any) -> None:
        self.server.asked.append(self.command)
        path = urlsplit(self.path).path
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._send(401, {"kind": "Status", "message": "Unauthorized"})
        elif path.rpartition("/")[0] != PATH and path != PATH:
            self._send(404, {"kind": "Status", "message": f"no {path}"})
        else:
            then(path.removeprefix(PATH).lstrip("/"))

    def _read(self, name: str) -> None:
        if name:
            found = self.server.jobs.get(name)
            self._send(200 if found else 404, found or {"kind": "Status", "message": f'rayjobs "{name}" not found'})
            return
        (selector,) = parse_qs(urlsplit(self.path).query)["labelSelector"]
        key, _, value = selector.partition("=")
        items = [job for job in self.server.jobs.values() if job["metadata"].get("labels", {}).get(key) == value]
        self._send(200, {"kind": "RayJobList", "items": items})

    def _create(self, name: str) -> None:
        assert not name
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = errors(body)
        called = body["metadata"]["name"]
        if found:
            self._send(422, {"kind": "Status", "message": "; ".join(found)})
        elif called in self.server.jobs:
            self._send(409, {"kind": "Status", "message": f'rayjobs "{called}" already exists'})
        else:
            self.server.jobs[called] = body
            self._send(201, body)

    def _send(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1 and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    return folder / "ca.crt", folder / "key.pem"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """A server with the suspended RayJob that Kustomize applies, and the pod's own account beside it."""
    server = Kubernetes({"overlap": the("RayJob", "overlays/scheduled")})
    crt, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text(NAMESPACE)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_address[1]))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_tick_creates_one_job_however_often_it_is_tried(api: Kubernetes, tmp_path: Path) -> None:
    module = script()
    client = module.RayJobs(tmp_path)
    assert client.unfinished() == []
    assert client.create(module.copied(client.get("overlap"), TICK)) is True
    assert client.create(module.copied(client.get("overlap"), TICK)) is False
    created = api.jobs[TICK]
    assert errors(created) == []
    template = api.jobs["overlap"]["spec"]
    assert template["suspend"] is True
    assert created["spec"] == template | {"suspend": False}
    assert client.unfinished() == [TICK], "found by its label"


@pytest.mark.parametrize("status", ["", "Initializing", "Running", "Suspended", "Retrying", "Waiting"])
def test_what_has_not_ended_keeps_the_next_from_being_created(api: Kubernetes, tmp_path: Path, status: str) -> None:
    module = script()
    client = module.RayJobs(tmp_path)
    client.create(module.copied(client.get("overlap"), TICK))
    api.jobs[TICK]["status"] = {"jobDeploymentStatus": status}
    assert client.unfinished() == [TICK]
    api.jobs[TICK]["status"] = {"jobDeploymentStatus": "Failed"}
    assert client.unfinished() == []


def test_refusals_are_one_line(api: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script()
    with pytest.raises(module.Refused, match=r'404 rayjobs "other" not found'):
        module.RayJobs(tmp_path).get("other")
    spoiled = module.copied(api.jobs["overlap"], TICK)
    spoiled["spec"]["entryPoint"] = "x"
    with pytest.raises(module.Refused, match=r"422 .*entryPoint"):
        module.RayJobs(tmp_path).create(spoiled)
    (tmp_path / "token").write_text("of somebody else")
    with pytest.raises(module.Refused, match="401 Unauthorized"):
        module.RayJobs(tmp_path).unfinished()
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "9")
    with pytest.raises(module.Refused, match="does not answer"):
        module.RayJobs(tmp_path).unfinished()


def test_a_server_with_another_certificate_is_not_spoken_to(api: Kubernetes, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    certificate(other)
    (other / "token").write_text(TOKEN)
    (other / "namespace").write_text(NAMESPACE)
    module = script()
    with pytest.raises(module.Refused, match=r"(?i)certificate verify failed"):
        module.RayJobs(other).unfinished()
    assert api.asked == [], "the token went nowhere"


def test_only_news_create_a_job(
    api: Kubernetes,
    tmp_path: Path,
    complete: SmallStudy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = script()
    assert invoke("run", str(complete.path), "--if-new").code == 0, "its files have other addresses since it was copied"
    capsys.readouterr()
    assert module.main(complete.path, TICK, tmp_path) == 0
    assert capsys.readouterr().out == "nothing new\n"
    assert api.asked == [], "the API is asked when there is work, and only then"
    text = complete.path.read_text(encoding="utf-8")
    complete.path.write_text(text + "\n[ensembles]\nmax_size = 3\n", encoding="utf-8")
    assert module.main(complete.path, TICK, tmp_path) == 0
    assert capsys.readouterr().out.endswith(f"created {TICK}\n")
    assert module.main(complete.path, "overlap-29398578", tmp_path) == 0
    assert f"{TICK} has not ended" in capsys.readouterr().out
    assert sorted(api.jobs) == ["overlap", TICK]
    complete.path.write_text("nmae = 1\n", encoding="utf-8")
    assert module.main(complete.path, TICK, tmp_path) == 2
    assert "error: " in capsys.readouterr().err
