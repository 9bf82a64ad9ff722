"""Step Functions, logs and what CreateStateMachine looks at, as its developer guide describes it and as localstack recorded it on AWS.

Recordings are named by their path below https://github.com/localstack/localstack/tree/main/tests/aws/services/stepfunctions/v2/
"""

import json

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow
from tests.conformance.machines import DELIVERY, INVOKE, MANAGED, Machine, failing, passing, task, training


@pytest.fixture
def bucket(account):
    name = account.name("bucket")
    account.client("s3").create_bucket(Bucket=name)
    return name


# Logs: docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html; lines recorded: logs/test_logs.snapshot.json


def logged(account, states, level, data):
    group = account.name("/states/group")
    account.client("logs").create_log_group(logGroupName=group)
    where = {"cloudWatchLogsLogGroup": {"logGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*"}}
    settings = {"level": level, "includeExecutionData": data, "destinations": [where]}
    machine = Machine(account, states, allow(DELIVERY, "*"), loggingConfiguration=settings)
    execution = machine.start()
    machine.ended(execution)
    return execution, machine, sorted((json.loads(line) for line in account.log(group)), key=lambda line: int(line["id"]))


def test_all_lines_with_data(account):
    execution, machine, lines = logged(account, passing({"a": 1}), "ALL", True)
    assert [line["type"] for line in lines] == ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    stamp = lines[0].pop("event_timestamp")
    assert stamp.isdigit()
    assert lines[0] == {
        "id": "1", "type": "ExecutionStarted", "previous_event_id": "0", "execution_arn": execution, "redrive_count": "0",
        "details": {"input": "{}", "inputDetails": {"truncated": "false"}, "roleArn": machine.role},
    }  # fmt: skip
    assert lines[2]["details"] == {"name": "A", "output": '{"a":1}', "outputDetails": {"truncated": "false"}}


def test_all_lines_without_data(account):
    _, machine, lines = logged(account, passing({"a": 1}), "ALL", False)
    assert [line["details"] for line in lines] == [{"roleArn": machine.role}, {"name": "A"}, {"name": "A"}, {}]


def test_errors_only(account):
    states = {"F": {"Type": "Fail", "Error": "SomeFailure", "Cause": "because"}}
    _, _, lines = logged(account, states, "ERROR", False)
    assert [(line["type"], line["details"]) for line in lines] == [
        ("FailStateEntered", {"name": "F"}),
        ("ExecutionFailed", {"cause": "because", "error": "SomeFailure"}),
    ]
    assert logged(account, passing(1), "ERROR", True)[2] == []
    assert [line["type"] for line in logged(account, states, "FATAL", False)[2]] == ["ExecutionFailed"]


# What CreateStateMachine refuses


def test_a_role_that_states_may_not_assume_is_refused(account):
    role = account.role("lambda.amazonaws.com")
    words = "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the provided role."
    failing(account, passing(1), "AccessDeniedException", words, role=role)


def test_a_job_that_is_waited_for_needs_the_managed_rule(account, bucket):
    _, _, states = training(account, bucket)
    role = account.role("states.amazonaws.com", allow("sagemaker:*", "*"))
    failing(account, states, "AccessDeniedException", f"'{role}' is not authorized to create managed-rule.", role=role)
    account.grant(role, MANAGED)
    assert Machine(account, states, role=role)


def test_logging_needs_the_delivery_permissions_and_one_group_that_exists(account):
    # the configuration errors are recorded: test_sfn_api_logs.snapshot.json
    group = account.name("group")
    where = {"cloudWatchLogsLogGroup": {"logGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*"}}
    settings = {"level": "ALL", "destinations": [where]}
    words = "The state machine IAM Role is not authorized to access the Log Destination"
    failing(account, passing(1), "AccessDeniedException", words, loggingConfiguration=settings)
    may = allow(DELIVERY, "*")
    missing = "Invalid Logging Configuration: Log Destination not found."
    failing(account, passing(1), "InvalidLoggingConfiguration", missing, may, loggingConfiguration=settings)
    one = "Invalid Logging Configuration: Must specify exactly one Log Destination."
    failing(account, passing(1), "InvalidLoggingConfiguration", one, may, loggingConfiguration={"level": "ALL"})
    failing(account, passing(1), "InvalidLoggingConfiguration", one, may, loggingConfiguration={"level": "ALL", "destinations": [where, where]})


def test_express_machines_jsonpath_and_versions_are_refused_by_name(account):
    failing(account, passing(1), "NotSupportedByLocalcloud", "Express", type="EXPRESS")
    failing(account, passing(1), "NotSupportedByLocalcloud", "publish of CreateStateMachine", publish=True)
    key = {"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "k"}
    failing(account, passing(1), "NotSupportedByLocalcloud", "encryptionConfiguration of CreateStateMachine", encryptionConfiguration=key)
    client, role = account.client("stepfunctions"), account.role("states.amazonaws.com")
    definition = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
    with pytest.raises(ClientError, match="JSONPath"):
        client.create_state_machine(name=account.name("m"), definition=json.dumps(definition), roleArn=role)
    arn = Machine(account, passing(1)).arn
    with pytest.raises(ClientError, match="includedData=METADATA_ONLY of DescribeStateMachine"):
        client.describe_state_machine(stateMachineArn=arn, includedData="METADATA_ONLY")
    with pytest.raises(ClientError, match="stepfunctions:RedriveExecution"):
        client.redrive_execution(executionArn=f"arn:aws:states:{REGION}:{ACCOUNT}:execution:x:y")


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (passing(1, InputPath="$"), "/States/A/InputPath: field not supported"),
        (passing(1, QueryLanguage="JSONPath"), "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine"),
        (task(INVOKE, {"FunctionName": "f"}, HeartbeatSeconds=3), "/States/A/HeartbeatSeconds: field not supported"),
        (task(INVOKE, {"FunctionName": "f"}, Retry=[{"ErrorEquals": ["E"], "Backoff": 1}]), "/States/A/Retry[0]/Backoff: field not supported"),
        (task(INVOKE, {"FunctionName": "f"}, Retry=[{"ErrorEquals": ["E", "States.ALL"]}]), "States.ALL must stand alone"),
        (task(INVOKE, {"FunctionName": "f"}, Catch=[{"ErrorEquals": ["E"]}]), "/States/A/Catch[0]/Next: required"),
        ({"A": {"Type": "Task", "End": True}}, "These fields are required: [Resource] at /States/A"),
        ({"A": {"Type": "Wait", "Timestamp": "2026-01-01T00:00:00Z", "End": True}}, "/States/A/Timestamp: field not supported"),
        ({"A": {"Type": "Succeed"}, "B": {"Type": "Succeed"}}, 'State "B" is not reachable.'),
        (
            {"A": {"Type": "Map", "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "P", "States": {"P": {"Type": "Succeed"}}}, "End": True}},
            "only the mode INLINE is supported",
        ),
        ({"A": {"Type": "Map", "ItemReader": {}, "ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}, "End": True}}, "/States/A/ItemReader"),
        ({"A": {"Type": "Parallel", "TimeoutSeconds": 3, "Branches": [{"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}], "End": True}}, "TimeoutSeconds"),
    ],
)  # fmt: skip
def test_definitions_that_are_not_understood_are_refused(account, states, told):
    failing(account, states, "InvalidDefinition", told)


def test_creating_the_same_machine_again_is_idempotent(account):
    # docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html; recorded: test_create_exact_duplicate_sm
    client, role, name = account.client("stepfunctions"), account.role("states.amazonaws.com"), account.name("machine")

    def create(output):
        definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": passing(output)})
        return client.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]

    assert create(1) == create(1)
    with pytest.raises(client.exceptions.StateMachineAlreadyExists):
        create(2)


def test_an_update_counts_for_executions_that_start_later(account):
    # "Running executions will continue to use the previous definition and roleArn": API_UpdateStateMachine.html
    machine = Machine(account, {"A": {"Type": "Wait", "Seconds": 100, "Next": "B"}, "B": {"Type": "Pass", "Output": 1, "End": True}})
    execution = machine.start()
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": passing(2)})
    machine.client.update_state_machine(stateMachineArn=machine.arn, definition=definition)
    assert machine.output() == 2
    machine.entered(execution, "WaitStateEntered")
    account.cloud.clock.advance(101)
    assert machine.ended(execution)["output"] == "1"
    with pytest.raises(machine.client.exceptions.MissingRequiredParameter, match="Either the definition, the role ARN"):
        machine.client.update_state_machine(stateMachineArn=machine.arn)


def test_executions_are_listed_by_status_in_pages(account):
    # docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
    machine = Machine(account, {"C": {"Type": "Choice", "Choices": [{"Condition": "{% $states.input.ok %}", "Next": "S"}], "Default": "F"},
        "S": {"Type": "Succeed"}, "F": {"Type": "Fail"}})  # fmt: skip
    good, bad = machine.start({"ok": True}), machine.start({"ok": False})
    machine.ended(good)
    machine.ended(bad)
    listed = machine.client.list_executions(stateMachineArn=machine.arn, statusFilter="FAILED")["executions"]
    assert [e["executionArn"] for e in listed] == [bad]
    page = machine.client.list_executions(stateMachineArn=machine.arn, maxResults=1)
    assert [e["executionArn"] for e in page["executions"]] == [bad]  # the most recent first
    following = machine.client.list_executions(stateMachineArn=machine.arn, nextToken=page["nextToken"])
    assert [e["executionArn"] for e in following["executions"]] == [good]
