"""A real web server on this machine, with the faults that web servers have."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class WebServer:
    """Serves a folder, in parts where `parts` says so, then with ETags and If-Range.

    `faults` says by path what goes wrong, and how many times (-1 for ever).
    """

    def __init__(self, folder: Path, *, parts: bool = False) -> None:
        self.folder, self.parts = folder, parts
        self.sent = 0
        """Bytes of bodies."""
        self.faults: dict[str, tuple[str, int]] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        """Requests by method and path."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fault(self, path: str) -> str | None:
        kind, times = self.faults.get(path, ("", 0))
        if times == 0:
            return None
        self.faults[path] = (kind, times - 1)
        return kind

    @contextmanager
    def running(self) -> Iterator[WebServer]:
        thread = threading.Thread(target=partial(self._server.serve_forever, poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, owner: WebServer, *args: Any, **named: Any) -> None:
        self._owner = owner
        self._kind: str | None = None
        super().__init__(*args, **named)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._owner.asked["HEAD", self.path] += 1
        if self._owner.faults.get(self.path, ("", 0))[0] == "no HEAD":
            self.send_error(405)
            return
        self._kind = self._owner.faults.get(self.path, ("", 0))[0]
        super().do_HEAD()

    def do_GET(self) -> None:
        self._owner.asked["GET", self.path] += 1
        self._kind = self._owner.fault(self.path)
        if self._kind == "busy":
            self.send_error(503)
            return
        if self._kind == "slow":
            time.sleep(0.3)
        if self._owner.parts and (path := self._owner.folder / self.path.lstrip("/")).is_file():
            self._send_part(path.read_bytes())
        else:
            super().do_GET()

    def _send_part(self, data: bytes) -> None:
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.headers.get("If-Range", tag) == tag else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.copyfile(io.BytesIO(data[start:]), self.wfile)

    def end_headers(self) -> None:
        if self._kind == "etag":
            self.send_header("ETag", '"fixed"')
        super().end_headers()

    def send_header(self, keyword: str, value: str) -> None:
        if self._kind == "no date" and keyword == "Last-Modified":
            return
        super().send_header(keyword, value)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        if self._kind == "cut":
            data = data[: len(data) // 2]
            self.close_connection = True
        outputfile.write(data)
        self._owner.sent += len(data)
