"""What a state machine calls, its role may call: a state that no run has reached yet must not be the first to find out. And how a stage goes."""

import json
import re

from tests.cloud.test_stacks import templates

CALL = re.compile(r"arn:aws:states:::(?:aws-sdk:)?(\w+):(\w+)")
PREFIXES = {"cloudwatchlogs": "logs", "eventbridge": "events", "sagemakerruntime": "sagemaker", "sfn": "states"}
"""Services whose actions begin with another word than their SDK."""
ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction", "s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket"}


def test_every_call_of_a_workflow_is_granted_to_its_machine(assembly):
    seen = set()
    for name, template in templates(assembly).items():
        for logical_id, resource in template["Resources"].items():
            if resource["Type"] == "AWS::StepFunctions::StateMachine":
                called = calls(json.dumps(resource["Properties"]["DefinitionString"]))
                missing = called - granted(template, resource["Properties"]["RoleArn"]["Fn::GetAtt"][0])
                assert missing == set(), f"{name} {logical_id}"
                seen |= called
    assert {"sagemaker:CreateEndpoint", "sagemaker:CreateTrainingJob", "lambda:InvokeFunction"} <= seen


def calls(definition: str) -> set[str]:
    """The IAM actions behind a definition's task resources."""
    found = {f"{PREFIXES.get(service, service)}:{action[0].upper()}{action[1:]}" for service, action in CALL.findall(definition)}
    return {ACTIONS.get(action, action) for action in found}


def granted(template: dict, role: str) -> set[str]:
    """The actions that the policies of a role allow."""
    policies = [
        r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::IAM::Policy" and {"Ref": role} in r["Properties"]["Roles"]
    ]
    statements = [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"] if statement["Effect"] == "Allow"]
    return {action for s in statements for action in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])}


def test_a_machine_is_deleted_before_what_its_executions_made_is_removed(assembly):
    """The local stage only: what a resource depends on is deleted after it."""
    found = []
    for template in templates(assembly).values():
        resources = template["Resources"]
        removers = {name for name, resource in resources.items() if resource["Type"].startswith("Custom::Remove")}
        machines = [resource for resource in resources.values() if resource["Type"] == "AWS::StepFunctions::StateMachine"]
        if removers and machines:
            found += machines
            assert all(removers <= set(machine["DependsOn"]) for machine in machines)
    assert len(found) == 2
