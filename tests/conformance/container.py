"""Stands for a container image in the conformance tests: what it does is told by hyperparameters, arguments or the model's data.

Run by path, with nothing but the standard library: `container.py train|process|serve …`, the tree of /opt/ml at $OPT_ML.
"""

import json
import os
import signal
import socket
import sys
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OPT_ML = Path(os.environ["OPT_ML"])
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def train() -> None:
    wanted = json.loads((OPT_ML / "input/config/hyperparameters.json").read_text())
    wanted |= json.loads(wanted.get(host()["current_host"], "{}"))
    if "meet" in wanted:
        print(f"met {meet()}", flush=True)
    if "on_term" in wanted:
        signal.signal(signal.SIGTERM, lambda *_: save_and_exit(wanted["on_term"]))
    print(f"loss=0.25; accuracy={wanted.get('accuracy', '0.5')};", flush=True)
    score(wanted)
    checkpoint(wanted)
    time.sleep(float(wanted.get("sleep_s", 0)))
    if "fail" in wanted:
        (OPT_ML / "output/failure").write_text(wanted["fail"])
        sys.exit(int(wanted.get("exit", 1)))
    if "output" in wanted:
        (OPT_ML / "output/data/output.txt").write_text(wanted["output"])
    seen = sorted(str(path.relative_to(OPT_ML)) for path in (OPT_ML / "input").rglob("*") if path.is_file())
    config = {path.stem: json.loads(path.read_text()) for path in (OPT_ML / "input/config").iterdir()}
    keys = {name: value for name, value in os.environ.items() if name in KEYS}
    (OPT_ML / "model" / wanted.get("model", "model.json")).write_text(json.dumps({"seen": seen, "keys": keys, "config": config}))


def host() -> dict[str, Any]:
    return json.loads((OPT_ML / "input/config/resourceconfig.json").read_text())


def meet() -> str:
    """The first host lets one of its peers in, and each tells the other who it is."""
    first, me = host()["hosts"][0], host()["current_host"]
    port = 20_000 + zlib.crc32(os.environ["TRAINING_JOB_NAME"].encode()) % 10_000
    if me == first:
        with socket.create_server((first, port)) as door:
            peer = door.accept()[0]
    else:
        while True:
            try:
                peer = socket.create_connection((first, port))
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
    with peer:
        peer.sendall(me.encode().ljust(32))
        return peer.recv(32, socket.MSG_WAITALL).decode().strip()


def score(wanted: dict[str, str]) -> None:
    """Write an objective: what `scores` lists, one an epoch, or the height of a hill at `x`. `hold` waits to be stopped."""
    if "x" in wanted:
        print(f"score={-((float(wanted['x']) - 0.3) ** 2)};", flush=True)
    for text in filter(None, wanted.get("scores", "").split(",")):
        if text == "hold":
            time.sleep(60)
        print(f"score={text};", flush=True)


def checkpoint(wanted: dict[str, str]) -> None:
    """Count the starts in a file of the checkpoints; wait to be interrupted in the first `interrupted` of them."""
    if "interrupted" in wanted:
        if "deaf" in wanted:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        starts = OPT_ML / wanted.get("checkpoints", "checkpoints") / "starts"
        number = int(starts.read_text()) + 1 if starts.exists() else 1
        starts.write_text(str(number))
        print(f"start {number}", flush=True)
        if number <= int(wanted["interrupted"]):
            time.sleep(60)


def save_and_exit(text: str) -> None:
    (OPT_ML / "model/saved").write_text(text)
    sys.exit(1)


def process() -> None:
    outputs = OPT_ML / "processing/output"
    outputs.mkdir(parents=True, exist_ok=True)
    (outputs / "arguments.json").write_text(json.dumps(sys.argv[2:]))
    inputs = OPT_ML / "processing/input"
    (outputs / "deep").mkdir()
    (outputs / "deep/seen.json").write_text(json.dumps({str(p.relative_to(inputs)): p.read_text() for p in inputs.rglob("*") if p.is_file()}))
    if "fail" in sys.argv:
        (OPT_ML / "output/message").write_text("told to fail")
        sys.exit(1)


class Handler(BaseHTTPRequestHandler):
    """`/ping` answers by model/ping; `/invocations` answers, sleeps or fails as the body says."""

    def do_GET(self) -> None:
        self._answer(int((OPT_ML / "model/ping").read_text()) if (OPT_ML / "model/ping").exists() else 200, b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        time.sleep(body.get("sleep_s", 0))
        model = (OPT_ML / "model/name").read_text() if (OPT_ML / "model/name").exists() else ""
        self._answer(body.get("status", 200), json.dumps({"model": model, "body": body}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are not news."""


def serve() -> None:
    ThreadingHTTPServer((os.environ["BIND_HOST"], int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()


{"train": train, "process": process, "serve": serve}[sys.argv[1]]()
