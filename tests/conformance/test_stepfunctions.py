"""Step Functions, expressions, flow and executions, as its developer guide describes it and as localstack recorded it on AWS.

Recordings are named by their path below https://github.com/localstack/localstack/tree/main/tests/aws/services/stepfunctions/v2/
"""

import json
from itertools import accumulate

import pytest

from tests.conformance.conftest import until
from tests.conformance.machines import EVERYTHING, INVOKE, Machine, failing, passing, task

# JSONata: docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$partition([1,2,3], 2)", [[1, 2], [3]]),
        ("$range(0, 3, 1)", [0, 1, 2, 3]),
        ("$hash('tide', 'SHA-256')", "8a28929ac7f9a17e97a421ac2cd63ac73568ebe87bc0cee641a193d91c761577"),
        ("$parse('{\"a\": [1, null]}')", {"a": [1, None]}),
        ("$random(3) = $random(3)", True),
        ("$length($uuid())", 36),
        ("$states.context.StateMachine.Name != ''", True),
        ("$sum($states.input.n)", 6),
    ],
)
def test_step_functions_own_jsonata_functions(account, expression, expected):
    answer = Machine(account, passing(f"{{% {expression} %}}")).output({"n": [1, 2, 3]})
    assert answer[: len(expected)] == expected if isinstance(expected, str) else answer == expected


@pytest.mark.parametrize("expression", ["$eval('1')", "$nosuch(1)", "$hash('a', 'CRC')"])
def test_unknown_functions_and_eval_end_in_a_query_evaluation_error(account, expression):
    # "$eval is not supported"; an unknown one, recorded: intrinsic_functions/test_math_operations_jsonata.snapshot.json
    error, cause = Machine(account, passing({"x": f"{{% {expression} %}}"})).failure()
    assert error == "States.QueryEvaluationError"
    told = f"An error occurred while executing the state 'A' (entered at the event id #2). The JSONata expression '{expression}'"
    assert cause.startswith(f"{told} specified for the field 'Output/x' threw an error during evaluation.")


@pytest.mark.parametrize(
    ("state", "field"), [({"Output": "{% $x %}"}, "Output"), ({"Output": {"r": "{% $x %}"}}, "Output/r"), ({"Assign": {"r": "{% $x %}"}}, "Assign/r")]
)
def test_undefined_is_an_error_that_names_expression_and_field(account, state, field):
    # recorded: assign/test_assign_reference_variables.snapshot.json
    machine = Machine(account, {"A": {"Type": "Pass", "End": True} | state})
    execution = machine.start()
    assert machine.ended(execution)["cause"] == (
        "An error occurred while executing the state 'A' (entered at the event id #2). "
        f"The JSONata expression '$x' specified for the field '{field}' returned nothing (undefined)."
    )
    told = next(event["evaluationFailedEventDetails"] for event in machine.events(execution) if event["type"] == "EvaluationFailed")
    assert (told["error"], told["location"], told["state"]) == ("States.QueryEvaluationError", field, "A")


@pytest.mark.parametrize("expression", ["$a ?? 1", "$a ?: 1", "1 +"])
def test_expressions_that_jsonata_2_0_6_cannot_parse_are_refused_when_the_machine_is_made(account, expression):
    # "Step Functions supports JSONata 2.0.6", which has neither operator
    failing(account, passing(f"{{% {expression} %}}"), "InvalidDefinition", "/States/A")


def test_jsonata_reads_the_time_of_the_clock(account):
    before = account.cloud.clock.now()
    now, millis = Machine(account, passing("{% [$toMillis($now()), $millis()] %}")).output()
    assert before * 1000 - 1 <= now <= millis <= account.cloud.clock.now() * 1000


def test_assign_counts_from_the_next_state_on_and_output_replaces_the_result(account):
    # docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html: "order of evaluation"
    states = {
        "A": {"Type": "Pass", "Assign": {"x": 1}, "Output": {"seen": "{% $exists($x) %}"}, "Next": "B"},
        "B": {"Type": "Pass", "Assign": {"x": "{% $x + 1 %}"}, "Output": "{% [$x, $states.input.seen] %}", "Next": "C"},
        "C": {"Type": "Pass", "Output": {"x": "{% $x %}", "in": "{% $states.input %}"}, "End": True},
    }
    assert Machine(account, states).output() == {"x": 2, "in": [1, False]}


# Flow


def test_a_map_keeps_the_order_and_runs_no_more_at_once_than_allowed(account):
    # docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html
    inner = {
        "P": {"Type": "Wait", "Seconds": "{% $states.input.s %}", "Next": "Q"},
        "Q": {"Type": "Pass", "Output": "{% $states.input.i %}", "End": True},
    }
    selector = {"i": "{% $states.context.Map.Item.Index %}", "s": "{% $states.context.Map.Item.Value %}"}
    states = {
        "A": {
            "Type": "Map", "Items": "{% $states.input %}", "MaxConcurrency": 2, "ItemSelector": selector, "End": True,
            "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "P", "States": inner},
        }
    }  # fmt: skip
    machine = Machine(account, states)
    execution = machine.start([200, 100, 100])
    until(lambda: machine.kinds(execution).count("WaitStateEntered") == 2)
    account.cloud.clock.advance(101)
    until(lambda: machine.kinds(execution).count("WaitStateEntered") == 3)
    account.cloud.clock.advance(101)
    done = machine.ended(execution)
    assert json.loads(done["output"]) == [0, 1, 2]
    kinds = machine.kinds(execution)
    assert (kinds.count("MapIterationStarted"), kinds.count("MapIterationSucceeded"), kinds.count("MapStateSucceeded")) == (3, 3, 1)
    steps = {"MapIterationStarted": 1, "MapIterationSucceeded": -1}
    assert max(accumulate(steps.get(kind, 0) for kind in kinds)) == 2
    started = next(event for event in machine.events(execution) if event["type"] == "MapStateStarted")
    assert started["mapStateStartedEventDetails"] == {"length": 3}


def test_an_item_that_fails_fails_the_map_and_stops_the_others(account):
    # "If any of the iterations fails … the Map state fails, and all iterations are stopped"; recorded events:
    # scenarios/test_base_scenarios.snapshot.json test_map_state_catch
    inner = {
        "C": {"Type": "Choice", "Choices": [{"Condition": "{% $states.input = 0 %}", "Next": "F"}], "Default": "W"},
        "F": {"Type": "Fail", "Error": "Bad", "Cause": "{% 'item ' & $states.input %}"},
        "W": {"Type": "Wait", "Seconds": 100000, "End": True},
    }
    states = {
        "A": {
            "Type": "Map", "ItemProcessor": {"StartAt": "C", "States": inner}, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}], "End": True,
        },
        "B": {"Type": "Pass", "End": True},
    }  # fmt: skip
    machine = Machine(account, states)
    execution = machine.start([1, 0, 2])
    assert json.loads(machine.ended(execution)["output"]) == {"Error": "Bad", "Cause": "item 0"}
    kinds = machine.kinds(execution)
    assert (kinds.count("MapIterationFailed"), kinds.count("MapStateFailed")) == (1, 1)


def test_a_map_needs_an_array(account):
    # recorded: scenarios/test_base_scenarios.snapshot.json test_map_state_items_eval_jsonata_fail, …_input_types
    processor = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    told = "An error occurred while executing the state 'A' (entered at the event id #2). "
    machine = Machine(account, {"A": {"Type": "Map", "Items": "{% 'string' %}", "ItemProcessor": processor, "End": True}})
    assert machine.failure() == (
        "States.QueryEvaluationError",
        f"{told}The JSONata expression ''string'' specified for the field 'Items' returned an unexpected result type. "
        "Expected 'array', but was 'string' for value: \"string\"",
    )
    machine = Machine(account, {"A": {"Type": "Map", "ItemProcessor": processor, "End": True}})
    assert machine.failure({"foo": "bar"})[1] == told + 'Map state input must be an array but was: {"foo":"bar"}'


def test_a_parallel_gives_the_branches_results_in_order(account):
    # docs.aws.amazon.com/step-functions/latest/dg/state-parallel.html; variables of a branch stay in it: workflow-variables.html
    branches = [
        {"StartAt": "P", "States": {"P": {"Type": "Pass", "Assign": {"v": i}, "Output": f"{{% $states.input.n + {i} + $outer %}}", "End": True}}}
        for i in (10, 20)
    ]
    states = {
        "V": {"Type": "Pass", "Assign": {"outer": 5}, "Next": "A"},
        "A": {"Type": "Parallel", "Arguments": {"n": "{% $states.input.n * 2 %}"}, "Branches": branches, "Next": "B"},
        "B": {"Type": "Pass", "Output": {"in": "{% $states.input %}", "v": "{% $exists($v) %}"}, "End": True},
    }
    assert Machine(account, states).output({"n": 1}) == {"in": [17, 27], "v": False}


def test_a_branch_that_fails_fails_the_parallel_at_once(account):
    branches = [
        {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 100000, "End": True}}},
        {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E"}}},
    ]
    machine = Machine(account, {"A": {"Type": "Parallel", "Branches": branches, "End": True}})
    execution = machine.start()
    done = machine.ended(execution)
    assert (done["status"], done["error"], done.get("cause")) == ("FAILED", "E", None)
    assert machine.kinds(execution)[-2:] == ["ParallelStateFailed", "ExecutionFailed"]  # recorded: test_parallel_state_fail


def test_a_choice_takes_the_first_rule_that_holds_or_the_default_or_fails(account):
    # docs.aws.amazon.com/step-functions/latest/dg/state-choice.html
    states = {
        "A": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.n > 5 %}", "Assign": {"w": "big"}, "Output": "{% $states.input.n %}", "Next": "B"},
                {"Condition": "{% $states.input.n > 3 %}", "Assign": {"w": "middle"}, "Next": "B"},
                {"Condition": "{% $states.input.n < 0 %}", "Next": "S"},
            ],
        },
        "B": {"Type": "Pass", "Output": "{% $w & $string($states.input) %}", "Next": "S"},
        "S": {"Type": "Succeed"},
    }
    machine = Machine(account, states)
    assert machine.output({"n": 6}) == "big6"
    assert machine.output({"n": 4}) == 'middle{"n":4}'
    assert machine.failure({"n": 1})[0] == "States.NoChoiceMatched"
    assert machine.failure({"n": "x"})[0] == "States.QueryEvaluationError"
    states["A"]["Default"] = "S"
    assert Machine(account, states).output({"n": 1}) == {"n": 1}


def test_fail_says_what_it_is_told_and_nothing_else(account):
    # recorded: base/test_base.snapshot.json test_state_fail, test_state_fail_empty
    assert Machine(account, {"A": {"Type": "Fail", "Error": "E", "Cause": "{% 'be' & 'cause' %}"}}).failure() == ("E", "because")
    assert Machine(account, {"A": {"Type": "Fail"}}).failure() == (None, None)


def test_a_result_that_is_too_large_is_data_limit_exceeded(account):
    # recorded: error_handling/test_states_errors.snapshot.json; the limit: 256 KiB of UTF-8, … /service-quotas.html
    assert Machine(account, passing("{% $pad('', 262142, 'é') %}")).failure()[1].startswith("The state/task 'A' returned a result with a size")
    assert len(Machine(account, passing("{% $pad('', 131071, 'é') %}")).output()) == 131071
    function = account.function("def handler(event, context):\n    return 'x' * 262200\n")
    error, cause = Machine(account, task(INVOKE, {"FunctionName": function}), EVERYTHING).failure()
    assert error == "States.DataLimitExceeded"
    assert cause == "The state/task 'lambda' returned a result with a size exceeding the maximum number of bytes service limit."


# Executions


def test_a_name_is_idempotent_with_the_same_input_while_it_runs(account):
    # docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html; recorded: test_start_execution_idempotent
    machine = Machine(account, {"A": {"Type": "Wait", "Seconds": 100000, "End": True}})
    execution = machine.start({"a": 1}, name="n-1")
    assert machine.start({"a": 1}, name="n-1") == execution
    with pytest.raises(machine.client.exceptions.ExecutionAlreadyExists, match=f"Execution Already Exists: '{execution}'"):
        machine.start({"a": 2}, name="n-1")
    machine.client.stop_execution(executionArn=execution)
    assert machine.ended(execution)["status"] == "ABORTED"
    with pytest.raises(machine.client.exceptions.ExecutionAlreadyExists):
        machine.start({"a": 1}, name="n-1")


def test_stopping_what_has_ended_changes_nothing(account):
    machine = Machine(account, passing(1))
    execution = machine.start()
    before = machine.ended(execution)
    machine.client.stop_execution(executionArn=execution, error="Late")
    assert machine.describe(execution)["status"] == before["status"] == "SUCCEEDED"
    assert "error" not in machine.describe(execution)


def test_input_must_be_json(account):
    # recorded: test_sfn_api.snapshot.json test_invalid_start_execution_input
    machine = Machine(account, passing(1))
    with pytest.raises(machine.client.exceptions.InvalidExecutionInput, match="Invalid State Machine Execution Input"):
        machine.client.start_execution(stateMachineArn=machine.arn, input="not json")
    with pytest.raises(machine.client.exceptions.InvalidName):  # API_StartExecution.html: characters a name must not contain
        machine.start(name="a b")


def test_describe_shows_what_aws_shows(account):
    # recorded: test_sfn_api.snapshot.json test_describe_execution
    done = Machine(account, passing({"a": 1})).run()
    assert {name: done[name] for name in ("input", "output", "inputDetails", "outputDetails", "redriveCount", "redriveStatus")} == {
        "input": "{}", "output": '{"a":1}', "inputDetails": {"included": True}, "outputDetails": {"included": True}, "redriveCount": 0,
        "redriveStatus": "NOT_REDRIVABLE",
    }  # fmt: skip


def test_the_history_tells_each_step_in_pages(account):
    # recorded: logs/test_logs.snapshot.json test_base[pass_result.json5_ALL_False]
    states = {"A": {"Type": "Pass", "Assign": {"x": [1]}, "Next": "B"}, "B": {"Type": "Succeed"}}
    machine = Machine(account, states)
    execution = machine.start()
    machine.ended(execution)
    events = machine.events(execution)
    kinds = ["ExecutionStarted", "PassStateEntered", "PassStateExited", "SucceedStateEntered", "SucceedStateExited", "ExecutionSucceeded"]
    assert [(e["id"], e["previousEventId"], e["type"]) for e in events] == list(zip(range(1, 7), [0, 0, 2, 3, 4, 5], kinds, strict=True))
    assert events[1]["stateEnteredEventDetails"] == {"name": "A", "input": "{}", "inputDetails": {"truncated": False}}
    assert events[2]["stateExitedEventDetails"]["assignedVariables"] == {"x": "[1]"}
    first = machine.client.get_execution_history(executionArn=execution, maxResults=2, reverseOrder=True)
    assert ([e["type"] for e in first["events"]], "nextToken" in first) == (["ExecutionSucceeded", "SucceedStateExited"], True)


def test_status_changes_are_events_with_the_documented_members(account):
    # recorded: base/test_base.snapshot.json test_event_bridge_events_base
    url, queue = account.open_queue("events.amazonaws.com")
    machine = Machine(account, passing({"a": 1}))
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine.arn]}}
    rule = account.name("rule")
    account.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    account.client("events").put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue}])
    execution = machine.start({"i": 1})
    found = sorted((json.loads(m["Body"]) for m in account.messages(url, 2)), key=lambda e: e["detail"]["status"])
    running, succeeded = (event["detail"] for event in found)
    assert found[0]["detail-type"] == "Step Functions Execution Status Change"
    assert found[0]["resources"] == [execution]
    common = {
        "executionArn": execution, "stateMachineArn": machine.arn, "name": execution.rpartition(":")[2], "input": '{"i":1}'.replace(":", ": "),
        "stateMachineVersionArn": None, "stateMachineAliasArn": None, "redriveCount": 0, "redriveDate": None, "redriveStatus": "NOT_REDRIVABLE",
        "inputDetails": {"included": True}, "error": None, "cause": None, "startDate": running["startDate"],
    }  # fmt: skip
    waiting = {"output": None, "outputDetails": None, "stopDate": None}
    assert running == common | waiting | {"status": "RUNNING", "redriveStatusReason": "Execution is RUNNING and cannot be redriven"}
    ended = {"output": '{"a":1}', "outputDetails": {"included": True}, "stopDate": succeeded["stopDate"]}
    assert succeeded == common | ended | {"status": "SUCCEEDED", "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven"}
    assert succeeded["stopDate"] >= running["startDate"] > 1_600_000_000_000  # epoch milliseconds


def test_executions_are_counted(account):
    # docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html
    machine = Machine(account, {"A": {"Type": "Fail"}})
    machine.run()
    for name in ("ExecutionsStarted", "ExecutionsFailed"):
        query = {
            "Id": "m", "MetricStat": {"Metric": {"Namespace": "AWS/States", "MetricName": name, "Dimensions": [{"Name": "StateMachineArn", "Value": machine.arn}]},
            "Period": 3600, "Stat": "Sum"},
        }  # fmt: skip
        now = account.cloud.clock.now()

        def values(query=query, now=now):
            found = account.client("cloudwatch").get_metric_data(MetricDataQueries=[query], StartTime=now - 7200, EndTime=now + 7200)
            return found["MetricDataResults"][0]["Values"]

        assert until(values) == [1.0]
