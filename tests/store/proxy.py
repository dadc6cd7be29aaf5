"""An HTTP proxy in front of a real S3 server that can lose, cut or replace its answers after the server has acted."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

DROP, CUT, BUSY, CONFLICT, LENIENT, EXPIRED = "drop", "cut", "busy", "conflict", "lenient", "expired"
"""Lose the answer; break it off half way; do not forward and say 503; the same with 409; say 200 in place of 412; say
403 as to credentials that have expired."""
_REFUSALS = {BUSY: (503, "SlowDown"), CONFLICT: (409, "ConditionalRequestConflict"), EXPIRED: (403, "ExpiredToken")}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    conditional: bool

    @property
    def completes(self) -> bool:
        """Whether it completes a multipart upload."""
        return self.method == "POST" and "uploadId=" in self.path


class Proxy:
    """`fault` is asked for every request, and says what to spoil; `seen` keeps the requests."""

    def __init__(self, endpoint_url: str) -> None:
        target = urlsplit(endpoint_url)
        assert target.hostname
        assert target.port
        self.fault: Callable[[Request], str | None] = lambda request: None
        self.seen: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, target.hostname, target.port))
        self._server.daemon_threads = True
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"

    def once(self, fault: str, matches: Callable[[Request], bool]) -> None:
        """Spoil the first request that matches."""
        left = [fault]
        self.fault = lambda request: left.pop() if left and matches(request) else None

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: Proxy, host: str, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, "If-None-Match" in self.headers)
            proxy.seen.append(request)
            fault = proxy.fault(request)
            if fault in _REFUSALS:
                status, code = _REFUSALS[fault]
                body = f"<Error><Code>{code}</Code><Message>try later</Message></Error>"
                self.answer(status, {}, b"" if self.command == "HEAD" else body.encode())
                return
            connection = http.client.HTTPConnection(host, port, timeout=30)
            # The Host header stays, since it is signed.
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body=body, headers=headers)
            response = connection.getresponse()
            data = response.read()
            connection.close()
            if fault == DROP:
                self.close_connection = True
                return
            if fault == LENIENT and response.status == 412:
                self.answer(200, {"ETag": '"0"'}, b"")
                return
            self.answer(response.status, dict(response.getheaders()), data, cut=fault == CUT)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815

        def answer(self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in {"transfer-encoding", "content-length", "connection"}:
                    self.send_header(name, value)
            announced = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
            if status != 204:
                self.send_header("Content-Length", announced)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            self.close_connection = self.close_connection or cut

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
