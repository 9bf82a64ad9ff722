"""From a request to the permissions it asks for: actions, resources and condition values.

Values in, values out: what only the account knows (the key behind an alias, a role's path) `stored.Stored.named` has put
into the parameters before. What S3 asks for stands in `needs_s3`.
"""

import re
from collections.abc import Iterator
from typing import Any

from localcloud import ACCOUNT
from localcloud.iam.need import PLACEHOLDER, Context, Need, Parameters, fill, unknown
from localcloud.iam.needs_s3 import s3_needs
from localcloud.iam.operations import ACTIONS, ALL, PASSED_ROLES, PREFIXES, TAGGING, TEMPLATES

__all__ = ["Context", "Need", "needs"]

GLUE_METADATA = re.compile(r"(?P<glue>arn:aws:glue:[^:]*:[^:]*):(?P<kind>database|table)/(?P<database>[^/]+)(/.*)?")


def needs(service: str, operation: str, p: Parameters) -> list[Need]:
    """What a request asks for, in the order AWS would report a denial. Raises NotSupported for an operation that is not known."""
    found = list(s3_needs(operation, p) if service == "s3" else _own(service, operation, p))
    return found + list(_tagged(service, operation, p, found)) + list(_passed(service, operation, p))


def _own(service: str, operation: str, p: Parameters) -> Iterator[Need]:
    if service == "dynamodb" and operation in ("TransactWriteItems", "TransactGetItems", "BatchGetItem", "BatchWriteItem"):
        yield from _dynamodb_many(operation, p)
        return
    prefix = PREFIXES.get(service, service)
    known = "sagemaker" if service == "sagemaker-runtime" else service
    single = operation.removesuffix("Batch") if service == "sqs" else operation
    template = TEMPLATES.get(known, {}).get(single)
    if template is None:
        raise unknown(service, operation)
    action = ACTIONS.get(f"{service}:{operation}", f"{prefix}:{single}")
    context = _context(service, operation, p)
    for resource in _resources(prefix, template, _named(service, operation, p)):
        yield from (Need(action, each, context) for each in (*_glue_ancestors(service, resource), resource))
    yield from (Need(action, str(key), context) for key in p.get("AliasKeys", ()))
    if operation == "DescribeStacks" and not p.get("StackName"):  # API_DescribeStacks.html: without a name, ListStacks too
        yield Need("cloudformation:ListStacks", ALL)


def _glue_ancestors(service: str, resource: str) -> Iterator[str]:
    """Glue asks for the catalog too, and for a table's database: docs.aws.amazon.com/glue/latest/dg/glue-specifying-resource-arns.html"""
    if service != "glue" or not (match := GLUE_METADATA.fullmatch(resource)):
        return
    yield f"{match['glue']}:catalog"
    if match["kind"] == "table":
        yield f"{match['glue']}:database/{match['database']}"


def _resources(prefix: str, template: str, p: Parameters) -> list[str]:
    """The template filled; a list parameter gives one ARN each."""
    if template == ALL:
        return [ALL]
    names = [name for name in PLACEHOLDER.findall(template) if isinstance(p.get(name), list)]
    values = dict.fromkeys(map(str, p[names[0]])) if names else [None]
    return [fill(prefix, template, {**p, **dict.fromkeys(names, value)}) for value in values]


def _named(service: str, operation: str, p: Parameters) -> Parameters:
    """Parameters with the names the templates use."""
    match service:
        case "sqs" if "QueueUrl" in p:
            return {**p, "QueueName": p["QueueUrl"].rpartition("/")[2]}
        case "athena" | "glue":
            return _of_analytics(operation, p)
        case "cloudwatch":
            return {**p, **{one: p[f"{one}s"] for one in ("AlarmName", "DashboardName") if f"{one}s" in p}}
        case "codebuild" if "ids" in p:
            return {**p, "projectName": [build.partition(":")[0].rpartition("/")[2] for build in p["ids"]]}
        case "dynamodb" if p.get("IndexName"):
            return {**p, "TableName": f"{p['TableName']}/index/{p['IndexName']}"}
        case "events":
            return _of_bus(operation, p)
        case "lambda" if "FunctionName" in p:
            return {**p, "FunctionName": _function(p)}
        case "logs":
            return _of_group(p)
        case "sns":
            return {**p, "TopicArn": p.get("TopicArn") or p.get("TargetArn") or ALL}
        case "ssm":
            return {**p, **{name: _parameters(p[name]) for name in ("Name", "Names", "ResourceId", "Path") if name in p}}
        case "iam" if p.get("Path", "/") != "/":
            return {**p, **{name: f"{p['Path'].strip('/')}/{p[name]}" for name in ("RoleName", "PolicyName") if name in p}}
    return p


def _function(p: Parameters) -> str:
    """A function's name, partial ARN or ARN, with the qualifier as a part of it: docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""
    name = str(p["FunctionName"])
    name = name if name.startswith("arn:") else name.rpartition("function:")[2]
    return f"{name}:{p['Qualifier']}" if p.get("Qualifier") else name


def _of_bus(operation: str, p: Parameters) -> Parameters:
    """A rule of another bus than the default one has the bus in its ARN."""
    if operation == "PutEvents":
        return {**p, "EventBusName": [_bus(entry.get("EventBusName")) for entry in p.get("Entries", [])]}
    if operation == "DescribeEventBus":
        return {**p, "Name": _bus(p.get("Name"))}
    bus = _bus(p.get("EventBusName"))
    return p if bus == "default" else {**p, **{name: f"{bus}/{p[name]}" for name in ("Name", "Rule") if name in p}}


def _bus(name: str | None) -> str:
    return (name or "default").rpartition("event-bus/")[2]


def _of_analytics(operation: str, p: Parameters) -> Parameters:
    """Glue's inputs hold the name of what they make; a query without a workgroup runs in `primary`."""
    given = p.get("DatabaseInput") if operation == "CreateDatabase" else p.get("TableInput")
    return {"WorkGroup": "primary", **p, **({"Name": given["Name"]} if given else {})}


def _of_group(p: Parameters) -> Parameters:
    """CloudWatch Logs writes `log-group:NAME:log-stream:NAME`, with the second name empty for an action on a group."""
    group = str(p.get("logGroupIdentifier") or "").rpartition("log-group:")[2].removesuffix(":*")
    return {"logGroupName": group, "logStreamName": "", **p}


def _parameters(name: Any) -> Any:
    """`name:version` and `name:label` are the parameter `name`."""
    return [_parameters(each) for each in name] if isinstance(name, list) else name if name.startswith("arn:") else name.partition(":")[0]


def _context(service: str, operation: str, p: Parameters) -> Context:
    return _request_tags(p) | _own_context(service, operation, p)


def _own_context(service: str, operation: str, p: Parameters) -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {}
    match service:
        case "cloudwatch" if operation == "PutMetricData":
            values = {"cloudwatch:namespace": (str(p["Namespace"]),)}
        case "sns" if "Protocol" in p:
            values = {"sns:Protocol": (str(p["Protocol"]),), "sns:Endpoint": (str(p.get("Endpoint", "")),)}
        case "kms":
            context = (p.get("EncryptionContext") or {}).items()
            values = {"kms:CallerAccount": (ACCOUNT,), **{f"kms:EncryptionContext:{name}": (str(value),) for name, value in context}}
        case "iam":
            keys = {"PolicyArn": "iam:PolicyARN", "PermissionsBoundary": "iam:PermissionsBoundary"}
            values = {key: (str(p[name]),) for name, key in keys.items() if p.get(name)}
        case "sts":
            keys = {"ExternalId": "sts:ExternalId", "RoleSessionName": "sts:RoleSessionName"}
            values = {key: (str(p[name]),) for name, key in keys.items() if name in p}
    return values


def tags(p: Parameters) -> dict[str, str]:
    """The tags that a request would attach; services differ in how they write them."""
    given = p.get("Tags") or p.get("tags") or {}
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items()}
    pairs = [{name.lower().removeprefix("tag"): value for name, value in tag.items()} for tag in given]
    return {str(tag["key"]): str(tag.get("value") or "") for tag in pairs}


def _request_tags(p: Parameters) -> dict[str, tuple[str, ...]]:
    added = tags(p)
    keys = (*added, *(p.get("TagKeys") or p.get("tagKeys") or ()))
    return {f"aws:RequestTag/{key}": (value,) for key, value in added.items()} | ({"aws:TagKeys": tuple(map(str, keys))} if keys else {})


def _tagged(service: str, operation: str, p: Parameters, found: list[Need]) -> Iterator[Need]:
    """Who makes something with tags must be allowed to tag it: IAM/latest/UserGuide/access_tags.html and each API's page."""
    action, operations = TAGGING.get(service, ("", ()))
    if service == "iam" and operation in ("CreateRole", "CreatePolicy"):
        action, operations = operation.replace("Create", "iam:Tag"), (operation,)
    if operation in operations and tags(p):
        yield Need(action, found[0].resource, _context(service, operation, p))


def _dynamodb_many(operation: str, p: Parameters) -> Iterator[Need]:
    """A transaction asks for the permission of each of its items; a batch for its own, on each table."""
    seen = set()
    if operation.startswith("Batch"):
        seen = {(f"dynamodb:{operation}", table) for table in p["RequestItems"]}
    for item in p.get("TransactItems", []):
        kind, body = next(iter(item.items()))
        verb = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem", "Get": "GetItem"}[kind]
        seen.add((f"dynamodb:{verb}", body["TableName"]))
    for action, table in sorted(seen):
        yield Need(action, fill("dynamodb", "table/{TableName}", {"TableName": table}))


def _passed(service: str, operation: str, p: Parameters) -> Iterator[Need]:
    parameter, receiver = PASSED_ROLES.get(f"{service}:{operation}", ("", ""))
    value: Any = p
    for name in parameter.split("."):
        value = value.get(name) or {}
    for role in [target.get("RoleArn") for target in value] if isinstance(value, list) else [value]:
        if role:
            yield Need("iam:PassRole", fill("iam", "arn:aws:iam::{account}:role/{Role}", {"Role": role}), {"iam:PassedToService": (receiver,)})
