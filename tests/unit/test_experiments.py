"""A run as MLflow gets it, and what becomes of it when the server is away, refuses, or is on SageMaker. A real server: tests/long."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.awsrequest import AWSResponse

from tests.samples import SPEC, evaluation, folder, rows, spec
from tidemill.adapters import mlflow
from tidemill.adapters.mlflow import MlflowServer
from tidemill.errors import ServiceUnavailable, SpecError, TrackingFailed
from tidemill.events import RunRef
from tidemill.experiments import tracked
from tidemill.records import Run
from tidemill.steps.export import export_run

RUN = Run(
    model="boats", epoch=7, cause="upload", execution="arn:aws:states:x:7", started_at="2024-06-01T12:00:00Z", uploads=("u",), spec_hash="s" * 64,
    code_hash="c" * 64, dataset="d" * 32, decision="promote", reasons=("better",), package="boats/3", outcome="registered",
    finished_at="2024-06-01T12:05:00Z",
)  # fmt: skip
APP = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-AB12"
SERVER = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/ours"
PLACE = "[experiments]\nmlflow = '{}'\n"


def told(run: Run = RUN, found=None):
    return tracked(run, spec(SPEC), found, "prod", "s3://lake/")


def test_a_run_is_told_with_its_figures_and_how_it_ended():
    found = told(found=evaluation(0.7, 0.68, (0.02, 0.01, 0.03), latency_ms=9.5, settings={"max_iter": 100}))
    assert (found.name, found.identity, found.failed) == ("boats-0007", ("tidemill.execution", RUN.execution), False)
    assert found.ended_ms - found.started_ms == 300_000
    assert found.metrics["roc_auc"] == 0.7
    assert found.metrics["roc_auc.low"] < 0.7 < found.metrics["roc_auc.high"]
    assert (found.metrics["champion.roc_auc"], found.metrics["champion.gain"], found.metrics["latency_ms"]) == (0.68, 0.02, 9.5)
    assert found.params["settings.max_iter"] == "100"
    assert found.params["seed"] == "13"
    assert found.tags["tidemill.decision"] == "promote"
    assert found.tags["tidemill.report"] == "s3://lake/boats/runs/0007/report.html"
    assert found.tags["mlflow.note.content"] == "**promote**\n\n- better"
    assert found.dataset == ("d" * 32, f"s3://lake/boats/datasets/{'d' * 32}/dataset/manifest.json")


def test_a_run_that_failed_says_so_and_has_no_figures():
    failed = RUN.model_copy(update={"outcome": "failed", "decision": None, "package": None, "reasons": ("Train: out of memory",)})
    found = told(failed)
    assert (found.failed, found.metrics) == (True, {})
    assert "tidemill.report" not in found.tags
    assert "out of memory" in found.tags["mlflow.note.content"]


@pytest.mark.parametrize("place", ["https://mlflow.example.com", "http://127.0.0.1:5000/base", APP, SERVER])
def test_where_runs_are_told(place):
    assert spec(SPEC + PLACE.format(place)).experiments.mlflow == place


@pytest.mark.parametrize(
    "place", ["mlflow.example.com", "https://me:secret@mlflow.example.com", "arn:aws:sagemaker:eu-west-1:1:model/x", "file:///tmp", ""]
)
def test_what_is_no_place_is_refused(place):
    with pytest.raises(SpecError, match=r"experiments.mlflow: .* allowed are http\(s\)"):
        spec(SPEC + PLACE.format(place))


class Server:
    """Answers as it is told to, in order, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict]] = []
        self.answers: list[tuple[int, object]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict) -> None:
                server.asked.append((self.command, self.path.removeprefix("/api/2.0/mlflow/"), body))
                status, answer = server.answers.pop(0)
                content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Requests are not news."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.place = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


HOME, NEW = {"experiment": {"experiment_id": "4"}}, {"run": {"info": {"run_id": "ab"}}}
GONE = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}


def test_the_first_run_makes_its_experiment_and_a_second_telling_finds_the_run(server):
    rest = [(200, {}), (200, {}), (200, {})]
    server.answers = [(404, GONE), (200, {"experiment_id": "4"}), (200, {}), (200, NEW), *rest]
    assert MlflowServer(server.place).track("prod/boats", told()) == "ab"
    assert [path.partition("?")[0] for _, path, _ in server.asked] == [
        "experiments/get-by-name", "experiments/create", "runs/search", "runs/create", "runs/log-batch", "runs/log-inputs", "runs/update",
    ]  # fmt: skip
    assert server.asked[0][1].endswith("?experiment_name=prod%2Fboats")
    assert server.asked[3][2]["tags"] == [{"key": "tidemill.execution", "value": RUN.execution}]
    assert server.asked[-1][2] == {"run_id": "ab", "status": "FINISHED", "end_time": told().ended_ms}
    server.asked.clear()
    server.answers = [(200, HOME), (200, {"runs": [{"info": {"run_id": "ab"}}]}), *rest]
    assert MlflowServer(server.place).track("prod/boats", told()) == "ab"
    assert "runs/create" not in [path for _, path, _ in server.asked]


def test_an_experiment_that_another_export_made_meanwhile_is_found(server):
    there = {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "yes"}
    server.answers = [(404, GONE), (400, there), (200, HOME), (200, {}), (200, NEW), (200, {}), (200, {}), (200, {})]
    assert MlflowServer(server.place).track("prod/boats", told()) == "ab"
    assert server.asked[3][2]["experiment_ids"] == ["4"]


@pytest.mark.parametrize(("status", "answer", "error", "said"), [
    (503, "<html>later</html>", ServiceUnavailable, "experiments/get-by-name: 503: "),
    (429, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slowly"}, ServiceUnavailable, "REQUEST_LIMIT_EXCEEDED: slowly"),
    (401, "who are you", TrackingFailed, "experiments/get-by-name: 401: "),
    (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "the name"}, TrackingFailed, "INVALID_PARAMETER_VALUE: the name"),
])  # fmt: skip
def test_a_server_that_is_busy_is_asked_again_one_that_refuses_is_not(server, status, answer, error, said):
    server.answers = [(status, answer)]
    with pytest.raises(error, match=said):
        MlflowServer(server.place).track("prod/boats", told())


def test_a_server_that_is_away_may_come_back(server):
    server.close()
    with pytest.raises(ServiceUnavailable, match="experiments/get-by-name"):
        MlflowServer(server.place).track("prod/boats", told())


@pytest.mark.parametrize(("arn", "address", "header", "service"), [
    (APP, "https://mlflow.sagemaker.eu-west-1.app.aws/api/2.0/mlflow/", "x-sm-mlflow-app-arn", "sagemaker"),
    (SERVER, "https://eu-west-1.experiments.sagemaker.aws/api/2.0/mlflow/", "x-mlflow-sm-tracking-server-arn", "sagemaker-mlflow"),
])  # fmt: skip
def test_on_sagemaker_calls_are_signed_and_say_which_server_is_meant(monkeypatch, arn, address, header, service):
    """As github.com/aws/sagemaker-mlflow does; nothing leaves this machine."""
    for name, value in (("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(name, value)
    sent = []

    def send(_, request):
        sent.append(request)
        answer = AWSResponse(request.url, 200, {}, None)
        answer._content = json.dumps(HOME | NEW | {"runs": []}).encode()
        return answer

    monkeypatch.setattr(mlflow.URLLib3Session, "send", send)
    assert MlflowServer(arn).track("prod/boats", told()) == "ab"
    assert all(request.url.startswith(address) and request.headers[header] == arn for request in sent)
    assert all(f"/eu-west-1/{service}/aws4_request" in str(request.headers["Authorization"]) for request in sent)
    assert all(header in str(request.headers["Authorization"]) for request in sent)  # signed with the rest
    assert "experiment_name=prod%2Fboats" in sent[0].url


class Tracker:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def track(self, experiment, run) -> str:
        self.told.append((experiment, run.name))
        return "ab"


def test_a_run_goes_where_its_spec_says_or_where_a_person_does(world):
    world.models.folders[world.models.entry("boats").uri] = folder(SPEC + PLACE.format("http://mlflow.example.com"))
    world.upload("boats/data/a.csv", rows())
    assert world.claim()["export"] is True
    tracker, asked = Tracker(), []

    def export(to=None):
        return export_run(
            RunRef(model="boats", epoch=1), "prod", ledger=world.ledger, lake=world.lake, server=lambda place: asked.append(place) or tracker, to=to
        )

    with pytest.raises(TrackingFailed, match="run 0001 of boats has not ended"):
        export()
    world.prepare()
    world.assemble()
    world.gate()
    world.finish()
    with pytest.raises(TrackingFailed, match=r"'mlflow.example.com': allowed are http\(s\)"):
        export("mlflow.example.com")
    assert export() == {"server": "http://mlflow.example.com", "experiment": "prod/boats", "mlflow_run": "ab"}
    assert export("https://other.example.com")["server"] == "https://other.example.com"
    assert asked == ["http://mlflow.example.com", "https://other.example.com"]
    assert tracker.told == [("prod/boats", "boats-0001")] * 2


def test_a_run_that_had_nothing_to_learn_from_is_not_told(world):
    world.claim()
    world.assemble()
    world.finish(outcome="nothing_new")
    assert export_run(RunRef(model="boats", epoch=1), "prod", ledger=world.ledger, lake=world.lake, server=lambda _: Tracker()) == {}


def test_without_a_server_there_is_nowhere_to_tell_it(world):
    world.upload("boats/data/a.csv", rows())
    assert world.claim()["export"] is False
    world.prepare()
    world.assemble()
    world.finish()
    with pytest.raises(TrackingFailed, match="names no server: set experiments"):
        export_run(RunRef(model="boats", epoch=1), "prod", ledger=world.ledger, lake=world.lake, server=lambda _: Tracker())
