"""The front door: every request comes in here. Operations localcloud owns are answered by it, the rest by moto.

A request is resolved to a service and an operation once, from botocore's models, so that a later check (permissions,
faults, a recorder of calls) has one place to stand.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import NotFound, get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

from localcloud.errors import NotSupported, ServiceError

log = logging.getLogger("localcloud")

Handler = Callable[[dict[str, Any]], Mapping[str, Any] | None]
WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

CREDENTIAL = re.compile(r"Credential=[^/]+/\d+/[^/]*/([^/]+)/")


@dataclass(frozen=True)
class Service:
    """A botocore service that localcloud answers whole: an operation that is not here is refused by name."""

    name: str
    operations: Mapping[str, Handler]


@dataclass(frozen=True)
class Call:
    """A request that localcloud answers itself."""

    service: Service
    operation: str
    request: Request
    uri: Mapping[str, Any]


class Front:
    """WSGI application in front of moto's."""

    def __init__(self, moto: WsgiApp) -> None:
        self._moto = moto
        self._services: dict[str, Service] = {}

    def add(self, service: Service) -> None:
        """Own a service. Its name is botocore's; requests are told apart by signing name, and by path where two share it."""
        self._services[service.name] = service

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        call = self._resolve(environ)
        if call is None:
            return self._moto(environ, start_response)
        status, headers, body = self._answer(call)
        data = body.encode() if isinstance(body, str) else body
        named = {str(k): str(v) for k, v in headers.items()} | {"Content-Length": str(len(data))}
        start_response(f"{status} {'OK' if status < 400 else 'Error'}", list(named.items()))
        return [data]

    def _resolve(self, environ: dict[str, Any]) -> Call | None:
        match = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        service = self._services.get(_service_name(match.group(1), environ["PATH_INFO"])) if match else None
        if service is None:
            return None
        request = Request(environ)
        uri: Mapping[str, Any] = {}
        if target := environ.get("HTTP_X_AMZ_TARGET"):
            operation = target.rpartition(".")[2]
        elif get_service_model(service.name).protocol == "query":
            operation = request.form.get("Action", "")
        else:
            try:
                model, uri = get_service_router(service.name).match(request)
                operation = str(model.name)
            except NotFound:
                operation = f"{request.method} {request.path}"
        return Call(service, operation, request, uri)

    def _answer(self, call: Call) -> tuple[int, dict[str, Any], str | bytes]:
        model = get_service_model(call.service.name)
        operation = model.operation_model(call.operation) if call.operation in model.operation_names else OperationModel({}, model)
        protocol = determine_request_protocol(model, call.request.content_type)
        result: Any
        try:
            handler = call.service.operations.get(call.operation)
            if handler is None:
                raise NotSupported(f"{call.service.name}:{call.operation}")
            result = handler(_parameters(call, operation, protocol)) or {}
        except ServiceException as error:
            result = error
        except Exception as error:
            log.exception("%s:%s failed inside localcloud", call.service.name, call.operation)
            result = ServiceError("InternalFailure", f"{type(error).__name__}: {error}")
        answer = get_serializer_class(model.service_name, protocol)(operation_model=operation).serialize(result)
        return answer["status_code"], answer["headers"], answer["body"]


def _service_name(signing_name: str, path: str) -> str:
    if signing_name == "sagemaker":
        return "sagemaker-runtime" if path.startswith("/endpoints/") else "sagemaker"
    return {"states": "stepfunctions"}.get(signing_name, signing_name)


def _parameters(call: Call, operation: OperationModel, protocol: str) -> dict[str, Any]:
    request = call.request
    parsed: dict[str, Any] = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": request.data,
            "url_path": request.path,
            "url_params": dict(call.uri),
        }
    )
    return parsed
