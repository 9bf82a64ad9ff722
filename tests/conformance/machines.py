"""State machines under test: make one, run it, look at how it ended."""

import json

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow, until

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/test-image:1"
RULES = [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule" for kind in ("Training", "Processing", "Tuning")]
MANAGED = allow(["events:PutTargets", "events:PutRule", "events:DescribeRule"], RULES)
EVERYTHING = allow("*", "*")
INVOKE = "arn:aws:states:::lambda:invoke"
ECHO = "def handler(event, context):\n    return event\n"
DELIVERY = [
    f"logs:{action}"
    for action in (
        "CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries", "PutResourcePolicy",
        "DescribeResourcePolicies", "DescribeLogGroups",
    )
]  # fmt: skip


class Machine:
    """A machine under test: run it, look at how it ended."""

    def __init__(self, account, states, *statements, start=None, **settings):
        self.account, self.client = account, account.client("stepfunctions")
        top = {name: settings.pop(name) for name in ("TimeoutSeconds",) if name in settings}
        self.role = settings.pop("role", None) or account.role("states.amazonaws.com", *statements)
        definition = {"QueryLanguage": "JSONata", "StartAt": start or next(iter(states)), "States": states} | top
        name = account.name("machine")
        self.arn = self.client.create_state_machine(name=name, definition=json.dumps(definition), roleArn=self.role, **settings)["stateMachineArn"]

    def start(self, value=None, **more):
        return self.client.start_execution(stateMachineArn=self.arn, input=json.dumps(value if value is not None else {}), **more)["executionArn"]

    def describe(self, execution):
        return self.client.describe_execution(executionArn=execution)

    def ended(self, execution):
        return until(lambda: self.describe(execution)["status"] != "RUNNING" and self.describe(execution))

    def entered(self, execution, kind):
        """Waits for an event of the history."""
        return until(lambda: kind in self.kinds(execution))

    def run(self, value=None):
        return self.ended(self.start(value))

    def output(self, value=None):
        done = self.run(value)
        assert done["status"] == "SUCCEEDED", done
        return json.loads(done["output"])

    def failure(self, value=None):
        done = self.run(value)
        assert done["status"] == "FAILED", done
        return done.get("error"), done.get("cause")

    def events(self, execution):
        pages = self.client.get_paginator("get_execution_history").paginate(executionArn=execution)
        return [event for page in pages for event in page["events"]]

    def kinds(self, execution):
        return [event["type"] for event in self.events(execution)]


def passing(output, **more):
    return {"A": {"Type": "Pass", "Output": output, "End": True} | more}


def failing(account, states, code, message, *statements, **settings):
    with pytest.raises(ClientError) as error:
        Machine(account, states, *statements, **settings)
    assert error.value.response["Error"]["Code"] == code
    assert message in error.value.response["Error"]["Message"]


def task(resource, arguments, **more):
    return {"A": {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True} | more}


def training(account, bucket, **hyperparameters):
    role = account.role("sagemaker.amazonaws.com", EVERYTHING)
    name = account.name("job")
    arguments = {
        "TrainingJobName": name, "RoleArn": role, "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"}, "HyperParameters": hyperparameters,
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}, "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }  # fmt: skip
    return name, role, task("arn:aws:states:::sagemaker:createTrainingJob.sync", arguments)
