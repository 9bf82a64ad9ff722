"""The Lambda Runtime API of one execution environment: hands out invocations, takes back answers.

Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Cause = tuple[str, str]
"""Why an environment did not survive: what REPORT says as Status and Error Type."""


@dataclass
class Invocation:
    """One event on its way through an environment. `done` is set once `payload`, `error` and `cause` are final."""

    request_id: str
    event: bytes
    deadline_ms: int
    function_arn: str
    payload: bytes = b"null"
    error: str | None = None
    cause: Cause | None = None
    done: threading.Event = field(default_factory=threading.Event)
    _ending: threading.Lock = field(default_factory=threading.Lock)

    def finish(self, payload: bytes, error: str | None, cause: Cause | None = None) -> bool:
        """Only the first end counts; False for a later one."""
        with self._ending:
            if self.done.is_set():
                return False
            self.payload, self.error, self.cause = payload, error, cause
            self.done.set()
            return True


def init_cause(body: bytes) -> Cause:
    """The cause in what a runtime reports to /init/error."""
    return "error", str(json.loads(body).get("errorType", "Runtime.Unknown"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A process that was killed leaves its connection open: no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class RuntimeApi:
    """An HTTP server for one environment, on a port of its own as awslambdaric expects."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Invocation | None] = queue.Queue()
        self.current: Invocation | None = None
        self.init_error: bytes | None = None
        self.ready = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def send(self, invocation: Invocation) -> None:
        self.current = invocation
        self._waiting.put(invocation)

    def stop(self) -> None:
        self._waiting.put(None)
        threading.Thread(target=self._close, daemon=True).start()

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next(self) -> Invocation | None:
        """The next invocation; asking for the first one ends the environment's init phase."""
        self.ready.set()
        return self._waiting.get()

    def report(self, path: list[str], body: bytes) -> None:
        """`/init/error`, `/invocation/<id>/response` or `/invocation/<id>/error`."""
        if path[0] == "init":
            self.init_error = body
            if self.current:
                self.current.finish(body, "Unhandled", init_cause(body))
        elif self.current and self.current.request_id == path[1]:
            self.current.finish(body, None if path[2] == "response" else "Unhandled")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # without it every warm invocation waits 40 ms for an ACK
            wbufsize = -1

            def do_GET(self) -> None:
                invocation = api.next()
                if invocation is None:
                    return self._send(410, b"{}", {})
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                    "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                    "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                    "Lambda-Runtime-Trace-Id": f"Root=1-00000000-{invocation.request_id.replace('-', '')[:24]};Sampled=0",
                }
                return self._send(200, invocation.event, headers)

            def do_POST(self) -> None:
                api.report(self.path.strip("/").split("/")[2:], self._body())
                self._send(202, json.dumps({"status": "OK"}).encode(), {})

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                chunks = []
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)

            def log_message(self, *_: Any) -> None:
                """Requests are not news."""

        return Handler
