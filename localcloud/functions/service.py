"""The Lambda API: functions, their permissions, Invoke."""

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.cloudwatch.meter import Meter
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Handler, Service, caller
from localcloud.functions.archive import Archive
from localcloud.functions.asynchronous import MAX_AGE_S, Event, Policy, invoke_later
from localcloud.functions.environment import Blueprint, Outcome
from localcloud.functions.executor import Executor
from localcloud.functions.layers import Layers
from localcloud.functions.limits import (
    CODE,
    CONFIGURABLE,
    LATEST,
    check_settings,
    check_size,
    function_arn,
    function_name,
    invalid,
    knowing,
    missing,
    page,
    refuse_unknown,
)
from localcloud.functions.mappings import Mappings
from localcloud.iam.authorizer import AccessDenied, Authorizer
from localcloud.iam.needs import Need

SYNC_PAYLOAD_BYTES = 6 * 1024 * 1024
ASYNC_PAYLOAD_BYTES = 1024 * 1024
ASYNC_RETRIES = 2
UNRESERVED_AT_LEAST, ACCOUNT_CONCURRENCY = 100, 1000
NOT_ASSUMABLE = "The role defined for the function cannot be assumed by Lambda."


@dataclass
class Function:
    """A function as its API describes it, with its code and layers as they were when it was configured."""

    configuration: dict[str, Any]
    code: Archive
    layers: list[dict[str, Any]] = field(default_factory=list)
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
        self._layers = Layers(self._unpacked)
        self.mappings = Mappings(clients, authorizer, lambda name: self._function({"FunctionName": name}).configuration)

    def service(self) -> Service:
        operations: Mapping[str, Handler] = {
            "AddPermission": self.add_permission,
            "CreateFunction": self.create_function,
            "DeleteFunction": self.delete_function,
            "DeleteFunctionConcurrency": self.delete_concurrency,
            "DeleteFunctionEventInvokeConfig": self.delete_invoke_config,
            "GetFunction": self.get_function,
            "GetFunctionConcurrency": self.get_concurrency,
            "GetFunctionConfiguration": lambda p: self._function(p).configuration,
            "GetPolicy": self.get_policy,
            "Invoke": self.invoke,
            "ListFunctions": lambda p: page([f.configuration for f in self._functions.values()], p, "Functions"),
            "PutFunctionConcurrency": self.put_concurrency,
            "PutFunctionEventInvokeConfig": self.put_invoke_config,
            "RemovePermission": self.remove_permission,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "UpdateFunctionCode": self.update_code,
            "UpdateFunctionConfiguration": self.update_configuration,
        }
        every = {**operations, **self._layers.operations(), **self.mappings.operations()}
        return Service("lambda", {name: knowing(name, handler) for name, handler in every.items()})

    # functions

    def create_function(self, p: dict[str, Any]) -> dict[str, Any]:
        name = function_name(p["FunctionName"])
        if name in self._functions:
            raise ServiceError("ResourceConflictException", f"Function already exist: {name}")
        if p.get("PackageType", "Zip") != "Zip" or not str(p.get("Runtime", "")).startswith("python"):
            raise NotSupported(f"function {name}: only zipped python functions, this is {p.get('PackageType', 'Zip')} {p.get('Runtime')}")
        if "Handler" not in p:
            raise invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
        defaults = {"Timeout": 3, "MemorySize": 128, "Description": "", "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512}}
        defaults |= {"LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}, "TracingConfig": {"Mode": "PassThrough"}}
        self._check_role(p["Role"])
        fixed = {"FunctionName": name, "FunctionArn": function_arn(name), "Version": LATEST, "State": "Active", "PackageType": "Zip"}
        function = Function(defaults | fixed, code=self._unpacked(p["Code"]), tags=p.get("Tags", {}))
        self._configure(function, p)
        self._load_code(function, function.code)
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
        self._load_code(function, self._unpacked(p))
        if "Architectures" in p:
            function.configuration["Architectures"] = p["Architectures"]
        return function.configuration

    def get_function(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        reserved = self.get_concurrency(p)
        return {"Configuration": function.configuration, "Code": {"RepositoryType": "S3"}, "Tags": function.tags} | (
            {"Concurrency": reserved} if reserved else {}
        )

    def delete_function(self, p: dict[str, Any]) -> None:
        function = self._function(p)
        del self._functions[function.configuration["FunctionName"]]
        self._executor.forget(function.configuration["FunctionArn"])

    def put_concurrency(self, p: dict[str, Any]) -> dict[str, Any]:
        function, wanted = self._function(p), int(p["ReservedConcurrentExecutions"])
        others = sum(f.concurrency or 0 for f in self._functions.values() if f is not function)
        if ACCOUNT_CONCURRENCY - others - wanted < UNRESERVED_AT_LEAST:
            decreases = "decreases account's UnreservedConcurrentExecution below its minimum value"
            raise invalid(f"Specified ReservedConcurrentExecutions for function {decreases} of [{UNRESERVED_AT_LEAST}].")
        function.concurrency = wanted
        return {"ReservedConcurrentExecutions": wanted}

    def get_concurrency(self, p: dict[str, Any]) -> dict[str, Any]:
        reserved = self._function(p).concurrency
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    def delete_concurrency(self, p: dict[str, Any]) -> None:
        self._function(p).concurrency = None

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
        principal: Any = {"Service": p["Principal"]} if p["Principal"].endswith(".amazonaws.com") else {"AWS": p["Principal"]}
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
        function = self._functions.get(arn.rpartition(":function:")[2])
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
            message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
            raise ServiceError("RequestTooLargeException", message)
        _check_json(payload)
        if kind == "DryRun":
            return {"StatusCode": 204, "Payload": b""}
        if kind == "Event":
            self._invoke_later(function, payload)
            return {"StatusCode": 202, "Payload": b""}
        outcome = self._run(function, payload)
        answer = {"StatusCode": 200, "ExecutedVersion": LATEST, "Payload": outcome.payload}
        tail = {"LogResult": base64.b64encode(outcome.tail).decode()} if p.get("LogType") == "Tail" else {}
        return answer | tail | ({"FunctionError": outcome.error} if outcome.error else {})

    def run(self, arn: str, payload: bytes) -> Outcome:
        """Invoke and wait; for localcloud's own pollers."""
        return self._run(self._function({"FunctionName": arn}), payload)

    def timeout_s(self, arn: str) -> int:
        return int(self._function({"FunctionName": arn}).configuration["Timeout"])

    def acting(self, arn: str) -> Clients:
        """Clients with the role of a function, for what Lambda does in its name."""
        role = self._function({"FunctionName": arn}).configuration["Role"]
        return self._clients.acting(self._authorizer.acting(role, "lambda.amazonaws.com"))

    def _invoke_later(self, function: Function, payload: bytes) -> None:
        """Each attempt looks the function up again: it runs as it is then, or not at all when it was deleted."""
        arn, event = function.configuration["FunctionArn"], Event(str(uuid.uuid4()), payload)
        name = {"FunctionName": function.configuration["FunctionName"]}
        invoke_later(lambda: self._run(self._function({"FunctionName": arn}), payload, event.request_id), event, Policy(
            retries=function.invoke_config.get("MaximumRetryAttempts", ASYNC_RETRIES),
            max_age_s=float(function.invoke_config.get("MaximumEventAgeInSeconds", MAX_AGE_S)),
            dead_letter=function.configuration.get("DeadLetterConfig", {}).get("TargetArn") or None,
            clients=lambda: self.acting(arn),
            unsent=lambda: self._meter("AWS/Lambda", name, [("DeadLetterErrors", 1.0, "Count")]),
        ), self._clock)  # fmt: skip

    def _run(self, function: Function, payload: bytes, request_id: str = "") -> Outcome:
        name = {"FunctionName": function.configuration["FunctionName"]}
        try:
            outcome = self._executor.run(self._blueprint(function), payload, function.concurrency, request_id or str(uuid.uuid4()))
        except AccessDenied as error:
            raise AccessDenied("AccessDeniedException", NOT_ASSUMABLE) from error
        except ServiceError as error:
            if error.code == "TooManyRequestsException":
                self._meter("AWS/Lambda", name, [("Throttles", 1.0, "Count")])
            raise
        values = [("Invocations", 1.0, "Count"), ("Errors", float(outcome.error is not None), "Count"), ("Throttles", 0.0, "Count")]
        self._meter("AWS/Lambda", name, [*values, ("Duration", outcome.duration_ms, "Milliseconds")])
        return outcome

    def _check_role(self, role: str) -> None:
        try:
            self._authorizer.acting(role, "lambda.amazonaws.com")
        except AccessDenied as error:
            raise invalid(NOT_ASSUMABLE) from error

    def _blueprint(self, function: Function) -> Blueprint:
        c = function.configuration
        return Blueprint(
            name=c["FunctionName"], arn=c["FunctionArn"], version=LATEST, handler=c["Handler"], runtime=c["Runtime"],
            memory_mb=c["MemorySize"], timeout_s=float(c["Timeout"]), role=c["Role"], code=function.code.folder,
            layers=tuple(layer["archive"].folder for layer in function.layers),
            variables=c.get("Environment", {}).get("Variables", {}), log_group=c["LoggingConfig"]["LogGroup"],
        )  # fmt: skip

    def _function(self, p: Mapping[str, Any]) -> Function:
        name = function_name(str(p["FunctionName"]))
        if name not in self._functions:
            raise missing(name)
        return self._functions[name]

    def _configure(self, function: Function, p: dict[str, Any]) -> None:
        changes = {k: p[k] for k in CONFIGURABLE if k in p}
        check_settings(function.configuration["FunctionName"], changes)
        layers = [self._layers.version(arn) for arn in changes["Layers"]] if "Layers" in changes else function.layers
        check_size(function.code.unzipped_bytes, _unzipped_bytes(layers))
        self._check_dead_letter(function.configuration | changes)
        if "Layers" in changes:
            changes["Layers"] = [{"Arn": layer["LayerVersionArn"], "CodeSize": layer["Content"]["CodeSize"]} for layer in layers]
        if "LoggingConfig" in changes:
            changes["LoggingConfig"] = function.configuration["LoggingConfig"] | changes["LoggingConfig"]
        function.layers = layers
        function.configuration |= changes | {"LastModified": _now(), "LastUpdateStatus": "Successful"}

    def _check_dead_letter(self, configuration: dict[str, Any]) -> None:
        target = configuration.get("DeadLetterConfig", {}).get("TargetArn")
        if target and ":sqs:" not in target:
            raise NotSupported(f"a dead-letter target that is no queue: {target}")
        if target and not self._authorizer.allows(configuration["Role"], "sqs:SendMessage", target):
            raise invalid("The provided execution role does not have permissions to call SendMessage on SQS")

    def _load_code(self, function: Function, code: Archive) -> None:
        check_size(code.unzipped_bytes, _unzipped_bytes(function.layers))
        function.code = code
        function.configuration |= {"CodeSha256": code.sha256, "CodeSize": code.zipped_bytes, "LastModified": _now()}

    def _unpacked(self, location: dict[str, Any]) -> Archive:
        return self._executor.unpack(self._code(location))

    def _code(self, location: dict[str, Any]) -> bytes:
        """The bytes of a zip, from the request or from S3, which is read with the caller's permissions."""
        refuse_unknown("the code of a function or layer", location, CODE | {"FunctionName", "Architectures"})
        if location.get("ZipFile"):
            return bytes(location["ZipFile"])
        if not location.get("S3Bucket") or not location.get("S3Key"):
            raise invalid("Please provide a source for function code.")
        bucket, key = location["S3Bucket"], location["S3Key"]
        version = {"VersionId": location["S3ObjectVersion"]} if location.get("S3ObjectVersion") else {}
        try:
            self._authorizer.check(caller(), Need("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}"))
            body: bytes = self._clients("s3").get_object(Bucket=bucket, Key=key, **version)["Body"].read()
        except AccessDenied as error:
            why = "please make sure your request credentials have permission to GetObject for"
            raise AccessDenied("AccessDeniedException", f"Your access has been denied by S3, {why} {bucket}/{key}. {error.message}") from error
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            raise invalid(f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}") from error
        return body


def _check_json(payload: bytes) -> None:
    try:
        json.loads(payload)
    except ValueError as error:
        raise ServiceError("InvalidRequestContentException", f"Could not parse request body into json: {error}") from error


def _unzipped_bytes(layers: list[dict[str, Any]]) -> int:
    return sum(layer["archive"].unzipped_bytes for layer in layers)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
