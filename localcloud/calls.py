"""A request on the wire as a call of an operation with its parameters, and results as answers on the wire, by botocore's models.

`front` asks here once a request; nothing else in localcloud knows of protocols.
"""

import io
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore.exceptions import DataNotFoundError, UnknownServiceError
from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import NotFound, get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

from localcloud import REGION
from localcloud.errors import NotSupported, ServiceError
from localcloud.iam.denials import Refusal, out_of_date, unsigned

Environ = dict[str, Any]
Answer = tuple[int, dict[str, Any], bytes]

CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]*)/([^/]+)/")
SERVICES = {"states": "stepfunctions", "monitoring": "cloudwatch"}
"""Signing name → botocore's name, where they differ."""
BODY_READ = {"DeleteObjects"}
"""The S3 operations whose permissions depend on their body; other bodies are not looked at."""
MOTOS_OWN = ("/moto-api", "/latest/meta-data/", "/latest/api/", "/favicon.ico")
"""Paths that moto's server answers itself, whoever asks: its reset button among them."""
KEPT_CODES = {"sqs", "cloudwatch"}
"""JSON services that answer refusals with 403: they keep the codes and statuses of their query protocol."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
MALFORMED = {"rest-xml": "MalformedXML", "query": "MalformedInput"}
STATUSES = {"SlowDown": 503, "ServiceUnavailable": 503, "ServiceUnavailableException": 503, "ServiceException": 500, "Throttled": 429}


@dataclass(frozen=True)
class Signature:
    """Who a request says it is from, and for what it is signed. Signatures are not verified."""

    access_key: str
    region: str
    service: str
    token: str
    presigned: bool


@dataclass(frozen=True)
class Call:
    """A request, resolved. `parameters` are as the API's model names them; `fault` is what was wrong with their form."""

    service: str
    operation: str
    model: OperationModel
    protocol: str
    parameters: dict[str, Any]
    access_key: str
    token: str
    fault: ServiceException | None = None


class Unresolved(Exception):
    """A request that is no call of an operation; `answer` says why."""

    def __init__(self, error: ServiceError, protocol: str) -> None:
        super().__init__(str(error))
        self.answer = _bare(error, protocol)


def resolve(environ: Environ) -> Call:
    """The call behind a request. The body is read once, and S3's not at all. Raises Unresolved."""
    protocol = _looks_like(environ)
    try:
        signature = _signature(environ)
        service = _service_name(signature, environ["PATH_INFO"])
        model = get_service_model(service)
    except ServiceError as error:
        raise Unresolved(error, protocol) from error
    except ValueError as error:
        message = f"Query-string authentication parameters cannot be read: {error}"
        raise Unresolved(ServiceError("AuthorizationQueryParametersError", message), protocol) from error
    except (UnknownServiceError, DataNotFoundError) as error:
        raise Unresolved(NotSupported(f"the service {signature.service}"), protocol) from error
    if service == "s3":
        _path_style(environ)
        _keep_forms(environ)
    if environ["PATH_INFO"].startswith(MOTOS_OWN):
        raise Unresolved(NotSupported(f"the path {environ['PATH_INFO']}, which is moto's own"), protocol)
    if signature.presigned:
        _show_to_moto(environ, signature)
    return _call(environ, service, model, signature)


def _call(environ: Environ, service: str, model: Any, signature: Signature) -> Call:
    request = Request(environ)
    try:
        protocol = determine_request_protocol(model, request.content_type)
    except NotImplementedError as error:
        raise Unresolved(NotSupported(f"{request.content_type} for {service}"), _looks_like(environ)) from error
    body = None if service == "s3" else _body(environ, request)
    try:
        operation, uri = get_service_router(service).match(request)
    except NotFound:
        name = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2] or request.values.get("Action") or f"{request.method} {request.path}"
        operation = OperationModel({"name": name}, model, name)
        return Call(service, name, operation, protocol, {}, signature.access_key, signature.token)
    if operation.name in BODY_READ:
        body = _body(environ, request)
    fault, parameters = None, {}
    try:
        parameters = _parameters(request, operation, protocol, uri, body)
        if body and not parameters and protocol == "json":
            json.loads(body)  # moto's parser takes what is no JSON for an empty object
    except Exception as error:  # the parsers raise whatever they meet
        fault = ServiceError(MALFORMED.get(protocol, "SerializationException"), f"the request cannot be read: {type(error).__name__}: {error}")
    return Call(service, operation.name, operation, protocol, parameters, signature.access_key, signature.token, fault)


def _body(environ: Environ, request: Request) -> bytes:
    """Read the body once, so that moto can read it again."""
    body: bytes = request.get_data(cache=True)
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _parameters(request: Request, operation: OperationModel, protocol: str, uri: Mapping[str, Any], body: bytes | None) -> dict[str, Any]:
    parsed: dict[str, Any] = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": request.args if body is None else request.values,
            "headers": request.headers,
            "body": body or b"",
            "url_path": request.path,
            "url_params": dict(uri),
        }
    )
    return parsed


def _signature(environ: Environ) -> Signature:
    """From the header or from a presigned URL. Raises UnknownKey for a request without one, NotSupported for another region."""
    if match := CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", "")):
        found = Signature(match[1], match[2], match[3], environ.get("HTTP_X_AMZ_SECURITY_TOKEN", ""), presigned=False)
    else:
        found = _presigned(parse_qs(environ.get("QUERY_STRING", "")), environ)
    if found.region != REGION:
        raise NotSupported(f"the region {found.region}: localcloud is {REGION}")
    return found


def _presigned(query: dict[str, list[str]], environ: Environ) -> Signature:
    """A presigned URL lasts by the time of this machine, which its maker signed with, not by localcloud's clock."""
    one = {name: values[0] for name, values in query.items()}
    scope = one.get("X-Amz-Credential", "").split("/")
    if len(scope) == 5:
        begins = datetime.strptime(one.get("X-Amz-Date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        ends, found = begins + float(one.get("X-Amz-Expires", 0)), Signature(scope[0], scope[2], scope[3], one.get("X-Amz-Security-Token", ""), True)
    elif {"AWSAccessKeyId", "Signature", "Expires"} <= one.keys():  # the older form, which boto3 still uses for S3 in us-east-1
        ends, found = float(one["Expires"]), Signature(one["AWSAccessKeyId"], REGION, "s3", one.get("x-amz-security-token", ""), True)
    else:
        raise unsigned(_looks_like(environ))
    if time.time() > ends:
        raise out_of_date()
    return found


def _show_to_moto(environ: Environ, signature: Signature) -> None:
    """moto finds the service by the header only, and would take any other presigned request for one to S3."""
    scope = f"{signature.access_key}/20200101/{signature.region}/{signature.service}/aws4_request"
    environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=presigned"


def _service_name(signature: Signature, path: str) -> str:
    if signature.service == "sagemaker":
        return "sagemaker-runtime" if path.startswith("/endpoints/") else "sagemaker"
    return SERVICES.get(signature.service, signature.service)


def _path_style(environ: Environ) -> None:
    """`bucket.localhost` in the host means the same as `/bucket` in the path."""
    bucket, found, _ = environ.get("HTTP_HOST", "").partition(".localhost")
    if found and bucket:
        environ["PATH_INFO"] = f"/{bucket}{environ['PATH_INFO']}"
        environ["RAW_URI"] = environ["REQUEST_URI"] = f"/{bucket}{environ.get('REQUEST_URI', '/')}"
        environ["HTTP_HOST"] = environ["HTTP_HOST"][len(bucket) + 1 :]


def _keep_forms(environ: Environ) -> None:
    """An upload that is called a form, as curl calls one, is an object all the same; moto would take it apart and keep nothing of it."""
    if environ["REQUEST_METHOD"] == "PUT" and environ.get("CONTENT_TYPE", "").startswith(FORMS):
        environ["CONTENT_TYPE"] = "binary/octet-stream"


def _looks_like(environ: Environ) -> str:
    """The protocol of a request whose service is not known."""
    if "HTTP_X_AMZ_TARGET" in environ:
        return "json"
    if environ.get("CONTENT_TYPE", "").startswith(FORMS[0]):
        return "query"
    return "rest-json" if re.match(r"/\d{4}-\d\d-\d\d/|/endpoints/", environ["PATH_INFO"]) else "rest-xml"


def serialize(call: Call, result: Any) -> Answer:
    """A result or an error as the call's service would answer it."""
    service = get_service_model(call.service)
    answer = get_serializer_class(service.service_name, call.protocol)(operation_model=call.model).serialize(result)
    body = answer["body"]
    kind = "query" if call.service in KEPT_CODES else call.protocol
    status = _status(result, kind, answer["status_code"]) if isinstance(result, ServiceException) else _told(call, result) or answer["status_code"]
    return status, dict(answer["headers"]), body.encode() if isinstance(body, str) else body


def _told(call: Call, result: Mapping[str, Any]) -> int | None:
    """The HTTP status that a result holds itself, as Lambda's Invoke does."""
    members = {} if call.model.output_shape is None else call.model.output_shape.members
    return next((result[name] for name, member in members.items() if member.serialization.get("location") == "statusCode" and name in result), None)


def _status(error: ServiceException, protocol: str, modelled: int) -> int:
    """Refusals are 403, but 400 in JSON; what fails inside a service is 5xx, which clients try again."""
    if isinstance(error, Refusal):
        return error.status or (400 if protocol == "json" else 403)
    return STATUSES.get(error.code) or (500 if error.code.startswith("Internal") else modelled)


def _bare(error: ServiceError, protocol: str) -> Answer:
    """An error answer for a request whose operation is not known."""
    status, code, message = _status(error, protocol, 400), error.code, error.message
    if protocol in ("json", "rest-json"):
        return status, {"Content-Type": "application/json", "X-Amzn-ErrorType": code}, json.dumps({"__type": code, "message": message}).encode()
    inner = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if protocol == "query":
        text = f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error><RequestId>localcloud</RequestId></ErrorResponse>"
    else:
        text = f'<?xml version="1.0" encoding="UTF-8"?><Error>{inner}<RequestId>localcloud</RequestId><HostId>localcloud</HostId></Error>'
    return status, {"Content-Type": "application/xml"}, text.encode()
