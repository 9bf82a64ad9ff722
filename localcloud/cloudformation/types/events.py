"""EventBridge, SQS, SNS."""

import json
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType, call, ignoring
from localcloud.shapes import coerce, input_shape

QUEUE_ATTRIBUTES = (
    "DelaySeconds", "KmsMasterKeyId", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "RedriveAllowPolicy",
    "RedrivePolicy", "SqsManagedSseEnabled", "VisibilityTimeout",
)  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _queue(context: Context, p: Properties) -> Made:
    name = p.get("QueueName") or context.name(80)
    attributes = {key: _text(p[key]) for key in QUEUE_ATTRIBUTES if key in p}
    url = context.clients("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return Made(url, {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "QueueName": name, "QueueUrl": url})


def _update_queue(context: Context, made: Made, _: Properties, p: Properties) -> Made:
    context.clients("sqs").set_queue_attributes(QueueUrl=made.physical_id, Attributes={key: _text(p[key]) for key in QUEUE_ATTRIBUTES if key in p})
    return made


def _queue_policy(context: Context, p: Properties) -> Made:
    for url in p["Queues"]:
        context.clients("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(p["PolicyDocument"])})
    return Made(context.logical_id)


def _topic(context: Context, p: Properties) -> Made:
    sns = context.clients("sns")
    name = p.get("TopicName") or context.name(256)
    attributes = {key: str(p[key]) for key in ("DisplayName", "KmsMasterKeyId") if key in p}
    arn = sns.create_topic(Name=name, Attributes=attributes, Tags=p.get("Tags", []))["TopicArn"]
    return Made(arn, {"TopicArn": arn, "TopicName": name})


def _topic_policy(context: Context, p: Properties) -> Made:
    for arn in p["Topics"]:
        context.clients("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(p["PolicyDocument"]))
    return Made(context.logical_id)


def _subscription(context: Context, p: Properties) -> Made:
    arn = context.clients("sns").subscribe(TopicArn=p["TopicArn"], Protocol=p["Protocol"], Endpoint=p["Endpoint"], ReturnSubscriptionArn=True)
    return Made(arn["SubscriptionArn"], {"Arn": arn["SubscriptionArn"]})


def _rule(context: Context, p: Properties) -> Made:
    name = p.get("Name") or context.name(64)
    if "ScheduleExpression" in p:
        raise ValueError("schedule rules")
    arguments = {key: p[key] for key in ("Description", "EventPattern", "State", "RoleArn", "Tags") if key in p} | {"Name": name}
    arn = call(context, "events", "PutRule", arguments)["RuleArn"]
    if targets := p.get("Targets"):
        context.clients("events").put_targets(Rule=name, Targets=coerce(input_shape("events", "PutTargets").members["Targets"], targets))
    return Made(name, {"Arn": arn})


def _update_rule(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    kept = {target["Id"] for target in p.get("Targets", [])}
    gone = [target["Id"] for target in old.get("Targets", []) if target["Id"] not in kept]
    if gone:
        context.clients("events").remove_targets(Rule=made.physical_id, Ids=gone)
    return _rule(context, p | {"Name": made.physical_id})


def _delete_rule(context: Context, name: str, p: Properties) -> None:
    events = context.clients("events")
    if targets := p.get("Targets"):
        ignoring({"ResourceNotFoundException"}, lambda: events.remove_targets(Rule=name, Ids=[target["Id"] for target in targets]))
    ignoring({"ResourceNotFoundException"}, lambda: events.delete_rule(Name=name))


TYPES = (
    ResourceType(
        "AWS::SQS::Queue",
        frozenset({*QUEUE_ATTRIBUTES, "QueueName", "Tags"}),
        _queue,
        lambda context, url, p: ignoring(
            {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}, lambda: context.clients("sqs").delete_queue(QueueUrl=url)
        ),
        _update_queue,
        frozenset({"QueueName"}),
    ),
    ResourceType(
        "AWS::SQS::QueuePolicy",
        frozenset({"PolicyDocument", "Queues"}),
        _queue_policy,
        lambda context, name, p: None,
        lambda context, made, old, p: _queue_policy(context, p),
    ),
    ResourceType(
        "AWS::SNS::Topic",
        frozenset({"DisplayName", "KmsMasterKeyId", "Tags", "TopicName"}),
        _topic,
        lambda context, arn, p: ignoring({"NotFound"}, lambda: context.clients("sns").delete_topic(TopicArn=arn)),
    ),
    ResourceType(
        "AWS::SNS::TopicPolicy",
        frozenset({"PolicyDocument", "Topics"}),
        _topic_policy,
        lambda context, name, p: None,
        lambda context, made, old, p: _topic_policy(context, p),
    ),
    ResourceType(
        "AWS::SNS::Subscription",
        frozenset({"Endpoint", "Protocol", "TopicArn"}),
        _subscription,
        lambda context, arn, p: ignoring({"NotFound"}, lambda: context.clients("sns").unsubscribe(SubscriptionArn=arn)),
    ),
    ResourceType(
        "AWS::Events::Rule",
        frozenset({"Description", "EventPattern", "Name", "RoleArn", "ScheduleExpression", "State", "Tags", "Targets"}),
        _rule,
        _delete_rule,
        _update_rule,
        frozenset({"Name"}),
    ),
)
