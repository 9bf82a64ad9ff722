"""CloudWatch metrics, logs that become metrics, and dashboards, as AWS documents them. Alarms: test_cloudwatch_alarms.py.

API: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference. UG: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring. LG:
docs.aws.amazon.com/AmazonCloudWatch/latest/logs. LS: github.com/localstack/localstack
tests/aws/services/cloudwatch/test_cloudwatch.snapshot.json, recorded against AWS.
"""

import json
import time
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def put(account, namespace: str, name: str, **datum) -> None:
    account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[{"MetricName": name} | datum])


def around(account) -> dict:
    """The hour before and after now, by localcloud's clock and by real time."""
    return {"StartTime": moment(time.time() - 3600), "EndTime": moment(account.cloud.clock.now() + 3600)}


def statistics(account, namespace: str, name: str, *wanted: str, **more) -> list[dict]:
    """Datapoints of an hour each, oldest first; `pNN` is an extended statistic."""
    plain, extended = [one for one in wanted if one[0] != "p"], [one for one in wanted if one[0] == "p"]
    asked = ({"Statistics": plain} if plain else {}) | ({"ExtendedStatistics": extended} if extended else {})
    arguments = around(account) | {"Namespace": namespace, "MetricName": name, "Period": 3600} | asked | more
    answer = account.client("cloudwatch").get_metric_statistics(**arguments)
    assert answer["Label"] == name
    return sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])


def total(account, namespace: str, name: str, statistic: str = "Sum", **more) -> float | None:
    points = statistics(account, namespace, name, statistic, **more)
    return sum(point[statistic] for point in points) if points else None


def stat(id_: str, namespace: str, name: str, statistic: str = "Sum", **more) -> dict:
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": more.pop("Dimensions", [])}
    return {"Id": id_, "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic}} | more


def refused(call, **arguments) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture
def namespace(account) -> str:
    return account.name("Space")


# Metric data


@pytest.mark.parametrize(
    ("datum", "expected"),
    [
        # API API_MetricDatum.html: a value; values, each seen once or as often as its count says; a set of statistics
        ({"Value": 5}, (1, 5, 5, 5)),
        ({"Values": [1, 2, 6]}, (3, 9, 1, 6)),
        ({"Values": [1, 10], "Counts": [9, 1]}, (10, 19, 1, 10)),
        ({"StatisticValues": {"SampleCount": 4, "Sum": 20, "Minimum": 2, "Maximum": 9}}, (4, 20, 2, 9)),
    ],
)
def test_data_are_kept_however_they_are_put(account, namespace, datum, expected):
    put(account, namespace, "m", **datum)
    [point] = statistics(account, namespace, "m", "SampleCount", "Sum", "Minimum", "Maximum", "Average")
    assert tuple(point[name] for name in ("SampleCount", "Sum", "Minimum", "Maximum")) == expected
    assert point["Average"] == pytest.approx(expected[1] / expected[0])


def test_percentiles_are_extended_statistics(account, namespace):
    # UG Statistics-definitions.html
    put(account, namespace, "m", Values=[float(n) for n in range(1, 101)])
    [point] = statistics(account, namespace, "m", "p50", "p99", "p99.5")
    assert point["ExtendedStatistics"] == {"p50": 50.0, "p99": 99.0, "p99.5": 100.0}


def test_there_are_no_percentiles_of_summed_up_data(account, namespace):
    # UG Statistics-definitions.html#Percentiles-trimmedmean-requirements
    put(account, namespace, "m", StatisticValues={"SampleCount": 4, "Sum": 20, "Minimum": 2, "Maximum": 9})
    assert statistics(account, namespace, "m", "p50") == []


def test_units_are_kept_apart(account, namespace):
    # LS test_handle_different_units, test_get_metric_data_with_different_units
    put(account, namespace, "m", Value=1, Unit="Seconds")
    put(account, namespace, "m", Value=5, Unit="Count")
    assert {(point["Unit"], point["Sum"]) for point in statistics(account, namespace, "m", "Sum")} == {("Seconds", 1.0), ("Count", 5.0)}
    assert total(account, namespace, "m", Unit="Seconds") == 1.0
    query = stat("m1", namespace, "m")
    query["MetricStat"]["Unit"] = "Count"
    assert account.client("cloudwatch").get_metric_data(MetricDataQueries=[query], **around(account))["MetricDataResults"][0]["Values"] == [5.0]


def test_dimensions_make_different_metrics_and_their_order_does_not(account, namespace):
    # UG cloudwatch_concepts.html#Dimension
    pair = [{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}]
    put(account, namespace, "m", Value=1)
    put(account, namespace, "m", Value=2, Dimensions=pair)
    put(account, namespace, "m", Value=4, Dimensions=pair[::-1])
    assert (total(account, namespace, "m"), total(account, namespace, "m", Dimensions=pair)) == (1.0, 6.0)
    assert total(account, namespace, "m", Dimensions=pair[:1]) is None


def test_metrics_are_listed_by_namespace_name_and_dimension(account, namespace):
    # API API_ListMetrics.html
    put(account, namespace, "m", Value=1, Dimensions=[{"Name": "a", "Value": "1"}])
    put(account, namespace, "n", Value=1)
    cloudwatch = account.client("cloudwatch")
    assert {found["MetricName"] for found in cloudwatch.list_metrics(Namespace=namespace)["Metrics"]} == {"m", "n"}
    expected = [{"Namespace": namespace, "MetricName": "m", "Dimensions": [{"Name": "a", "Value": "1"}]}]
    for wanted in ({"MetricName": "m"}, {"Dimensions": [{"Name": "a"}]}, {"Dimensions": [{"Name": "a", "Value": "1"}]}):
        assert cloudwatch.list_metrics(Namespace=namespace, **wanted)["Metrics"] == expected
    assert cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "a", "Value": "2"}])["Metrics"] == []


def test_expressions_are_computed_over_metrics(account, namespace):
    # UG using-metric-math.html; order of results API API_GetMetricData.html (ScanBy)
    first = account.cloud.clock.now() // 60 * 60 - 600
    for number in range(3):
        put(account, namespace, "errors", Value=number, Timestamp=moment(first + 60 * number))
        put(account, namespace, "calls", Value=10, Timestamp=moment(first + 60 * number))
    queries = [
        stat("e", namespace, "errors", ReturnData=False),
        stat("c", namespace, "calls", ReturnData=False),
        {"Id": "rate", "Expression": "100 * e / c", "Label": "Error rate"},
        {"Id": "high", "Expression": "IF(rate >= 10, 1, 0)"},
    ]
    asked = {"StartTime": moment(first), "EndTime": moment(first + 180), "MetricDataQueries": queries}
    rate, high = account.client("cloudwatch").get_metric_data(ScanBy="TimestampAscending", **asked)["MetricDataResults"]
    assert (rate["Label"], rate["Values"], rate["StatusCode"]) == ("Error rate", [0.0, 10.0, 20.0], "Complete")
    assert [at.timestamp() for at in rate["Timestamps"]] == [first, first + 60, first + 120]
    assert high["Values"] == [0.0, 1.0, 1.0]
    assert account.client("cloudwatch").get_metric_data(**asked)["MetricDataResults"][0]["Values"] == [20.0, 10.0, 0.0]


@pytest.mark.parametrize(
    ("datum", "code", "message"),
    [
        # LS test_put_metric_data_validation
        ({"Value": 1, "Values": [1]}, "InvalidParameterCombination", "MetricData.member.1.Value and MetricData.member.1.Values are mutually exclusive"),
        (
            {"Value": 1, "StatisticValues": {"SampleCount": 1, "Sum": 1, "Minimum": 1, "Maximum": 1}},
            "InvalidParameterCombination",
            "MetricData.member.1.Value and MetricData.member.1.StatisticValues are mutually exclusive",
        ),
        ({"Values": [1, 2], "Counts": [1]}, "InvalidParameterValue", "MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size"),
        ({}, "InvalidParameterCombination", "must be specified"),
        # API API_MetricDatum.html: "values must be in the range of -2^360 to 2^360"
        ({"Value": 2.0**361}, "InvalidParameterValue", "2^360"),
    ],
)  # fmt: skip
def test_bad_data_are_refused(account, namespace, datum, code, message):
    found = refused(account.client("cloudwatch").put_metric_data, Namespace=namespace, MetricData=[{"MetricName": "m"} | datum])
    assert found[0] == code
    assert message in found[1]
    assert account.client("cloudwatch").list_metrics(Namespace=namespace)["Metrics"] == []


def test_bad_questions_are_refused(account, namespace):
    # LS test_invalid_amount_of_datapoints
    ask, now = account.client("cloudwatch").get_metric_statistics, account.cloud.clock.now()
    asked = {"Namespace": namespace, "MetricName": "m", "Statistics": ["Sum"], "Period": 60, "EndTime": moment(now)}
    told = refused(ask, StartTime=moment(now - 86_460), **asked)
    assert told[0] == "InvalidParameterCombination"
    assert told[1].startswith("You have requested up to 1441 datapoints, which exceeds the limit of 1440.")
    late = ("InvalidParameterValue", "The parameter StartTime must be less than the parameter EndTime.")
    assert refused(ask, StartTime=moment(now), **asked) == late
    assert refused(ask, StartTime=moment(now - 60), **asked | {"Period": 61})[0] == "InvalidParameterValue"
    data = account.client("cloudwatch").get_metric_data
    for expression in ("m1 +", "nothing * 2", "SEARCH('x', 'Sum')", "5"):
        queries = [stat("m1", namespace, "m"), {"Id": "e", "Expression": expression}]
        assert refused(data, MetricDataQueries=queries, **around(account))[0] == "ValidationError"
    assert refused(data, MetricDataQueries=[{"Id": "e"}], **around(account))[0] == "ValidationError"


@pytest.mark.parametrize(
    ("operation", "arguments", "named"),
    [
        ("get_metric_data", {"MetricDataQueries": [stat("m1", "S", "m", AccountId="111111111111")]}, "AccountId"),
        ("get_metric_data", {"MetricDataQueries": [stat("m1", "S", "m")], "MaxDatapoints": 5}, "MaxDatapoints"),
        ("get_metric_data", {"MetricDataQueries": [stat("m1", "S", "m")], "LabelOptions": {"Timezone": "+0100"}}, "LabelOptions"),
        ("list_metrics", {"RecentlyActive": "PT3H"}, "RecentlyActive"),
        ("list_metrics", {"IncludeLinkedAccounts": True}, "IncludeLinkedAccounts"),
        ("describe_alarms", {"ActionPrefix": "arn:"}, "ActionPrefix"),
        ("describe_alarms", {"MaxRecords": 5}, "MaxRecords"),
        ("describe_alarm_history", {"MaxRecords": 5}, "MaxRecords"),
        ("put_metric_data", {"Namespace": "S", "EntityMetricData": [{"MetricData": [{"MetricName": "m", "Value": 1}]}]}, "EntityMetricData"),
        ("put_composite_alarm", {"AlarmName": "a", "AlarmRule": "TRUE"}, "PutCompositeAlarm"),
        ("put_anomaly_detector", {"Namespace": "S", "MetricName": "m", "Stat": "Sum"}, "PutAnomalyDetector"),
    ],
)  # fmt: skip
def test_what_localcloud_does_not_do_is_refused_by_name(account, operation, arguments, named):
    span = around(account) if operation == "get_metric_data" else {}
    code, message = refused(getattr(account.client("cloudwatch"), operation), **arguments, **span)
    assert code == "NotSupportedByLocalcloud"
    assert named in message


# Log lines that become metrics


@pytest.fixture
def group(account) -> str:
    name = account.name("/group")
    account.client("logs").create_log_group(logGroupName=name)
    account.client("logs").create_log_stream(logGroupName=name, logStreamName="s")
    return name


def write(account, group: str, *lines: str | dict) -> None:
    now = int(account.cloud.clock.now() * 1000)
    events = [{"timestamp": now, "message": line if isinstance(line, str) else json.dumps(line)} for line in lines]
    account.client("logs").put_log_events(logGroupName=group, logStreamName="s", logEvents=events)


def embedded(namespace: str, **values) -> dict:
    directive = {"Namespace": namespace, "Dimensions": [["service"]], "Metrics": [{"Name": "latency", "Unit": "Milliseconds"}]}
    return {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}, "service": "s1"} | values


def test_embedded_metrics_are_taken_from_log_lines(account, namespace, group):
    # UG CloudWatch_Embedded_Metric_Format_Specification.html
    write(account, group, embedded(namespace, latency=[10, 30]), "no json", embedded(namespace, latency=20))
    [point] = statistics(account, namespace, "latency", "Sum", "SampleCount", Dimensions=[{"Name": "service", "Value": "s1"}])
    assert (point["Sum"], point["SampleCount"], point["Unit"]) == (60.0, 3.0, "Milliseconds")


def test_a_broken_embedded_line_is_counted_as_an_error(account, namespace, group):
    # LG CloudWatch-Logs-Monitoring-CloudWatch-Metrics.html: EMFValidationErrors by LogGroupName
    write(account, group, embedded(namespace, latency="slow"))
    assert total(account, "AWS/Logs", "EMFValidationErrors", Dimensions=[{"Name": "LogGroupName", "Value": group}]) == 1.0
    assert account.client("cloudwatch").list_metrics(Namespace=namespace)["Metrics"] == []


def metric_filter(account, group: str, namespace: str, pattern: str, **transformation) -> None:
    transform = {"metricNamespace": namespace, "metricName": "m", "metricValue": "1"} | transformation
    account.client("logs").put_metric_filter(logGroupName=group, filterName="f", filterPattern=pattern, metricTransformations=[transform])


def test_a_metric_filter_counts_the_lines_that_match(account, namespace, group):
    # LG MonitoringLogData.html; defaultValue: "the value to emit when a filter pattern does not match a log event"
    metric_filter(account, group, namespace, "ERROR -expected", defaultValue=0.0)
    write(account, group, "ERROR one", "fine", "ERROR expected", "ERROR two")
    [point] = statistics(account, namespace, "m", "Sum", "SampleCount")
    assert (point["Sum"], point["SampleCount"]) == (2.0, 4.0)


def test_a_metric_filter_takes_value_unit_and_dimensions_from_json(account, namespace, group):
    # LG FilterAndPatternSyntaxForMetricFilters.html; no default value beside dimensions
    metric_filter(account, group, namespace, "{ $.latency > 10 }", metricValue="$.latency", unit="Milliseconds", dimensions={"path": "$.path"})
    write(account, group, {"latency": 20, "path": "/a"}, {"latency": 5, "path": "/a"}, {"latency": 40, "path": "/b"}, {"latency": 80})
    [point] = statistics(account, namespace, "m", "Sum", Dimensions=[{"Name": "path", "Value": "/a"}])
    assert (point["Sum"], point["Unit"]) == (20.0, "Milliseconds")
    assert total(account, namespace, "m", Dimensions=[{"Name": "path", "Value": "/b"}]) == 40.0
    assert total(account, namespace, "m") is None


def test_a_deleted_metric_filter_counts_no_more(account, namespace, group):
    metric_filter(account, group, namespace, "")
    write(account, group, "one")
    account.client("logs").delete_metric_filter(logGroupName=group, filterName="f")
    write(account, group, "two")
    assert total(account, namespace, "m") == 1.0


@pytest.mark.parametrize(
    ("pattern", "more", "code", "words"),
    [
        # "Invalid metric filter pattern": github.com/localstack and boto3 users' live tests of TestMetricFilter; EXISTS without NOT is no keyword of LG
        # FilterAndPatternSyntax.html
        ('{ $.a > "x" }', {}, "InvalidParameterException", "Invalid metric filter pattern"),
        ("{ $.a EXISTS }", {}, "InvalidParameterException", "Invalid metric filter pattern"),
        ('"event": "x"', {}, "InvalidParameterException", "Invalid metric filter pattern"),
        ("[ip, user, status = 4*]", {}, "NotSupportedByLocalcloud", "space-delimited"),
        ("%ERR.R%", {}, "NotSupportedByLocalcloud", "regular expressions"),
        ("{ $.a[*] = 1 }", {}, "NotSupportedByLocalcloud", "$.a[*]"),
        ("{ $.a = 1 }", {"metricValue": "$.a[*]"}, "NotSupportedByLocalcloud", "$.a[*]"),
    ],
)
def test_a_filter_that_cannot_be_evaluated_is_refused_at_once(account, namespace, group, pattern, more, code, words):
    with pytest.raises(ClientError) as raised:
        metric_filter(account, group, namespace, pattern, **more)
    error = raised.value.response["Error"]
    assert error["Code"] == code
    assert words in error["Message"]
    assert account.client("logs").describe_metric_filters(logGroupName=group)["metricFilters"] == []
    transformations = [{"metricNamespace": namespace, "metricName": "m", "metricValue": "1"}]
    arguments = {"logGroupName": group, "filterName": "f", "filterPattern": "", "metricTransformations": transformations}
    assert "applyOnTransformedLogs" in refused(account.client("logs").put_metric_filter, applyOnTransformedLogs=True, **arguments)[1]


def test_logs_live_in_localclouds_time(account, group):
    # LG API_PutLogEvents.html: "None of the log events in the batch can be more than 2 hours in the future"; the future is localcloud's
    account.cloud.clock.advance(3 * 3600)
    account.cloud.logs.write(group, "s", "by the clock")
    assert account.log(group) == ["by the clock"]


# Queues publish their depth


def test_queues_publish_their_depth_every_minute(account):
    # docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    url, arn = account.queue(VisibilityTimeout="600")
    sqs = account.client("sqs")
    for delay in (0, 0, 0, 600):
        sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=delay)
    sqs.receive_message(QueueUrl=url)
    account.cloud.clock.advance(120)
    queue = {"Dimensions": [{"Name": "QueueName", "Value": arn.rpartition(":")[2]}]}

    def largest(name: str) -> float:
        return max(point["Maximum"] for point in statistics(account, "AWS/SQS", name, "Maximum", **queue))

    found = [largest(f"ApproximateNumberOfMessages{kind}") for kind in ("Visible", "NotVisible", "Delayed")]
    assert found == [2.0, 1.0, 1.0]
    assert 60 <= largest("ApproximateAgeOfOldestMessage") <= 125


# Dashboards


def test_dashboards_are_kept_listed_and_deleted(account):
    # LS test_dashboard_lifecycle; API API_DeleteDashboards.html
    cloudwatch, name, body = account.client("cloudwatch"), account.name("board"), json.dumps({"widgets": []})
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body)
    arn = f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{name}"
    shown = cloudwatch.get_dashboard(DashboardName=name)
    assert (shown["DashboardArn"], shown["DashboardBody"]) == (arn, body)
    [entry] = cloudwatch.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    assert (entry["DashboardArn"], entry["Size"]) == (arn, len(body))
    assert abs(entry["LastModified"].timestamp() - account.cloud.clock.now()) < 60
    assert cloudwatch.list_dashboards(DashboardNamePrefix=name + "x")["DashboardEntries"] == []
    assert refused(cloudwatch.delete_dashboards, DashboardNames=[name, "missing"])[0] == "ResourceNotFound"
    cloudwatch.delete_dashboards(DashboardNames=[name])
    assert refused(cloudwatch.get_dashboard, DashboardName=name)[0] == "ResourceNotFound"


def test_bad_dashboards_are_refused(account):
    # LS test_invalid_dashboard_name; API API_PutDashboard.html
    put_dashboard = account.client("cloudwatch").put_dashboard
    assert refused(put_dashboard, DashboardName="a b", DashboardBody="{}")[0] == "InvalidParameterValue"
    for body in ("{", "[]"):
        assert refused(put_dashboard, DashboardName="ab", DashboardBody=body)[0] == "InvalidParameterInput"
