"""Custom resources: the function is called with a ResponseURL, its answer is waited for.

Source: docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType

ANSWER_TIMEOUT_S = 900.0


class CustomResourceFailed(Exception):
    """The function answered FAILED, raised, or did not answer."""


def custom_type(name: str) -> ResourceType:
    """`Custom::<anything>` or AWS::CloudFormation::CustomResource: any property goes, ServiceToken names the function."""
    return _CustomType(
        name,
        {},
        lambda context, p: _request(context, name, "Create", p, {}),
        lambda context, physical_id, p: _delete(context, name, physical_id, p),
        lambda context, made, old, p: _update(context, name, made, old, p),
        frozenset({"ServiceToken"}),
    )


class _CustomType(ResourceType):
    def unknown_properties(self, properties: Properties) -> Iterator[str]:
        if "ServiceToken" not in properties:
            yield "Properties.ServiceToken (missing)"


def _update(context: Context, name: str, made: Made, old: Properties, p: Properties) -> Made:
    return _request(context, name, "Update", p, {"PhysicalResourceId": made.physical_id, "OldResourceProperties": _texts(old)})


def _delete(context: Context, name: str, physical_id: str, p: Properties) -> None:
    _request(context, name, "Delete", p, {"PhysicalResourceId": physical_id})


def _request(context: Context, name: str, kind: str, p: Properties, more: dict[str, Any]) -> Made:
    with _AnswerBox() as box:
        event = {
            "RequestType": kind, "RequestId": str(uuid.uuid4()), "ResponseURL": box.url, "ServiceToken": p["ServiceToken"],
            "StackId": context.stack_id, "LogicalResourceId": context.logical_id, "ResourceType": name,
            "ResourceProperties": _texts(p), **more,
        }  # fmt: skip
        answer = context.clients("lambda").invoke(FunctionName=p["ServiceToken"], Payload=json.dumps(event).encode())
        if answer.get("FunctionError"):
            raise CustomResourceFailed(f"{context.logical_id}: {answer['Payload'].read().decode(errors='replace')[:500]}")
        response = box.wait(ANSWER_TIMEOUT_S)
    if response is None:
        raise CustomResourceFailed(f"{context.logical_id}: the function returned but sent no answer to ResponseURL")
    if kind == "Create" and response.get("PhysicalResourceId"):
        context.begun.append(response["PhysicalResourceId"])
    if response.get("Status") != "SUCCESS":
        raise CustomResourceFailed(f"{context.logical_id}: {response.get('Reason', 'FAILED without a reason')}")
    physical_id = response.get("PhysicalResourceId") or more.get("PhysicalResourceId") or f"{context.logical_id}-{event['RequestId']}"
    return Made(physical_id, response.get("Data") or {})


def _texts(value: Any) -> Any:
    """CloudFormation hands every scalar on as text."""
    if isinstance(value, dict):
        return {name: _texts(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


class _AnswerBox:
    """A place on 127.0.0.1 that takes one PUT."""

    def __init__(self) -> None:
        self._answer: dict[str, Any] | None = None
        self._came = threading.Event()
        box = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                box._answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                box._came.set()

            def log_message(self, *_: Any) -> None:
                """Requests are not news."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/response"

    def __enter__(self) -> "_AnswerBox":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, timeout_s: float) -> dict[str, Any] | None:
        self._came.wait(timeout_s)
        return self._answer
