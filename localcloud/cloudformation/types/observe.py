"""CloudWatch and its logs."""

from dataclasses import replace

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType, api, call, ignoring
from localcloud.cloudformation.types.properties import TAGS, tree


def _log_group(context: Context, p: Properties) -> Made:
    logs = context.clients("logs")
    name = p.get("LogGroupName") or context.name(256)
    logs.create_log_group(logGroupName=name, tags={tag["Key"]: tag["Value"] for tag in p.get("Tags", [])})
    context.begun.append(name)
    _retain(context, name, p)
    return Made(name, {"Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*"})


def _retain(context: Context, name: str, p: Properties) -> None:
    if "RetentionInDays" in p:
        context.clients("logs").put_retention_policy(logGroupName=name, retentionInDays=int(p["RetentionInDays"]))


def _update_log_group(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    if "RetentionInDays" in old and "RetentionInDays" not in p:
        context.clients("logs").delete_retention_policy(logGroupName=made.physical_id)
    _retain(context, made.physical_id, p)
    return made


def _update_alarm(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    """PutMetricAlarm ignores the tags of an alarm that exists."""
    cloudwatch, arn = context.clients("cloudwatch"), made.attributes["Arn"]
    call(context, "cloudwatch", "PutMetricAlarm", {name: value for name, value in p.items() if name != "Tags"} | {"AlarmName": made.physical_id})
    if gone := {tag["Key"] for tag in old.get("Tags", [])} - {tag["Key"] for tag in p.get("Tags", [])}:
        cloudwatch.untag_resource(ResourceARN=arn, TagKeys=sorted(gone))
    if p.get("Tags"):
        cloudwatch.tag_resource(ResourceARN=arn, Tags=p["Tags"])
    return made


TYPES = (
    ResourceType(
        "AWS::Logs::LogGroup",
        tree("LogGroupName", "RetentionInDays", *TAGS),
        _log_group,
        lambda context, name, p: ignoring({"ResourceNotFoundException"}, lambda: context.clients("logs").delete_log_group(logGroupName=name)),
        _update_log_group,
        frozenset({"LogGroupName"}),
        updates=frozenset({"RetentionInDays"}),
        removes=frozenset({"RetentionInDays"}),
    ),
    api(
        "AWS::Logs::MetricFilter", "logs", "PutMetricFilter", named="FilterName", limit=512, update="PutMetricFilter", removes=None,
        made=lambda p, r: Made(p["FilterName"]), replaces=frozenset({"FilterName", "LogGroupName"}),
        identify=lambda made: {"FilterName": made.physical_id},
        delete=lambda context, name, p: ignoring(
            {"ResourceNotFoundException"},
            lambda: context.clients("logs").delete_metric_filter(filterName=name, logGroupName=p["LogGroupName"]),
        ),
    ),
    replace(
        api(
            "AWS::CloudWatch::Alarm", "cloudwatch", "PutMetricAlarm", named="AlarmName", limit=255, removes=None,
            replaces=frozenset({"AlarmName"}),
            made=lambda p, r: Made(p["AlarmName"], {"Arn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{p['AlarmName']}"}),
            delete=lambda context, name, p: context.clients("cloudwatch").delete_alarms(AlarmNames=[name]),
        ),
        update=_update_alarm,
    ),
    api(
        "AWS::CloudWatch::Dashboard", "cloudwatch", "PutDashboard", named="DashboardName", limit=255, update="PutDashboard",
        replaces=frozenset({"DashboardName"}),
        made=lambda p, r: Made(p["DashboardName"]),
        identify=lambda made: {"DashboardName": made.physical_id},
        delete=lambda context, name, p: context.clients("cloudwatch").delete_dashboards(DashboardNames=[name]),
    ),
)  # fmt: skip
