"""What becomes metrics without anybody calling PutMetricData: log lines, by embedded format and metric filters, and queues.

EMF lines carry the time of the process that wrote them, which lives in real time: they are moved by as much as
localcloud's clock was.
"""

import json
import logging
from functools import lru_cache
from typing import Any

from moto.logs.models import logs_backends
from moto.logs.responses import LogsResponse
from moto.sqs.models import sqs_backends

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock
from localcloud.cloudwatch.emf import EmfError, extract
from localcloud.cloudwatch.filters import NUMBER, FilterError, Match, Matcher, UnknownFilter, compile_filter, metric_value, path
from localcloud.cloudwatch.meter import Meter
from localcloud.cloudwatch.metrics import MetricKey, MetricStore
from localcloud.cloudwatch.query import check_known
from localcloud.errors import NotSupported, ServiceError

log = logging.getLogger("localcloud")

EVERY_S = 60.0

FILTER = {"filterName", "filterPattern", "logGroupName", "metricTransformations"}

compiled = lru_cache(maxsize=256)(compile_filter)
_put_metric_filter = LogsResponse.put_metric_filter


class LogMetrics:
    """Listens to PutLogEvents. One seam of moto: PutMetricFilter, which keeps any pattern; here a wrong one is refused."""

    def __init__(self, store: MetricStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        LogsResponse.put_metric_filter = _put_checked

    def __call__(self, p: dict[str, Any]) -> None:
        filters = _filters_of(p["logGroupName"])
        for event in p["logEvents"]:
            self._embedded(p["logGroupName"], event["message"])
            for metric_filter in filters:
                self._filter(metric_filter, event)

    def _embedded(self, group: str, message: str) -> None:
        try:
            for datum in extract(message, self._clock.now() - self._clock.offset):
                self._store.put(datum.key, datum.at + self._clock.offset, datum.values, [1.0] * len(datum.values), datum.unit)
        except (EmfError, ValueError) as error:
            log.warning("log group %s: a line announces metrics and breaks the format: %s", group, error)
            key = MetricKey("AWS/Logs", "EMFValidationErrors", (("LogGroupName", group),))
            self._store.put(key, self._clock.now(), [1.0], [1.0], "Count")

    def _filter(self, metric_filter: dict[str, Any], event: dict[str, Any]) -> None:
        matcher: Matcher = compiled(metric_filter["filterPattern"])
        match = matcher(event["message"])
        for target in metric_filter["metricTransformations"]:
            at, unit = event["timestamp"] / 1000, target.get("unit", "None")
            value = target.get("defaultValue") if match is None else metric_value(match, str(target["metricValue"]))
            if value is None or (match is None and target.get("dimensions")):
                continue
            dimensions = _dimensions(match, target.get("dimensions") or {})
            if dimensions is not None:
                self._store.put(MetricKey(target["metricNamespace"], target["metricName"], dimensions), at, [float(value)], [1.0], unit)


def _put_checked(response: LogsResponse) -> Any:
    check_filter(json.loads(response.body))
    return _put_metric_filter(response)


def check_filter(p: dict[str, Any]) -> None:
    """Raises InvalidParameterException for what AWS refuses, and refuses by name what localcloud could not evaluate later."""
    check_known(p, FILTER, "PutMetricFilter")
    try:
        compiled(p["filterPattern"])
        for target in p["metricTransformations"]:
            values = [] if NUMBER.fullmatch(target["metricValue"]) else [target["metricValue"]]
            for selector in [*values, *(target.get("dimensions") or {}).values()]:
                path(selector)
    except UnknownFilter as error:
        raise NotSupported(str(error)) from error
    except FilterError as error:
        raise ServiceError("InvalidParameterException", f"Invalid metric filter pattern: {error}") from error


def _dimensions(match: Match | None, selectors: dict[str, str]) -> tuple[tuple[str, str], ...] | None:
    """None when a field is missing: then AWS publishes nothing."""
    found = [(name, match.value(selector) if match else None) for name, selector in selectors.items()]
    return None if any(value is None for _, value in found) else tuple((name, str(value)) for name, value in found)


def _filters_of(group: str) -> list[dict[str, Any]]:
    return [f for f in logs_backends[ACCOUNT][REGION].filters.metric_filters if f["logGroupName"] == group]


class QueueMetrics:
    """Publishes each queue's depth every minute, as SQS does.

    Source: docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """

    def __init__(self, meter: Meter, clock: Clock) -> None:
        self._meter = meter
        self._clock = clock
        clock.at((clock.now() // EVERY_S + 1) * EVERY_S - 1, self.publish, EVERY_S)

    def publish(self) -> None:
        now_ms = self._clock.now() * 1000
        for name, queue in list(sqs_backends[ACCOUNT][REGION].queues.items()):
            waiting = list(queue._messages)
            oldest = max((now_ms - message.sent_timestamp for message in waiting), default=0.0) / 1000
            delayed, hidden = queue.approximate_number_of_messages_delayed, queue.approximate_number_of_messages_not_visible
            values = [
                ("ApproximateNumberOfMessagesVisible", float(len(waiting) - delayed - hidden), "Count"),
                ("ApproximateNumberOfMessagesNotVisible", float(hidden), "Count"),
                ("ApproximateNumberOfMessagesDelayed", float(delayed), "Count"),
                ("ApproximateAgeOfOldestMessage", oldest, "Seconds"),
            ]
            self._meter("AWS/SQS", {"QueueName": name}, values)
