"""The Lambda API: functions, layers, permissions, event source mappings, Invoke."""

import base64
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Handler, Service
from localcloud.functions.environment import Blueprint, Outcome
from localcloud.functions.executor import Executor

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
    invoke_config: dict[str, Any] | None = None


class Functions:
    """All functions and layers of the account."""

    def __init__(self, clients: Clients, executor: Executor, clock: Clock) -> None:
        self._clients = clients
        self._executor = executor
        self._clock = clock
        self._functions: dict[str, Function] = {}
        self._layers: dict[str, dict[str, Any]] = {}
        self.mappings: dict[str, dict[str, Any]] = {}

    def service(self) -> Service:
        operations: Mapping[str, Handler] = {
            "AddPermission": self.add_permission,
            "CreateEventSourceMapping": self.create_mapping,
            "CreateFunction": self.create_function,
            "DeleteEventSourceMapping": self.delete_mapping,
            "DeleteFunction": self.delete_function,
            "DeleteFunctionEventInvokeConfig": self.delete_invoke_config,
            "DeleteLayerVersion": self.delete_layer,
            "GetEventSourceMapping": self.get_mapping,
            "GetFunction": self.get_function,
            "GetFunctionConfiguration": lambda p: self._function(p).configuration,
            "GetLayerVersion": self.get_layer,
            "Invoke": self.invoke,
            "ListEventSourceMappings": lambda p: {"EventSourceMappings": list(self.mappings.values())},
            "ListFunctions": lambda p: {"Functions": [f.configuration for f in self._functions.values()]},
            "PublishLayerVersion": self.publish_layer,
            "PutFunctionConcurrency": self.put_concurrency,
            "PutFunctionEventInvokeConfig": self.put_invoke_config,
            "RemovePermission": self.remove_permission,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "UpdateEventSourceMapping": self.update_mapping,
            "UpdateFunctionCode": self.update_code,
            "UpdateFunctionConfiguration": self.update_configuration,
        }
        return Service("lambda", operations)

    # functions

    def create_function(self, p: dict[str, Any]) -> dict[str, Any]:
        name = p["FunctionName"]
        if name in self._functions:
            raise ServiceError("ResourceConflictException", f"Function already exist: {name}")
        if p.get("PackageType", "Zip") != "Zip" or not str(p.get("Runtime", "")).startswith("python"):
            raise NotSupported(f"function {name}: only zipped python functions, this is {p.get('PackageType', 'Zip')} {p.get('Runtime')}")
        defaults = {"Timeout": 3, "MemorySize": 128, "Description": "", "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512}}
        defaults |= {"LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}, "TracingConfig": {"Mode": "PassThrough"}}
        fixed = {"FunctionName": name, "FunctionArn": _arn(name), "Version": "$LATEST", "State": "Active", "PackageType": "Zip"}
        function = Function(defaults | fixed, tags=p.get("Tags", {}))
        self._configure(function, p)
        self._load_code(function, p["Code"])
        self._functions[name] = function
        return function.configuration

    def update_configuration(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
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
        self._function(p).invoke_config = None

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
        if "SourceArn" in p:
            statement["Condition"] = {"ArnLike": {"AWS:SourceArn": p["SourceArn"]}}
        function.statements[p["StatementId"]] = statement
        return {"Statement": json.dumps(statement)}

    def remove_permission(self, p: dict[str, Any]) -> None:
        if self._function(p).statements.pop(p["StatementId"], None) is None:
            raise ServiceError("ResourceNotFoundException", f"Statement {p['StatementId']} is not found in resource policy.")

    # layers

    def publish_layer(self, p: dict[str, Any]) -> dict[str, Any]:
        code = self._code(p["Content"])
        base = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{p['LayerName']}"
        version = 1 + max((layer["Version"] for layer in self._layers.values() if layer["LayerArn"] == base), default=0)
        layer: dict[str, Any] = {
            "LayerArn": base, "LayerVersionArn": f"{base}:{version}", "Version": version, "CreatedDate": datetime.now(UTC).isoformat(),
            "Content": {"CodeSha256": _sha256(code), "CodeSize": len(code)}, "code": code,
            **{k: p[k] for k in ("Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo") if k in p},
        }  # fmt: skip
        self._layers[layer["LayerVersionArn"]] = layer
        return layer

    def get_layer(self, p: dict[str, Any]) -> dict[str, Any]:
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{p['LayerName']}:{p['VersionNumber']}"
        if arn not in self._layers:
            raise ServiceError("ResourceNotFoundException", f"The resource you requested does not exist: {arn}")
        return self._layers[arn]

    def delete_layer(self, p: dict[str, Any]) -> None:
        self._layers.pop(f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{p['LayerName'].rpartition(':')[2]}:{p['VersionNumber']}", None)

    # event source mappings: queues are polled by localcloud.events.poller

    def create_mapping(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        if ":sqs:" not in p["EventSourceArn"]:
            raise NotSupported(f"an event source mapping from {p['EventSourceArn']}")
        mapping = {
            "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [],
            **{k: v for k, v in p.items() if k not in ("FunctionName", "Enabled", "Tags")},
            "UUID": str(uuid.uuid4()), "FunctionArn": function.configuration["FunctionArn"],
            "State": "Enabled" if p.get("Enabled", True) else "Disabled", "LastModified": datetime.now(UTC),
        }  # fmt: skip
        self.mappings[mapping["UUID"]] = mapping
        return mapping

    def update_mapping(self, p: dict[str, Any]) -> dict[str, Any]:
        mapping = self.get_mapping(p)
        if "Enabled" in p:
            mapping["State"] = "Enabled" if p["Enabled"] else "Disabled"
        if "FunctionName" in p:
            mapping["FunctionArn"] = self._function(p).configuration["FunctionArn"]
        mapping |= {k: v for k, v in p.items() if k not in ("UUID", "Enabled", "FunctionName")}
        return mapping

    def get_mapping(self, p: dict[str, Any]) -> dict[str, Any]:
        if p["UUID"] not in self.mappings:
            raise ServiceError("ResourceNotFoundException", "The resource you requested does not exist.")
        return self.mappings[p["UUID"]]

    def delete_mapping(self, p: dict[str, Any]) -> dict[str, Any]:
        mapping = self.get_mapping(p)
        del self.mappings[p["UUID"]]
        return mapping | {"State": "Deleting"}

    # invoke

    def invoke(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._function(p)
        payload, kind = p.get("Payload") or b"{}", p.get("InvocationType", "RequestResponse")
        limit = ASYNC_PAYLOAD_BYTES if kind == "Event" else SYNC_PAYLOAD_BYTES
        if len(payload) > limit:
            raise ServiceError("RequestTooLargeException", f"Request must be smaller than {limit} bytes for the InvokeFunction operation")
        if kind == "DryRun":
            return {"StatusCode": 204}
        if kind == "Event":
            threading.Thread(target=self._invoke_later, args=(function, payload), daemon=True).start()
            return {"StatusCode": 202}
        outcome = self._run(function, payload)
        answer = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": outcome.payload, "LogResult": base64.b64encode(outcome.tail).decode()}
        return answer | ({"FunctionError": outcome.error} if outcome.error else {})

    def run(self, arn: str, payload: bytes) -> Outcome:
        """Invoke and wait; for localcloud's own callers."""
        return self._run(self._function({"FunctionName": arn}), payload)

    def _invoke_later(self, function: Function, payload: bytes) -> None:
        """An asynchronous invocation: two more attempts after an error, then the dead-letter queue."""
        retries = (function.invoke_config or {}).get("MaximumRetryAttempts", ASYNC_RETRIES)
        for attempt in range(retries + 1):
            if self._run(function, payload).error is None:
                return
            if attempt < retries:
                self._clock.wait(60.0 * (attempt + 1))
        if target := function.configuration.get("DeadLetterConfig", {}).get("TargetArn"):
            sqs = self._clients("sqs")
            sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=target.rpartition(":")[2])["QueueUrl"], MessageBody=payload.decode())

    def _run(self, function: Function, payload: bytes) -> Outcome:
        outcome = self._executor.run(self._blueprint(function), payload, function.concurrency)
        self._measure(function.configuration["FunctionName"], outcome)
        return outcome

    def _measure(self, name: str, outcome: Outcome) -> None:
        values = (
            ("Invocations", 1.0, "Count"),
            ("Errors", float(outcome.error is not None), "Count"),
            ("Duration", outcome.duration_ms, "Milliseconds"),
        )
        dimensions = [{"Name": "FunctionName", "Value": name}]
        data = [{"MetricName": metric, "Value": value, "Unit": unit, "Dimensions": dimensions} for metric, value, unit in values]
        self._clients("cloudwatch").put_metric_data(Namespace="AWS/Lambda", MetricData=data)

    def _blueprint(self, function: Function) -> Blueprint:
        c = function.configuration
        layers = [self._layers[layer["Arn"]] for layer in c.get("Layers", [])]
        return Blueprint(
            name=c["FunctionName"], arn=c["FunctionArn"], version="$LATEST", handler=c["Handler"], runtime=c["Runtime"],
            memory_mb=c["MemorySize"], timeout_s=float(c["Timeout"]), code=self._executor.unpack(c["CodeSha256"], function.code),
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
            unknown = [arn for arn in changes["Layers"] if arn not in self._layers]
            if unknown:
                raise ServiceError("InvalidParameterValueException", f"Layer version {unknown[0]} does not exist.")
            changes["Layers"] = [{"Arn": arn, "CodeSize": self._layers[arn]["Content"]["CodeSize"]} for arn in changes["Layers"]]
        if "LoggingConfig" in changes:
            changes["LoggingConfig"] = function.configuration["LoggingConfig"] | changes["LoggingConfig"]
        function.configuration |= changes | {"LastModified": _now(), "LastUpdateStatus": "Successful"}

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


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())
