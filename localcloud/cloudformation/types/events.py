"""EventBridge, SQS, SNS."""

import json
from functools import partial
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType, call, ignoring
from localcloud.cloudformation.types.properties import TAGS, tree
from localcloud.shapes import coerce, input_shape

NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
QUEUE_ATTRIBUTES = (
    "DelaySeconds", "KmsMasterKeyId", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "RedriveAllowPolicy",
    "RedrivePolicy", "SqsManagedSseEnabled", "VisibilityTimeout",
)  # fmt: skip

OWNERS_ACTIONS = (
    "GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic", "Subscribe", "ListSubscriptionsByTopic", "Publish",
)  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _queue(context: Context, p: Properties) -> Made:
    name = p.get("QueueName") or context.name(80)
    attributes = {key: _text(p[key]) for key in QUEUE_ATTRIBUTES if key in p}
    tags = {tag["Key"]: tag["Value"] for tag in p.get("Tags", [])}
    url = context.clients("sqs").create_queue(QueueName=name, Attributes=attributes, tags=tags)["QueueUrl"]
    return Made(url, {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "QueueName": name, "QueueUrl": url})


def _update_queue(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    sqs, url = context.clients("sqs"), made.physical_id
    sqs.set_queue_attributes(QueueUrl=url, Attributes={key: _text(p[key]) for key in QUEUE_ATTRIBUTES if key in p})
    before, now = ({tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])} for properties in (old, p))
    if gone := before.keys() - now.keys():
        sqs.untag_queue(QueueUrl=url, TagKeys=sorted(gone))
    if now:
        sqs.tag_queue(QueueUrl=url, Tags=now)
    return made


def _queue_policy(context: Context, p: Properties) -> Made:
    for url in p["Queues"]:
        context.clients("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(p["PolicyDocument"])})
    return Made(context.logical_id)


def _delete_queue_policy(context: Context, _: str, p: Properties) -> None:
    for url in p["Queues"]:
        ignoring(NO_QUEUE, partial(context.clients("sqs").set_queue_attributes, QueueUrl=url, Attributes={"Policy": ""}))


def _update_queue_policy(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    _delete_queue_policy(context, made.physical_id, {"Queues": [url for url in old["Queues"] if url not in p["Queues"]]})
    return Made(made.physical_id, _queue_policy(context, p).attributes)


def _topic(context: Context, p: Properties) -> Made:
    sns = context.clients("sns")
    name = p.get("TopicName") or context.name(256)
    attributes = {key: str(p[key]) for key in ("DisplayName",) if key in p}
    arn = sns.create_topic(Name=name, Attributes=attributes, Tags=p.get("Tags", []))["TopicArn"]
    return Made(arn, {"TopicArn": arn, "TopicName": name})


def _update_topic(context: Context, made: Made, _: Properties, p: Properties) -> Made:
    if "DisplayName" in p:
        context.clients("sns").set_topic_attributes(TopicArn=made.physical_id, AttributeName="DisplayName", AttributeValue=p["DisplayName"])
    return made


def _topic_policy(context: Context, p: Properties) -> Made:
    for arn in p["Topics"]:
        _set_policy(context, arn, p["PolicyDocument"])
    return Made(context.logical_id)


def _set_policy(context: Context, topic: str, document: Any) -> None:
    context.clients("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(document))


def _delete_topic_policy(context: Context, _: str, p: Properties) -> None:
    for arn in p["Topics"]:
        ignoring({"NotFound"}, partial(_set_policy, context, arn, _default_policy(arn)))


def _update_topic_policy(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    _delete_topic_policy(context, made.physical_id, {"Topics": [arn for arn in old["Topics"] if arn not in p["Topics"]]})
    return Made(made.physical_id, _topic_policy(context, p).attributes)


def _default_policy(topic: str) -> dict[str, Any]:
    """What a topic has when nobody gave it a policy. Source: docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html"""
    statement = {
        "Sid": "__default_statement_ID", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": [f"SNS:{action}" for action in OWNERS_ACTIONS],
        "Resource": topic, "Condition": {"StringEquals": {"AWS:SourceOwner": ACCOUNT}},
    }  # fmt: skip
    return {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}


def _subscription(context: Context, p: Properties) -> Made:
    arn = context.clients("sns").subscribe(TopicArn=p["TopicArn"], Protocol=p["Protocol"], Endpoint=p["Endpoint"], ReturnSubscriptionArn=True)
    return Made(arn["SubscriptionArn"], {"Arn": arn["SubscriptionArn"]})


def _rule(context: Context, p: Properties) -> Made:
    name = p.get("Name") or context.name(64)
    fields = ("Description", "EventPattern", "RoleArn", "ScheduleExpression", "State", "Tags")
    arguments = {key: p[key] for key in fields if key in p} | {"Name": name}
    arn = call(context, "events", "PutRule", arguments)["RuleArn"]
    context.begun.append(name)
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
        tree(*QUEUE_ATTRIBUTES, "QueueName", *TAGS),
        _queue,
        lambda context, url, p: ignoring(NO_QUEUE, lambda: context.clients("sqs").delete_queue(QueueUrl=url)),
        _update_queue,
        frozenset({"QueueName"}),
        removes=frozenset({"Tags"}),
    ),
    ResourceType(
        "AWS::SQS::QueuePolicy",
        tree("PolicyDocument", "Queues"),
        _queue_policy,
        _delete_queue_policy,
        _update_queue_policy,
    ),
    ResourceType(
        "AWS::SNS::Topic",
        tree("DisplayName", "TopicName", *TAGS),
        _topic,
        lambda context, arn, p: ignoring({"NotFound"}, lambda: context.clients("sns").delete_topic(TopicArn=arn)),
        _update_topic,
        frozenset({"TopicName"}),
        updates=frozenset({"DisplayName"}),
        removes=frozenset(),
    ),
    ResourceType(
        "AWS::SNS::TopicPolicy",
        tree("PolicyDocument", "Topics"),
        _topic_policy,
        _delete_topic_policy,
        _update_topic_policy,
    ),
    ResourceType(
        "AWS::SNS::Subscription",
        tree("Endpoint", "Protocol", "TopicArn"),
        _subscription,
        lambda context, arn, p: ignoring({"NotFound"}, lambda: context.clients("sns").unsubscribe(SubscriptionArn=arn)),
    ),
    ResourceType(
        "AWS::Events::Rule",
        tree(
            "Description",
            "EventPattern",
            "Name",
            "RoleArn",
            "ScheduleExpression",
            "State",
            *TAGS,
            "Targets.Arn",
            "Targets.DeadLetterConfig.Arn",
            "Targets.Id",
            "Targets.Input",
            "Targets.InputPath",
            "Targets.InputTransformer.InputPathsMap",
            "Targets.InputTransformer.InputTemplate",
            "Targets.RetryPolicy.MaximumEventAgeInSeconds",
            "Targets.RetryPolicy.MaximumRetryAttempts",
            "Targets.RoleArn",
        ),
        _rule,
        _delete_rule,
        _update_rule,
        frozenset({"Name"}),
    ),
)
