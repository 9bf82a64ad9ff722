"""The Lambda API: functions, their permissions, Invoke."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.cloudwatch.meter import Meter
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Handler, Service
from localcloud.functions.asynchronous import MAX_AGE_S, Policy, invoke_later
from localcloud.functions.environment import Blueprint, Outcome
from localcloud.functions.executor import Executor
from localcloud.functions.layers import Layers
from localcloud.functions.mappings import Mappings
from localcloud.iam.authorizer import AccessDenied, Authorizer

SYNC_PAYLOAD_BYTES = 6 * 1024 * 1024
ASYNC_PAYLOAD_BYTES = 1024 * 1024
ASYNC_RETRIES = 2
CONFIGURABLE = (
    "Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "Environment", "Layers", "LoggingConfig", "TracingConfig",
    "DeadLetterConfig", "Architectures", "EphemeralStorage",
)  # fmt: skip


@dataclass
class Function:
    """A function as its API describes it, with its code."""

    configuration: dict[str, Any]
    code: bytes = b""
    concurrency: int | None = None
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    invoke_config: dict[str, Any] = field(default_factory=dict)

    def policy(self) -> str:
        return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": list(self.statements.values())})


class Functions:
    """All functions of the account."""

    def __init__(self, clients: Clients, executor: Executor, clock: Clock, authorizer: Authorizer, meter: Meter) -> None:
        self._clients = clients
        self._executor = executor
        self._clock = clock
        self._authorizer = authorizer
        self._meter = meter
        self._functions: dict[str, Function] = {}
        self._layers = Layers(self._code, _sha256)
        self.mappings = Mappings(clients, authorizer, lambda name: self._function({"FunctionName": name}).configuration)

    def service(self) -> Service:
        operations: Mapping[str, Handler] = {
            "AddPermission": self.add_permission,
            "CreateFunction": self.create_function,
            "DeleteFunction": self.delete_function,
            "DeleteFunctionEventInvokeConfig": self.delete_invoke_config,
            "GetFunction": self.get_function,
            "GetFunctionConfiguration": lambda p: self._function(p).configuration,
            "GetPolicy": self.get_policy,
            "Invoke": self.invoke,
            "ListFunctions": lambda p: {"Functions": [f.configuration for f in self._functions.values()]},
            "PutFunctionConcurrency": self.put_concurrency,
            "PutFunctionEventInvokeConfig": self.put_invoke_config,
            "RemovePermission": self.remove_permission,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "UpdateFunctionCode": self.update_code,
            "UpdateFunctionConfiguration": self.update_configuration,
        }
        return Service("lambda", {**operations, **self._layers.operations(), **self.mappings.operations()})

    # functions

    def create_function(self, p: dict[str, Any]) -> dict[str, Any]:
        name = p["FunctionName"]
        if name in self._functions:
            raise ServiceError("ResourceConflictException", f"Function already exist: {name}")
        if p.get("PackageType", "Zip") != "Zip" or not str(p.get("Runtime", "")).startswith("python"):
            raise NotSupported(f"function {name}: only zipped python functions, this is {p.get('PackageType', 'Zip')} {p.get('Runtime')}")
        defaults = {"Timeout": 3, "MemorySize": 128, "Description": "", "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512}}
        defaults |= {"LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}, "TracingConfig": {"Mode": "PassThrough"}}
        self._check_role(p["Role"])
        fixed = {"FunctionName": name, "FunctionArn": _arn(name), "Version": "$LATEST", "State": "Active", "PackageType": "Zip"}
        function = Function(defaults | fixed, tags=p.get("Tags", {}))
        self._configure(function, p)
        self._load_code(function, p["Code"])
        self._functions[name] = function
        return function.configuration

    def update_configuration(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        if "Role" in p:
            self._check_role(p["Role"])
        self._configure(function, p)
        return function.configuration

    def update_code(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        if "Architectures" in p:
            function.configuration["Architectures"] = p["Architectures"]
        self._load_code(function, p)
        return function.configuration

    def get_function(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        concurrency = {} if function.concurrency is None else {"Concurrency": {"ReservedConcurrentExecutions": function.concurrency}}
        return {"Configuration": function.configuration, "Code": {"RepositoryType": "S3"}, "Tags": function.tags} | concurrency

    def delete_function(self, p: dict[str, Any]) -> None:
        function = self._function(p)
        del self._functions[function.configuration["FunctionName"]]
        self._executor.forget(function.configuration["FunctionArn"])

    def put_concurrency(self, p: dict[str, Any]) -> dict[str, Any]:
        self._function(p).concurrency = p["ReservedConcurrentExecutions"]
        return {"ReservedConcurrentExecutions": p["ReservedConcurrentExecutions"]}

    def put_invoke_config(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        if p.get("DestinationConfig"):
            raise NotSupported("destinations of asynchronous invocations")
        function.invoke_config = {k: p[k] for k in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds") if k in p}
        return {"FunctionArn": function.configuration["FunctionArn"]} | function.invoke_config

    def delete_invoke_config(self, p: dict[str, Any]) -> None:
        self._function(p).invoke_config = {}

    def tag(self, p: dict[str, Any]) -> None:
        self._function({"FunctionName": p["Resource"]}).tags |= p["Tags"]

    def untag(self, p: dict[str, Any]) -> None:
        tags = self._function({"FunctionName": p["Resource"]}).tags
        for key in p["TagKeys"]:
            tags.pop(key, None)

    def add_permission(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        if p["StatementId"] in function.statements:
            raise ServiceError("ResourceConflictException", f"The statement id ({p['StatementId']}) provided already exists.")
        principal = {"Service": p["Principal"]} if p["Principal"].endswith(".amazonaws.com") else {"AWS": p["Principal"]}
        statement: dict[str, Any] = {"Sid": p["StatementId"], "Effect": "Allow", "Principal": principal, "Action": p["Action"]}
        statement["Resource"] = function.configuration["FunctionArn"]
        conditions = {"ArnLike": {"AWS:SourceArn": p["SourceArn"]}} if "SourceArn" in p else {}
        conditions |= {"StringEquals": {"AWS:SourceAccount": p["SourceAccount"]}} if "SourceAccount" in p else {}
        if conditions:
            statement["Condition"] = conditions
        function.statements[p["StatementId"]] = statement
        return {"Statement": json.dumps(statement)}

    def get_policy(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        if not function.statements:
            raise ServiceError("ResourceNotFoundException", "The resource you requested does not exist.")
        return {"Policy": function.policy()}

    def policy(self, arn: str) -> str | None:
        """A function's resource policy; None when it has none."""
        function = self._functions.get(arn.rpartition(":function:")[2].partition(":")[0])
        return function.policy() if function is not None and function.statements else None

    def remove_permission(self, p: dict[str, Any]) -> None:
        if self._function(p).statements.pop(p["StatementId"], None) is None:
            raise ServiceError("ResourceNotFoundException", f"Statement {p['StatementId']} is not found in resource policy.")

    # invoke

    def invoke(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        payload, kind = p.get("Payload") or b"{}", p.get("InvocationType", "RequestResponse")
        limit = ASYNC_PAYLOAD_BYTES if kind == "Event" else SYNC_PAYLOAD_BYTES
        if len(payload) > limit:
            message = f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
            raise ServiceError("RequestTooLargeException", message)
        _check_json(payload)
        if kind == "DryRun":
            return {"StatusCode": 204}
        if kind == "Event":
            invoke_later(lambda: self._run(function, payload), payload, self._async_policy(function), self._clock)
            return {"StatusCode": 202}
        outcome = self._run(function, payload)
        answer = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": outcome.payload, "LogResult": base64.b64encode(outcome.tail).decode()}
        return answer | ({"FunctionError": outcome.error} if outcome.error else {})

    def run(self, arn: str, payload: bytes) -> Outcome:
        """Invoke and wait; for localcloud's own pollers."""
        return self._run(self._function({"FunctionName": arn}), payload)

    def queue_url(self, name: str) -> str:
        return str(self._clients("sqs").get_queue_url(QueueName=name)["QueueUrl"])

    def acting(self, arn: str) -> Clients:
        """Clients with the role of a function, for what Lambda does in its name."""
        role = self._function({"FunctionName": arn}).configuration["Role"]
        return self._clients.acting(self._authorizer.acting(role, "lambda.amazonaws.com"))

    def _async_policy(self, function: Function) -> Policy:
        target = function.configuration.get("DeadLetterConfig", {}).get("TargetArn")
        retries = function.invoke_config.get("MaximumRetryAttempts", ASYNC_RETRIES)
        age = float(function.invoke_config.get("MaximumEventAgeInSeconds", MAX_AGE_S))
        return Policy(retries, age, target, self.acting(function.configuration["FunctionArn"]) if target else None)

    def _run(self, function: Function, payload: bytes) -> Outcome:
        name = {"FunctionName": function.configuration["FunctionName"]}
        try:
            outcome = self._executor.run(self._blueprint(function), payload, function.concurrency)
        except ServiceError:
            self._meter("AWS/Lambda", name, [("Throttles", 1.0, "Count")])
            raise
        values = [("Invocations", 1.0, "Count"), ("Errors", float(outcome.error is not None), "Count"), ("Throttles", 0.0, "Count")]
        self._meter("AWS/Lambda", name, [*values, ("Duration", outcome.duration_ms, "Milliseconds")])
        return outcome

    def _check_role(self, role: str) -> None:
        try:
            self._authorizer.acting(role, "lambda.amazonaws.com")
        except AccessDenied as error:
            raise ServiceError("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.") from error

    def _blueprint(self, function: Function) -> Blueprint:
        c = function.configuration
        layers = [self._layers.version(layer["Arn"]) for layer in c.get("Layers", [])]
        return Blueprint(
            name=c["FunctionName"], arn=c["FunctionArn"], version="$LATEST", handler=c["Handler"], runtime=c["Runtime"],
            memory_mb=c["MemorySize"], timeout_s=float(c["Timeout"]), role=c["Role"], code=self._executor.unpack(c["CodeSha256"], function.code),
            layers=tuple(self._executor.unpack(layer["Content"]["CodeSha256"], layer["code"]) for layer in layers),
            variables=c.get("Environment", {}).get("Variables", {}), log_group=c["LoggingConfig"]["LogGroup"],
        )  # fmt: skip

    def _function(self, p: Mapping[str, Any]) -> Function:
        name = str(p["FunctionName"]).rpartition(":function:")[2].partition(":")[0]
        if name not in self._functions:
            raise ServiceError("ResourceNotFoundException", f"Function not found: {_arn(name)}")
        return self._functions[name]

    def _configure(self, function: Function, p: dict[str, Any]) -> None:
        changes = {k: p[k] for k in CONFIGURABLE if k in p}
        if "Layers" in changes:
            changes["Layers"] = [{"Arn": arn, "CodeSize": self._layers.version(arn)["Content"]["CodeSize"]} for arn in changes["Layers"]]
        self._check_dead_letter(function.configuration | changes)
        if "LoggingConfig" in changes:
            changes["LoggingConfig"] = function.configuration["LoggingConfig"] | changes["LoggingConfig"]
        function.configuration |= changes | {"LastModified": _now(), "LastUpdateStatus": "Successful"}

    def _check_dead_letter(self, configuration: dict[str, Any]) -> None:
        target = configuration.get("DeadLetterConfig", {}).get("TargetArn")
        if target and ":sqs:" not in target:
            raise NotSupported(f"a dead-letter target that is no queue: {target}")
        if target and not self._authorizer.allows(configuration["Role"], "sqs:SendMessage", target):
            raise ServiceError("InvalidParameterValueException", "The provided execution role does not have permissions to call SendMessage on SQS")

    def _load_code(self, function: Function, location: dict[str, Any]) -> None:
        function.code = self._code(location)
        function.configuration |= {"CodeSha256": _sha256(function.code), "CodeSize": len(function.code), "LastModified": _now()}

    def _code(self, location: dict[str, Any]) -> bytes:
        if location.get("ZipFile"):
            return bytes(location["ZipFile"])
        body: bytes = self._clients("s3").get_object(Bucket=location["S3Bucket"], Key=location["S3Key"])["Body"].read()
        return body


def _arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def _check_json(payload: bytes) -> None:
    try:
        json.loads(payload)
    except ValueError as error:
        raise ServiceError("InvalidRequestContentException", f"Could not parse request body into json: {error}") from error


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
