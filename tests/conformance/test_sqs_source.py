"""SQS queues as event sources of functions: docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""

import json
import time

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow, until

TELL = """
import boto3, json, os
def tell(event):
    boto3.client('sqs').send_message(QueueUrl=os.environ['REPORT'], MessageBody=json.dumps(event))
"""
BATCHES = TELL + "def handler(event, context):\n    tell([r['body'] for r in event['Records']])\n"
RECORDS = TELL + "def handler(event, context):\n    tell(event)\n"
FAILS = BATCHES + "    raise ValueError('no')\n"
ANSWERS = BATCHES + "    return json.loads(os.environ['ANSWER'].replace('ID', event['Records'][0]['messageId']))\n"
FEED = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]


class Feed:
    """A queue, a function that it feeds, and a queue in which the function tells what it got."""

    def __init__(self, account, source: str, queue: dict | None = None, answer: object = None, timeout: int = 10, **mapping):
        self.account = account
        self.url, self.arn = account.queue(**(queue or {}))
        self.report, report_arn = account.queue()
        variables = {"REPORT": self.report} | ({} if answer is None else {"ANSWER": json.dumps(answer)})
        self.function = account.function(
            source, allow(FEED, self.arn), allow("sqs:SendMessage", report_arn), Timeout=timeout, Environment={"Variables": variables}
        )
        self.mapping = account.client("lambda").create_event_source_mapping(EventSourceArn=self.arn, FunctionName=self.function, **mapping)

    def send(self, *bodies: str, **more) -> list[str]:
        """Send messages, all at once as far as may be; their ids."""
        ids: list[str] = []
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(i), "MessageBody": body, **more} for i, body in enumerate(bodies[start : start + 10])]
            sent = self.account.client("sqs").send_message_batch(QueueUrl=self.url, Entries=entries)["Successful"]
            ids += [each["MessageId"] for each in sorted(sent, key=lambda each: int(each["Id"]))]
        return ids

    def told(self, number: int = 1) -> list:
        """What the function told, once it did so `number` times."""
        return [json.loads(message["Body"]) for message in self.account.messages(self.report, number)]

    def nothing_told(self) -> bool:
        return "Messages" not in self.account.client("sqs").receive_message(QueueUrl=self.report)

    def left(self) -> tuple[int, int]:
        """(visible, in flight)"""
        got = self.account.client("sqs").get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return int(got["ApproximateNumberOfMessages"]), int(got["ApproximateNumberOfMessagesNotVisible"])

    def pause(self) -> None:
        """Stop polling, and be sure that it has stopped: polling looks at the mapping every 20 ms."""
        self.account.client("lambda").update_event_source_mapping(UUID=self.mapping["UUID"], Enabled=False)
        settle()

    def resume(self) -> None:
        self.account.client("lambda").update_event_source_mapping(UUID=self.mapping["UUID"], Enabled=True)


def settle() -> None:
    """Time in which a poller that should do nothing would have done something; absence has no event to wait for."""
    time.sleep(0.2)


@pytest.fixture
def feed(account):
    """Makes feeds, and deletes their mappings in the end: other tests move the clock."""
    made: list[Feed] = []

    def make(*arguments, **more) -> Feed:
        made.append(Feed(account, *arguments, **more))
        return made[-1]

    yield make
    for each in made:
        account.client("lambda").delete_event_source_mapping(UUID=each.mapping["UUID"])


def test_a_mapping_is_described_with_its_defaults(account, feed):
    # docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html; localstack's recording of AWS of 25-11-2025.
    fed = feed(RECORDS)
    mapping, client = fed.mapping, account.client("lambda")
    assert (mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"], mapping["FunctionResponseTypes"]) == (10, 0, [])
    assert (mapping["State"], mapping["StateTransitionReason"]) == ("Creating", "USER_INITIATED")
    assert mapping["EventSourceMappingArn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{mapping['UUID']}"
    assert client.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Enabled"
    by_queue = client.list_event_source_mappings(EventSourceArn=fed.arn)["EventSourceMappings"]
    by_function = client.list_event_source_mappings(FunctionName=fed.function.rpartition(":")[2])["EventSourceMappings"]
    assert [each["UUID"] for each in by_queue] == [each["UUID"] for each in by_function] == [mapping["UUID"]]


def test_a_record_has_the_shape_aws_documents(account, feed):
    # docs.aws.amazon.com/lambda/latest/dg/with-sqs.html, example event; localstack's test_message_body_and_attributes_passed_correctly.
    fed = feed(RECORDS)
    attributes = {
        "colour": {"DataType": "String", "StringValue": "blue"},
        "size": {"DataType": "Number", "StringValue": "5"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }
    (id_,) = fed.send("é", MessageAttributes=attributes)
    ((record,),) = [told["Records"] for told in fed.told()]
    empty = {"stringListValues": [], "binaryListValues": []}
    assert record.pop("messageAttributes") == {
        "colour": {"stringValue": "blue", "dataType": "String", **empty},
        "size": {"stringValue": "5", "dataType": "Number", **empty},
        "raw": {"binaryValue": "AAE=", "dataType": "Binary", **empty},
    }
    assert set(record.pop("attributes")) == {"ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"}
    assert record.pop("receiptHandle")
    assert len(record.pop("md5OfMessageAttributes")) == 32
    assert record == {
        "messageId": id_, "body": "é", "md5OfBody": "66ddcd97cfdeabb2f6fb8a999b4bc76f",
        "eventSource": "aws:sqs", "eventSourceARN": fed.arn, "awsRegion": REGION,
    }  # fmt: skip
    until(lambda: fed.left() == (0, 0))  # what was handled is deleted


def test_a_batch_has_at_most_the_batch_size(account, feed):
    # docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    fed = feed(BATCHES, BatchSize=3, Enabled=False)
    fed.send(*"abcdefgh")
    fed.resume()
    batches = fed.told(3)
    assert sorted(len(batch) for batch in batches) == [2, 3, 3]
    assert sorted(body for batch in batches for body in batch) == list("abcdefgh")


def test_a_window_gathers_until_it_has_passed(account, feed):
    # docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching
    fed = feed(BATCHES, {"VisibilityTimeout": "900"}, BatchSize=100, MaximumBatchingWindowInSeconds=300)
    fed.send("early")
    until(lambda: fed.left() == (0, 1))
    fed.send(*(str(i) for i in range(14)))
    until(lambda: fed.left() == (0, 15))
    account.cloud.clock.advance(200)
    settle()
    assert fed.nothing_told()
    account.cloud.clock.advance(101)
    (batch,) = fed.told()
    assert sorted(batch) == sorted(["early", *(str(i) for i in range(14))])


def test_a_full_batch_does_not_wait_for_its_window(account, feed):
    # Same page: the window ends when it has passed, the batch size is met or the payload reaches 6 MB.
    fed = feed(BATCHES, {"VisibilityTimeout": "900"}, BatchSize=12, MaximumBatchingWindowInSeconds=300)
    fed.send(*(str(i) for i in range(12)))
    assert len(fed.told()[0]) == 12


def test_messages_stay_hidden_through_a_window_longer_than_the_queues_timeout(account, feed):
    # awsdocs/aws-lambda-developer-guide doc_source/with-sqs.md: the effective timeout is window + function timeout + 30 s then.
    fed = feed(BATCHES, {"VisibilityTimeout": "30"}, BatchSize=100, MaximumBatchingWindowInSeconds=300)
    fed.send("once")
    until(lambda: fed.left() == (0, 1))
    for _ in range(5):
        account.cloud.clock.advance(50)
        settle()
        assert fed.left() == (0, 1)
    account.cloud.clock.advance(60)
    assert fed.told() == [["once"]]
    until(lambda: fed.left() == (0, 0))


def test_a_batch_larger_than_a_payload_is_invoked_in_parts(account, feed):
    # docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html: a payload has at most 6 MB.
    source = TELL + "def handler(event, context):\n    tell(len(event['Records']))\n"
    fed = feed(source, BatchSize=10, Enabled=False)
    for _ in range(9):
        fed.send("x" * 1_000_000)
    fed.resume()
    parts = fed.told(2)
    assert sum(parts) == 9
    assert max(parts) <= 6


def test_a_failed_batch_comes_back_after_the_visibility_timeout_and_then_goes_to_the_dead_letter_queue(account, feed):
    # docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    dead, dead_arn = account.queue()
    fed = feed(FAILS, {"VisibilityTimeout": "60", "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "2"})})
    (id_,) = fed.send("bad")
    assert fed.told() == [["bad"]]
    assert fed.left() == (0, 1)
    account.cloud.clock.advance(50)
    settle()
    assert fed.nothing_told()
    account.cloud.clock.advance(15)
    assert fed.told() == [["bad"]]
    account.cloud.clock.advance(65)
    (message,) = account.messages(dead)
    assert (message["MessageId"], message["Body"]) == (id_, "bad")
    assert fed.left() == (0, 0)


def test_reported_failures_come_back_alone(account, feed):
    # docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    answer = {"batchItemFailures": [{"itemIdentifier": "ID"}]}
    fed = feed(ANSWERS, {"VisibilityTimeout": "60"}, answer, FunctionResponseTypes=["ReportBatchItemFailures"], Enabled=False)
    fed.send("first", "second", "third")
    fed.resume()
    (batch,) = fed.told()
    until(lambda: fed.left() == (0, 1))
    fed.pause()
    account.cloud.clock.advance(65)
    (back,) = account.client("sqs").receive_message(QueueUrl=fed.url)["Messages"]
    assert back["Body"] == batch[0]


@pytest.mark.parametrize(
    "answer",
    [
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"foo": "ID"}]},
        {"batchItemFailures": [{"itemIdentifier": "no such message"}]},
        {"batchItemFailures": [{"itemIdentifier": "ID"}, {"itemIdentifier": "no such message"}]},
        {"batchItemFailures": "all"},
        {"batchItemFailures": 5},
        "no report",
    ],
    ids=str,
)
def test_a_malformed_report_fails_the_whole_batch(account, feed, answer):
    # Same page, "success and failure conditions"; localstack's recordings of AWS test_report_batch_item_failures_*.
    fed = feed(ANSWERS, {"VisibilityTimeout": "60"}, answer, FunctionResponseTypes=["ReportBatchItemFailures"], Enabled=False)
    fed.send("first", "second")
    fed.resume()
    assert sorted(fed.told()[0]) == ["first", "second"]
    settle()
    assert fed.left() == (0, 2)


@pytest.mark.parametrize("answer", [{"batchItemFailures": []}, {"batchItemFailures": None}, {}], ids=str)
def test_an_empty_report_is_a_success(account, feed, answer):
    # Same page: an empty or null batchItemFailures list, an empty or null response.
    fed = feed(ANSWERS, None, answer, FunctionResponseTypes=["ReportBatchItemFailures"])
    fed.send("first", "second")
    until(lambda: fed.left() == (0, 0))
    fed.told()


def test_without_reporting_an_answer_means_nothing(account, feed):
    # Same page: FunctionResponseTypes must include ReportBatchItemFailures.
    fed = feed(ANSWERS, None, {"batchItemFailures": [{"itemIdentifier": "ID"}]})
    fed.send("first")
    fed.told()
    until(lambda: fed.left() == (0, 0))


def test_a_throttled_batch_comes_back(account, feed):
    # docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html: throttled messages return to the queue.
    fed = feed(BATCHES, {"VisibilityTimeout": "60"})
    account.client("lambda").put_function_concurrency(FunctionName=fed.function, ReservedConcurrentExecutions=0)
    fed.send("patient")
    until(lambda: fed.left() == (0, 1))
    account.client("lambda").delete_function_concurrency(FunctionName=fed.function)
    account.cloud.clock.advance(65)
    assert fed.told() == [["patient"]]


def test_a_delayed_message_is_handled_when_its_delay_has_passed(account, feed):
    # docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html
    fed = feed(BATCHES, {"DelaySeconds": "120"})
    fed.send("later")
    account.cloud.clock.advance(100)
    settle()
    assert fed.nothing_told()
    account.cloud.clock.advance(25)
    assert fed.told() == [["later"]]


def test_a_disabled_mapping_leaves_the_queue_alone(account, feed):
    # docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html: Enabled.
    fed = feed(BATCHES, Enabled=False)
    assert account.client("lambda").get_event_source_mapping(UUID=fed.mapping["UUID"])["State"] == "Disabled"
    fed.send("waiting")
    settle()
    assert fed.left() == (1, 0)
    fed.resume()
    assert fed.told() == [["waiting"]]


def test_a_deleted_mapping_feeds_no_more_and_a_new_batch_size_holds(account, feed):
    # docs.aws.amazon.com/lambda/latest/api/API_DeleteEventSourceMapping.html
    fed, client = feed(BATCHES, Enabled=False), account.client("lambda")
    client.update_event_source_mapping(UUID=fed.mapping["UUID"], BatchSize=1)
    fed.send("a", "b")
    fed.resume()
    assert sorted(fed.told(2)) == [["a"], ["b"]]
    assert client.delete_event_source_mapping(UUID=fed.mapping["UUID"])["State"] == "Deleting"
    settle()
    fed.send("c")
    settle()
    assert fed.left() == (1, 0)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_event_source_mapping(UUID=fed.mapping["UUID"])
    fed.mapping = client.create_event_source_mapping(EventSourceArn=fed.arn, FunctionName=fed.function)
    assert fed.told() == [["c"]]


def test_a_queue_that_was_deleted_does_not_stop_the_others(account, feed):
    gone, alive = feed(BATCHES), feed(BATCHES)
    account.client("sqs").delete_queue(QueueUrl=gone.url)
    settle()
    later = feed(BATCHES)
    alive.send("a")
    later.send("b")
    assert (alive.told(), later.told()) == ([["a"]], [["b"]])


def refused(account, function: str, queue: str, **more) -> dict:
    """The error of creating a mapping."""
    with pytest.raises(ClientError) as caught:
        account.client("lambda").create_event_source_mapping(EventSourceArn=queue, FunctionName=function, **more)
    return caught.value.response["Error"]


def test_a_queue_must_hide_messages_as_long_as_the_function_may_run(account):
    # docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html; wording: an SDK's dump (/tmp research, section 3).
    _, arn = account.queue(VisibilityTimeout="30")
    function = account.function(BATCHES, allow(FEED, arn), Timeout=60)
    error = refused(account, function, arn)
    assert (error["Code"], error["Message"]) == (
        "InvalidParameterValueException", "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds",
    )  # fmt: skip


@pytest.mark.parametrize("lacking", FEED)
def test_the_role_needs_all_three_permissions(account, lacking):
    # docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
    _, arn = account.queue()
    function = account.function(BATCHES, allow([action for action in FEED if action != lacking], arn))
    error = refused(account, function, arn)
    assert error["Code"] == "InvalidParameterValueException"
    assert error["Message"] == f"The provided execution role does not have permissions to call {lacking.removeprefix('sqs:')} on SQS"


def test_a_large_batch_needs_a_window_and_a_queue_must_exist_and_be_mapped_once(account, feed):
    # Wordings: localstack's recordings of AWS, test_lambda_integration_sqs.snapshot.json.
    fed, client = feed(BATCHES), account.client("lambda")
    _, other = account.queue()
    account.grant(client.get_function_configuration(FunctionName=fed.function)["Role"], allow(FEED, "*"))
    error = refused(account, fed.function, other, BatchSize=11)
    assert error["Message"] == "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    with pytest.raises(ClientError, match="Maximum batch window in seconds must be greater than 0"):
        client.update_event_source_mapping(UUID=fed.mapping["UUID"], BatchSize=11)
    error = refused(account, fed.function, f"{fed.arn}-not-there")
    assert (error["Code"], "AWS.SimpleQueueService.NonExistentQueue" in error["Message"]) == ("InvalidParameterValueException", True)
    error = refused(account, fed.function, fed.arn)
    assert error["Code"] == "ResourceConflictException"
    assert error["Message"].endswith(f"Please update or delete the existing mapping with UUID {fed.mapping['UUID']}")
    assert refused(account, "no-such-function", fed.arn)["Code"] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "more",
    [
        {"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}},
        {"ScalingConfig": {"MaximumConcurrency": 2}},
        {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:q"}}},
        {"KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k"},
        {"MetricsConfig": {"Metrics": ["EventCount"]}},
        {"ProvisionedPollerConfig": {"MinimumPollers": 2}},
        {"BisectBatchOnFunctionError": True},
        {"StartingPosition": "LATEST"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_localcloud_would_ignore_of_a_mapping_is_refused_by_name(account, more):
    _, arn = account.queue()
    error = refused(account, account.function(BATCHES, allow(FEED, arn)), arn, **more)
    assert error["Code"] == "NotSupportedByLocalcloud"
    assert next(iter(more)) in error["Message"]


def test_other_sources_than_queues_are_refused_by_name(account):
    stream = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
    error = refused(account, account.function(BATCHES), stream)
    assert (error["Code"], stream in error["Message"]) == ("NotSupportedByLocalcloud", True)
