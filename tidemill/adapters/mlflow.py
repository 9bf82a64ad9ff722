"""Runs on an MLflow server, over its REST API: a server's own address, or on SageMaker the ARN of an MLflow App or tracking server.

API: mlflow.org/docs/latest/rest-api.html. How SageMaker is reached: github.com/aws/sagemaker-mlflow. No mlflow here: its client weighs more
than all our functions together, for seven calls.
"""

import hashlib
import json
from typing import Any
from urllib.parse import quote, urlencode

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from tidemill.adapters.errors import translated
from tidemill.errors import ServiceUnavailable, TrackingFailed
from tidemill.experiments import Tracked

TIMEOUT_S = 10
HOSTS = {
    "mlflow-app": ("https://mlflow.sagemaker.{region}.app.aws", "x-sm-mlflow-app-arn", "sagemaker"),
    "mlflow-tracking-server": ("https://{region}.experiments.sagemaker.aws", "x-mlflow-sm-tracking-server-arn", "sagemaker-mlflow"),
}
"""Where each lies, the header that says which one is meant, and the service that calls are signed for."""


class MlflowServer:
    """`tidemill.ports.Experiments`. `place`: an http(s) address, or an ARN."""

    def __init__(self, place: str) -> None:
        self._place, self._headers, self._signer = place.rstrip("/"), {"Content-Type": "application/json"}, None
        if place.startswith("arn:"):
            region, kind = place.split(":")[3], place.split(":")[5].partition("/")[0]
            address, header, service = HOSTS[kind]
            self._place = address.format(region=region)
            self._headers |= {header: place}
            self._signer = SigV4Auth(boto3.Session().get_credentials(), service, region)
        self._http = URLLib3Session(timeout=TIMEOUT_S)

    def track(self, experiment: str, run: Tracked) -> str:
        """Sent again it is the same run: values of one name and time are the same value to MLflow, tags are overwritten."""
        home = self._experiment(experiment)
        number = self._known(home, run) or self._created(home, run)
        metrics = [{"key": name, "value": value, "timestamp": run.ended_ms, "step": 0} for name, value in run.metrics.items()]
        self._call("POST", "runs/log-batch", run_id=number, metrics=metrics, params=_pairs(run.params), tags=_pairs(run.tags))
        if run.dataset is not None:
            digest, uri = run.dataset
            source = {"name": "dataset", "digest": digest, "source_type": "s3", "source": json.dumps({"uri": uri})}
            tags = [{"key": "mlflow.data.context", "value": "training"}]
            self._call("POST", "runs/log-inputs", run_id=number, datasets=[{"dataset": source, "tags": tags}])
        self._call("POST", "runs/update", run_id=number, status="FAILED" if run.failed else "FINISHED", end_time=run.ended_ms)
        return number

    def _experiment(self, name: str) -> str:
        for call in ("get-by-name", "create", "get-by-name"):  # another run's export may make it between the first two
            method, argument = ("POST", "name") if call == "create" else ("GET", "experiment_name")
            found = self._call(method, f"experiments/{call}", missing=True, **{argument: name})
            number = found.get("experiment_id") or found.get("experiment", {}).get("experiment_id")
            if number is not None:
                return str(number)
        raise TrackingFailed(f"{self._place}: no experiment '{name}' could be found or made")

    def _known(self, experiment: str, run: Tracked) -> str | None:
        tag, value = run.identity
        found = self._call("POST", "runs/search", experiment_ids=[experiment], filter=f"tags.`{tag}` = '{value}'", max_results=1)
        return next((str(each["info"]["run_id"]) for each in found.get("runs", [])), None)

    def _created(self, experiment: str, run: Tracked) -> str:
        tags = _pairs(dict([run.identity]))
        made = self._call("POST", "runs/create", experiment_id=experiment, start_time=run.started_ms, run_name=run.name, tags=tags)
        return str(made["run"]["info"]["run_id"])

    def _call(self, method: str, path: str, *, missing: bool = False, **arguments: Any) -> dict[str, Any]:
        """The answer; with `missing` nothing instead, where what is asked for is not there, or is there already."""
        url, body = f"{self._place}/api/2.0/mlflow/{path}", b""
        if method == "GET":
            url += "?" + urlencode(arguments, quote_via=quote)
        else:
            body = json.dumps(arguments).encode()
        request = AWSRequest(method=method, url=url, data=body, headers=dict(self._headers))
        if self._signer is not None:
            request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
            self._signer.add_auth(request)
        with translated(f"{self._place}: {path}"):
            response = self._http.send(request.prepare())
        answer = _json(response.content)
        if response.status_code < 300:
            return answer
        code = str(answer.get("error_code", response.status_code))
        if missing and code in ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"):
            return {}
        told = f"{self._place}: {path}: {code}: {answer.get('message', '')}"
        if response.status_code >= 500 or response.status_code == 429:
            raise ServiceUnavailable(told)
        raise TrackingFailed(told)


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in values.items()]


def _json(content: bytes) -> dict[str, Any]:
    """What is no JSON object, such as a proxy's page, says nothing."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
