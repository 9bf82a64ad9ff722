"""Training jobs of every kind on localcloud: a search, a spot job whose instance is taken away, author's code that hangs or never stops talking."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tarfile
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer
from typer.testing import CliRunner

from localcloud.cloud import LocalCloud
from localcloud.cloudformation.assembly import deploy
from localcloud.config import load_config
from tests.cloud.conftest import ROOT, Deployment, synth, until
from tidemill.cli.main import app
from tidemill.evaluate.record import Evaluation

pytestmark = [pytest.mark.long, pytest.mark.cloud, pytest.mark.timeout(900)]

SEARCH = """
[train]
spot = true
[train.search]
strategy = "bayesian"
max_jobs = 5
max_parallel = 2
[train.search.space]
learning_rate = { min = 0.01, max = 0.3, scale = "log" }
max_leaf_nodes = { min = 4, max = 32, integer = true }
"""
SPOT = """
[train]
spot = true
settings = { max_iter = 2000, learning_rate = 0.002 }
"""
AUTHORS = '[train]\nestimator = "model.py:build"\nmax_runtime_s = 60\n'
HANGS = "import threading\ndef build(spec):\n    threading.Event().wait()\n"
TALKS = "def build(spec):\n    while True:\n        print('x' * 100_000)\n"
SHARED = """
[train]
scale = "distributed"
instances = 2
"""
PYTHON = ROOT / ".venv-mlflow/bin/python"
"""The server's own environment: make .venv-mlflow/ready"""
TOLD = ("searched", "hangs", "talks")
MODELS = {"shared": (SHARED, None), "searched": (SEARCH, None), "taken": (SPOT, None), "hangs": (AUTHORS, HANGS), "talks": (AUTHORS, TALKS)}


@pytest.fixture(scope="module")
def csv() -> bytes:
    return load_breast_cancer(as_frame=True).frame.to_csv(index_label="sample").encode()


class Mlflow:
    """A real MLflow server, and what its own client finds there."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.place = f"http://127.0.0.1:{port}"
        command = [str(PYTHON), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", f"{folder}/artifacts"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def ready(self) -> bool:
        assert self.process.poll() is None, "the server ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.place}/health", timeout=5) as answer:
            return answer.status == 200
        return False

    def runs(self, experiment: str) -> list[dict]:
        code = (
            "import json, sys, mlflow; mlflow.set_tracking_uri(sys.argv[1]); client = mlflow.MlflowClient();"
            "home = client.get_experiment_by_name(sys.argv[2]);"
            "print(json.dumps([{**each.data.to_dictionary(), 'status': each.info.status, 'name': each.info.run_name,"
            " 'inputs': [i.dataset.digest for i in each.inputs.dataset_inputs]} for each in client.search_runs([home.experiment_id])]))"
        )
        done = subprocess.run([str(PYTHON), "-c", code, self.place, experiment], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    server = Mlflow(tmp_path_factory.mktemp("mlflow"))
    try:
        until(server.ready)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def stage(csv, mlflow, tmp_path_factory):
    root = tmp_path_factory.mktemp("jobs")
    (root / "rows.csv").write_bytes(csv)
    for name, (train, code) in MODELS.items():
        done = CliRunner().invoke(app, ["new", name, "--from", str(root / "rows.csv"), "--label", "target", "--models", str(root / "models")])
        assert done.exit_code == 0, done.output
        path = root / "models" / name / "model.toml"
        text = path.read_text()
        assert "\n[train" not in text
        path.write_text(f"{text}{train}\n[experiments]\nmlflow = '{mlflow.place}'\n" if name in TOLD else text + train)
        if code is not None:
            (path.parent / "model.py").write_text(code)
    assembly = synth(tmp_path_factory.mktemp("cdk"), models=str(root / "models"))
    with LocalCloud(load_config(ROOT / "localcloud.toml")) as cloud:
        outputs = deploy(assembly, cloud.clients)
        deployed = Deployment(cloud, {key: value for stack in outputs.values() for key, value in stack.items()})
        deployed.upload("hangs/data/1.csv", csv)  # its minute passes while the others are at work
        until(lambda: deployed.runs("TrainingMachine"))
        yield deployed


def trained(stage: Deployment, name: str) -> dict:
    """model.json of the newest package of a model."""
    package = stage.client("sagemaker").describe_model_package(ModelPackageName=stage.ledger.package(name, 1).arn)
    uri = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    with tarfile.open(fileobj=BytesIO(stage.lake(uri.partition("//")[2].partition("/")[2]))) as archive:
        return json.load(archive.extractfile("model.json"))


def test_a_search_tries_settings_in_parallel_and_its_best_model_is_the_challenger(stage, csv):
    assert stage.learn("searched/data/1.csv", csv)["status"] == "SUCCEEDED"
    run = stage.ledger.run("searched", 1)
    assert run.decision == "promote", run.reasons
    sagemaker = stage.client("sagemaker")
    (summary,) = sagemaker.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    job = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=summary["HyperParameterTuningJobName"])
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] + job["TrainingJobStatusCounters"]["Stopped"] == 5
    best = {name: float(value) for name, value in job["BestTrainingJob"]["TunedHyperParameters"].items()}
    assert {name: float(value) for name, value in trained(stage, "searched")["settings"].items()} == pytest.approx(best)
    tried = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=summary["HyperParameterTuningJobName"])
    found = [each["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for each in tried["TrainingJobSummaries"]]
    assert job["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == max(found)


def test_a_job_whose_spot_instance_is_taken_away_goes_on_where_it_was(stage, csv):
    number = stage.runs("TrainingMachine") + 1
    stage.upload("taken/data/1.csv", csv)
    sagemaker = stage.client("sagemaker")

    def told(name: str) -> str:
        logs = stage.client("logs")
        stage.cloud.logs.flush()
        streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=name)["logStreams"]
        pages = [logs.get_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=each["logStreamName"])["events"] for each in streams]
        return "\n".join(event["message"] for page in pages for event in page)

    def started() -> str | None:
        jobs = sagemaker.list_training_jobs(NameContains="taken")["TrainingJobSummaries"]
        return jobs[0]["TrainingJobName"] if jobs and "validation:primary=" in told(jobs[0]["TrainingJobName"]) else None

    name = until(started)
    stage.cloud.interrupt(name)
    assert stage.finished("TrainingMachine", number)["status"] == "SUCCEEDED"
    assert "goes on from" in told(name)
    job = sagemaker.describe_training_job(TrainingJobName=name)
    assert "Interrupted" in [each["Status"] for each in job["SecondaryStatusTransitions"]]
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]


def test_two_instances_train_one_model_which_is_judged_released_and_made_again_from_its_record(stage, csv):
    assert stage.learn("shared/data/1.csv", csv)["status"] == "SUCCEEDED"
    run = stage.ledger.run("shared", 1)
    assert run.decision == "promote", run.reasons
    (job,) = stage.client("sagemaker").list_training_jobs(NameContains="shared")["TrainingJobSummaries"]
    described = stage.client("sagemaker").describe_training_job(TrainingJobName=job["TrainingJobName"])
    assert described["ResourceConfig"]["InstanceCount"] == 2
    assert described["EnableInterContainerTrafficEncryption"] is True
    card = trained(stage, "shared")
    assert card["warnings"][0].startswith(f"learned by 2 instances from {card['train_rows']} rows")
    assert card["versions"]["xgboost"]
    until(lambda: stage.ledger.champion("shared"))
    account = stage.cloud.clients.account_environment()
    done = CliRunner().invoke(app, ["reproduce", "shared", "1", "--stage", "local", "--json"], env=account)
    found = json.loads(done.output)
    assert (found["same_metrics"], found["same_model"]) == (True, True)


def test_code_that_hangs_ends_with_the_time_it_has_and_leaves_no_model(stage):
    ended = stage.finished("TrainingMachine", 1)
    assert ended["status"] == "FAILED"
    run = stage.ledger.run("hangs", 1)
    assert (run.outcome, run.package) == ("failed", None)
    assert "MaxRuntimeExceeded" in " ".join(run.reasons)
    assert stage.ledger.lease("hangs").owner is None


def test_code_that_prints_without_end_is_stopped_and_told_so(stage, csv):
    number = stage.runs("TrainingMachine") + 1
    stage.upload("talks/data/1.csv", csv)
    assert stage.finished("TrainingMachine", number)["status"] == "FAILED"
    reasons = " ".join(stage.ledger.run("talks", 1).reasons)
    assert "model.py: build(spec): OutputTooLong: it printed more than 1,000,000 characters" in reasons
    assert "model.py:3 in build" in reasons


def test_an_mlflow_server_was_told_of_the_runs_good_and_bad(stage, mlflow):
    run = stage.ledger.run("searched", 1)
    (found,) = mlflow.runs("local/searched")
    evaluation = Evaluation.model_validate_json(stage.lake(run.evaluation))
    assert (found["name"], found["status"]) == ("searched-0001", "FINISHED")
    assert found["metrics"]["roc_auc"] == pytest.approx(evaluation.challenger["roc_auc"].value)
    assert found["params"]["settings.learning_rate"] == str(evaluation.settings["learning_rate"])
    assert found["inputs"] == [run.dataset]
    assert found["tags"]["tidemill.package"] == "searched/1"
    (failed,) = mlflow.runs("local/hangs")
    assert failed["status"] == "FAILED"
    assert "MaxRuntimeExceeded" in failed["tags"]["mlflow.note.content"]
    account = stage.cloud.clients.account_environment()
    for _ in range(2):  # told again, it is the same run
        done = CliRunner().invoke(app, ["runs", "export", "searched", "1", "--stage", "local"], env=account)
        assert "is run " in done.output, done.output
    assert mlflow.runs("local/searched") == [found]


def test_a_server_that_is_away_costs_a_run_nothing_but_a_warning(stage, mlflow, csv):
    """The last test that needs it."""
    mlflow.stop()
    number = stage.runs("TrainingMachine") + 1
    stage.upload("talks/data/2.csv", csv.rpartition(csv.splitlines()[-1])[0])
    until(lambda: stage.runs("TrainingMachine") == number and stage.ledger.lease("talks").owner is None)
    assert stage.ledger.run("talks", 2).outcome == "failed"
    until(lambda: stage.cloud.clock.advance(30) or "ExportsFailed" in _ringing(stage))
    stage.finished("TrainingMachine", number)
    assert "experiments/get-by-name" in stage.log_lines("Export")


def _ringing(stage: Deployment) -> str:
    found = stage.client("cloudwatch").describe_alarms(StateValue="ALARM")
    return " ".join(alarm["AlarmName"] for alarm in found["MetricAlarms"])


def test_nothing_of_all_this_was_denied(stage):
    assert [str(record) for record in stage.cloud.recorder.denied()] == []
