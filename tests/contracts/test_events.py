"""The events we read, as AWS documents them."""

from tidemill.events import Failure, ObjectCreated, QueueRecord, SweepEvent, iso

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
    assert (event.detail.object.sequencer, event.detail.object.etag) == ("617f08299329d189", "b1946ac92492d2347c6235b4d2611184")
    assert ObjectCreated.read(OBJECT_CREATED) == event


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


# docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
EXECUTION_TIMED_OUT = """{
  "version": "0", "id": "315c1398-40ff-a850-213b-158f73e60175", "detail-type": "Step Functions Execution Status Change",
  "source": "aws.states", "account": "123456789012", "time": "2019-02-26T19:42:21Z", "region": "us-east-1",
  "resources": ["arn:aws:states:us-east-1:123456789012:execution:machine:boats-0007"],
  "detail": {
    "executionArn": "arn:aws:states:us-east-1:123456789012:execution:machine:boats-0007",
    "stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:machine", "name": "boats-0007", "status": "TIMED_OUT",
    "startDate": 1551224926156, "stopDate": 1551224927157, "input": "{\\"model\\": \\"boats\\", \\"epoch\\": 7}", "output": null,
    "inputDetails": {"included": true}, "outputDetails": null, "error": null, "cause": null}}"""


def test_the_end_of_an_execution_is_read_with_its_model_and_its_start():
    event = SweepEvent.model_validate_json(EXECUTION_TIMED_OUT)
    assert event.model == "boats"
    assert event.execution.status == "TIMED_OUT"
    assert event.execution.started_at == "2019-02-26T23:48:46.156Z"


# docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event.html
def test_a_schedules_event_names_no_execution():
    event = SweepEvent.model_validate({"detail-type": "Scheduled Event", "source": "aws.events", "time": "2019-02-26T19:42:21Z", "detail": {}})
    assert (event.execution, event.model) == (None, None)
