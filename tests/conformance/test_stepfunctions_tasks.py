"""Step Functions, tasks, jobs and time, as its developer guide describes it and as localstack recorded it on AWS.

Recordings are named by their path below https://github.com/localstack/localstack/tree/main/tests/aws/services/stepfunctions/v2/
"""

import json

import pytest

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow, until
from tests.conformance.jobs import continuous, limits, tuning
from tests.conformance.machines import ECHO, EVERYTHING, IMAGE, INVOKE, MANAGED, Machine, failing, task, training

# Task: docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html


def test_invoke_gives_version_payload_and_status(account):
    function = account.function(ECHO)
    states = task(INVOKE, {"FunctionName": function, "Payload": {"n": "{% $states.input.n %}"}})
    assert Machine(account, states, EVERYTHING).output({"n": 1}) == {"ExecutedVersion": "$LATEST", "Payload": {"n": 1}, "StatusCode": 200}


def test_a_functions_error_type_is_the_states_error_and_the_payload_its_cause(account):
    # recorded: error_handling/test_task_service_lambda.snapshot.json test_raise_custom_exception
    function = account.function("class Odd(Exception): pass\n\ndef handler(event, context):\n    raise Odd('so')\n")
    error, cause = Machine(account, task(INVOKE, {"FunctionName": function}), EVERYTHING).failure()
    assert error == "Odd"
    assert (json.loads(cause)["errorMessage"], json.loads(cause)["errorType"]) == ("so", "Odd")


def test_a_missing_function_is_a_lambda_resource_not_found_exception(account):
    # recorded: error_handling/test_task_service_lambda.snapshot.json test_no_such_function
    error, cause = Machine(account, task(INVOKE, {"FunctionName": "no-such"}), EVERYTHING).failure()
    assert error == "Lambda.ResourceNotFoundException"
    assert "Function not found" in cause
    assert "(Service: AWSLambda; Status Code: 404; Error Code: ResourceNotFoundException; Request ID: " in cause


def test_without_permission_the_state_fails_with_the_services_error(account):
    function = account.function(ECHO)
    machine = Machine(account, task(INVOKE, {"FunctionName": function}))
    error, cause = machine.failure()
    assert error == "Lambda.AWSLambdaException"  # an error that Lambda's model does not have
    assert "is not authorized to perform: lambda:InvokeFunction" in cause
    assert machine.role.rpartition("/")[2] in cause


def test_an_sdk_call_has_pascal_case_and_datetimes_as_text(account):
    # recorded: services/test_aws_sdk_task_service.snapshot.json test_s3_get_object: Body is text, LastModified a date
    bucket = account.name("bucket")
    account.client("s3").create_bucket(Bucket=bucket)
    account.client("s3").put_object(Bucket=bucket, Key="k", Body=b'{"a": 1}')
    states = task("arn:aws:states:::aws-sdk:s3:getObject", {"Bucket": bucket, "Key": "k"})
    answer = Machine(account, states, EVERYTHING).output()
    assert (answer["Body"], answer["ContentLength"]) == ('{"a": 1}', 8)
    assert answer["LastModified"].endswith("Z")


@pytest.mark.parametrize(
    ("resource", "arguments", "error"),
    [
        # recorded: error_handling/test_aws_sdk.snapshot.json
        ("s3:getObject", {"Bucket": "{% $states.input.bucket %}", "Key": "no"}, "S3.NoSuchKeyException"),
        ("s3:listObjectsV2", {"Bucket": "no-such-bucket-here"}, "S3.NoSuchBucketException"),
        ("dynamodb:getItem", {"TableName": "no", "Key": {"id": {"S": "1"}}}, "DynamoDb.ResourceNotFoundException"),
        # an error without a shape is <Service>.<Service>Exception: docs … /supported-services-awssdk.html
        ("sagemaker:describeEndpoint", {"EndpointName": "no"}, "SageMaker.SageMakerException"),
        ("sqs:getQueueUrl", {"QueueName": "no"}, "Sqs.QueueDoesNotExistException"),
        ("sfn:describeExecution", {"ExecutionArn": f"arn:aws:states:{REGION}:{ACCOUNT}:execution:a:b"}, "Sfn.ExecutionDoesNotExistException"),
    ],
)
def test_errors_of_sdk_calls_have_the_java_sdks_names(account, resource, arguments, error):
    bucket = account.name("bucket")
    account.client("s3").create_bucket(Bucket=bucket)
    found, cause = Machine(account, task(f"arn:aws:states:::aws-sdk:{resource}", arguments), EVERYTHING).failure({"bucket": bucket})
    assert found == error
    assert f"(Service: {error.partition('.')[0]}, Status Code: 4" in cause


def test_a_denied_sdk_call_is_the_services_own_exception(account):
    bucket = account.name("bucket")
    account.client("s3").create_bucket(Bucket=bucket)
    error, cause = Machine(account, task("arn:aws:states:::aws-sdk:s3:listObjectsV2", {"Bucket": bucket})).failure()
    assert (error, "not authorized to perform: s3:ListBucket" in cause) == ("S3.S3Exception", True)


@pytest.mark.parametrize(
    ("resource", "arguments", "told"),
    [
        ("arn:aws:states:::aws-sdk:s3:GetObject", {}, "is not recognized"),  # "the API action in camelCase"
        ("arn:aws:states:::aws-sdk:s3:noSuch", {}, "is not recognized"),
        ("arn:aws:states:::aws-sdk:ecr:describeImages", {"repositoryName": "x"}, "The field 'repositoryName' is not supported"),  # "in PascalCase"
        ("arn:aws:states:::lambda:invoke", {"FunctionNam": "x"}, "The field 'FunctionNam' is not supported by Step Functions"),
        ("arn:aws:states:::lambda:invoke", {"Payload": {}}, "The field 'FunctionName' is required but was missing"),
    ],
)
def test_resources_and_arguments_are_checked_when_the_machine_is_made(account, resource, arguments, told):
    failing(account, task(resource, arguments), "InvalidDefinition", told)


@pytest.mark.parametrize(
    "resource",
    [
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f", "arn:aws:states:::lambda:invoke.waitForTaskToken", "arn:aws:states:::sqs:sendMessage",
        "arn:aws:states:::sagemaker:createTransformJob.sync", "arn:aws:states:::sagemaker:createTrainingJob", "arn:aws:states:::aws-sdk:ec2:runInstances",
    ],
)  # fmt: skip
def test_resources_localcloud_does_not_call_are_refused_by_name(account, resource):
    failing(account, task(resource, {}), "NotSupportedByLocalcloud", resource)


# Jobs: docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html


def test_a_training_job_is_waited_for_and_its_description_is_the_result(account, bucket):
    name, _, states = training(account, bucket)
    answer = Machine(account, states, EVERYTHING).output()
    assert (answer["TrainingJobName"], answer["TrainingJobStatus"], answer["SecondaryStatus"]) == (name, "Completed", "Completed")
    assert answer["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{bucket}/out/{name}/output/model.tar.gz"


def test_a_failed_job_is_a_task_failed_with_the_description_as_cause(account, bucket):
    # recorded for ECS, services/test_ecs_task_service.snapshot.json: error States.TaskFailed, cause the described task
    _, _, states = training(account, bucket, fail="bad data")
    error, cause = Machine(account, states, EVERYTHING).failure()
    assert error == "States.TaskFailed"
    assert json.loads(cause)["FailureReason"] == "AlgorithmError: bad data, exit code: 1"


def test_a_job_that_cannot_be_created_is_sagemakers_exception(account, bucket):
    # the name of an error SageMaker's model does not have: connect-sagemaker.html, Retry of its samples
    _, _, states = training(account, bucket)
    states["A"]["Arguments"]["RoleArn"] = f"arn:aws:iam::{ACCOUNT}:role/no-such-role"
    error, cause = Machine(account, states, EVERYTHING).failure()
    assert error == "SageMaker.AmazonSageMakerException"
    assert "Could not assume role" in cause
    assert "(Service: AmazonSageMaker; Status Code: 400; Error Code: ValidationException; Request ID: " in cause


def test_without_pass_role_on_the_jobs_role_the_state_fails(account, bucket):
    _, role, states = training(account, bucket)
    jobs = allow("sagemaker:*", "*")
    error, cause = Machine(account, states, jobs, MANAGED).failure()
    assert (error, f"iam:PassRole on resource: {role}" in cause) == ("SageMaker.AmazonSageMakerException", True)


def test_stopping_an_execution_stops_its_job(account, bucket):
    # "If the execution is stopped, Step Functions makes a best-effort attempt to cancel the job": … /connect-to-resource.html
    name, _, states = training(account, bucket, sleep_s="60")
    machine = Machine(account, states, EVERYTHING)
    execution = machine.start()
    sagemaker = account.client("sagemaker")
    machine.entered(execution, "TaskStarted")
    until(lambda: [j for j in sagemaker.list_training_jobs()["TrainingJobSummaries"] if j["TrainingJobName"] == name])
    machine.client.stop_execution(executionArn=execution, error="Enough", cause="of it")
    done = machine.ended(execution)
    assert (done["status"], done["error"], done["cause"]) == ("ABORTED", "Enough", "of it")
    until(lambda: sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Stopped")


def tuned(account, bucket, config=None, **static):
    role = account.role("sagemaker.amazonaws.com", EVERYTHING)
    arguments = tuning(account, bucket, role, continuous("x", 0, 1), limits(2) | (config or {}), {"StaticHyperParameters": static})
    return arguments["HyperParameterTuningJobName"], role, task("arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync", arguments)


def test_a_tuning_job_is_waited_for_and_its_description_is_the_result(account, bucket):
    name, _, states = tuned(account, bucket)
    answer = Machine(account, states, EVERYTHING).output()
    assert (answer["HyperParameterTuningJobName"], answer["HyperParameterTuningJobStatus"]) == (name, "Completed")
    assert answer["TrainingJobStatusCounters"]["Completed"] == 2
    best = answer["BestTrainingJob"]
    assert best["TrainingJobName"].startswith(f"{name}-00")
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] <= 0
    assert 0 <= float(best["TunedHyperParameters"]["x"]) <= 1


def test_a_failed_tuning_job_is_a_task_failed_with_the_description_as_cause(account, bucket):
    _, _, states = tuned(account, bucket, fail="bad data")
    error, cause = Machine(account, states, EVERYTHING).failure()
    assert error == "States.TaskFailed"
    assert json.loads(cause)["FailureReason"].startswith("All training jobs failed.")


def test_a_tuning_job_that_cannot_be_created_is_sagemakers_exception(account, bucket):
    _, _, states = tuned(account, bucket, {"ParameterRanges": {}})
    error, cause = Machine(account, states, EVERYTHING).failure()
    assert error == "SageMaker.AmazonSageMakerException"
    assert "at least one range (Service: AmazonSageMaker; Status Code: 400; Error Code: ValidationException; Request ID: " in cause


def test_stopping_an_execution_stops_its_tuning_job(account, bucket):
    name, _, states = tuned(account, bucket, sleep_s="60")
    machine = Machine(account, states, EVERYTHING)
    execution = machine.start()
    sagemaker = account.client("sagemaker")
    described = lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)  # noqa: E731
    until(lambda: sagemaker.list_hyper_parameter_tuning_jobs(NameContains=name)["HyperParameterTuningJobSummaries"])
    until(lambda: described()["TrainingJobStatusCounters"]["InProgress"] == 1)
    machine.client.stop_execution(executionArn=execution)
    assert machine.ended(execution)["status"] == "ABORTED"
    until(lambda: described()["HyperParameterTuningJobStatus"] == "Stopped")
    assert described()["TrainingJobStatusCounters"]["Stopped"] == 1


def test_a_machine_that_tunes_needs_its_permissions(account, bucket):
    # the policy of docs.aws.amazon.com/step-functions/latest/dg/sample-hyper-tuning.html: its managed rule is named …TuningJobsRule
    name, role, states = tuned(account, bucket)
    states["A"]["Arguments"]["Tags"] = [{"Key": "k", "Value": "v"}]
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{name}"
    failing(account, states, "AccessDeniedException", "is not authorized to create managed-rule", allow("sagemaker:*", "*"))
    machine = Machine(account, states, MANAGED)
    passed = allow("iam:PassRole", role, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"})
    for missing, grant in (
        ("sagemaker:CreateHyperParameterTuningJob", allow("sagemaker:CreateHyperParameterTuningJob", arn)),
        ("sagemaker:AddTags", allow("sagemaker:AddTags", arn)),
        ("iam:PassRole", passed),
    ):
        error, cause = machine.failure()
        assert (error, f"is not authorized to perform: {missing} on resource" in cause) == ("SageMaker.AmazonSageMakerException", True)
        account.grant(machine.role, grant)
    account.grant(machine.role, allow("sagemaker:DescribeHyperParameterTuningJob", arn))
    assert machine.output()["HyperParameterTuningJobStatus"] == "Completed"


def test_a_processing_job_is_waited_for(account, bucket):
    role = account.role("sagemaker.amazonaws.com", EVERYTHING)
    arguments = {
        "ProcessingJobName": account.name("job"), "RoleArn": role,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["process"], "ContainerArguments": ["{% $states.input.word %}"]},
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
    }  # fmt: skip
    machine = Machine(account, task("arn:aws:states:::sagemaker:createProcessingJob.sync", arguments), EVERYTHING)
    assert machine.output({"word": "a"})["ProcessingJobStatus"] == "Completed"
    arguments["ProcessingJobName"] = account.name("job")
    machine = Machine(account, task("arn:aws:states:::sagemaker:createProcessingJob.sync", arguments), EVERYTHING)
    error, cause = machine.failure({"word": "fail"})
    assert (error, json.loads(cause)["ExitMessage"]) == ("States.TaskFailed", "told to fail")


# Time


def test_a_task_that_takes_too_long_times_out_by_the_clock(account):
    # recorded: timeouts/test_timeouts.snapshot.json: States.Timeout without a cause; caught, its cause is ''
    function = account.function("import time\n\ndef handler(event, context):\n    time.sleep(5)\n", Timeout=900)
    catch = [{"ErrorEquals": ["States.TaskFailed"], "Next": "No"}, {"ErrorEquals": ["States.Timeout"], "Next": "B"}]
    states = task(INVOKE, {"FunctionName": function}, TimeoutSeconds="{% 100 %}", Catch=catch)
    states |= {"B": {"Type": "Pass", "End": True}, "No": {"Type": "Fail"}}
    machine = Machine(account, states, EVERYTHING)
    execution = machine.start()
    machine.entered(execution, "TaskStarted")
    account.cloud.clock.advance(101)
    done = machine.ended(execution)
    assert json.loads(done["output"]) == {"Error": "States.Timeout", "Cause": ""}
    scheduled, timed_out = (next(e for e in machine.events(execution) if e["type"] == kind) for kind in ("TaskScheduled", "TaskTimedOut"))
    assert scheduled["taskScheduledEventDetails"]["timeoutInSeconds"] == 100
    assert timed_out["taskTimedOutEventDetails"] == {"resourceType": "lambda", "resource": "invoke", "error": "States.Timeout"}


def test_a_machine_that_takes_too_long_is_timed_out_in_the_middle_of_a_wait(account):
    # recorded: timeouts/test_timeouts.snapshot.json test_global_timeout: TIMED_OUT, no error, no cause
    machine = Machine(account, {"A": {"Type": "Wait", "Seconds": 5000, "End": True}}, TimeoutSeconds=50)
    execution = machine.start()
    machine.entered(execution, "WaitStateEntered")
    account.cloud.clock.advance(51)
    done = machine.ended(execution)
    assert (done["status"], done.get("error"), done.get("cause")) == ("TIMED_OUT", None, None)
    assert machine.kinds(execution)[-1] == "ExecutionTimedOut"


def test_a_wait_waits_by_the_clock(account):
    machine = Machine(account, {"A": {"Type": "Wait", "Seconds": "{% $states.input.s %}", "End": True}})
    execution = machine.start({"s": 1000})
    machine.entered(execution, "WaitStateEntered")
    account.cloud.clock.advance(990)
    assert machine.describe(execution)["status"] == "RUNNING"
    account.cloud.clock.advance(11)
    done = machine.ended(execution)
    assert (done["status"], json.loads(done["output"])) == ("SUCCEEDED", {"s": 1000})
    assert (done["stopDate"] - done["startDate"]).total_seconds() >= 1000


def test_retries_back_off_by_the_clock_and_end_after_max_attempts(account):
    # docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html#error-handling-retrying-after-an-error
    function = account.function("class Busy(Exception): pass\n\ndef handler(event, context):\n    raise Busy(str(event['n']))\n")
    retry = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 100, "BackoffRate": 3, "MaxAttempts": 3, "MaxDelaySeconds": 500}]
    payload = {"FunctionName": function, "Payload": {"n": "{% $states.context.State.RetryCount %}"}}
    machine = Machine(account, task(INVOKE, payload, Retry=retry), EVERYTHING)
    execution = machine.start()
    for attempt, wait in enumerate((100, 300, 500)):
        until(lambda n=attempt: machine.kinds(execution).count("TaskFailed") == n + 1)
        account.cloud.clock.advance(wait - 5)
        assert machine.kinds(execution).count("TaskScheduled") == attempt + 1
        account.cloud.clock.advance(6)
    done = machine.ended(execution)
    assert (done["error"], json.loads(done["cause"])["errorMessage"]) == ("Busy", "3")


def test_a_catcher_takes_the_first_match_and_sees_input_and_error(account):
    # recorded: states_variables/test_error_output.snapshot.json
    function = account.function("class Odd(Exception): pass\n\ndef handler(event, context):\n    raise Odd('so')\n")
    catch = [
        {"ErrorEquals": ["Other"], "Next": "Z"},
        {
            "ErrorEquals": ["Odd", "Even"], "Next": "B", "Assign": {"word": "{% $states.errorOutput.Error %}"},
            "Output": {"in": "{% $states.input %}", "error": "{% $states.errorOutput.Error %}", "result": "{% $exists($states.result) %}"},
        },
        {"ErrorEquals": ["States.ALL"], "Next": "Z"},
    ]  # fmt: skip
    states = task(INVOKE, {"FunctionName": function}, Catch=catch)
    states |= {"B": {"Type": "Pass", "Output": "{% [$word, $states.input] %}", "End": True}, "Z": {"Type": "Pass", "End": True}}
    assert Machine(account, states, EVERYTHING).output({"i": 1}) == ["Odd", {"in": {"i": 1}, "error": "Odd", "result": False}]
