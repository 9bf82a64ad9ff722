"""Alarms, judged each minute of localcloud's clock, and what they tell.

API: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference. UG: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring. LS:
github.com/localstack/localstack tests/aws/services/cloudwatch/test_cloudwatch.snapshot.json, recorded against AWS.
"""

import json
import re

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from localcloud.faults import Fault

CLOUDWATCH = "cloudwatch.amazonaws.com"


@pytest.fixture(autouse=True)
def on_the_minute(account):
    """Each test begins with a new minute, so that its data lie in the period it means."""
    next_minute(account)


def next_minute(account, number: int = 1) -> None:
    """Until half a second after the minute, when alarms have been judged."""
    for _ in range(number):
        account.cloud.clock.advance(60.5 - account.cloud.clock.now() % 60)


def alarm(account, namespace: str, **more) -> str:
    """An alarm at more than 5 in one minute."""
    name = account.name("alarm")
    settings = {
        "Namespace": namespace, "MetricName": "m", "Statistic": "Maximum", "Period": 60, "EvaluationPeriods": 1,
        "Threshold": 5, "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    if "Metrics" in more:
        settings = {key: settings[key] for key in ("EvaluationPeriods", "Threshold", "ComparisonOperator")}
    account.client("cloudwatch").put_metric_alarm(AlarmName=name, **settings | more)
    return name


def measured(account, namespace: str, *values: float, name: str = "m") -> None:
    """A value a minute, and each minute judged."""
    for value in values:
        account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[{"MetricName": name, "Value": value}])
        next_minute(account)


def shown(account, name: str) -> dict:
    return account.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]


def state(account, name: str) -> str:
    return shown(account, name)["StateValue"]


def history(account, name: str, kind: str) -> list[dict]:
    return account.client("cloudwatch").describe_alarm_history(AlarmName=name, HistoryItemType=kind)["AlarmHistoryItems"]


def topic(account, service: str = CLOUDWATCH) -> tuple[str, str]:
    """A topic that a service may publish to, and the URL of a queue that is subscribed to it."""
    arn = account.client("sns").create_topic(Name=account.name("topic"))["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sns:Publish", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    url, queue = account.open_queue("sns.amazonaws.com")
    account.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    return arn, url


def heard(account, url: str) -> tuple[str, dict]:
    """Subject and message of the next notification."""
    envelope = json.loads(account.messages(url)[0]["Body"])
    return envelope["Subject"], json.loads(envelope["Message"])


def silent(account, url: str) -> bool:
    return "Messages" not in account.client("sqs").receive_message(QueueUrl=url)


def refused(call, **arguments) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture
def namespace(account) -> str:
    return account.name("Space")


# States: UG alarm-evaluation.html, alarms-and-missing-data.html


def test_an_alarm_rings_and_calms_down(account, namespace):
    name = alarm(account, namespace)
    fresh = shown(account, name)
    # LS test_describe_minimal_metric_alarm
    assert (fresh["StateValue"], fresh["StateReason"]) == ("INSUFFICIENT_DATA", "Unchecked: Initial alarm creation")
    assert fresh["AlarmArn"] == f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
    measured(account, namespace, 3)
    assert state(account, name) == "OK"
    measured(account, namespace, 7)
    ringing = shown(account, name)
    assert ringing["StateValue"] == "ALARM"
    # LS test_put_metric_alarm: the words without DatapointsToAlarm
    words = r"Threshold Crossed: 1 datapoint \[7\.0 \(\d\d/\d\d/\d\d \d\d:\d\d:\d\d\)\] was greater than the threshold \(5\.0\)\."
    assert re.fullmatch(words, ringing["StateReason"])
    data = json.loads(ringing["StateReasonData"])
    assert (data["version"], data["statistic"], data["period"], data["recentDatapoints"], data["threshold"]) == ("1.0", "Maximum", 60, [7.0], 5.0)
    measured(account, namespace, 5)
    assert state(account, name) == "OK"


def test_with_datapoints_to_alarm_the_reason_says_how_many(account, namespace):
    # UG cloudwatch-and-eventbridge.html (sample event)
    name = alarm(account, namespace, DatapointsToAlarm=1)
    measured(account, namespace, 7)
    words = r"Threshold Crossed: 1 out of the last 1 datapoints \[7\.0 \(.*\)\] was greater than the threshold \(5\.0\) "
    assert re.fullmatch(words + r"\(minimum 1 datapoint for OK -> ALARM transition\)\.", shown(account, name)["StateReason"])


def test_m_out_of_n_datapoints_ring(account, namespace):
    name = alarm(account, namespace, EvaluationPeriods=3, DatapointsToAlarm=2)
    seen = []
    for value in (1, 1, 7, 1, 7, 1, 1, 1):
        measured(account, namespace, value)
        seen.append(state(account, name))
    assert seen == ["OK", "OK", "OK", "OK", "ALARM", "OK", "OK", "OK"]


@pytest.mark.parametrize(
    ("treatment", "after_ok", "after_alarm"),
    [
        ("missing", "INSUFFICIENT_DATA", "INSUFFICIENT_DATA"), ("ignore", "OK", "ALARM"), ("breaching", "ALARM", "ALARM"),
        ("notBreaching", "OK", "OK"),
    ],
)  # fmt: skip
def test_missing_data_are_treated_as_the_alarm_says(account, namespace, treatment, after_ok, after_alarm):
    # UG alarms-and-missing-data.html
    calm = alarm(account, namespace, TreatMissingData=treatment)
    ringing = alarm(account, namespace, TreatMissingData=treatment, MetricName="n")
    account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "n", "Value": 9}])
    measured(account, namespace, 1)
    assert (state(account, calm), state(account, ringing)) == ("OK", "ALARM")
    next_minute(account, 5)
    assert (state(account, calm), state(account, ringing)) == (after_ok, after_alarm)


def test_the_reason_tells_of_missing_data(account, namespace):
    # LS test_breaching_alarm_actions
    name = alarm(account, namespace, TreatMissingData="breaching", EvaluationPeriods=2)
    next_minute(account)
    words = "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as [Breaching]."
    assert (state(account, name), shown(account, name)["StateReason"]) == ("ALARM", words)


def test_an_alarm_watches_an_expression(account, namespace):
    # UG Create-alarm-on-metric-math-expression.html
    def metric(id_: str, name: str) -> dict:
        return {"Id": id_, "MetricStat": {"Metric": {"Namespace": namespace, "MetricName": name}, "Period": 60, "Stat": "Sum"}, "ReturnData": False}

    rate = {"Id": "rate", "Expression": "100 * e / c", "Label": "Error rate", "ReturnData": True}
    arn, url = topic(account)
    name = alarm(account, namespace, Metrics=[rate, metric("e", "errors"), metric("c", "calls")], AlarmActions=[arn])
    for errors in (1, 30):
        account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "errors", "Value": errors}])
        measured(account, namespace, 100, name="calls")
    assert state(account, name) == "ALARM"
    # github.com/aws/aws-lambda-go events/testdata/cloudwatch-alarm-sns-payload-multiple-metrics.json
    trigger = heard(account, url)[1]["Trigger"]
    assert [query["Id"] for query in trigger["Metrics"]] == ["rate", "e", "c"]
    assert trigger["Metrics"][0]["Expression"] == "100 * e / c"
    assert trigger["Metrics"][1]["MetricStat"]["Metric"]["MetricName"] == "errors"
    assert not {"MetricName", "Namespace", "Statistic"} & set(trigger)


def test_an_alarm_with_a_unit_sees_data_of_that_unit_only(account, namespace):
    # API API_PutMetricAlarm.html (Unit)
    name = alarm(account, namespace, Unit="Seconds")
    account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "m", "Value": 1, "Unit": "Seconds"}])
    measured(account, namespace, 9)
    assert state(account, name) == "OK"


def test_an_alarm_watches_a_percentile(account, namespace):
    # API API_PutMetricAlarm.html (ExtendedStatistic)
    settings = {"MetricName": "m", "Namespace": namespace, "Period": 60, "EvaluationPeriods": 1, "Threshold": 5.0}
    name = account.name("alarm")
    account.client("cloudwatch").put_metric_alarm(
        AlarmName=name, ExtendedStatistic="p50", ComparisonOperator="GreaterThanThreshold", **settings
    )  # fmt: skip
    account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "m", "Values": [1, 1, 100]}])
    next_minute(account)
    assert state(account, name) == "OK"


# What alarms tell


def test_the_topic_receives_what_aws_writes(account, namespace):
    # LS test_put_metric_alarm; subject and region's name as in AWS's mails (UG Notify_Users_Alarm_Changes.html)
    arn, url = topic(account)
    dimensions = [{"Name": "d", "Value": "1"}]
    name = alarm(account, namespace, AlarmActions=[arn], AlarmDescription="told", Dimensions=dimensions, TreatMissingData="ignore")
    data = [{"MetricName": "m", "Value": 7, "Dimensions": dimensions}]
    account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)
    next_minute(account)
    subject, message = heard(account, url)
    assert subject == f'ALARM: "{name}" in US East (N. Virginia)'
    alarm_arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
    for stamp in ("StateChangeTime", "AlarmConfigurationUpdatedTimestamp"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", message.pop(stamp))
    assert message.pop("NewStateReason").startswith("Threshold Crossed: 1 datapoint [7.0 (")
    assert message == {
        "AlarmName": name, "AlarmDescription": "told", "AWSAccountId": ACCOUNT, "NewStateValue": "ALARM", "Region": "US East (N. Virginia)",
        "AlarmArn": alarm_arn, "OldStateValue": "INSUFFICIENT_DATA", "OKActions": [], "AlarmActions": [arn], "InsufficientDataActions": [],
        "ActionExecutedAfterMuteWindow": False,
        "Trigger": {
            "MetricName": "m", "Namespace": namespace, "StatisticType": "Statistic", "Statistic": "MAXIMUM", "Unit": None,
            "Dimensions": [{"value": "1", "name": "d"}], "Period": 60, "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 5.0, "TreatMissingData": "ignore", "EvaluateLowSampleCountPercentile": "",
        },
    }  # fmt: skip
    assert [item["HistorySummary"] for item in history(account, name, "Action")] == [f"Successfully executed action {arn}"]


def test_each_state_has_its_own_actions(account, namespace):
    # API API_PutMetricAlarm.html; an alarm tells of changes only: UG alarm-actions.html
    (ok, ok_url), (ringing, ringing_url), (blind, blind_url) = topic(account), topic(account), topic(account)
    alarm(account, namespace, OKActions=[ok], AlarmActions=[ringing], InsufficientDataActions=[blind])
    measured(account, namespace, 7, 8)
    assert heard(account, ringing_url)[0].startswith("ALARM: ")
    assert silent(account, ringing_url)
    measured(account, namespace, 1)
    assert heard(account, ok_url)[1]["OldStateValue"] == "ALARM"
    next_minute(account, 5)
    subject, message = heard(account, blind_url)
    assert subject.startswith("INSUFFICIENT_DATA: ")
    assert message["NewStateReason"] == "Insufficient Data: 1 datapoint was unknown."
    assert silent(account, ringing_url)


def test_a_topic_that_does_not_let_cloudwatch_publish_hears_nothing(account, namespace):
    # repost.aws/knowledge-center/cloudwatch-receive-sns-for-alarm-trigger
    arn, url = topic(account, service="s3.amazonaws.com")
    name = alarm(account, namespace, AlarmActions=[arn])
    measured(account, namespace, 7)
    [item] = history(account, name, "Action")
    told = f"CloudWatch Alarms is not authorized to perform: SNS:Publish on resource:{arn}"
    assert item["HistorySummary"].startswith(f'Failed to execute action {arn}. Received error: "{told}')
    assert json.loads(item["HistoryData"])["actionState"] == "Failed"
    assert state(account, name) == "ALARM"
    assert silent(account, url)


def test_a_topic_that_fails_keeps_no_other_alarm_from_being_judged(account, namespace):
    arn, url = topic(account)
    names = [alarm(account, namespace, AlarmActions=[arn]) for _ in range(2)]
    account.cloud.faults.set(Fault("sns:Publish", "fail", times=1))
    measured(account, namespace, 7)
    assert [state(account, name) for name in names] == ["ALARM", "ALARM"]
    assert heard(account, url)
    states = {json.loads(item["HistoryData"])["actionState"] for name in names for item in history(account, name, "Action")}
    assert states == {"Failed", "Succeeded"}


def test_disabled_actions_are_not_taken(account, namespace):
    # API API_DisableAlarmActions.html: "the alarm actions do not execute when the alarm state changes"
    arn, url = topic(account)
    name = alarm(account, namespace, AlarmActions=[arn])
    account.client("cloudwatch").disable_alarm_actions(AlarmNames=[name])
    measured(account, namespace, 7)
    assert (state(account, name), shown(account, name)["ActionsEnabled"]) == ("ALARM", False)
    assert silent(account, url)
    account.client("cloudwatch").enable_alarm_actions(AlarmNames=[name])
    measured(account, namespace, 1, 7)
    assert heard(account, url)[1]["OldStateValue"] == "OK"


def test_a_state_can_be_set_until_the_next_judgement(account, namespace):
    # API API_SetAlarmState.html: "the alarm returns to its actual state quickly"; LS test_set_alarm: no StateReasonData
    arn, url = topic(account)
    name = alarm(account, namespace, AlarmActions=[arn])
    measured(account, namespace, 1)
    account.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="testing")
    assert heard(account, url)[1]["NewStateReason"] == "testing"
    assert (shown(account, name)["StateReason"], "StateReasonData" in shown(account, name)) == ("testing", False)
    account.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="again")
    assert silent(account, url)
    measured(account, namespace, 1)
    assert state(account, name) == "OK"
    set_state = account.client("cloudwatch").set_alarm_state
    assert refused(set_state, AlarmName="missing", StateValue="OK", StateReason="r")[0] == "ResourceNotFound"


def test_eventbridge_and_the_history_tell_of_a_change(account, namespace):
    # UG cloudwatch-and-eventbridge.html; history LS test_put_metric_alarm
    url, queue = account.open_queue("events.amazonaws.com")
    name, rule = alarm(account, namespace, AlarmDescription="told"), account.name("rule")
    pattern = json.dumps({"source": ["aws.cloudwatch"], "detail": {"alarmName": [name], "state": {"value": ["ALARM"]}}})
    account.client("events").put_rule(Name=rule, EventPattern=pattern)
    account.client("events").put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue}])
    measured(account, namespace, 1, 7)
    event = json.loads(account.messages(url)[0]["Body"])
    assert (event["detail-type"], event["resources"]) == ("CloudWatch Alarm State Change", [shown(account, name)["AlarmArn"]])
    detail = event["detail"]
    assert (detail["previousState"]["value"], detail["state"]["value"]) == ("OK", "ALARM")
    assert json.loads(detail["state"]["reasonData"])["recentDatapoints"] == [7.0]
    [metric] = detail["configuration"]["metrics"]
    assert metric["metricStat"] == {"metric": {"namespace": namespace, "name": "m", "dimensions": {}}, "period": 60, "stat": "Maximum"}
    assert detail["configuration"]["description"] == "told"
    newest, oldest = history(account, name, "StateUpdate")
    assert [item["HistorySummary"] for item in (oldest, newest)] == [
        "Alarm updated from INSUFFICIENT_DATA to OK", "Alarm updated from OK to ALARM",
    ]  # fmt: skip
    told = json.loads(newest["HistoryData"])
    assert (told["version"], told["oldState"]["stateValue"], told["newState"]["stateReasonData"]["recentDatapoints"]) == ("1.0", "OK", [7.0])


# The API


def test_alarms_are_described_by_name_prefix_and_state(account, namespace):
    # API API_DescribeAlarms.html
    cloudwatch = account.client("cloudwatch")
    names = sorted(alarm(account, namespace) for _ in range(2))
    prefix = account.name("pre")
    cloudwatch.put_metric_alarm(
        AlarmName=f"{prefix}-x", Namespace=namespace, MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="LessThanThreshold",
    )  # fmt: skip
    measured(account, namespace, 7)

    def found(**wanted) -> list[str]:
        return [one["AlarmName"] for one in cloudwatch.describe_alarms(**wanted)["MetricAlarms"]]

    assert found(AlarmNames=[*names, "missing"]) == names
    assert found(AlarmNamePrefix=prefix) == [f"{prefix}-x"]
    assert set(found(StateValue="ALARM")) & {*names, f"{prefix}-x"} == set(names)
    assert found(AlarmNamePrefix=prefix, StateValue="OK") == [f"{prefix}-x"]
    assert found(AlarmNamePrefix=prefix, AlarmTypes=["CompositeAlarm"]) == []
    # API API_DeleteAlarms.html: "If you specify any incorrect alarm names, the alarms you specify with correct names are still deleted"
    cloudwatch.delete_alarms(AlarmNames=[*names, "missing"])
    assert found(AlarmNames=names) == []


def test_alarms_carry_tags(account, namespace):
    # LS test_tagging_metric_alarm; API API_PutMetricAlarm.html: tags of an update are ignored
    cloudwatch, name = account.client("cloudwatch"), alarm(account, namespace, Tags=[{"Key": "a", "Value": "1"}])
    arn = shown(account, name)["AlarmArn"]
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "b", "Value": "2"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["a"])
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    cloudwatch.delete_alarms(AlarmNames=[name])
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"] == []


def test_an_alarm_that_is_changed_keeps_its_state(account, namespace):
    # API API_PutMetricAlarm.html: "When you update an existing alarm, its state is left unchanged"
    name = alarm(account, namespace)
    measured(account, namespace, 7)
    account.client("cloudwatch").put_metric_alarm(
        AlarmName=name, Namespace=namespace, MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=8,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    assert (state(account, name), shown(account, name)["Threshold"]) == ("ALARM", 8.0)
    measured(account, namespace, 7)
    assert state(account, name) == "OK"


@pytest.mark.parametrize(
    ("settings", "code", "named"),
    [
        ({"DatapointsToAlarm": 2}, "ValidationError", "2 out of 1"),
        ({"Period": 61}, "ValidationError", "multiple of 60"),
        # API API_PutMetricAlarm.html (EvaluationPeriods): a day at most, seven for periods of an hour or more
        ({"EvaluationPeriods": 1441}, "ValidationError", "1 days"),
        ({"EvaluationPeriods": 169, "Period": 3600}, "ValidationError", "7 days"),
        ({"TreatMissingData": "odd"}, "ValidationError", "TreatMissingData"),
        ({"Metrics": [{"Id": "e", "Expression": "m1 * 2"}]}, "ValidationError", "m1"),
        ({"Period": 10}, "NotSupportedByLocalcloud", "under a minute"),
        ({"AlarmActions": [f"arn:aws:automate:{REGION}:ec2:stop"]}, "NotSupportedByLocalcloud", "ec2:stop"),
        ({"EvaluateLowSampleCountPercentile": "ignore"}, "NotSupportedByLocalcloud", "EvaluateLowSampleCountPercentile"),
        ({"Statistic": "Sum", "ThresholdMetricId": "t"}, "NotSupportedByLocalcloud", "ThresholdMetricId"),
    ],
)  # fmt: skip
def test_bad_and_unknown_alarms_are_refused(account, namespace, settings, code, named):
    found = refused(lambda **more: alarm(account, namespace, **more), **settings)
    assert found[0] == code
    assert named in found[1]
