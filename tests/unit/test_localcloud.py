"""The parts of localcloud that need no server: templates, intrinsics, transformers, the interpreter."""

import json

import pytest

from localcloud.clock import Clock
from localcloud.cloudformation.engine import check_known
from localcloud.cloudformation.intrinsics import Resolver
from localcloud.cloudformation.template import creation_order, parse
from localcloud.config import ConfigError, load_config
from localcloud.errors import ServiceError
from localcloud.events.transform import target_input
from localcloud.stepfunctions import definition
from localcloud.stepfunctions.failure import StateFailure, Stopped
from localcloud.stepfunctions.interpreter import Interpreter, Scope

# CloudFormation


def test_yaml_short_tags_mean_what_the_long_ones_do():
    text = "Resources:\n  A:\n    Type: X\n    Properties:\n      P: !Sub '${B.Arn}/x'\n      Q: !GetAtt B.Arn\n      R: !If [C, !Ref B, !Ref AWS::NoValue]\n"
    assert parse(text)["Resources"]["A"]["Properties"] == {
        "P": {"Fn::Sub": "${B.Arn}/x"},
        "Q": {"Fn::GetAtt": ["B", "Arn"]},
        "R": {"Fn::If": ["C", {"Ref": "B"}, {"Ref": "AWS::NoValue"}]},
    }


def test_resources_come_after_what_they_refer_to():
    resources = {
        "A": {"Properties": {"X": {"Fn::Sub": "${C.Arn}-${AWS::Region}-${!Literal}"}}},
        "B": {"DependsOn": ["A"]},
        "C": {"Properties": {"Y": [{"Fn::GetAtt": ["D", "Arn"]}]}},
        "D": {},
    }
    assert creation_order(resources) == ["D", "C", "A", "B"]


def test_a_circle_is_refused_by_name():
    with pytest.raises(ServiceError, match="Circular dependency between resources"):
        creation_order({"A": {"Properties": {"X": {"Ref": "B"}}}, "B": {"Properties": {"X": {"Ref": "A"}}}})


def test_unknown_types_and_properties_are_refused_all_at_once_with_their_paths():
    template = {
        "Resources": {
            "Fleet": {"Type": "AWS::GameLift::Fleet"},
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"FifoThroughputLimit": "x"}},
            "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": [{"Id": "a", "MetricStat": {"Metric": {"Nmae": "x"}}}]}},
            "Odd": {"Type": "AWS::SQS::Queue", "UpdatePolicy": {}},
        }
    }
    with pytest.raises(ServiceError) as error:
        check_known(template)
    for told in (
        "Resources.Fleet: resource type AWS::GameLift::Fleet is not known",
        "Resources.Queue.Properties.FifoThroughputLimit: property not known",
        "Resources.Alarm.Properties.Metrics[0].MetricStat.Metric.Nmae: property not known",
        "Resources.Odd.UpdatePolicy: unknown",
    ):
        assert told in str(error.value)


def resolver() -> Resolver:
    template = {
        "Mappings": {"M": {"us-east-1": {"k": "v"}}},
        "Conditions": {"Yes": {"Fn::Equals": ["a", "a"]}, "No": {"Fn::Not": [{"Condition": "Yes"}]}},
    }
    return Resolver(
        template, {"P": "p"}, {"AWS::StackName": "s"}, {"R": "r-1"}.__getitem__, lambda name, attr: f"{name}.{attr}", lambda name: f"export:{name}"
    )


# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "P"}, "p"),
        ({"Ref": "R"}, "r-1"),
        ({"Ref": "AWS::AccountId"}, "123456789012"),
        ({"Fn::GetAtt": ["R", "Arn"]}, "R.Arn"),
        ({"Fn::Sub": "${P}/${R.Arn}/${!keep}"}, "p/R.Arn/${keep}"),
        ({"Fn::Sub": ["${x}-${P}", {"x": {"Ref": "R"}}]}, "r-1-p"),
        ({"Fn::Join": [":", ["a", {"Ref": "P"}]]}, "a:p"),
        ({"Fn::Select": ["1", {"Fn::Split": [",", "a,b"]}]}, "b"),
        ({"Fn::FindInMap": ["M", {"Ref": "AWS::Region"}, "k"]}, "v"),
        ({"Fn::ImportValue": {"Fn::Sub": "${P}:x"}}, "export:p:x"),
        ({"Fn::If": ["No", 1, {"Fn::If": ["Yes", 2, 3]}]}, 2),
        ({"a": {"Fn::If": ["No", 1, {"Ref": "AWS::NoValue"}]}, "b": [1, {"Ref": "AWS::NoValue"}]}, {"b": [1]}),
        ({"Fn::Base64": "hi"}, "aGk="),
        ({"Fn::Or": [{"Condition": "No"}, {"Condition": "Yes"}]}, True),
    ],
)
def test_intrinsic_functions(value, expected):
    assert resolver().value(value) == expected


def test_an_unknown_function_is_an_error():
    with pytest.raises(ServiceError, match="Fn::ForEach"):
        resolver().value({"Fn::ForEach": []})


# EventBridge input transformers: docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html

EVENT = {"time": "2024-01-01T00:00:00Z", "detail": {"name": 'a "b"', "n": 3, "list": [{"x": 1}]}}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"name": <name>, "n": <n>}', {"name": 'a "b"', "n": 3}),
        ('{"text": "got <name> and <n>"}', {"text": 'got a "b" and 3'}),
        ('{"missing": <missing>, "rule": <aws.events.rule-name>}', {"missing": "", "rule": "r"}),
        ('{"at": <at>}', {"at": 1}),
    ],
)
def test_input_transformers(template, expected):
    paths = {"name": "$.detail.name", "n": "$.detail.n", "missing": "$.detail.nothing", "at": "$.detail.list[0].x"}
    target = {"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}}
    assert json.loads(target_input(target, EVENT, "arn:aws:events:us-east-1:123456789012:rule/r")) == expected


def test_input_and_input_path():
    assert target_input({"Input": "x"}, EVENT, "") == "x"
    assert json.loads(target_input({"InputPath": "$.detail.list"}, EVENT, "")) == [{"x": 1}]
    assert json.loads(target_input({}, EVENT, "")) == EVENT


# Step Functions


class Calls:
    """An integration that answers from a script: results, or failures to raise."""

    def __init__(self, *script) -> None:
        self.script, self.seen = list(script), []

    def call(self, resource, arguments, pause):
        self.seen.append(arguments)
        answer = self.script.pop(0) if self.script else {"ok": True}
        if isinstance(answer, Exception):
            raise answer
        return answer


class Instant(Clock):
    """Waits cost no time; what was waited is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = []

    def wait(self, seconds, until=None):
        self.waited.append(seconds)
        return bool(until and until.is_set())


def run(states: dict, *script, start: str = "A", value=None, clock=None):
    machine = {"QueryLanguage": "JSONata", "StartAt": start, "States": states}
    definition.parse(json.dumps(machine))
    calls = Calls(*script)
    clock = clock or Instant()
    interpreter = Interpreter(calls, clock, lambda kind, detail: None, clock.signal())
    context = {"Execution": {"Id": "arn", "Input": value}, "StateMachine": {}}
    return interpreter.run(machine, value if value is not None else {}, Scope(context)), calls


TASK = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke"}


def test_assignments_count_from_the_next_state_on():
    states = {
        "A": {"Type": "Pass", "Assign": {"x": 1}, "Next": "B"},
        "B": {"Type": "Pass", "Assign": {"x": 2, "y": "{% $x %}"}, "Output": "{% $x %}", "Next": "C"},
        "C": {"Type": "Pass", "Output": {"x": "{% $x %}", "y": "{% $y %}", "in": "{% $states.input %}"}, "End": True},
    }
    assert run(states)[0] == {"x": 2, "y": 1, "in": 1}


def test_null_is_a_value_and_undefined_is_an_error():
    def states(text):
        return {"A": {"Type": "Pass", "Output": {"v": text}, "End": True}}

    assert run(states("{% $states.input.a %}"), value={"a": None})[0] == {"v": None}
    assert run(states("{% $states.input.a = null %}"), value={"a": None})[0] == {"v": True}
    with pytest.raises(StateFailure) as error:
        run(states("{% $states.input.b %}"), value={"a": None})
    assert error.value.error == "States.QueryEvaluationError"


def test_an_unsupported_function_is_an_error_not_null():
    with pytest.raises(StateFailure, match="QueryEvaluationError"):
        run({"A": {"Type": "Pass", "Output": "{% $nosuch(1) %}", "End": True}})


def test_uuid_is_a_uuid():
    assert len(run({"A": {"Type": "Pass", "Output": "{% $uuid() %}", "End": True}})[0]) == 36


def test_a_choice_takes_the_first_rule_that_holds():
    states = {
        "A": {"Type": "Choice", "Choices": [{"Condition": "{% $states.input.n > 5 %}", "Assign": {"big": True}, "Next": "B"}], "Default": "C"},
        "B": {"Type": "Pass", "Output": "{% $big %}", "End": True},
        "C": {"Type": "Pass", "Output": "small", "End": True},
    }
    assert run(states, value={"n": 6})[0] is True
    assert run(states, value={"n": 5})[0] == "small"


def test_retries_wait_with_backoff_and_count():
    clock = Instant()
    states = {
        "A": TASK
        | {
            "Arguments": {"n": "{% $states.context.State.RetryCount %}"},
            "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 3}],
            "End": True,
        }
    }
    _, calls = run(states, StateFailure("Busy", ""), StateFailure("Busy", ""), {"ok": 1}, clock=clock)
    assert [arguments["n"] for arguments in calls.seen] == [0, 1, 2]
    assert clock.waited == [2, 6]


def test_a_catcher_sees_the_error_and_the_state():
    catch = [
        {"ErrorEquals": ["Known"], "Next": "B"},
        {
            "ErrorEquals": ["States.ALL"],
            "Assign": {"why": {"state": "{% $states.context.State.Name %}", "error": "{% $states.errorOutput.Error %}"}},
            "Next": "C",
        },
    ]
    states = {
        "A": TASK | {"Catch": catch, "End": True},
        "B": {"Type": "Pass", "Output": "known", "End": True},
        "C": {"Type": "Pass", "Output": "{% $why %}", "End": True},
    }
    assert run(states, StateFailure("Known", ""))[0] == "known"
    assert run(states, StateFailure("Odd", "x"))[0] == {"state": "A", "error": "Odd"}


def test_task_failed_matches_all_but_a_timeout():
    assert StateFailure("Lambda.X", "").matches(["States.TaskFailed"])
    assert not StateFailure("States.Timeout", "").matches(["States.TaskFailed"])


def test_a_map_runs_each_item_and_keeps_the_order():
    states = {
        "A": {
            "Type": "Map",
            "Items": "{% $states.input.items %}",
            "ItemSelector": {"v": "{% $states.context.Map.Item.Value %}", "i": "{% $states.context.Map.Item.Index %}"},
            "ItemProcessor": {
                "StartAt": "P",
                "States": {"P": {"Type": "Pass", "Output": "{% $states.input.v * 10 + $states.input.i %}", "End": True}},
            },
            "End": True,
        }
    }
    assert run(states, value={"items": [5, 6, 7]})[0] == [50, 61, 72]
    assert run(states, value={"items": []})[0] == []


def test_a_fail_state_fails_with_its_own_words():
    with pytest.raises(StateFailure) as error:
        run({"A": {"Type": "Fail", "Error": "E", "Cause": "{% 'be' & 'cause' %}"}})
    assert (error.value.error, error.value.cause) == ("E", "because")


def test_a_stopped_execution_ends_at_its_next_wait():
    machine = {"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 60, "Next": "B"}, "B": {"Type": "Pass", "End": True}}}
    clock = Instant()
    stop = clock.signal()
    stop.set()
    with pytest.raises(Stopped):
        Interpreter(Calls(), clock, lambda kind, detail: None, stop).run(machine, {}, Scope({}))


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ({"A": {"Type": "Task", "Resource": "x", "HeartbeatSeconds": 3, "End": True}}, "/States/A/HeartbeatSeconds: field not supported"),
        ({"A": {"Type": "Loop"}}, "unknown state type 'Loop'"),
        ({"A": {"Type": "Pass", "Next": "Z"}}, "no state 'Z'"),
        ({"A": {"Type": "Pass"}}, "needs Next or End"),
        ({"A": {"Type": "Pass", "Output": "{% 1 + %}", "End": True}}, "/States/A"),
        ({"B": {"Type": "Pass", "End": True}}, "/StartAt names no state: A"),
    ],
)
def test_a_definition_that_is_not_understood_is_refused_when_it_is_made(states, told):
    with pytest.raises(ServiceError) as error:
        definition.parse(json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": states}))
    assert told in str(error.value)


# configuration


def test_a_missing_or_wrong_configuration_is_named(tmp_path):
    with pytest.raises(ConfigError, match="not found"):
        load_config(tmp_path / "localcloud.toml")
    path = tmp_path / "localcloud.toml"
    path.write_text('lambda_python = "p"\nimages = 3\n')
    with pytest.raises(ConfigError, match="images"):
        load_config(path)
    path.write_text('lambda_python = "p"\n[[images]]\nrepository = "a-*"\ncommands = {}\n')
    with pytest.raises(ConfigError, match=r"no \[\[images\]\] entry matches the repository 'b'"):
        load_config(path).image("123456789012.dkr.ecr.us-east-1.amazonaws.com/b@sha256:0")
    assert load_config(path).image("registry/a-1:tag").repository == "a-*"
