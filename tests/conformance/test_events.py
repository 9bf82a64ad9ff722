"""EventBridge: rules deliver to targets, retry and bury; the API and what it refuses.

UG: docs.aws.amazon.com/eventbridge/latest/userguide. API: docs.aws.amazon.com/eventbridge/latest/APIReference. LS: what
github.com/localstack/localstack recorded against AWS, in tests/aws/services/events.
"""

import json
import uuid
from datetime import UTC, datetime
from functools import partial

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from localcloud.faults import Fault
from tests.conformance.conftest import allow, until

EVENTS = "events.amazonaws.com"
PASS = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})


def rule(account, arn: str = "", *, to: dict | None = None, **settings) -> str:
    """A rule for events whose source is its own name, with one target; its name."""
    name = account.name("rule")
    account.client("events").put_rule(Name=name, EventPattern=json.dumps({"source": [name]}), **settings)
    if arn:
        account.client("events").put_targets(Rule=name, Targets=[{"Id": "one", "Arn": arn} | (to or {})])
    return name


def send(account, source: str, detail: dict | None = None, **more) -> str:
    entry = {"Source": source, "DetailType": "Tested", "Detail": json.dumps(detail or {})} | more
    answer = account.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0, answer
    return answer["Entries"][0]["EventId"]


def rule_arn(name: str) -> str:
    return f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"


def bodies(account, url: str, number: int = 1) -> list:
    return [json.loads(message["Body"]) for message in account.messages(url, number)]


def settled(account, url: str) -> list:
    """What a queue holds once everything sent before has gone its way: an event sent now has arrived elsewhere."""
    other, arn = account.open_queue(EVENTS)
    send(account, rule(account, arn))
    account.messages(other)
    return account.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])


def topic(account, service: str = EVENTS) -> tuple[str, str]:
    """A topic that a service may publish to, and the URL of a queue that is subscribed to it."""
    arn = account.client("sns").create_topic(Name=account.name("topic"))["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sns:Publish", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    url, queue = account.open_queue("sns.amazonaws.com")
    account.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    return arn, url


def machine(account) -> str:
    role = account.role("states.amazonaws.com")
    return account.client("stepfunctions").create_state_machine(name=account.name("machine"), definition=PASS, roleArn=role)["stateMachineArn"]


def attributes(message: dict) -> dict[str, str]:
    return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


def refused(call, **arguments) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response["Error"]["Code"], raised.value.response["Error"]["Message"]


# Delivery


def test_a_queue_receives_the_whole_event(account):
    # UG eb-events-structure.html; the body is compact JSON as in LS test_events_targets.snapshot.json.
    url, arn = account.open_queue(EVENTS)
    sent = send(account, rule(account, arn), {"n": 1}, Time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), Resources=["arn:aws:s3:::b"])
    [message] = account.messages(url)
    event = json.loads(message["Body"])
    assert list(event) == ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
    assert (event["version"], event["id"], event["detail-type"], event["account"], event["region"]) == ("0", sent, "Tested", ACCOUNT, REGION)
    assert (event["time"], event["resources"], event["detail"]) == ("2026-01-02T03:04:05Z", ["arn:aws:s3:::b"], {"n": 1})
    assert message["Body"] == json.dumps(event, separators=(",", ":"))


def test_a_function_receives_the_event(account):
    # UG eb-use-resource-based.html#eb-lambda-permissions
    function = account.function("import json\ndef handler(event, context):\n    print('got', json.dumps(event['detail']))\n")
    name = rule(account, function)
    account.client("lambda").add_permission(
        FunctionName=function, StatementId="s", Action="lambda:InvokeFunction", Principal=EVENTS, SourceArn=rule_arn(name)
    )
    send(account, name, {"n": 2})
    group = f"/aws/lambda/{function.rpartition(':')[2]}"
    logs = account.client("logs")
    until(lambda: logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"])
    until(lambda: any(line.startswith('got {"n": 2}') for line in account.log(group)))


def test_a_topic_publishes_the_event_to_its_subscribers(account):
    # UG eb-use-resource-based.html#eb-sns-permissions
    arn, url = topic(account)
    send(account, rule(account, arn), {"n": 3})
    [envelope] = bodies(account, url)
    assert (envelope["Type"], envelope["TopicArn"], json.loads(envelope["Message"])["detail"]) == ("Notification", arn, {"n": 3})


def test_a_state_machine_starts_with_the_targets_role(account):
    # UG eb-targets.html: Step Functions targets need a role; the event is the input.
    arn = machine(account)
    role = account.role(EVENTS, allow("states:StartExecution", arn))
    sent = send(account, rule(account, arn, to={"RoleArn": role}))
    states = account.client("stepfunctions")
    [execution] = until(lambda: states.list_executions(stateMachineArn=arn)["executions"])
    assert json.loads(states.describe_execution(executionArn=execution["executionArn"])["input"])["id"] == sent


def test_a_role_takes_the_place_of_the_queues_policy(account):
    # UG eb-use-resource-based.html: "For Lambda, Amazon SNS, and Amazon SQS targets, you can use either an IAM execution role or a resource-based policy"
    url, arn = account.queue()
    dead, dead_arn = account.open_queue(EVENTS)
    send(account, rule(account, arn, to={"RoleArn": account.role(EVENTS, allow("sqs:SendMessage", arn))}), {"n": 4})
    assert bodies(account, url)[0]["detail"] == {"n": 4}
    send(account, rule(account, arn, to={"RoleArn": account.role(EVENTS), "DeadLetterConfig": {"Arn": dead_arn}}))
    assert attributes(account.messages(dead)[0])["ERROR_CODE"] == "NO_PERMISSIONS"


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ({"Input": '{"a": 1}'}, '{"a": 1}'),
        # LS test_events_inputs.snapshot.json (TestInputPath)
        ({"InputPath": "$.detail"}, '{"name":"a \\"b\\"","list":[{"x":1}]}'),
        ({"InputPath": "$.detail.list[0].x"}, "1"),
        # LS test_events_inputs.snapshot.json (TestInputTransformer): strings, objects without their quotation marks, missing keys
        ({"InputTransformer": {"InputPathsMap": {"n": "$.detail.name"}, "InputTemplate": '"is <n>"'}}, '"is a \\"b\\""'),
        ({"InputTransformer": {"InputPathsMap": {"l": "$.detail.list"}, "InputTemplate": '"is <l>"'}}, '"is [{x:1}]"'),
        ({"InputTransformer": {"InputPathsMap": {"l": "$.detail.list"}, "InputTemplate": '{"l": [<l>, 2]}'}}, '{"l": [[{"x":1}], 2]}'),
        ({"InputTransformer": {"InputPathsMap": {"m": "$.detail.no"}, "InputTemplate": '{"m": <m>, "t": "<m>."}'}}, '{"m": "", "t": "."}'),
        ({"InputTransformer": {"InputTemplate": '"by <aws.events.rule-name>"'}}, '"by {rule}"'),
    ],
)  # fmt: skip
def test_a_target_receives_what_its_input_says(account, to, expected):
    # UG eb-transform-target-input.html
    url, arn = account.open_queue(EVENTS)
    name = rule(account, arn, to=to)
    send(account, name, {"name": 'a "b"', "list": [{"x": 1}]})
    assert account.messages(url)[0]["Body"] == expected.replace("{rule}", name)


def test_a_template_may_hold_the_whole_event(account):
    # UG eb-transform-target-input.html#eb-transform-input-predefined; that the key is detailType, LS test_input_transformer_predefined_variables
    url, arn = account.open_queue(EVENTS)
    template = '{"rule": "<aws.events.rule-arn>", "short": <aws.events.event>, "whole": <aws.events.event.json>}'
    name = rule(account, arn, to={"InputTransformer": {"InputTemplate": template}})
    sent = send(account, name, {"n": 5})
    [body] = bodies(account, url)
    assert (body["rule"], body["whole"]["id"], body["whole"]["detail"]) == (rule_arn(name), sent, {"n": 5})
    assert body["short"] == {"detailType" if key == "detail-type" else key: value for key, value in body["whole"].items() if key != "detail"}


# Retries and dead-letter queues: UG eb-rule-event-delivery.html


def test_retries_wait_longer_and_longer_until_the_target_answers(account):
    arn, url = topic(account)
    clock, faults = account.cloud.clock, account.cloud.faults
    name = rule(account, arn)
    faults.set(Fault("sns:Publish", "fail"))
    send(account, name)
    times = []
    for number in range(12):
        step = min(2.0**number, 900) / 16  # by steps: a retry is planned a moment after the try before it has failed
        until(lambda number=number, step=step: faults.strikes() > number or clock.advance(step))
        times.append(clock.now())
    for number in range(3, 11):
        longest = min(2.0**number, 900)  # "exponential back off and jitter, or randomized delay"
        assert longest / 4 < times[number + 1] - times[number] < longest * 1.5
    faults.set()
    until(lambda: clock.advance(100) or account.client("sqs").receive_message(QueueUrl=url).get("Messages"))


def buried(account, policy: dict, step_s: float) -> tuple[str, str, dict]:
    """What the dead-letter queue holds of an event to a topic that never answers: (rule's name, topic, message)."""
    arn, _ = topic(account)
    dead, dead_arn = account.open_queue(EVENTS)
    name = rule(account, arn, to={"RetryPolicy": policy, "DeadLetterConfig": {"Arn": dead_arn}})
    account.cloud.faults.set(Fault("sns:Publish", "fail"))
    send(account, name, {"n": 6})
    receive = partial(account.client("sqs").receive_message, QueueUrl=dead, MessageAttributeNames=["All"])
    return name, arn, until(lambda: receive().get("Messages") or account.cloud.clock.advance(step_s))[0]


def test_after_the_last_retry_the_event_is_in_the_dead_letter_queue(account):
    # UG eb-rule-event-delivery.html#dlq-message-attributes
    name, arn, message = buried(account, {"MaximumRetryAttempts": 1}, 1)
    assert json.loads(message["Body"])["detail"] == {"n": 6}
    told = attributes(message)
    assert "injected" in told.pop("ERROR_MESSAGE")
    assert told == {
        "RULE_ARN": rule_arn(name), "TARGET_ARN": arn, "ERROR_CODE": "ERROR_FROM_TARGET", "RETRY_ATTEMPTS": "1",
        "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
    }  # fmt: skip


def test_no_retry_is_made_when_none_is_allowed(account):
    told = attributes(buried(account, {"MaximumRetryAttempts": 0}, 0)[2])
    assert (told["RETRY_ATTEMPTS"], told["EXHAUSTED_RETRY_CONDITION"], account.cloud.faults.strikes()) == ("0", "MaximumRetryAttempts", 1)


def test_an_event_that_is_too_old_is_not_tried_again(account):
    told = attributes(buried(account, {"MaximumEventAgeInSeconds": 60}, 5)[2])
    assert told["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"
    assert 1 <= int(told["RETRY_ATTEMPTS"]) <= 7


def closed(account, service: str):
    if service == "lambda":
        return account.function("def handler(event, context): pass\n"), {}
    return (account.queue()[1] if service == "sqs" else topic(account, service="s3.amazonaws.com")[0]), {}


def machine_of_a_weak_role(account):
    return machine(account), {"RoleArn": account.role(EVENTS)}


def machine_of_a_strange_role(account):
    return machine(account), {"RoleArn": account.role("lambda.amazonaws.com", allow("*", "*"))}


def gone_machine(account):
    arn = machine(account)
    account.client("stepfunctions").delete_state_machine(stateMachineArn=arn)
    return arn, {"RoleArn": account.role(EVENTS, allow("states:StartExecution", "*"))}


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (partial(closed, service="sqs"), "NO_PERMISSIONS"), (partial(closed, service="lambda"), "NO_PERMISSIONS"),
        (partial(closed, service="sns"), "NO_PERMISSIONS"),
        (machine_of_a_weak_role, "NO_PERMISSIONS"), (machine_of_a_strange_role, "FAILED_TO_ASSUME_ROLE"), (gone_machine, "NO_RESOURCE"),
    ],
)  # fmt: skip
def test_what_retrying_cannot_mend_is_not_retried(account, make, code):
    # UG eb-rule-event-delivery.html: "if the target's permissions are missing, or the target resource no longer exists, EventBridge doesn't retry"
    arn, to = make(account)
    dead, dead_arn = account.open_queue(EVENTS)
    send(account, rule(account, arn, to=to | {"DeadLetterConfig": {"Arn": dead_arn}}))
    told = attributes(account.messages(dead)[0])
    assert (told["ERROR_CODE"], told["RETRY_ATTEMPTS"], "EXHAUSTED_RETRY_CONDITION" in told) == (code, "0", False)


# The API


def test_a_disabled_rule_matches_nothing_until_it_is_enabled(account):
    # API API_DisableRule.html
    url, arn = account.open_queue(EVENTS)
    name = rule(account, arn, State="DISABLED")
    send(account, name, {"n": 7})
    assert not settled(account, url)
    account.client("events").enable_rule(Name=name)
    send(account, name, {"n": 8})
    assert bodies(account, url)[0]["detail"] == {"n": 8}


def test_a_rule_with_targets_cannot_be_deleted(account):
    # LS test_events.snapshot.json; API API_DeleteRule.html
    events, name = account.client("events"), rule(account, account.queue()[1])
    assert refused(events.delete_rule, Name=name) == ("ValidationException", "Rule can't be deleted since it has targets.")
    events.remove_targets(Rule=name, Ids=["one"])
    events.delete_rule(Name=name)
    gone = ("ResourceNotFoundException", f"Rule {name} does not exist on EventBus default.")
    assert refused(events.describe_rule, Name=name) == gone
    assert refused(events.list_tags_for_resource, ResourceARN=rule_arn(name)) == gone
    events.delete_rule(Name=name)  # "DeleteRule … succeeds if the rule does not exist": as LS does


def test_rules_carry_tags_and_are_listed_in_pages(account):
    # API API_TagResource.html, API_ListRules.html, API_ListTargetsByRule.html; paging LS test_list_target_by_rule_limit
    events, prefix = account.client("events"), account.name("paged")
    for number in range(3):
        events.put_rule(Name=f"{prefix}-{number}", ScheduleExpression="rate(1 day)", Tags=[{"Key": "n", "Value": str(number)}])
    events.tag_resource(ResourceARN=rule_arn(f"{prefix}-1"), Tags=[{"Key": "more", "Value": "yes"}])
    events.untag_resource(ResourceARN=rule_arn(f"{prefix}-1"), TagKeys=["n"])
    assert events.list_tags_for_resource(ResourceARN=rule_arn(f"{prefix}-1"))["Tags"] == [{"Key": "more", "Value": "yes"}]
    first = events.list_rules(NamePrefix=prefix, Limit=2)
    second = events.list_rules(NamePrefix=prefix, Limit=2, NextToken=first["NextToken"])
    assert [found["Name"][-1] for found in first["Rules"] + second["Rules"]] == ["0", "1", "2"]
    assert "NextToken" not in second


@pytest.mark.parametrize(
    ("entry", "code", "message"),
    [
        # LS test_events.snapshot.json
        ({"Source": ""}, "InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument."),
        ({"DetailType": ""}, "InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType is a required argument."),
        ({"Detail": "[]"}, "MalformedDetail", "Detail is malformed."),
        ({"Detail": "{"}, "MalformedDetail", "Detail is malformed."),
        # API API_PutEvents.html: aws. is AWS's own prefix
        ({"Source": "aws.s3"}, "NotAuthorizedForSourceException", "Not authorized for the source."),
    ],
)
def test_a_bad_entry_fails_alone(account, entry, code, message):
    good = {"Source": "mine", "DetailType": "T", "Detail": "{}"}
    answer = account.client("events").put_events(Entries=[good | entry, good])
    assert (answer["FailedEntryCount"], answer["Entries"][0]) == (1, {"ErrorCode": code, "ErrorMessage": message})
    assert uuid.UUID(answer["Entries"][1]["EventId"])


def test_a_request_is_refused_whole_when_it_is_too_large_or_has_too_many_entries(account):
    # UG eb-putevent-size.html; 1 MB since January 2026: aws.amazon.com/blogs/compute/more-room-to-build-serverless-services-now-support-payloads-up-to-1-mb
    put = account.client("events").put_events
    entry = {"Source": "mine", "DetailType": "T", "Detail": json.dumps({"x": "y" * (1024 * 1024 - 5 - len('{"x": ""}'))})}
    assert put(Entries=[entry])["FailedEntryCount"] == 0
    assert refused(put, Entries=[entry | {"DetailType": "TT"}]) == (
        "ValidationException", "Total size of the entries in the request is over the limit."
    )  # fmt: skip
    code, message = refused(put, Entries=[{"Source": "s", "DetailType": "T", "Detail": "{}"}] * 11)
    assert code == "ValidationException"
    assert message.endswith("at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10")


def test_patterns_can_be_tried_and_bad_ones_are_refused(account):
    # API API_TestEventPattern.html; messages LS test_events_patterns.snapshot.json
    test, put = account.client("events").test_event_pattern, account.client("events").put_rule
    event = {"id": "1", "account": ACCOUNT, "source": "s", "time": "2026-01-01T00:00:00Z", "region": REGION, "resources": [], "detail-type": "T"}
    assert test(EventPattern='{"source": [{"prefix": "s"}]}', Event=json.dumps(event))["Result"] is True
    assert test(EventPattern='{"source": ["t"]}', Event=json.dumps(event))["Result"] is False
    for bad in ("plain text", '{"source": "s"}'):
        assert refused(test, EventPattern='{"source": ["t"]}', Event=bad) == ("ValidationException", "Parameter Event is not valid.")
    for pattern in ("{", "[]", '{"source": "s"}', '{"source": []}', '{"source": [{"likes": "s"}]}'):
        for call in (
            lambda pattern=pattern: test(EventPattern=pattern, Event=json.dumps(event)),
            lambda pattern=pattern: put(Name="r", EventPattern=pattern),
        ):
            code, message = refused(call)
            assert code == "InvalidEventPatternException"
            assert message.count("Event pattern is not valid. Reason: ") == 1


@pytest.mark.parametrize("schedule", ["rate(1 minutes)", "rate(5 seconds)", "cron(* * * * * *)", "cron(0 12 * *)", "at(2026-01-01T00:00:00)"])
def test_bad_schedules_are_refused(account, schedule):
    # LS test_events_schedule.snapshot.json
    code, message = refused(account.client("events").put_rule, Name="r", ScheduleExpression=schedule)
    assert code == "ValidationException"
    assert message.startswith("Parameter ScheduleExpression is not valid.")


def test_targets_that_contradict_themselves_are_refused(account):
    # LS test_events_inputs.snapshot.json, test_events.snapshot.json
    put, name, arn = account.client("events").put_targets, rule(account), account.queue()[1]

    def told(**to) -> tuple[str, str]:
        return refused(put, Rule=name, Targets=[{"Id": "t", "Arn": arn} | to])

    twice = "Only one of Input, InputPath, or InputTransformer must be provided for target t."
    assert told(InputPath="$.detail", InputTransformer={"InputTemplate": '"x"'}) == ("ValidationException", twice)
    unknown = "InputTemplate for target t contains invalid placeholder nothing."
    assert told(InputTransformer={"InputPathsMap": {"a": "$.id"}, "InputTemplate": '"<a> <nothing>"'}) == ("ValidationException", unknown)
    assert refused(put, Rule=name, Targets=[{"Id": str(number), "Arn": arn} for number in range(6)])[0] == "LimitExceededException"
    assert told(RetryPolicy={"MaximumRetryAttempts": 186})[0] == "ValidationException"
    assert account.client("events").list_targets_by_rule(Rule=name)["Targets"] == []


@pytest.mark.parametrize(
    ("operation", "arguments", "named"),
    [
        ("put_targets", {"Targets": [{"Id": "t", "Arn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s", "RoleArn": "arn:aws:iam::1:role/r"}]}, "kinesis"),
        ("put_targets", {"Targets": [{"Id": "t", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q.fifo"}]}, "FIFO"),
        ("put_targets", {"Targets": [{"Id": "t", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "SqsParameters": {"MessageGroupId": "g"}}]}, "SqsParameters"),
        ("put_targets", {"Targets": [{"Id": "t", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "InputPath": "$.detail.*"}]}, "$.detail.*"),
        ("put_rule", {"EventPattern": '{"source": ["s"]}', "EventBusName": "other"}, "buses other than the default"),
        ("put_rule", {"EventPattern": '{"source": ["s"]}', "RoleArn": "arn:aws:iam::1:role/r"}, "RoleArn"),
        ("put_rule", {"EventPattern": '{"source": ["s"]}', "State": "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"}, "ENABLED_WITH_ALL"),
        ("delete_rule", {"EventBusName": "other"}, "buses other than the default"),
        ("put_events", {"Entries": [{"Source": "s", "DetailType": "t", "Detail": "{}", "EventBusName": "other"}]}, "buses other than the default"),
        ("put_events", {"Entries": [{"Source": "s", "DetailType": "t", "Detail": "{}", "TraceHeader": "h"}]}, "TraceHeader"),
        ("create_event_bus", {}, "CreateEventBus"),
        ("create_archive", {"ArchiveName": "a", "EventSourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"}, "CreateArchive"),
    ],
)  # fmt: skip
def test_what_localcloud_does_not_do_is_refused_by_name(account, operation, arguments, named):
    key = {"put_targets": "Rule", "put_rule": "Name", "delete_rule": "Name", "create_event_bus": "Name"}.get(operation)
    code, message = refused(getattr(account.client("events"), operation), **arguments, **({key: rule(account)} if key else {}))
    assert code == "NotSupportedByLocalcloud"
    assert named in message
