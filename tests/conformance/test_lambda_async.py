"""Lambda's asynchronous invocations: docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"""

import json

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import allow, until
from tests.conformance.test_lambda import group, metric

FAILS = "def handler(event, context):\n    print('id', context.aws_request_id)\n    raise ValueError('no ' + 'x' * event.get('chars', 0))\n"
WORKS = "def handler(event, context):\n    return 1\n"
STEP_S = 5


def starts(account, function: str) -> list[float]:
    """When the function was started, in seconds of localcloud's clock."""
    account.cloud.logs.flush()
    logs = account.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=group(function), filterPattern='"START RequestId"')["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return sorted(event["timestamp"] / 1000 for event in events)


def pass_time(account, question) -> None:
    """Let the clock run until the answer is true, in steps that leave the functions time to run."""
    until(lambda: question() or account.cloud.clock.advance(STEP_S))


def later(account, function: str, event: dict | None = None) -> None:
    account.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event or {}).encode())


def failing(account, source: str = FAILS, **settings) -> tuple[str, str]:
    """(function, url of its dead-letter queue)"""
    url, arn = account.queue()
    return account.function(source, allow("sqs:SendMessage", arn), DeadLetterConfig={"TargetArn": arn}, **settings), url


def test_an_event_is_accepted_before_it_is_run(account):
    # docs.aws.amazon.com/lambda/latest/api/API_Invoke.html: nothing of the outcome is answered.
    function = account.function(WORKS)
    answer = account.client("lambda").invoke(FunctionName=function, InvocationType="Event")
    assert (answer["Payload"].read(), "FunctionError" in answer, "ExecutedVersion" in answer) == (b"", False, False)
    until(lambda: len(starts(account, function)) == 1)


def test_failures_are_tried_again_after_one_and_two_minutes_and_then_go_to_the_dead_letter_queue(account):
    # "Lambda retries two more times … waits 1 minute before the second attempt, and 2 minutes between the second and third".
    # Attributes: localstack's recording of AWS of 24-11-2025, test_dead_letter_queue.
    function, url = failing(account)
    later(account, function, {"a": "é", "chars": 2000})
    pass_time(account, lambda: len(starts(account, function)) == 3)
    first, second, third = starts(account, function)
    assert 60 <= second - first < 100
    assert 120 <= third - second < 160
    (message,) = account.messages(url)
    assert json.loads(message["Body"]) == {"a": "é", "chars": 2000}
    attributes = message["MessageAttributes"]
    assert (attributes["ErrorCode"]["DataType"], attributes["ErrorCode"]["StringValue"]) == ("Number", "200")
    assert attributes["ErrorMessage"]["StringValue"] == ("no " + "x" * 2000)[:1024]
    ids = {line for line in account.log(group(function)) if line.startswith("id ")}
    assert ids == {f"id {attributes['RequestID']['StringValue']}"}  # one id through all attempts
    assert metric(account, function, "Errors") == 3


def test_maximum_retry_attempts_zero_tries_once(account):
    # docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html
    function, url = failing(account)
    account.client("lambda").put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=0)
    later(account, function)
    account.messages(url)
    assert len(starts(account, function)) == 1


def test_a_retry_that_would_come_after_the_maximum_age_is_not_made(account):
    # localstack's recording of AWS of 27-11-2025, test_maxeventage: approximateInvokeCount 1.
    function, url = failing(account)
    account.client("lambda").put_function_event_invoke_config(FunctionName=function, MaximumEventAgeInSeconds=60)
    later(account, function)
    account.messages(url)
    assert len(starts(account, function)) == 1


def test_a_throttled_event_waits_until_there_is_room(account):
    # "Lambda returns the event to the queue and attempts to run the function again for up to 6 hours by default", 1 s to 5 minutes apart.
    function, client = account.function(WORKS), account.client("lambda")
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    later(account, function)
    pass_time(account, lambda: metric(account, function, "Throttles") >= 3)
    assert starts(account, function) == []
    client.delete_function_concurrency(FunctionName=function)
    pass_time(account, lambda: len(starts(account, function)) == 1)
    assert metric(account, function, "Errors") == 0


def test_an_event_that_was_throttled_for_too_long_goes_to_the_dead_letter_queue(account):
    # docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html: maximum age of event.
    function, url = failing(account)
    client = account.client("lambda")
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    client.put_function_event_invoke_config(FunctionName=function, MaximumEventAgeInSeconds=60)
    later(account, function, {"late": True})
    sqs = account.client("sqs")
    pass_time(account, lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessages"] == "1")
    assert json.loads(account.messages(url)[0]["Body"]) == {"late": True}
    assert starts(account, function) == []


def test_the_role_must_be_allowed_to_send_to_the_dead_letter_queue(account):
    # docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html#invocation-dlq
    _, arn = account.queue()
    with pytest.raises(ClientError, match="The provided execution role does not have permissions to call SendMessage on SQS") as caught:
        account.function(FAILS, DeadLetterConfig={"TargetArn": arn})
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_an_event_that_cannot_be_sent_to_the_dead_letter_queue_is_counted(account):
    # docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html: DeadLetterErrors.
    function, url = failing(account)
    account.client("lambda").put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=0)
    account.client("sqs").delete_queue(QueueUrl=url)
    later(account, function)
    until(lambda: metric(account, function, "DeadLetterErrors") == 1)


def test_a_retry_runs_the_function_as_it_is_then(account):
    # The queue holds the event, not the code: invocation-async.html
    function, _ = failing(account)
    later(account, function)
    until(lambda: metric(account, function, "Errors") == 1)
    account.client("lambda").update_function_configuration(FunctionName=function, Handler="index.len")
    pass_time(account, lambda: metric(account, function, "Errors") == 2)
    assert any("Handler 'len' missing on module 'index'" in line for line in account.log(group(function)))


def test_events_of_a_deleted_function_are_dropped(account):
    # docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html: ResourceNotFound is not tried again.
    function = account.function(FAILS)
    later(account, function)
    until(lambda: metric(account, function, "Errors") == 1)
    account.client("lambda").delete_function(FunctionName=function)
    account.cloud.clock.advance(400)
    pids = account.cloud._processes.running
    account.cloud.clock.advance(400)
    assert len(starts(account, function)) == 1
    assert set(account.cloud._processes.running) <= set(pids)


@pytest.mark.parametrize("settings", [{"MaximumRetryAttempts": 3}, {"MaximumEventAgeInSeconds": 21601}])
def test_retries_are_at_most_two_and_age_at_most_six_hours(account, settings):
    # docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html
    function = account.function(WORKS)
    with pytest.raises(ClientError, match="failed to satisfy constraint"):
        account.client("lambda").put_function_event_invoke_config(FunctionName=function, **settings)
