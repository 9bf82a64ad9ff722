"""Glue's jobs, which localcloud answers itself."""

from dataclasses import replace
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType, api, call
from localcloud.cloudformation.types.properties import tree

JOB: tuple[str, ...] = (
    "Command.Name", "Command.PythonVersion", "Command.ScriptLocation", "DefaultArguments", "Description", "ExecutionClass",
    "ExecutionProperty.MaxConcurrentRuns", "GlueVersion", "JobMode", "MaxCapacity", "MaxRetries", "Name", "NonOverridableArguments",
    "NumberOfWorkers", "Role", "Tags", "Timeout", "WorkerType",
)  # fmt: skip


def _update_job(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    update: dict[str, Any] = {name: value for name, value in p.items() if name not in ("Name", "Tags")}
    call(context, "glue", "UpdateJob", {"JobName": made.physical_id, "JobUpdate": update})
    arn, tags = f"arn:aws:glue:{REGION}:{ACCOUNT}:job/{made.physical_id}", p.get("Tags", {})
    if gone := old.get("Tags", {}).keys() - tags.keys():
        context.clients("glue").untag_resource(ResourceArn=arn, TagsToRemove=sorted(gone))
    if tags:
        context.clients("glue").tag_resource(ResourceArn=arn, TagsToAdd=tags)
    return made


TYPES: tuple[ResourceType, ...] = (
    replace(
        api(
            "AWS::Glue::Job", "glue", "CreateJob", named="Name", limit=255, known=tree(*JOB), replaces=frozenset({"Name"}),
            removes=None, made=lambda p, r: Made(r["Name"]),
            delete=lambda context, name, p: context.clients("glue").delete_job(JobName=name),
        ),
        update=_update_job,
    ),
)  # fmt: skip
