"""Every place where localcloud reaches into moto 5.2.5: these fail loudly when moto changes."""

import inspect
from importlib.metadata import version

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from moto.events.models import EventPattern, Rule
from moto.iam.access_control import PermissionResult
from moto.s3 import notifications
from moto.s3.models import FakeBucket


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_pin():
    assert version("moto") == "5.2.5"


def test_events_leave_moto_through_two_functions():
    assert parameters(notifications._send_event_bridge_message)[-4:] == ["account_id", "bucket", "event_name", "key"]
    assert "_send_event_bridge_message(account_id, bucket, event_name, key)" in inspect.getsource(notifications.send_event)
    assert {"state", "targets", "event_pattern"} <= set(inspect.getsource(Rule.__init__).replace("self.", " ").split())
    pattern = EventPattern.load('{"source": ["aws.s3"], "detail": {"bucket": {"name": ["b"]}}}')
    assert pattern.matches_event({"source": "aws.s3", "detail": {"bucket": {"name": "b"}}})
    assert not pattern.matches_event({"source": "aws.s3", "detail": {"bucket": {"name": "c"}}})


def test_bucket_policies_are_asked_through_one_method():
    assert parameters(FakeBucket.get_permission) == ["self", "action", "resource"]
    assert PermissionResult.NEUTRAL


def test_requests_are_parsed_and_answers_serialized_by_botocores_models():
    model = get_service_model("sagemaker")
    request = Request.from_primitives("POST", "http://localhost/", {"Content-Type": "application/x-amz-json-1.1"}, b'{"ModelName": "m"}')
    operation = model.operation_model("DescribeModel")
    fields = {"method": "POST", "values": request.values, "headers": request.headers, "body": request.data, "url_path": "/", "url_params": {}}
    assert PROTOCOL_PARSERS["json"](operation).parse(fields) == {"ModelName": "m"}
    answer = get_serializer_class("sagemaker", "json")(operation_model=operation).serialize({"ModelName": "m"})
    assert '"ModelName": "m"' in answer["body"]
    invoke = Request.from_primitives("POST", "http://localhost/2015-03-31/functions/f/invocations", {}, b"{}")
    found, uri = get_service_router("lambda").match(invoke)
    assert (found.name, uri) == ("Invoke", {"FunctionName": "f"})
