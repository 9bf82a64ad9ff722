"""What a function may be, and which parameters localcloud knows: everything else is refused here, by name.

Sources: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html and …/configuration-envvars.html
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Handler

LATEST = "$LATEST"
CONFIGURABLE = (
    "Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize", "Environment", "Layers", "LoggingConfig", "TracingConfig",
    "DeadLetterConfig", "Architectures", "EphemeralStorage",
)  # fmt: skip
CODE = frozenset({"ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion"})
MAPPED = frozenset({"BatchSize", "Enabled", "FunctionName", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds"})
PAGED = frozenset({"Marker", "MaxItems"})
KNOWN: dict[str, frozenset[str]] = {
    "AddPermission": frozenset({"FunctionName", "StatementId", "Action", "Principal", "SourceArn", "SourceAccount"}),
    "CreateEventSourceMapping": MAPPED | {"EventSourceArn", "Tags"},
    "CreateFunction": frozenset({*CONFIGURABLE, "FunctionName", "Code", "PackageType", "Tags"}),
    "DeleteEventSourceMapping": frozenset({"UUID"}),
    "DeleteLayerVersion": frozenset({"LayerName", "VersionNumber"}),
    "GetEventSourceMapping": frozenset({"UUID"}),
    "GetLayerVersion": frozenset({"LayerName", "VersionNumber"}),
    "Invoke": frozenset({"FunctionName", "InvocationType", "LogType", "Payload"}),
    "ListEventSourceMappings": PAGED | {"EventSourceArn", "FunctionName"},
    "ListFunctions": PAGED,
    "PublishLayerVersion": frozenset({"LayerName", "Description", "Content", "CompatibleArchitectures", "CompatibleRuntimes", "LicenseInfo"}),
    "PutFunctionConcurrency": frozenset({"FunctionName", "ReservedConcurrentExecutions"}),
    "PutFunctionEventInvokeConfig": frozenset({"FunctionName", "MaximumRetryAttempts", "MaximumEventAgeInSeconds"}),
    "RemovePermission": frozenset({"FunctionName", "StatementId"}),
    "TagResource": frozenset({"Resource", "Tags"}),
    "UntagResource": frozenset({"Resource", "TagKeys"}),
    "UpdateEventSourceMapping": MAPPED | {"UUID"},
    "UpdateFunctionCode": CODE | {"FunctionName", "Architectures"},
    "UpdateFunctionConfiguration": frozenset({*CONFIGURABLE, "FunctionName"}) - {"Architectures"},
}
"""The parameters each operation acts on; an operation that is not here takes a FunctionName only."""
WITHOUT_EFFECT = ({"Qualifier": LATEST}, {"SnapStart": {"ApplyOn": "None"}}, {"FunctionVersion": LATEST})
"""Spelled-out defaults."""

RESERVED_VARIABLES = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
}  # fmt: skip
VARIABLES_BYTES = 4096
UNZIPPED_BYTES = 262_144_000
LAYERS_AT_MOST = 5
VARIABLES_REFUSED = "Lambda was unable to configure your environment variables because the environment variables you have provided"


def knowing(operation: str, handler: Handler) -> Handler:
    """The handler behind a check that it is given nothing it would ignore."""

    def checked(p: dict[str, Any]) -> Mapping[str, Any] | None:
        refuse_unknown(f"lambda:{operation}", p, KNOWN.get(operation, {"FunctionName"}))
        return handler(p)

    return checked


def refuse_unknown(where: str, p: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises NotSupported for parameters that are not known and would make a difference."""
    unknown = sorted(name for name in p.keys() - set(known) if not _empty(p[name]) and {name: p[name]} not in WITHOUT_EFFECT)
    if unknown:
        raise NotSupported(f"{', '.join(unknown)} of {where}")


def _empty(value: Any) -> bool:
    """Whether a value says no more than its absence, as does a VpcConfig without subnets."""
    return not any(value.values()) if isinstance(value, dict) else not value


def function_name(text: str) -> str:
    """The name in a name, partial ARN or ARN of this account. Raises NotSupported for a version or alias."""
    parts = text.split(":")
    if "function" in parts[:-1]:
        at = parts.index("function")
        if parts[at - 1] != ACCOUNT or (at > 1 and parts[at - 2] != REGION):
            raise ServiceError("ResourceNotFoundException", f"Function not found: {text}")
        parts = parts[at + 1 :]
    if len(parts) > 1 and parts[1] != LATEST:
        raise NotSupported(f"version or alias {parts[1]} of function {parts[0]}")
    return parts[0]


def function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def missing(name: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"Function not found: {function_arn(name)}")


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValueException", message)


def check_settings(name: str, p: Mapping[str, Any]) -> None:
    """Raises for what AWS refuses in a configuration, and for what localcloud would not do."""
    variables = p.get("Environment", {}).get("Variables", {})
    if reserved := sorted(RESERVED_VARIABLES & variables.keys()):
        why = f"contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {', '.join(reserved)}"
        raise invalid(f"{VARIABLES_REFUSED} {why}")
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > VARIABLES_BYTES:
        raise invalid(f"{VARIABLES_REFUSED} exceeded the 4KB limit. String measured: {measured}")
    if len(p.get("Layers", [])) > LAYERS_AT_MOST:
        raise invalid(f"Function {name} has {len(p['Layers'])} layers; the limit is {LAYERS_AT_MOST}.")
    refuse_unknown(f"the LoggingConfig of function {name}", p.get("LoggingConfig", {}), ("LogFormat", "LogGroup"))
    if p.get("LoggingConfig", {}).get("LogFormat", "Text") != "Text":
        raise NotSupported(f"LogFormat {p['LoggingConfig']['LogFormat']} of function {name}")
    if p.get("TracingConfig", {}).get("Mode", "PassThrough") != "PassThrough":
        raise NotSupported(f"TracingConfig of function {name}: there is no X-Ray here")
    if not str(p.get("Runtime", "python")).startswith("python"):
        raise NotSupported(f"function {name}: only python functions, this is {p['Runtime']}")


def check_size(code_bytes: int, layers_bytes: int) -> None:
    if code_bytes > UNZIPPED_BYTES:
        raise invalid(f"Unzipped size must be smaller than {UNZIPPED_BYTES} bytes")
    if (size := code_bytes + layers_bytes) > UNZIPPED_BYTES:
        limit = f"exceeds the maximum allowed size of {UNZIPPED_BYTES} bytes"
        raise invalid(f"Function code combined with layers {limit}. The actual size is {size} bytes.")


def page(items: list[Any], p: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One page of a list, as Marker and MaxItems ask."""
    start = int(p.get("Marker") or 0)
    end = start + int(p.get("MaxItems") or len(items) or 1)
    return {name: items[start:end]} | ({"NextMarker": str(end)} if end < len(items) else {})
