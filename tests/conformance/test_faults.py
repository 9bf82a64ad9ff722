"""Faults on demand: what a caller sees of them, that they can be repeated, and that a rule which can do nothing is refused.

There is no AWS page for faults; codes and statuses are each service's own for the real thing, as cited.
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud import KEY, REGION
from localcloud.clock import Clock
from localcloud.errors import NotSupported, ServiceError
from localcloud.faults import Fault, Faults
from tests.conformance.conftest import Account, allow, until


def told(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    """(code, HTTP status) of a call; ("", 200) where it succeeds."""
    try:
        call(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "", 200


@pytest.fixture
def queue(account: Account) -> str:
    return account.queue()[0]


def depth(account: Account, url: str) -> int:
    account.cloud.faults.set()
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


# calls


def test_fail_answers_with_its_code_and_has_no_effect(account, queue):
    account.cloud.faults.set(Fault("sqs:SendMessage", "fail", code="InternalFailure"))
    assert told(account.client("sqs").send_message, QueueUrl=queue, MessageBody="x") == ("InternalFailure", 500)
    assert told(account.client("sqs").list_queues) == ("", 200)
    assert account.cloud.faults.strikes() == 1
    assert depth(account, queue) == 0


def test_fail_after_the_call_hides_an_effect_that_it_had(account, queue):
    account.cloud.faults.set(Fault("sqs:SendMessage", "fail", code="ServiceUnavailable", when="after"))
    assert told(account.client("sqs").send_message, QueueUrl=queue, MessageBody="x") == ("ServiceUnavailable", 503)
    assert depth(account, queue) == 1


def test_a_call_that_fails_by_itself_is_no_less_struck_after_it(account):
    account.cloud.faults.set(Fault("sqs:GetQueueUrl", "fail", code="InternalFailure", when="after"))
    assert told(account.client("sqs").get_queue_url, QueueName="nowhere") == ("InternalFailure", 500)


@pytest.mark.parametrize(
    ("service", "operation", "call", "expected"),
    [
        ("s3", "ListBuckets", lambda c: c.list_buckets(), ("SlowDown", 503)),  # AmazonS3/latest/API/ErrorResponses.html
        # amazondynamodb/latest/developerguide/Programming.Errors.html
        ("dynamodb", "ListTables", lambda c: c.list_tables(), ("ProvisionedThroughputExceededException", 400)),
        ("lambda", "ListFunctions", lambda c: c.list_functions(), ("TooManyRequestsException", 429)),  # lambda/latest/api/API_ListFunctions.html
        ("sns", "ListTopics", lambda c: c.list_topics(), ("Throttled", 429)),  # sns/latest/api/API_ListTopics.html
        ("sqs", "ListQueues", lambda c: c.list_queues(), ("RequestThrottled", 400)),  # AWSSimpleQueueService/…/API_ListQueues.html
        ("sts", "GetCallerIdentity", lambda c: c.get_caller_identity(), ("Throttling", 400)),
        ("iam", "ListRoles", lambda c: c.list_roles(), ("Throttling", 400)),
        ("cloudformation", "ListStacks", lambda c: c.list_stacks(), ("Throttling", 400)),
        ("cloudwatch", "ListMetrics", lambda c: c.list_metrics(), ("Throttling", 400)),
        ("kms", "ListKeys", lambda c: c.list_keys(), ("ThrottlingException", 400)),  # kms/latest/developerguide/throttling.html
        ("ssm", "DescribeParameters", lambda c: c.describe_parameters(), ("ThrottlingException", 400)),
        ("logs", "DescribeLogGroups", lambda c: c.describe_log_groups(), ("ThrottlingException", 400)),
        ("events", "ListRules", lambda c: c.list_rules(), ("ThrottlingException", 400)),
        ("stepfunctions", "ListStateMachines", lambda c: c.list_state_machines(), ("ThrottlingException", 400)),
        ("sagemaker", "ListModels", lambda c: c.list_models(), ("ThrottlingException", 400)),
        ("ecr", "DescribeRepositories", lambda c: c.describe_repositories(), ("ThrottlingException", 400)),
        ("codebuild", "BatchGetProjects", lambda c: c.batch_get_projects(names=["p"]), ("ThrottlingException", 400)),
    ],
)
def test_throttle_answers_with_the_services_own_code(account, service, operation, call, expected):
    account.cloud.faults.set(Fault(f"{service}:{operation}", "throttle"))
    assert told(lambda: call(account.client(service))) == expected


@pytest.mark.parametrize("effect", ["throttle", "fail"])
@pytest.mark.parametrize("service", ["s3", "dynamodb", "sqs", "sns", "kms", "cloudwatch"])
def test_an_sdk_tries_again_what_was_throttled_or_failed(account, service, effect):
    """boto3 guide, guide/retries.html, standard mode: throttling codes and statuses 500, 502, 503 and 504 are tried again."""
    calls = {
        "s3": "list_buckets", "dynamodb": "list_tables", "sqs": "list_queues", "sns": "list_topics", "kms": "list_keys", "cloudwatch": "list_metrics",
    }  # fmt: skip
    config = Config(retries={"mode": "standard", "total_max_attempts": 3})
    client = boto3.client(
        service, endpoint_url=account.cloud.endpoint, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=KEY, config=config
    )
    account.cloud.faults.set(Fault(f"{service}:*", effect, times=1))
    assert getattr(client, calls[service])()["ResponseMetadata"]["RetryAttempts"] == 1
    assert account.cloud.faults.strikes() == 1


def test_delay_lasts_by_the_clock(account, queue):
    account.cloud.faults.set(Fault("sqs:SendMessage", "delay", seconds=3600))
    sqs, done = account.client("sqs"), threading.Event()

    def send() -> None:
        sqs.send_message(QueueUrl=queue, MessageBody="x")
        done.set()

    threading.Thread(target=send, daemon=True).start()
    until(lambda: account.cloud.faults.strikes() == 1)
    assert not done.wait(0.1)
    until(lambda: account.cloud.clock.advance(3600) or done.is_set())
    assert depth(account, queue) == 1


def test_skip_and_times_count_calls(account):
    account.cloud.faults.set(Fault("sqs:ListQueues", "fail", skip=2, times=3))
    codes = [told(account.client("sqs").list_queues)[0] for _ in range(8)]
    assert codes == ["", "", *["InternalServerError"] * 3, "", "", ""]
    assert account.cloud.faults.strikes() == 3


def test_rules_name_operations_and_callers_by_pattern(account, queue):
    role = account.role("lambda.amazonaws.com", allow("sqs:*", "*"))
    other = account.role("lambda.amazonaws.com", allow("sqs:*", "*"))
    account.cloud.faults.set(Fault("sqs:*Message", "fail", caller=f"{role.rpartition('/')[2][:-2]}*"))
    assert told(account.acting(role)("sqs").send_message, QueueUrl=queue, MessageBody="x")[1] == 500
    assert told(account.acting(role)("sqs").list_queues)[1] == 200
    assert told(account.acting(other)("sqs").send_message, QueueUrl=queue, MessageBody="x")[1] == 200
    assert told(account.client("sqs").send_message, QueueUrl=queue, MessageBody="x")[1] == 200
    account.cloud.faults.set(Fault("sqs:SendMessage", "fail", caller="root"))
    assert told(account.client("sqs").send_message, QueueUrl=queue, MessageBody="x")[1] == 500
    assert told(account.acting(role)("sqs").send_message, QueueUrl=queue, MessageBody="x")[1] == 200


def test_a_fault_does_not_help_who_may_not_or_is_nobody(account, queue):
    nobody = account.acting(account.role("lambda.amazonaws.com"))("sqs")
    account.cloud.faults.set(Fault("sqs:SendMessage", "fail", when="after"))
    assert told(nobody.send_message, QueueUrl=queue, MessageBody="x") == ("AccessDenied", 403)
    assert depth(account, queue) == 0


KILLED = """
import os, boto3
def handler(event, context):
    sqs = boto3.client("sqs")
    if event.get("first"):
        sqs.list_queues()
    sqs.send_message(QueueUrl=event["url"], MessageBody="x")
    return os.getpid()
"""


@pytest.mark.parametrize(("when", "sent"), [("before", 0), ("after", 1)])
def test_kill_ends_the_calling_function_before_or_after_its_call_has_had_effect(account, queue, when, sent):
    """lambda/latest/dg/troubleshooting-invocation.html: what is left of the process is Runtime.ExitError; the next call starts anew."""
    function = account.function(KILLED, allow(["sqs:SendMessage", "sqs:ListQueues"], "*"), Timeout=20)
    process, error = account.invoke(function, {"url": queue})
    assert error is None
    account.cloud.faults.set(Fault("sqs:SendMessage", "kill", when=when, times=1))
    answer, error = account.invoke(function, {"url": queue, "first": True})
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert account.cloud.faults.strikes() == 1
    assert depth(account, queue) == 1 + sent
    again, error = account.invoke(function, {"url": queue})
    assert error is None
    assert again != process


def test_who_cannot_be_killed_is_told(account):
    """The account's own clients are no function of localcloud's: nothing is pretended."""
    account.cloud.faults.set(Fault("sqs:ListQueues", "kill"))
    assert told(account.client("sqs").list_queues) == ("NotSupportedByLocalcloud", 400)


# deliveries


def rule(account: Account) -> tuple[str, str]:
    """(detail type, queue url) of a rule that sends its events to a queue."""
    name, (url, arn) = account.name("rule"), account.open_queue("events.amazonaws.com")
    account.client("events").put_rule(Name=name, EventPattern=json.dumps({"detail-type": [name]}))
    account.client("events").put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    return name, url


def put(account: Account, kind: str, *numbers: int) -> None:
    entries = [{"Source": "test", "DetailType": kind, "Detail": json.dumps({"n": number})} for number in numbers]
    assert account.client("events").put_events(Entries=entries)["FailedEntryCount"] == 0


def received(account: Account, url: str, number: int) -> list[int]:
    return [json.loads(message["Body"])["detail"]["n"] for message in account.messages(url, number)]


def test_a_dropped_event_never_comes(account):
    kind, url = rule(account)
    account.cloud.faults.set(Fault(f"deliver:{kind}", "drop", skip=1, times=1))
    put(account, kind, 1, 2, 3)
    assert sorted(received(account, url, 2)) == [1, 3]
    account.cloud.clock.advance(3600)
    assert depth(account, url) == 0


def test_a_duplicated_event_comes_twice(account):
    kind, url = rule(account)
    account.cloud.faults.set(Fault(f"deliver:{kind}", "duplicate", times=1))
    put(account, kind, 1)
    first, second = account.messages(url, 2)
    assert json.loads(first["Body"])["id"] == json.loads(second["Body"])["id"]


def test_a_duplicate_may_come_late(account):
    kind, url = rule(account)
    account.cloud.faults.set(Fault(f"deliver:{kind}", "duplicate", seconds=600, times=1))
    put(account, kind, 1)
    assert received(account, url, 1) == [1]
    account.cloud.clock.advance(601)
    assert received(account, url, 1) == [1]


@pytest.mark.parametrize("effect", ["reorder", "delay"])
def test_a_reordered_event_comes_after_later_ones(account, effect):
    kind, url = rule(account)
    account.cloud.faults.set(Fault(f"deliver:{kind}", effect, seconds=600, times=1))
    put(account, kind, 1)
    put(account, kind, 2)
    assert received(account, url, 1) == [2]
    account.cloud.clock.advance(601)
    assert received(account, url, 1) == [1]


def test_only_the_named_events_are_struck(account):
    kind, url = rule(account)
    account.cloud.faults.set(Fault("deliver:another", "drop"), Fault("d*:*", "fail"))
    put(account, kind, 1)
    assert received(account, url, 1) == [1]
    assert account.cloud.faults.strikes() == 0


# counting and chance


@pytest.fixture
def faults() -> Faults:
    clock = Clock()
    clock.stop()
    return Faults(clock, lambda key: False)


def strikes(faults: Faults, number: int, where: str = "sqs:SendMessage") -> list[bool]:
    def call(_: int) -> bool:
        try:
            faults.at_call("before", *where.split(":"), "role", "key")
        except ServiceError:
            return True
        return False

    return [call(each) for each in range(number)]


def test_a_rate_is_a_share_and_a_seed_repeats_it(faults):
    half = Fault("sqs:*", "fail", rate=0.5)
    faults.set(half, seed=1)
    first = strikes(faults, 400)
    assert 150 < sum(first) < 250
    faults.set(half, seed=1)
    assert strikes(faults, 400) == first
    faults.set(half, seed=2)
    assert strikes(faults, 400) != first
    for rate, expected in ((0.0, 0), (1.0, 50)):
        faults.set(Fault("sqs:*", "fail", rate=rate))
        assert sum(strikes(faults, 50)) == expected


def test_the_number_of_strikes_does_not_depend_on_threads(faults):
    rules = Fault("sqs:*", "fail", rate=0.3, skip=10), Fault("sqs:*", "throttle", rate=0.3, times=7)
    faults.set(*rules, seed=5)
    strikes(faults, 400)
    alone = faults.strikes()
    faults.set(*rules, seed=5)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: strikes(faults, 50), range(8)))
    assert faults.strikes() == alone


def test_each_rule_has_its_own_count_and_chance(faults):
    """Also two rules that are the same."""
    same = Fault("sqs:*", "fail", skip=1, times=1)
    faults.set(same, same)
    strikes(faults, 3)
    assert faults.strikes() == 2
    half = Fault("sqs:*", "fail", rate=0.5)
    faults.set(half)
    alone = sum(strikes(faults, 200))
    faults.set(half, half)
    assert sum(strikes(faults, 200)) > alone


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"where": "SendMessage", "effect": "fail"}, "where"),
        ({"where": "sqs:", "effect": "fail"}, "where"),
        ({"where": "sqs:*", "effect": "explode"}, "explode"),
        ({"where": "sqs:*", "effect": "drop"}, "calls know no drop"),
        ({"where": "sqs:*", "effect": "duplicate"}, "calls know no duplicate"),
        ({"where": "sqs:*", "effect": "reorder", "seconds": 1}, "calls know no reorder"),
        ({"where": "deliver:*", "effect": "fail"}, "deliveries know no fail"),
        ({"where": "deliver:*", "effect": "kill"}, "deliveries know no kill"),
        ({"where": "deliver:*", "effect": "drop", "when": "after"}, "no after"),
        ({"where": "deliver:*", "effect": "drop", "caller": "x"}, "no caller"),
        ({"where": "sqs:*", "effect": "fail", "when": "during"}, "during"),
        ({"where": "sqs:*", "effect": "delay"}, "seconds"),
        ({"where": "deliver:*", "effect": "reorder"}, "seconds"),
        ({"where": "sqs:*", "effect": "fail", "rate": 1.5}, "share"),
        ({"where": "sqs:*", "effect": "fail", "times": -1}, "count up"),
    ],
)
def test_a_rule_that_could_do_nothing_is_refused(wrong, why):
    with pytest.raises(ValueError, match=why):
        Fault(**wrong)


def test_rules_are_replaced_and_counted_anew(faults):
    faults.set(Fault("sqs:*", "fail", times=1))
    assert strikes(faults, 2) == [True, False]
    faults.set(Fault("sqs:*", "fail", times=1))
    assert faults.strikes() == 0
    assert strikes(faults, 2) == [True, False]
    faults.set()
    assert strikes(faults, 2) == [False, False]
    faults.set(Fault("sqs:*", "kill"))
    with pytest.raises(NotSupported, match="role is no running function"):
        faults.at_call("before", "sqs", "ListQueues", "role", "key")
