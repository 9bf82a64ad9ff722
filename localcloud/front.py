"""The front door: every request comes in here. Operations localcloud owns are answered by it, the rest by moto.

A request is resolved to service, operation and parameters once, from botocore's models; then it is authenticated,
struck by faults, authorized, answered, and shown to those who listen. No other place does any of these.
"""

import io
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import NotFound, get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

from localcloud.constraints import check_constraints
from localcloud.errors import NotSupported, ServiceError
from localcloud.faults import CallerKilled, Faults
from localcloud.iam.authorizer import AccessDenied, Authorizer
from localcloud.iam.evaluate import Principal
from localcloud.iam.keys import ROOT, KeyRing, UnknownKey
from localcloud.iam.needs import Need

log = logging.getLogger("localcloud")

Handler = Callable[[dict[str, Any]], Mapping[str, Any] | None]
Listener = Callable[[dict[str, Any]], None]
WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
Answer = tuple[int, dict[str, Any], bytes]

CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/[^/]*/([^/]+)/")
SERVICES = {"states": "stepfunctions", "monitoring": "cloudwatch"}
"""Signing name → botocore's name, where they differ."""
WITH_STATUS_403 = (AccessDenied, UnknownKey)
BODY_READ = {"DeleteObjects"}
"""The S3 operations whose permissions depend on their body; other bodies are not looked at."""

_caller: ContextVar[Principal] = ContextVar("caller", default=ROOT)


def caller() -> Principal:
    """Who made the request that this thread answers."""
    return _caller.get()


@dataclass(frozen=True)
class Service:
    """A botocore service that localcloud answers whole: an operation that is not here is refused by name."""

    name: str
    operations: Mapping[str, Handler]


@dataclass(frozen=True)
class Call:
    """A request, resolved. `parameters` are as the API's model names them."""

    service: str
    operation: str
    model: OperationModel
    protocol: str
    parameters: dict[str, Any]
    access_key: str
    token: str


class Front:
    """WSGI application in front of moto's."""

    def __init__(self, moto: WsgiApp, keys: KeyRing, authorizer: Authorizer, faults: Faults) -> None:
        self._moto = moto
        self._keys = keys
        self._authorizer = authorizer
        self._faults = faults
        self._services: dict[str, Service] = {}
        self._listeners: dict[tuple[str, str], list[Listener]] = defaultdict(list)

    def add(self, service: Service) -> None:
        """Own a service. Its name is botocore's; requests are told apart by signing name, and by path where two share it."""
        self._services[service.name] = service

    def listen(self, service: str, operation: str, listener: Listener) -> None:
        """Be shown the parameters of every successful call of an operation."""
        self._listeners[service, operation].append(listener)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            status, headers, body = self._handle(environ)
        except CallerKilled:
            status, headers, body = 500, {}, b""
        named = {str(k): str(v) for k, v in headers.items() if str(k).lower() != "transfer-encoding"}
        named.setdefault("Content-Length", str(len(body)))
        start_response(f"{status} {'OK' if status < 400 else 'Error'}", list(named.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _handle(self, environ: dict[str, Any]) -> Answer:
        call = _resolve(environ)
        if call is None:
            return 403, {}, b'{"__type": "MissingAuthenticationToken", "message": "Missing Authentication Token: sign with the key localcloud"}'
        try:
            principal = self._keys.who(call.access_key, call.token, call.service)
            name = principal.arn.rpartition("/")[2]
            self._faults.at_call("before", call.service, call.operation, name, call.access_key)
            self._authorizer.authorize(principal, call.service, call.operation, call.parameters)
        except ServiceException as error:
            return _serialize(call, error)
        token = _caller.set(principal)
        try:
            answer = self._own(call) if call.service in self._services else self._pass_on(environ, call, principal)
        finally:
            _caller.reset(token)
        if answer[0] < 400:
            for listener in self._listeners.get((call.service, call.operation), ()):
                listener(call.parameters)
        try:
            self._faults.at_call("after", call.service, call.operation, name, call.access_key)
        except ServiceException as error:
            return _serialize(call, error)
        return answer

    def _own(self, call: Call) -> Answer:
        result: Any
        try:
            handler = self._services[call.service].operations.get(call.operation)
            if handler is None:
                raise NotSupported(f"{call.service}:{call.operation}")
            if call.model.input_shape is not None:
                check_constraints(call.service, call.operation, call.parameters)
            result = handler(call.parameters) or {}
        except ServiceException as error:
            result = error
        except Exception as error:
            log.exception("%s:%s failed inside localcloud", call.service, call.operation)
            result = ServiceError("InternalFailure", f"{type(error).__name__}: {error}")
        return _serialize(call, result)

    def _pass_on(self, environ: dict[str, Any], call: Call, principal: Principal) -> Answer:
        started: list[Any] = []
        body = b"".join(self._moto(environ, lambda status, headers, exc_info=None: started.append((status, headers))))
        status, headers = started[-1]
        code = int(status.split()[0])
        if code == 404 and call.service == "s3" and call.operation in ("GetObject", "HeadObject"):
            self_denied = self._hidden(principal, call)
            if self_denied is not None:
                return _serialize(call, self_denied)
        return code, dict(headers), body

    def _hidden(self, principal: Principal, call: Call) -> ServiceException | None:
        """A missing object is 404 only to those who may list the bucket; to others it is 403.

        Source: docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        bucket = f"arn:aws:s3:::{call.parameters['Bucket']}"
        try:
            self._authorizer.check(principal, Need("s3:ListBucket", bucket), "AccessDenied")
        except AccessDenied as error:
            return error
        return None


def _resolve(environ: dict[str, Any]) -> Call | None:
    """The call behind a request; None for one that is not signed for a service known to botocore."""
    signed = _signed(environ)
    if signed is None:
        return None
    access_key, signing_name, token = signed
    service = _service_name(signing_name, environ["PATH_INFO"])
    model = get_service_model(service)
    if service == "s3":
        _path_style(environ)
    else:
        _keep_body(environ)
    request = Request(environ)
    protocol = determine_request_protocol(model, request.content_type)
    uri: Mapping[str, Any] = {}
    try:
        operation, uri = get_service_router(service).match(request)
    except NotFound:
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        name = target or request.values.get("Action") or f"{request.method} {request.path}"
        operation = OperationModel({"name": name}, model, name)
        return Call(service, name, operation, protocol, {}, access_key, token)
    if service == "s3" and operation.name in BODY_READ:
        _keep_body(environ)
        request = Request(environ)
    parameters = _parameters(request, operation, protocol, uri, body=service != "s3" or operation.name in BODY_READ)
    environ["wsgi.input"].seek(0) if hasattr(environ["wsgi.input"], "getvalue") else None
    return Call(service, operation.name, operation, protocol, parameters, access_key, token)


def _signed(environ: dict[str, Any]) -> tuple[str, str, str] | None:
    """Access key, signing name and session token, from the header or from a presigned URL."""
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
    if match := CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", "")):
        return match[1], match[2], token
    query = parse_qs(environ.get("QUERY_STRING", ""))
    if "X-Amz-Credential" in query:
        parts = query["X-Amz-Credential"][0].split("/")
        return parts[0], parts[3], query.get("X-Amz-Security-Token", [""])[0]
    if "AWSAccessKeyId" in query and "Signature" in query:  # the older form, which boto3 still uses for S3 in us-east-1
        return query["AWSAccessKeyId"][0], "s3", query.get("x-amz-security-token", [""])[0]
    return None


def _service_name(signing_name: str, path: str) -> str:
    if signing_name == "sagemaker":
        return "sagemaker-runtime" if path.startswith("/endpoints/") else "sagemaker"
    return SERVICES.get(signing_name, signing_name)


def _path_style(environ: dict[str, Any]) -> None:
    """`bucket.localhost` in the host means the same as `/bucket` in the path."""
    bucket, found, _ = environ.get("HTTP_HOST", "").partition(".localhost")
    if found and bucket:
        environ["PATH_INFO"] = f"/{bucket}{environ['PATH_INFO']}"
        environ["RAW_URI"] = environ["REQUEST_URI"] = f"/{bucket}{environ.get('REQUEST_URI', '/')}"
        environ["HTTP_HOST"] = environ["HTTP_HOST"][len(bucket) + 1 :]


def _keep_body(environ: dict[str, Any]) -> None:
    """Read the body once, so that it can be read again."""
    environ["wsgi.input"] = io.BytesIO(Request(environ).get_data(cache=False))


def _parameters(request: Request, operation: OperationModel, protocol: str, uri: Mapping[str, Any], *, body: bool) -> dict[str, Any]:
    parsed: dict[str, Any] = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": request.values if body else request.args,
            "headers": request.headers,
            "body": request.data if body else b"",
            "url_path": request.path,
            "url_params": dict(uri),
        }
    )
    return parsed


def _serialize(call: Call, result: Any) -> Answer:
    service = get_service_model(call.service)
    answer = get_serializer_class(service.service_name, call.protocol)(operation_model=call.model).serialize(result)
    body = answer["body"]
    status = 403 if isinstance(result, WITH_STATUS_403) else answer["status_code"]
    return status, dict(answer["headers"]), body.encode() if isinstance(body, str) else body
