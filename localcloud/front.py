"""The front door: every request comes in here. Operations localcloud owns are answered by it, the rest by moto.

A request is resolved to service, operation and parameters once (`calls`); then it is authenticated, struck by faults,
authorized, answered, and shown to those who listen. No other place does any of these.
"""

import io
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

from moto import backends
from moto.core.exceptions import ServiceException

from localcloud.calls import Answer, Call, Environ, Unresolved, resolve, serialize
from localcloud.constraints import check_constraints
from localcloud.errors import NotSupported, ServiceError
from localcloud.faults import CallerKilled, Faults
from localcloud.iam.authorizer import Authorizer
from localcloud.iam.deletions import NOTHING, remaining, with_errors
from localcloud.iam.evaluate import Principal
from localcloud.iam.keys import ROOT, KeyRing
from localcloud.iam.needs_s3 import COPIES, copy_source

log = logging.getLogger("localcloud")

LOCKS = 1024

Handler = Callable[[dict[str, Any]], Mapping[str, Any] | None]
Listener = Callable[[dict[str, Any]], None]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]

_caller: ContextVar[Principal] = ContextVar("caller", default=ROOT)


def caller() -> Principal:
    """Who made the request that this thread answers."""
    return _caller.get()


@dataclass(frozen=True)
class Service:
    """A botocore service that localcloud answers whole: an operation that is not here is refused by name, unless it is passed on to moto."""

    name: str
    operations: Mapping[str, Handler]
    passed: Collection[str] = ()


class Front:
    """WSGI application in front of moto's."""

    def __init__(self, moto: WsgiApp, keys: KeyRing, authorizer: Authorizer, faults: Faults) -> None:
        _remember_moto()
        self._moto = moto
        self._keys = keys
        self._authorizer = authorizer
        self._faults = faults
        self._services: dict[str, Service] = {}
        self._listeners: dict[tuple[str, str], list[Listener]] = defaultdict(list)
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    def add(self, service: Service) -> None:
        """Own a service. Its name is botocore's; requests are told apart by signing name, and by path where two share it."""
        self._services[service.name] = service

    def listen(self, service: str, operation: str, listener: Listener) -> None:
        """Be shown the parameters of every successful call of an operation."""
        self._listeners[service, operation].append(listener)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        try:
            status, headers, body = self._handle(environ, resolve(environ))
        except Unresolved as error:
            status, headers, body = error.answer
        except CallerKilled:
            status, headers, body = 500, {}, b""
        named = {str(k): str(v) for k, v in headers.items() if str(k).lower() != "transfer-encoding"}
        if "content-length" not in map(str.lower, named):
            named["Content-Length"] = str(len(body))
        start_response(f"{status} {'OK' if status < 400 else 'Error'}", list(named.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _handle(self, environ: Environ, call: Call) -> Answer:
        try:
            principal = self._keys.who(call.access_key, call.token, call.service)
            name = principal.arn.rpartition("/")[2] if principal.session_arn else "root"
            self._faults.at_call("before", call.service, call.operation, name, call.access_key)
            if call.fault is not None:
                raise call.fault
            self._authorizer.authorize(principal, call.service, call.operation, call.parameters)
            answer = self._as(principal, environ, call)
            if answer[0] < 400:
                self._tell(call)
            self._faults.at_call("after", call.service, call.operation, name, call.access_key)
        except ServiceException as error:
            return serialize(call, error)
        except CallerKilled:
            raise
        except Exception as error:
            log.exception("%s:%s failed inside localcloud", call.service, call.operation)
            return serialize(call, ServiceError("InternalFailure", f"{type(error).__name__}: {error}"))
        return answer

    def _as(self, principal: Principal, environ: Environ, call: Call) -> Answer:
        token = _caller.set(principal)
        try:
            service = self._services.get(call.service)
            if service is not None and call.operation not in service.passed:
                return self._own(service, call)
            if call.operation == "DeleteObjects":
                return self._delete(environ, call, principal)
            return self._pass_on(environ, call, principal)
        finally:
            _caller.reset(token)

    def _tell(self, call: Call) -> None:
        for listener in self._listeners.get((call.service, call.operation), ()):
            try:
                listener(call.parameters)
            except Exception:
                log.exception("%s:%s was answered, but one that listens failed", call.service, call.operation)

    def _own(self, service: Service, call: Call) -> Answer:
        handler = service.operations.get(call.operation)
        if handler is None:
            raise NotSupported(f"{call.service}:{call.operation}")
        if call.model.input_shape is not None:
            check_constraints(call.service, call.operation, call.parameters)
        return serialize(call, handler(call.parameters) or {})

    def _delete(self, environ: Environ, call: Call, principal: Principal) -> Answer:
        """DeleteObjects deletes what the caller may delete, and answers 200 with an error for each other key."""
        denied = self._authorizer.undeletable(principal, call.parameters)
        if not denied:
            return self._pass_on(environ, call, principal)
        body = remaining(call.parameters, denied)
        status, headers, answer = 200, {"Content-Type": "application/xml"}, NOTHING
        if body:
            changed = {name: value for name, value in environ.items() if not name.startswith(("HTTP_CONTENT_MD5", "HTTP_X_AMZ_CHECKSUM"))}
            status, headers, answer = self._pass_on({**changed, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}, call, principal)
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        return status, headers, with_errors(answer, call.parameters, denied)

    def _pass_on(self, environ: Environ, call: Call, principal: Principal) -> Answer:
        started: list[Any] = []
        with ExitStack() as stack:
            for number in _alone(call):
                stack.enter_context(self._locks[number])
            body = b"".join(self._moto(environ, lambda status, headers, exc_info=None: started.append((status, headers))))
        status, headers = started[-1]
        code = int(status.split()[0])
        if code == 404 and call.service == "s3":
            self._authorizer.check_listed(principal, call.operation, call.parameters)
        return code, dict(headers), body


def _alone(call: Call) -> list[int]:
    """Which locks a call holds, in order: what AWS does as one step moto does as several, and its threads disturb each other.

    Two conditional writes would both find that they may; a reader of an object would find the one that is just replaced closed.
    DynamoDB has one lock, each object of S3 one of many: a client that is slow to send holds up that object, and no other. Parts of
    an upload are objects of their own.
    """
    if call.service == "dynamodb":
        return [0]
    if call.service != "s3" or call.operation == "UploadPart":
        return []
    keys = [str(call.parameters.get("Key") or ""), *(str(item.get("Key")) for item in call.parameters.get("Delete", {}).get("Objects", []))]
    names = {(str(call.parameters.get("Bucket")), key) for key in keys if key}
    if call.operation in COPIES:
        names.add(copy_source(call.parameters)[:2])
    return sorted({1 + hash(name) % (LOCKS - 1) for name in names})


def _remember_moto() -> None:
    """moto lists its own folder at every request to learn which services there are; they stay the same. One seam of moto."""
    if not hasattr(backends.list_of_moto_modules, "cache_info"):
        found = tuple(backends.list_of_moto_modules())
        backends.list_of_moto_modules = cache(lambda: found)
