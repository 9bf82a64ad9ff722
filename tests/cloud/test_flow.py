"""The whole chain on localcloud, in the order a user meets it. A pass here is no pass on AWS: docs/local-vs-aws.md."""

import io
import json
import tarfile
from fnmatch import fnmatchcase

import numpy as np
import polars as pl
import pytest

from examples import follow
from tests.cloud.conftest import Deployment, ringing, until
from tidemill.cli.flights import month_csv
from tidemill.evaluate.record import Evaluation
from tidemill.model import package
from tidemill.model.features import features_of
from tidemill.prepare.part import prepare

pytestmark = [pytest.mark.cloud]

FEATURES_AT_ONCE = 400


@pytest.fixture(scope="module")
def january(stage: Deployment) -> dict:
    """January is uploaded and live."""
    run = stage.learn("flights/data/2013-01.csv", month_csv(1))
    release = stage.finished("ReleaseMachine", 1)
    return {"run": run, "release": release}


@pytest.fixture(scope="module")
def champion(stage: Deployment, january, tmp_path_factory) -> package.Scorer:
    """The live model as scikit-learn, from its model.tar.gz."""
    live = stage.ledger.champion("flights")
    folder = tmp_path_factory.mktemp("model")
    bucket, _, key = live.model_data.removeprefix("s3://").partition("/")
    data = stage.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
    return package.load(folder)


def february(spec) -> pl.DataFrame:
    files = prepare(month_csv(2), "2013-02.csv", spec).files
    return pl.concat(pl.read_parquet(io.BytesIO(data)) for data in files.values()).head(FEATURES_AT_ONCE)


def test_an_upload_becomes_a_live_endpoint(stage, january):
    assert january["run"]["status"] == "SUCCEEDED"
    assert january["release"]["status"] == "SUCCEEDED"
    run = stage.ledger.run("flights", 1)
    assert (run.decision, run.outcome, run.package) == ("promote", "registered", "flights/1")
    upload = stage.ledger.uploads("flights")[0]
    assert (upload.state, upload.epoch) == ("prepared", 1)
    live = stage.ledger.champion("flights")
    assert live.package == "flights/1"
    endpoint = stage.client("sagemaker").describe_endpoint(EndpointName="local-flights")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", live.endpoint_config)
    assert stage.client("sagemaker").list_endpoints(NameContains="candidate")["Endpoints"] == []
    assert stage.ledger.lease("flights").owner is None
    assert [entry.kind for entry in stage.ledger.decisions("flights")] == ["gate", "run", "release"]


def test_predictions_equal_the_scikit_learn_pipelines_own(stage, champion):
    spec = champion.card.spec
    rows = february(spec)
    expected = champion.scores(features_of(rows, spec))
    body = json.dumps({"instances": rows.select(spec.features).to_dicts()}).encode()
    answer, named = stage.predict(body)
    got = json.loads(answer)
    assert (got["model"], named) == ("flights/1", "flights/1")
    assert np.array_equal([p["score"] for p in got["predictions"]], expected)
    assert [p["label"] for p in got["predictions"]] == (expected >= champion.card.threshold).tolist()


def test_csv_in_and_out_gives_the_same_predictions(stage, champion):
    spec = champion.card.spec
    rows = february(spec)
    expected = champion.scores(features_of(rows, spec)).tolist()
    for header in (True, False):
        answer, _ = stage.predict(rows.select(spec.features).write_csv(include_header=header).encode(), "text/csv", "text/csv")
        assert [float(line.split(",")[0]) for line in answer.decode().splitlines()] == expected


def test_a_wrong_request_is_a_clear_model_error(stage, january):
    runtime = stage.client("sagemaker-runtime")
    with pytest.raises(runtime.exceptions.ModelError) as error:
        stage.predict(b'{"instances": [{"carrier": "UA"}]}')
    assert error.value.response["OriginalStatusCode"] == 400
    assert json.loads(error.value.response["OriginalMessage"])["error"]["column"] == "origin"


BAD = {
    "empty.csv": (b"", "the file is empty"),
    "header.csv": (month_csv(1).partition(b"\n")[0] + b"\n", "a header without rows"),
    "column.csv": (b"flight_id,late\nx,true\n", "missing columns time_hour, carrier"),
    "picture.csv": (b"\x89PNG\r\n\x1a\n\x00\x00", "not a CSV file in UTF-8: byte 0 is 0x89"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_ends_with_its_reason_and_changes_nothing(stage, january, champion, name):
    data, reason = BAD[name]
    releases = stage.runs("ReleaseMachine")
    ended = stage.learn(f"flights/data/{name}", data)
    assert ended["status"] == "SUCCEEDED"
    run = stage.ledger.runs("flights")[-1]
    assert run.outcome == "refused"
    assert reason in run.reasons[0]
    assert next(u for u in stage.ledger.uploads("flights") if u.key.endswith(name)).state == "refused"
    assert reason in stage.log_lines("Prepare")
    assert stage.runs("ReleaseMachine") == releases
    assert_answers_as(stage, "flights/1")


def test_an_upload_for_an_unknown_model_is_refused_on_record_without_a_run(stage, january):
    runs = stage.runs("TrainingMachine")
    stage.upload("trains/data/a.csv", b"x\n1\n")
    refused = until(lambda: stage.ledger.uploads("trains"))[0]
    assert refused.state == "refused"
    assert "model 'trains' is not deployed in stage 'local'" in refused.reason
    assert stage.runs("TrainingMachine") == runs


def test_a_key_outside_the_layout_is_a_log_line(stage, january):
    runs = stage.runs("TrainingMachine")
    stage.upload("somewhere/else.csv", b"x\n1\n")
    until(lambda: '"key":"somewhere/else.csv"' in stage.log_lines("Intake"))
    assert '"outcome":"ignored"' in stage.log_lines("Intake")
    assert stage.runs("TrainingMachine") == runs


def test_alarms_during_the_bake_bring_the_champion_back(stage, january):
    """The package is Rejected with the reason, and the endpoint answers as before."""
    before = stage.ledger.champion("flights")
    cloudwatch = stage.client("cloudwatch")
    alarm = next(a["AlarmName"] for a in cloudwatch.describe_alarms()["MetricAlarms"] if "FlightsErrors" in a["AlarmName"])
    number = stage.runs("ReleaseMachine") + 1
    with ringing(cloudwatch, alarm):
        stage.learn("flights/data/2013-02.csv", month_csv(2))
        run = stage.ledger.runs("flights")[-1]
        assert run.decision == "promote", run.reasons
        ended = stage.finished("ReleaseMachine", number)
    assert (ended["status"], ended["error"]) == ("FAILED", "AlarmsRang")
    assert stage.ledger.champion("flights") == before
    assert_answers_as(stage, before.package)
    version = int(run.package.partition("/")[2])
    assert stage.ledger.release("flights", version).outcome == "restored"
    package_arn = stage.ledger.package("flights", version).arn
    described = stage.client("sagemaker").describe_model_package(ModelPackageName=package_arn)
    assert described["ModelApprovalStatus"] == "Rejected"
    assert alarm in described["ApprovalDescription"]


def test_a_run_that_comes_before_the_image_waits_for_it(stage, january):
    """The next good upload after the bad ones works too; its gate decides on the same rows for both models."""
    ecr = stage.client("ecr")
    repository = stage.outputs["ImageRepository"].partition("/")[2]
    image = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": stage.outputs["ImageTag"]}])["images"][0]
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": stage.outputs["ImageTag"]}])
    number = stage.runs("TrainingMachine") + 1
    stage.upload("flights/data/2013-03.csv", month_csv(3))
    stepfunctions = stage.client("stepfunctions")
    execution = follow.wait_for(stage.outputs["TrainingMachine"], number, stepfunctions)

    def failures() -> list[str]:
        events = stepfunctions.get_execution_history(executionArn=execution)["events"]
        return [e["taskFailedEventDetails"]["error"] for e in events if "taskFailedEventDetails" in e]

    assert until(failures)[0] == "Ecr.ImageNotFoundException"
    ecr.put_image(
        repositoryName=repository, imageManifest=image["imageManifest"], imageTag=stage.outputs["ImageTag"], imageDigest="sha256:" + "a" * 64
    )
    assert stage.finished("TrainingMachine", number)["status"] == "SUCCEEDED"


def test_a_champion_of_another_image_said_what_it_says_in_its_own(stage):
    """The image that came late has another digest than the one flights/1 was made with."""
    images = [stage.ledger.package("flights", version).image for version in (1, 3)]
    assert images[0] != images[1]
    jobs = stage.client("sagemaker").list_processing_jobs(NameContains="-score-c-")["ProcessingJobSummaries"]
    described = [stage.client("sagemaker").describe_processing_job(ProcessingJobName=job["ProcessingJobName"]) for job in jobs]
    assert [job["AppSpecification"]["ImageUri"] for job in described] == [images[0]]


def test_the_challenger_is_compared_with_the_champion_on_the_same_rows(stage):
    run = stage.ledger.runs("flights")[-1]
    evaluation = Evaluation.model_validate_json(stage.lake(run.evaluation))
    assert evaluation.champion.champion == "flights/1"
    assert evaluation.champion.scores["roc_auc"].value != evaluation.challenger["roc_auc"].value
    assert run.decision == "promote", run.reasons
    assert stage.finished("ReleaseMachine", 3)["status"] == "SUCCEEDED"
    assert stage.ledger.champion("flights").package == "flights/3"
    assert_answers_as(stage, "flights/3")


def test_what_a_person_wants_to_know_of_a_package_is_in_the_registry(stage):
    arn = stage.ledger.package("flights", 3).arn
    package = stage.client("sagemaker").describe_model_package(ModelPackageName=arn)
    card = json.loads(package["ModelCard"]["ModelCardContent"])
    groups = {group["name"] for group in card["evaluation_details"][0]["metric_groups"]}
    assert {"challenger", "champion flights/1", "linear baseline", "AUC lost without a feature"} <= groups
    baseline = package["DriftCheckBaselines"]["ModelDataQuality"]["Statistics"]["S3Uri"]
    stored = json.loads(stage.lake(baseline.partition("//")[2].partition("/")[2]))
    assert stored["profile"]["columns"]["distance"]["count"] == package_rows(stage, "flights/3")
    assert package["CustomerMetadataProperties"].keys() >= {"run", "dataset", "holdout", "spec", "code", "image", "pipeline", "report", "owners"}


def package_rows(stage: Deployment, name: str) -> int:
    record = stage.ledger.package("flights", int(name.partition("/")[2]))
    data = stage.lake(record.model_data.partition("//")[2].partition("/")[2])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return json.load(archive.extractfile("model.json"))["train_rows"]


def test_runs_are_told_shown_and_set_side_by_side(stage, typed, tmp_path):
    runs = [run for run in stage.ledger.runs("flights") if run.evaluation]
    first, last = runs[0].epoch, runs[-1].epoch
    told = typed("runs", "list", "flights")
    assert "promote" in told
    assert "challenger" in typed("runs", "show", "flights", str(last))
    assert json.loads(typed("runs", "show", "flights", str(last), "--json"))["evaluation"]["champion"]["champion"] == "flights/1"
    page = tmp_path / "page.html"
    typed("runs", "report", "flights", str(last), "-o", str(page))
    assert "<strong>Promoted</strong>" in page.read_text()
    side_by_side = typed("runs", "compare", "flights", str(first), str(last))
    assert "each on its own held-out rows" in side_by_side
    assert "spec: the same" in side_by_side


def test_a_single_answer_is_explained(stage, typed, tmp_path):
    record = stage.ledger.package("flights", 3)
    golden = Evaluation.model_validate_json(stage.lake(record.evaluation)).golden[0]
    row = tmp_path / "row.json"
    row.write_text(json.dumps(golden.instance))
    (found,) = json.loads(typed("explain", "flights", str(row), "--json"))
    assert found["score"] == pytest.approx(golden.answer["score"])
    assert {reason["feature"] for reason in found["reasons"]} <= golden.instance.keys()
    assert "flights/3 says" in typed("explain", "flights", str(row))


def test_a_run_is_made_again_from_its_record_bit_by_bit(stage, typed):
    last = next(run for run in reversed(stage.ledger.runs("flights")) if run.evaluation)
    found = json.loads(typed("reproduce", "flights", str(last.epoch), "--json"))
    assert (found["same_metrics"], found["same_model"], found["versions"]) == (True, True, {})
    assert found["metrics"].keys() >= {"roc_auc", "log_loss"}


def test_a_package_that_no_gate_promoted_is_not_released_whoever_approves_it(stage):
    before = stage.ledger.champion("flights")
    sagemaker, number = stage.client("sagemaker"), stage.runs("ReleaseMachine") + 1
    image = {"Image": "x", "ModelDataUrl": before.model_data}
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="local-flights",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={"Containers": [image], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]},
    )["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    ended = stage.finished("ReleaseMachine", number)
    assert (ended["status"], ended["error"]) == ("FAILED", "ReleaseRefused")
    assert "was not registered by a run" in ended["cause"]
    assert stage.ledger.champion("flights") == before
    assert_answers_as(stage, before.package)


def assert_answers_as(stage: Deployment, name: str) -> None:
    flights = pl.read_csv(month_csv(2)).head(1).drop("late", "flight_id", "time_hour", "tailnum")
    _, named = stage.predict(json.dumps({"instances": flights.to_dicts()}).encode())
    assert named == name


# Permissions: the two tests below look back at all that the tests above made happen.

UNNEEDED = (
    ("EmptyBucket", "s3:*", "when the stage is destroyed: tests/long/test_cdk_cli.py"),
    ("Remover", "sagemaker:*", "when the stage is destroyed: tests/long/test_cdk_cli.py"),
    ("Build", "*", "the CDK gives every project its log group, report groups and the bucket of its source"),
    ("*", "cloudwatch:PutMetricData", "SageMaker publishes what an instance uses; there is no instance here"),
    ("*", "sqs:ChangeMessageVisibility", "the CDK gives it to every consumer of a queue"),
    ("*", "sqs:GetQueueUrl", "the CDK gives it to every consumer of a queue"),
    ("*", "sagemaker:AddTags", "a Create call with tags asks for it"),
    ("Register", "sns:Publish", "when a model's packages wait for a person: tests/long/test_first_models.py"),
    ("Register", "sagemaker:CreateModelPackage", "asked for on the group as well as on the package"),
    ("Release", "sagemaker:*Endpoint", "asked for on the config as well as on the endpoint; a first release that fails is deleted"),
    ("Training", "sagemaker:Stop*Job", "when an execution is stopped while a job runs"),
    ("Sweep", "*", "when an execution ends without its finish, and every 15 minutes: tests/cloud/test_single_flight.py"),
    ("Assemble", "states:DescribeExecution", "when a release of the model runs"),
    ("ReleaseClaim", "states:DescribeExecution", "when another release holds the model"),
    ("ReleaseFinish", "sagemaker:ListEndpoints", "when a candidate endpoint is gone already"),
    ("Finish", "sqs:SendMessage", "when uploads came during the run"),
    ("Finish", "dynamodb:DeleteItem", "when an upload is parked: its mark goes"),
    ("Finish", "dynamodb:BatchGetItem", "when uploads are open as a run ends"),
    ("Prepare", "s3:ListBucket", "a missing upload must be told from a forbidden one"),
    ("Gate", "s3:ListBucket", "a summary that is gone must be told from a forbidden one"),
    ("Training", "glue:*", "when an upload is large: tests/cloud/test_large.py"),
    ("Training", "lambda:InvokeFunction *:function:*PreparedLarge*", "when an upload is large: tests/cloud/test_large.py"),
    ("PrepareLarge", "*", "when an upload is large: tests/cloud/test_large.py"),
    ("PreparedLarge", "*", "when an upload is large: tests/cloud/test_large.py"),
    ("Pack", "s3:*", "when a split has more than 64 small files: tests/cloud/test_lake.py"),
    ("TrainRole", "s3:GetObject", "files and packs of a split by key: tests/cloud/test_lake.py"),
    ("TrainRole", "s3:PutObject *checkpoints*", "when a model learns on spot capacity: tests/long/test_training_jobs.py"),
    ("Training", "sagemaker:*HyperParameterTuningJob", "when a model's settings are searched for: tests/long/test_training_jobs.py"),
    ("EvaluateRole", "s3:GetObject", "files and packs of a split by key: tests/cloud/test_lake.py"),
    ("Export", "*", "when a model names an MLflow server: tests/long/test_training_jobs.py"),
    ("Training", "lambda:InvokeFunction *:function:*Export*", "when a model names an MLflow server: tests/long/test_training_jobs.py"),
)
"""(step, action or action and resource, why): grants that nothing above needs, and why each is there all the same."""


def test_no_call_of_all_this_was_denied(stage, january):
    assert [str(record) for record in stage.cloud.recorder.denied()] == []


def test_every_grant_was_needed_or_says_why_it_is_there(stage, january):
    recorder, stored = stage.cloud.recorder, stage.cloud.stored
    roles = [role for role in stage.client("iam").list_roles()["Roles"] if role["RoleName"].startswith("tidemill-")]
    assert len(roles) > 15
    unused = {
        (role["RoleName"].split("-")[3], action, resource)
        for role in roles
        for _, action, resource in recorder.unused(role["Arn"], stored.identity(role["Arn"]))
    }
    unexplained = [
        (step, action, resource)
        for step, action, resource in sorted(unused)
        if not any(step.startswith(known.replace("*", "")) and names(pattern, action, resource) for known, pattern, _ in UNNEEDED)
    ]
    assert unexplained == []


def names(pattern: str, action: str, resource: str) -> bool:
    return fnmatchcase(f"{action} {resource}" if " " in pattern else action, pattern)
