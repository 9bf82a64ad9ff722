"""The templates: the same every time, right by CloudFormation's own schema, small where it counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud.conftest import synth

CALLED = {"DatabaseName", "DisplayName", "FunctionName", "MetricName", "PolicyName"}  # names of other things
NAMED = {"AWS::Athena::WorkGroup": "Name", "AWS::SSM::Parameter": "Name", "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupName"}


def templates(folder: Path) -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.template.json"))}


def test_two_synths_of_one_commit_are_identical(assembly, models, tmp_path):
    again = synth(tmp_path / "second", models=str(models))
    assert templates(again) == templates(assembly)
    assert len(templates(assembly)) == 6


def test_templates_keep_cloudformations_schema(assembly):
    files = [str(path) for path in sorted(assembly.glob("*.template.json"))]
    # W3005: CDK names dependencies that references imply. E2531/W2531: the local stage's python is this machine's.
    done = subprocess.run(
        [str(Path(sys.executable).parent / "cfn-lint"), "--ignore-checks", "W3005", "W2531", "E2531", "--", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_only_what_people_look_up_has_a_name_of_its_own(assembly):
    for name, template in templates(assembly).items():
        for logical_id, resource in template["Resources"].items():
            own = [key for key in resource.get("Properties", {}) if key.endswith("Name") and key not in CALLED]
            allowed = NAMED.get(resource["Type"])
            assert own in ([], [allowed]), f"{name} {logical_id} {own}"


def test_every_function_has_a_role_and_a_log_group_of_its_own(assembly):
    for template in templates(assembly).values():
        functions = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Function"]
        roles = [json.dumps(f["Role"]) for f in functions]
        groups = [json.dumps(f["LoggingConfig"]["LogGroup"]) for f in functions]
        assert len(set(roles)) == len(roles)
        assert len(set(groups)) == len(groups)


@pytest.mark.parametrize("kind", ["AWS::Logs::LogGroup"])
def test_logs_do_not_stay_for_ever(assembly, kind):
    for template in templates(assembly).values():
        for resource in template["Resources"].values():
            if resource["Type"] == kind:
                assert resource["Properties"]["RetentionInDays"] > 0


def test_every_alarm_reaches_the_topic(assembly):
    alarms = [r for t in templates(assembly).values() for r in t["Resources"].values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    described = " ".join(alarm["Properties"]["AlarmDescription"] for alarm in alarms)
    for subject in ("training run failed", "release run failed", "dead-letter queue", "failed predictions", "latency", "an upload was refused"):
        assert subject in described
    assert all(alarm["Properties"]["AlarmActions"] and alarm["Properties"]["OKActions"] for alarm in alarms)


def test_alarm_expressions_keep_to_what_cloudwatch_evaluates(assembly):
    """MAX of a list of a metric and a number is refused by PutMetricAlarm; no local tool knows that."""
    text = json.dumps([t["Resources"] for t in templates(assembly).values()])
    assert "IF(calls > 0, errors / calls, 0)" in text
    assert "MAX([" not in text


def test_cloudwatch_may_publish_to_the_topic_whose_policy_replaces_the_default(assembly):
    policies = [
        r["Properties"]["PolicyDocument"]
        for t in templates(assembly).values()
        for r in t["Resources"].values()
        if r["Type"] == "AWS::SNS::TopicPolicy"
    ]
    allowed = [s for p in policies for s in p["Statement"] if s["Effect"] == "Allow"]
    assert [s["Principal"] for s in allowed] == [{"Service": "cloudwatch.amazonaws.com"}]


def test_no_statement_of_ours_allows_everything(assembly):
    for template in templates(assembly).values():
        for logical_id, resource in template["Resources"].items():
            if resource["Type"] != "AWS::IAM::Policy":
                continue
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not [a for a in actions if a == "*" or a.endswith(":*")], logical_id
