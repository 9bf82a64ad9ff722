"""The events we read, as AWS documents them."""

from tidemill.events import Failure, ObjectCreated, QueueRecord
from tidemill.steps.intake import iso

# docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
OBJECT_CREATED = """{
  "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created", "source": "aws.s3",
  "account": "111122223333", "time": "2021-11-12T00:00:00Z", "region": "ca-central-1", "resources": ["arn:aws:s3:::amzn-s3-demo-bucket1"],
  "detail": {
    "version": "0", "bucket": {"name": "amzn-s3-demo-bucket1"},
    "object": {"key": "boats/data/a b+ü.csv", "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184",
      "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "sequencer": "617f08299329d189"},
    "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012", "source-ip-address": "1.2.3.4", "reason": "PutObject"}}"""


def test_an_s3_event_is_read_with_its_key_unencoded():
    event = ObjectCreated.model_validate_json(OBJECT_CREATED)
    assert event.detail.object.key == "boats/data/a b+ü.csv"
    assert event.detail.object.version_id == "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"


def test_an_unversioned_object_has_the_version_null():
    event = ObjectCreated.model_validate({"detail": {"bucket": {"name": "b"}, "object": {"key": "k", "size": 1}}})
    assert event.detail.object.version_id == "null"


# docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
def test_a_queue_record_carries_the_times():
    record = QueueRecord.model_validate(
        {
            "messageId": "059f36b4", "receiptHandle": "AQEB", "body": "{}", "md5OfBody": "e4", "eventSource": "aws:sqs", "awsRegion": "us-east-2",
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183", "ApproximateFirstReceiveTimestamp": "1545082649185"},
        }
    )  # fmt: skip
    assert iso(record.sent_ms) == "2018-12-17T21:37:29.183Z"
    assert record.first_received_ms - record.sent_ms == 2


def test_a_cause_is_told_in_its_own_words():
    told = str(Failure(state="Prepare", error="UploadRefused", cause='{"errorMessage": "empty", "errorType": "UploadRefused", "stackTrace": []}'))
    assert told == "Prepare: UploadRefused: empty"
    assert str(Failure(state="S", error="E", cause="plain")) == "S: E: plain"
    assert str(Failure(state="S", error="E", cause="[1]")) == "S: E: [1]"
