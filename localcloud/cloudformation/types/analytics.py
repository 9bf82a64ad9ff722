"""Glue's data catalog and jobs, and Athena's workgroups. moto keeps catalog and workgroups; it runs no query."""

from dataclasses import replace
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType, api, call, ignoring
from localcloud.cloudformation.types.properties import TAGS, tree
from localcloud.errors import NotSupported

GONE = {"EntityNotFoundException"}
CONFIGURATION = "WorkGroupConfiguration"
RESULTS = f"{CONFIGURATION}.ResultConfiguration"


def _database(context: Context, p: Properties) -> Made:
    name = p["DatabaseInput"].get("Name") or context.name(255).lower()
    call(context, "glue", "CreateDatabase", {"DatabaseInput": p["DatabaseInput"] | {"Name": name}})
    return Made(name)


def _update_database(context: Context, made: Made, _: Properties, p: Properties) -> Made:
    _same_name("AWS::Glue::Database", "DatabaseInput", made, p)
    call(context, "glue", "UpdateDatabase", {"Name": made.physical_id, "DatabaseInput": p["DatabaseInput"] | {"Name": made.physical_id}})
    return made


def _table(context: Context, p: Properties) -> Made:
    name = p["TableInput"].get("Name") or context.name(255).lower()
    call(context, "glue", "CreateTable", {"DatabaseName": p["DatabaseName"], "TableInput": p["TableInput"] | {"Name": name}})
    return Made(name)


def _update_table(context: Context, made: Made, _: Properties, p: Properties) -> Made:
    _same_name("AWS::Glue::Table", "TableInput", made, p)
    call(context, "glue", "UpdateTable", {"DatabaseName": p["DatabaseName"], "TableInput": p["TableInput"] | {"Name": made.physical_id}})
    return made


def _same_name(kind: str, property_name: str, made: Made, p: Properties) -> None:
    name = p[property_name].get("Name", made.physical_id)
    if name != made.physical_id:
        raise NotSupported(f"{kind}: another {property_name}.Name than {made.physical_id}")


def _workgroup(context: Context, p: Properties) -> Made:
    if p.get("State", "ENABLED") != "ENABLED":
        raise NotSupported(f"AWS::Athena::WorkGroup: State {p['State']}")
    optional = {name: p[name] for name in ("Description", "Tags") if name in p}
    call(context, "athena", "CreateWorkGroup", {"Name": p["Name"], "Configuration": p.get(CONFIGURATION, {})} | optional)
    return Made(p["Name"])


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


TYPES = (
    ResourceType(
        "AWS::Glue::Database",
        tree("CatalogId", "DatabaseInput.Description", "DatabaseInput.LocationUri", "DatabaseInput.Name", "DatabaseInput.Parameters"),
        _database,
        lambda context, name, p: ignoring(GONE, lambda: context.clients("glue").delete_database(Name=name)),
        _update_database,
        frozenset({"CatalogId"}),
        removes=frozenset(),
    ),
    ResourceType(
        "AWS::Glue::Table",
        tree(
            "CatalogId", "DatabaseName", "TableInput.Description", "TableInput.Name", "TableInput.Parameters", "TableInput.StorageDescriptor.Columns.Comment",
            "TableInput.StorageDescriptor.Columns.Name", "TableInput.StorageDescriptor.Columns.Type", "TableInput.StorageDescriptor.InputFormat",
            "TableInput.StorageDescriptor.Location", "TableInput.StorageDescriptor.OutputFormat",
            "TableInput.StorageDescriptor.SerdeInfo.Parameters", "TableInput.StorageDescriptor.SerdeInfo.SerializationLibrary", "TableInput.TableType",
        ),
        _table,
        lambda context, name, p: ignoring(GONE, lambda: context.clients("glue").delete_table(DatabaseName=p["DatabaseName"], Name=name)),
        _update_table,
        frozenset({"CatalogId", "DatabaseName"}),
        removes=frozenset(),
    ),
    ResourceType(
        "AWS::Athena::WorkGroup",
        tree(
            "Description", "Name", "RecursiveDeleteOption", "State", *TAGS, f"{CONFIGURATION}.BytesScannedCutoffPerQuery",
            f"{CONFIGURATION}.EnforceWorkGroupConfiguration", f"{CONFIGURATION}.EngineVersion.SelectedEngineVersion",
            f"{CONFIGURATION}.PublishCloudWatchMetricsEnabled", f"{RESULTS}.EncryptionConfiguration.EncryptionOption", f"{RESULTS}.OutputLocation",
        ),
        _workgroup,
        lambda context, name, p: context.clients("athena").delete_work_group(WorkGroup=name, RecursiveDeleteOption=True),
        lambda context, made, old, p: made,  # how it is deleted is all that can change here: moto has no UpdateWorkGroup
        frozenset({"Name"}),
        updates=frozenset({"RecursiveDeleteOption"}),
        removes=frozenset({"RecursiveDeleteOption"}),
    ),
    replace(
        api(
            "AWS::Glue::Job", "glue", "CreateJob", named="Name", limit=255, known=tree(*JOB), replaces=frozenset({"Name"}),
            removes=None, made=lambda p, r: Made(r["Name"]),
            delete=lambda context, name, p: context.clients("glue").delete_job(JobName=name),
        ),
        update=_update_job,
    ),
)  # fmt: skip
