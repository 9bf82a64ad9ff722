"""What sends events by itself, S3 and schedules; SQS in localcloud's time; faults on deliveries.

EV: docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html. LS: github.com/localstack/localstack
tests/aws/services/s3/test_s3_notifications_eventbridge.snapshot.json, recorded against AWS.
"""

import json
import re
from datetime import UTC, datetime

import pytest

from localcloud import ACCOUNT, REGION
from localcloud.faults import Fault
from tests.conformance.conftest import until

EVENTS = "events.amazonaws.com"


def watched_bucket(account, *, versioned: bool = False, notifies: bool = True) -> tuple[str, str]:
    """A bucket that tells EventBridge, and the URL of a queue with what it tells."""
    s3, events, bucket = account.client("s3"), account.client("events"), account.name("bucket")
    s3.create_bucket(Bucket=bucket)
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    if notifies:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    return bucket, watch(account, {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}, events)


def watch(account, pattern: dict, events) -> str:
    url, arn = account.open_queue(EVENTS)
    name = account.name("rule")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    return url


def scheduled(account, schedule: str) -> tuple[str, str]:
    """A scheduled rule's name, and the URL of the queue that it feeds."""
    url, arn = account.open_queue(EVENTS)
    name = account.name("schedule")
    account.client("events").put_rule(Name=name, ScheduleExpression=schedule)
    account.client("events").put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    return name, url


def told(account, url: str, number: int = 1) -> list[dict]:
    """The next events, in the order in which they happened."""
    found = [json.loads(message["Body"]) for message in account.messages(url, number)]
    return sorted(found, key=lambda event: int(event["detail"]["object"]["sequencer"], 16))


def sent(account, source: str, *numbers: int) -> None:
    entries = [{"Source": source, "DetailType": source, "Detail": json.dumps({"n": number})} for number in numbers]
    assert account.client("events").put_events(Entries=entries)["FailedEntryCount"] == 0


def numbers(account, url: str, expected: int) -> list[int]:
    return [json.loads(message["Body"])["detail"]["n"] for message in account.messages(url, expected)]


def test_a_new_object_is_told_as_s3_tells_it(account):
    # EV; LS test_object_created_put: the members of an Object Created event
    bucket, url = watched_bucket(account)
    account.client("s3").put_object(Bucket=bucket, Key="a b/ü.csv", Body=b"hello")
    [event] = told(account, url)
    detail = event.pop("detail")
    assert re.fullmatch("[0-9a-f]{16}", detail["object"].pop("sequencer"))
    assert re.fullmatch("[0-9A-Z]{16}", detail.pop("request-id"))
    assert detail.pop("source-ip-address")
    assert detail == {
        "version": "0", "bucket": {"name": bucket}, "requester": ACCOUNT, "reason": "PutObject",
        "object": {"key": "a b/ü.csv", "size": 5, "etag": "5d41402abc4b2a76b9719d911017c592"},
    }  # fmt: skip
    fixed = {"version": "0", "detail-type": "Object Created", "source": "aws.s3", "account": ACCOUNT, "region": REGION}
    assert event == fixed | {"resources": [f"arn:aws:s3:::{bucket}"], "id": event["id"], "time": event["time"]}


def test_the_reason_says_how_the_object_was_made(account):
    # EV: "reason: the API that was used to create the object"; one event each
    bucket, url = watched_bucket(account)
    s3 = account.client("s3")
    s3.put_object(Bucket=bucket, Key="put", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "put"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"xyz")["ETag"]
    whole = s3.complete_multipart_upload(
        Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
    )["ETag"]  # fmt: skip
    s3.put_object(Bucket=bucket, Key="last", Body=b"x")
    events = told(account, url, 4)
    assert [(event["detail"]["object"]["key"], event["detail"]["reason"]) for event in events] == [
        ("put", "PutObject"), ("copied", "CopyObject"), ("parts", "CompleteMultipartUpload"), ("last", "PutObject"),
    ]  # fmt: skip
    assert events[2]["detail"]["object"]["etag"] == whole.strip('"')
    assert events[2]["detail"]["object"]["size"] == 3


def test_a_deleted_object_is_told_without_its_size(account):
    # LS test_object_created_put (object_deleted): neither size nor etag
    bucket, url = watched_bucket(account)
    s3 = account.client("s3")
    s3.put_object(Bucket=bucket, Key="one", Body=b"x")
    s3.put_object(Bucket=bucket, Key="two", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="one")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "two"}]})
    deleted = told(account, url, 4)[2:]
    assert [(event["detail-type"], event["detail"]["object"].pop("sequencer") and event["detail"]["object"]) for event in deleted] == [
        ("Object Deleted", {"key": "one"}), ("Object Deleted", {"key": "two"}),
    ]  # fmt: skip
    assert {(event["detail"]["reason"], event["detail"]["deletion-type"]) for event in deleted} == {("DeleteObject", "Permanently Deleted")}


def test_a_versioned_object_is_marked_deleted_or_loses_a_version(account):
    # EV: "deletion-type: Permanently Deleted or Delete Marker Created"; docs.aws.amazon.com/AmazonS3/latest/userguide/DeletingObjectVersions.html
    bucket, url = watched_bucket(account, versioned=True)
    s3 = account.client("s3")
    first, second = (s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"1", b"2"))
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": second}]})
    events = [event["detail"] for event in told(account, url, 6)]
    assert [(detail.get("deletion-type"), detail["object"]["version-id"]) for detail in events] == [
        (None, first), (None, second), ("Delete Marker Created", marker), ("Permanently Deleted", first), ("Permanently Deleted", marker),
        ("Permanently Deleted", second),
    ]  # fmt: skip


@pytest.mark.parametrize("versioned", [False, True])
def test_a_bucket_without_eventbridge_tells_nothing(account, versioned):
    # docs.aws.amazon.com/AmazonS3/latest/userguide/enable-event-notifications-eventbridge.html
    bucket, url = watched_bucket(account, versioned=versioned, notifies=False)
    other, watched = watched_bucket(account)
    for name in (bucket, other):
        account.client("s3").put_object(Bucket=name, Key="k", Body=b"x")
        account.client("s3").delete_object(Bucket=name, Key="k")
    told(account, watched, 2)
    assert "Messages" not in account.client("sqs").receive_message(QueueUrl=url)


def test_a_delayed_message_is_hidden_until_its_time(account):
    # docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html
    sqs, (url, _) = account.client("sqs"), account.queue()
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=600)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    account.cloud.clock.advance(599)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    account.cloud.clock.advance(2)
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "later"


def test_a_received_message_comes_back_after_the_visibility_timeout(account):
    # docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
    sqs, (url, _) = account.client("sqs"), account.queue(VisibilityTimeout="300")
    sqs.send_message(QueueUrl=url, MessageBody="again")
    first = sqs.receive_message(QueueUrl=url)["Messages"][0]
    account.cloud.clock.advance(290)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=100)
    account.cloud.clock.advance(90)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    account.cloud.clock.advance(11)
    [second] = sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert (second["MessageId"], second["Attributes"]["ApproximateReceiveCount"]) == (first["MessageId"], "2")


# Schedules: docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html


def test_a_rate_fires_each_time_it_has_passed(account):
    name, url = scheduled(account, "rate(5 minutes)")
    began = account.cloud.clock.now()
    account.cloud.clock.advance(290)
    account.cloud.clock.advance(15)
    [message] = account.messages(url)
    event = json.loads(message["Body"])
    # github.com/localstack/localstack tests/aws/services/events/test_events_schedule.snapshot.json
    fixed = {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "account": ACCOUNT, "region": REGION, "detail": {}}
    assert event == fixed | {"id": event["id"], "time": event["time"], "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"]}
    assert 299 <= datetime.fromisoformat(event["time"]).timestamp() - began <= 302
    account.cloud.clock.advance(300)
    assert json.loads(account.messages(url)[0]["Body"])["id"] != event["id"]


def test_cron_fires_at_its_times_only_while_the_rule_is_enabled(account):
    # docs.aws.amazon.com/eventbridge/latest/APIReference/API_DisableRule.html
    wanted = int(account.cloud.clock.now()) // 3600 * 3600 + 7200 + 15 * 60
    hours = [datetime.fromtimestamp(wanted + later, UTC).hour for later in (0, 3600)]
    name, url = scheduled(account, f"cron(15 {hours[0]},{hours[1]} * * ? *)")
    _, other = scheduled(account, f"cron(15 {hours[1]} * * ? *)")
    account.cloud.clock.advance(wanted - account.cloud.clock.now() + 1)
    assert json.loads(account.messages(url)[0]["Body"])["time"] == datetime.fromtimestamp(wanted, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    account.client("events").disable_rule(Name=name)
    account.cloud.clock.advance(3600)
    account.messages(other)
    assert "Messages" not in account.client("sqs").receive_message(QueueUrl=url)


def test_a_deleted_schedule_fires_no_more(account):
    # docs.aws.amazon.com/eventbridge/latest/APIReference/API_DeleteRule.html
    name, url = scheduled(account, "rate(1 hour)")
    _, other = scheduled(account, "rate(1 hour)")
    account.client("events").remove_targets(Rule=name, Ids=["q"])
    account.client("events").delete_rule(Name=name)
    account.cloud.clock.advance(3601)
    account.messages(other)
    assert "Messages" not in account.client("sqs").receive_message(QueueUrl=url)


# Faults on deliveries: EventBridge delivers at least once and in no order (docs.aws.amazon.com/eventbridge/latest/userguide/eb-what-is.html).


@pytest.fixture
def stream(account):
    """(source, queue's URL): what is sent from the source arrives in the queue."""
    source = account.name("source")
    return source, watch(account, {"source": [source]}, account.client("events"))


def test_a_delivery_can_come_twice(account, stream):
    source, url = stream
    account.cloud.faults.set(Fault(f"deliver:{source}", "duplicate", seconds=30, times=1))
    sent(account, source, 1, 2)
    assert sorted(numbers(account, url, 2)) == [1, 2]
    account.cloud.clock.advance(31)
    assert numbers(account, url, 1) == [1]


def test_deliveries_can_be_held_back_so_that_later_ones_overtake_them(account, stream):
    source, url = stream
    account.cloud.faults.set(Fault(f"deliver:{source}", "reorder", seconds=60, times=1))
    sent(account, source, 1, 2)
    assert numbers(account, url, 1) == [2]
    account.cloud.clock.advance(61)
    assert numbers(account, url, 1) == [1]


def test_deliveries_can_be_delayed_or_lost(account, stream):
    source, url = stream
    account.cloud.faults.set(Fault(f"deliver:{source}", "drop", times=1), Fault(f"deliver:{source}", "delay", seconds=60, skip=1, times=1))
    sent(account, source, 1, 2, 3)
    assert numbers(account, url, 1) == [3]
    account.cloud.clock.advance(61)
    assert numbers(account, url, 1) == [2]
    assert account.cloud.faults.strikes() == 2
    until(lambda: "Messages" not in account.client("sqs").receive_message(QueueUrl=url))
