"""Lambda, Step Functions, CodeBuild, SageMaker."""

import io
import json
import time
import zipfile
from typing import Any

from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType, api, call, ignoring
from localcloud.cloudformation.types.properties import TAGS, tree
from localcloud.shapes import coerce, input_shape

DESTINATION = "LoggingConfiguration.Destinations.CloudWatchLogsLogGroup"
RESET: Properties = {
    "DeadLetterConfig": {"TargetArn": ""}, "Description": "", "Environment": {"Variables": {}}, "EphemeralStorage": {"Size": 512}, "Layers": [],
    "MemorySize": 128, "Timeout": 3, "TracingConfig": {"Mode": "PassThrough"},
}  # fmt: skip
"""What a function's property goes back to when the template no longer has it."""
GONE = {"ResourceNotFoundException"}
MACHINE_PATIENCE_S, MACHINE_POLL_S = 300.0, 0.05


def _function(context: Context, p: Properties) -> Made:
    name = p.get("FunctionName") or context.name(64)
    arguments = p | {"FunctionName": name, "Code": _code(p["Code"])}
    arn = call(context, "lambda", "CreateFunction", arguments)["FunctionArn"]
    context.begun.append(name)
    _reserve(context, name, p)
    return Made(name, {"Arn": arn})


def _update_function(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    name = made.physical_id
    if p["Code"] != old["Code"] or p.get("Architectures") != old.get("Architectures"):
        architectures = {"Architectures": p.get("Architectures", ["x86_64"])}
        call(context, "lambda", "UpdateFunctionCode", {"FunctionName": name, **_code(p["Code"]), **architectures})
    reset = {key: value for key, value in RESET.items() if key in old and key not in p}
    settings = {key: value for key, value in p.items() if key not in ("Architectures", "Code", "ReservedConcurrentExecutions", "Tags")}
    call(context, "lambda", "UpdateFunctionConfiguration", settings | reset | {"FunctionName": name})
    if "ReservedConcurrentExecutions" in old and "ReservedConcurrentExecutions" not in p:
        context.clients("lambda").delete_function_concurrency(FunctionName=name)
    _reserve(context, name, p)
    _retag(context, made.attributes["Arn"], old, p)
    return made


def _retag(context: Context, arn: str, old: Properties, p: Properties) -> None:
    before, now = ({tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])} for properties in (old, p))
    if gone := before.keys() - now.keys():
        context.clients("lambda").untag_resource(Resource=arn, TagKeys=sorted(gone))
    if now:
        context.clients("lambda").tag_resource(Resource=arn, Tags=now)


def _reserve(context: Context, name: str, p: Properties) -> None:
    if "ReservedConcurrentExecutions" in p:
        context.clients("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=int(p["ReservedConcurrentExecutions"]))


def _code(code: dict[str, Any]) -> dict[str, Any]:
    """An inline ZipFile is source text: it becomes index.py in a zip."""
    if "ZipFile" not in code:
        return code
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", code["ZipFile"])
    return {"ZipFile": buffer.getvalue()}


def _machine(context: Context, p: Properties) -> Made:
    name = p.get("StateMachineName") or context.short_name()
    arguments = {"name": name, "definition": _definition(p), "roleArn": p["RoleArn"], "type": p.get("StateMachineType", "STANDARD")}
    tags = [{"key": tag["Key"], "value": tag["Value"]} for tag in p.get("Tags", [])]
    arn = context.clients("stepfunctions").create_state_machine(**arguments, **_machine_options(p), tags=tags)["stateMachineArn"]
    return Made(arn, {"Arn": arn, "Name": name})


def _update_machine(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    arguments = {"stateMachineArn": made.physical_id, "definition": _definition(p), "roleArn": p["RoleArn"]}
    machines = context.clients("stepfunctions")
    machines.update_state_machine(**arguments, **_machine_options(p))
    before, now = ({tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])} for properties in (old, p))
    if gone := before.keys() - now.keys():
        machines.untag_resource(resourceArn=made.physical_id, tagKeys=sorted(gone))
    if now:
        machines.tag_resource(resourceArn=made.physical_id, tags=[{"key": key, "value": value} for key, value in now.items()])
    return made


def _machine_options(p: Properties) -> dict[str, Any]:
    shape = input_shape("stepfunctions", "UpdateStateMachine")
    pairs = {"LoggingConfiguration": "loggingConfiguration", "TracingConfiguration": "tracingConfiguration"}
    return {there: coerce(shape.members[there], p[here]) for here, there in pairs.items() if here in p}


def _definition(p: Properties) -> str:
    text = p["DefinitionString"] if "DefinitionString" in p else json.dumps(p["Definition"])
    for name, value in p.get("DefinitionSubstitutions", {}).items():
        text = text.replace(f"${{{name}}}", str(value))
    return str(text)


def _layer_parts(arn: str) -> dict[str, Any]:
    base, _, version = arn.rpartition(":")
    return {"LayerName": base.rpartition(":")[2], "VersionNumber": int(version)}


def _delete_machine(context: Context, arn: str, _: Properties) -> None:
    """Its executions end first: what a stack removes after its machine, no execution makes again."""
    stepfunctions = context.clients("stepfunctions")
    stepfunctions.delete_state_machine(stateMachineArn=arn)
    ends = time.monotonic() + MACHINE_PATIENCE_S
    while time.monotonic() < ends:
        try:
            stepfunctions.describe_state_machine(stateMachineArn=arn)
        except stepfunctions.exceptions.StateMachineDoesNotExist:
            return
        time.sleep(MACHINE_POLL_S)
    raise TimeoutError(f"executions of {arn} still run {MACHINE_PATIENCE_S} s after its deletion was asked for: stop them")


def _permission(context: Context, p: Properties) -> Made:
    arguments = p | {"StatementId": context.name(100), "FunctionName": p["FunctionName"]}
    call(context, "lambda", "AddPermission", arguments)
    return Made(arguments["StatementId"])


TYPES = (
    ResourceType(
        "AWS::Lambda::Function",
        tree(
            "Architectures", "Code.S3Bucket", "Code.S3Key", "Code.ZipFile", "DeadLetterConfig.TargetArn", "Description", "Environment.Variables",
            "EphemeralStorage.Size", "FunctionName", "Handler", "Layers", "LoggingConfig.LogFormat", "LoggingConfig.LogGroup", "MemorySize",
            "ReservedConcurrentExecutions", "Role", "Runtime", *TAGS, "Timeout", "TracingConfig.Mode",
        ),
        _function,
        lambda context, name, p: ignoring(GONE, lambda: context.clients("lambda").delete_function(FunctionName=name)),
        _update_function,
        frozenset({"FunctionName"}),
        removes=frozenset({*RESET, "Architectures", "ReservedConcurrentExecutions", "Tags"}),
    ),
    api(
        "AWS::Lambda::LayerVersion", "lambda", "PublishLayerVersion", named="LayerName", limit=140,
        made=lambda p, r: Made(r["LayerVersionArn"], {"LayerVersionArn": r["LayerVersionArn"]}),
        delete=lambda context, arn, p: context.clients("lambda").delete_layer_version(**_layer_parts(arn)),
    ),
    ResourceType(
        "AWS::Lambda::Permission",
        tree("Action", "FunctionName", "Principal", "SourceAccount", "SourceArn"),
        _permission,
        lambda context, sid, p: ignoring(
            GONE, lambda: context.clients("lambda").remove_permission(FunctionName=p["FunctionName"], StatementId=sid)
        ),
    ),
    api(
        "AWS::Lambda::EventSourceMapping", "lambda", "CreateEventSourceMapping", update="UpdateEventSourceMapping",
        made=lambda p, r: Made(r["UUID"], {"Id": r["UUID"]}), identify=lambda made: {"UUID": made.physical_id},
        replaces=frozenset({"EventSourceArn"}),
        known=tree(
            "BatchSize", "Enabled", "EventSourceArn", "FunctionName", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", *TAGS,
        ),
        delete=lambda context, uuid, p: ignoring(GONE, lambda: context.clients("lambda").delete_event_source_mapping(UUID=uuid)),
    ),
    ResourceType(
        "AWS::StepFunctions::StateMachine",
        tree(
            "Definition", "DefinitionString", "DefinitionSubstitutions", f"{DESTINATION}.LogGroupArn", "LoggingConfiguration.IncludeExecutionData",
            "LoggingConfiguration.Level", "RoleArn", "StateMachineName", "StateMachineType", *TAGS, "TracingConfiguration.Enabled",
        ),
        _machine,
        _delete_machine,
        _update_machine,
        frozenset({"StateMachineName", "StateMachineType"}),
        removes=frozenset({"Definition", "DefinitionString", "DefinitionSubstitutions", "Tags"}),
    ),
    api(
        "AWS::CodeBuild::Project", "codebuild", "CreateProject", named="Name", limit=150, update="UpdateProject", replaces=frozenset({"Name"}),
        known=tree(
            "Artifacts.Type", "Cache.Type", "Description", "EncryptionKey", "Environment.ComputeType", "Environment.EnvironmentVariables.Name",
            "Environment.EnvironmentVariables.Type", "Environment.EnvironmentVariables.Value", "Environment.Image",
            "Environment.ImagePullCredentialsType", "Environment.PrivilegedMode", "Environment.Type", "LogsConfig.CloudWatchLogs.GroupName",
            "LogsConfig.CloudWatchLogs.Status", "Name", "ServiceRole", "Source.BuildSpec", "Source.Location", "Source.Type", *TAGS,
            "TimeoutInMinutes",
        ),
        made=lambda p, r: Made(p["Name"], {"Arn": r["project"]["arn"]}), identify=lambda made: {"Name": made.physical_id},
        delete=lambda context, name, p: context.clients("codebuild").delete_project(name=name),
    ),
    api(
        "AWS::SageMaker::ModelPackageGroup", "sagemaker", "CreateModelPackageGroup", named="ModelPackageGroupName",
        made=lambda p, r: Made(r["ModelPackageGroupArn"], {"ModelPackageGroupArn": r["ModelPackageGroupArn"]}),
        replaces=frozenset({"ModelPackageGroupName"}),
        delete=lambda context, arn, p: context.clients("sagemaker").delete_model_package_group(ModelPackageGroupName=arn.rpartition("/")[2]),
    ),
)  # fmt: skip
