"""localcloud and the flow on it: how fast it starts, calls, delivers; how much memory it takes; nothing lost under load.

    python -m benchmarks.flow            (or make bench-flow; with --quick, without synth, the flow itself and the demo)

The server runs in a process of its own, as a user's does. Times are medians. Writes benchmarks/results/flow.json.
"""

import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.record import ROOT, write
from examples import follow
from infra.bundle import ensure, folder_of
from infra.settings import stage
from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.cloudformation.assembly import deploy
from tidemill import environment
from tidemill.adapters.ledger import DynamoLedger
from tidemill.cli.flights import month_csv

REPEATS = 5
WARM_CALLS, EVENTS, UPLOADS, SENDERS = 200, 30, 100, 32
ROWS = 800
"""Of each of the 100 uploads of the flow: more than `min_rows` of the flights' spec asks for."""
PATIENCE_S = 900
MIB = 1024 * 1024
TIMED = "import json, time\ndef handler(event, context):\n    print(json.dumps({'at': time.time(), 'event': json.dumps(event)}))\n"


@contextmanager
def server() -> Iterator[tuple[Clients, psutil.Process, float]]:
    """`localcloud up` in a process: clients on it, the process, and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", "localcloud.cli", "up", "--port", str(port)], cwd=ROOT, stdout=log, stderr=log)
        clients = Clients(f"http://localhost:{port}")
        try:
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.005)
            clients("sts").get_caller_identity()
            yield clients, psutil.Process(process.pid), time.monotonic() - began
        finally:
            process.terminate()
            process.wait(120)


def starts() -> list[float]:
    found = []
    for _ in range(REPEATS):
        with server() as (_, _, seconds):
            found.append(seconds)
    return found


def function(clients: Clients, name: str, source: str) -> str:
    """A function that may log, read queues and be called by EventBridge; its ARN."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam = clients("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"]
    grant = {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "sqs:*"], "Resource": "*"}
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [grant]}))
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("index.py", source)
    code = {"ZipFile": body.getvalue()}
    made = clients("lambda").create_function(FunctionName=name, Runtime="python3.13", Handler="index.handler", Role=role, Code=code, Timeout=10)
    clients("lambda").add_permission(FunctionName=name, StatementId="e", Action="lambda:InvokeFunction", Principal="events.amazonaws.com")
    return str(made["FunctionArn"])


def warm_ms(clients: Clients) -> list[float]:
    name = function(clients, "bench-warm", "def handler(event, context):\n    return event\n")
    client, found = clients("lambda"), []
    for i in range(WARM_CALLS + 20):
        began = time.perf_counter()
        client.invoke(FunctionName=name, Payload=b'{"a": 1}')["Payload"].read()
        if i >= 20:
            found.append((time.perf_counter() - began) * 1000)
    return found


class Chain:
    """A bucket whose events reach a function, straight from the rule and by way of a queue."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        s3, events, sqs = clients("s3"), clients("events"), clients("sqs")
        s3.create_bucket(Bucket="bench-events")
        s3.put_bucket_notification_configuration(Bucket="bench-events", NotificationConfiguration={"EventBridgeConfiguration": {}})
        url = sqs.create_queue(QueueName="bench-queue")["QueueUrl"]
        self.queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:bench-queue"
        send = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": self.queue}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [send]})})
        direct, queued = function(clients, "bench-direct", TIMED), function(clients, "bench-queued", TIMED)
        clients("lambda").create_event_source_mapping(FunctionName=queued, EventSourceArn=self.queue, BatchSize=10)
        events.put_rule(Name="bench", EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": ["bench-events"]}}}))
        events.put_targets(Rule="bench", Targets=[{"Id": "f", "Arn": direct}, {"Id": "q", "Arn": self.queue}])

    def put(self, key: str) -> float:
        """Upload a small object; when that began."""
        began = time.time()
        self._clients("s3").put_object(Bucket="bench-events", Key=key, Body=b"x")
        return began

    def arrivals(self, name: str) -> dict[str, float]:
        """Key → when the function's handler began with it."""
        logs, group = self._clients("logs"), f"/aws/lambda/{name}"
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return {}
        events = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        lines = [json.loads(e["message"]) for page in events for e in page["events"] if e["message"].startswith('{"at"')]
        return {key: line["at"] for line in lines for key in keys_in(line["event"])}


def keys_in(text: str) -> list[str]:
    """The object keys of an S3 event, or of a batch of them from SQS."""
    event = json.loads(text)
    bodies = [json.loads(record["body"]) for record in event["Records"]] if "Records" in event else [event]
    return [body["detail"]["object"]["key"] for body in bodies]


def wait(question: Callable[[], Any], patience_s: float = 120) -> Any:
    ends = time.monotonic() + patience_s
    while not (answer := question()):
        if time.monotonic() > ends:
            raise TimeoutError("the benchmark waited in vain")
        time.sleep(0.05)
    return answer


def deliveries(clients: Clients) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Milliseconds from upload to handler, one at a time; then many uploads at once: seconds, and how many came."""
    chain = Chain(clients)
    for i in range(3):
        chain.put(f"warm/{i}")
    wait(lambda: len(chain.arrivals("bench-queued")) == 3)
    began = {}
    for i in range(EVENTS):
        began[f"one/{i}"] = chain.put(f"one/{i}")
        time.sleep(0.15)
    wait(lambda: all(len(chain.arrivals(name)) == EVENTS + 3 for name in ("bench-direct", "bench-queued")))
    latencies = {
        name: [(chain.arrivals(f"bench-{name}")[key] - at) * 1000 for key, at in began.items()] for name in ("direct", "queued")
    }  # fmt: skip
    start = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(chain.put, [f"burst/{i}" for i in range(UPLOADS)]))
    wait(lambda: sum(key.startswith("burst/") for key in chain.arrivals("bench-queued")) >= UPLOADS)
    came = {key for key in chain.arrivals("bench-queued") if key.startswith("burst/")}
    return latencies, {"seconds": time.monotonic() - start, "lost": UPLOADS - len(came)}


def flow(clients: Clients, assembly: Path) -> dict[str, float]:
    """One upload of 20 MB to the endpoint that answers with its model; then 100 small uploads at once, all of them prepared."""
    outputs = {key: value for stack_outputs in deploy(assembly, clients).values() for key, value in stack_outputs.items()}
    ledger, s3 = DynamoLedger(outputs["LedgerTable"], clients("dynamodb")), clients("s3")
    months = [month_csv(m) for m in range(1, 9)]
    body = months[0] + b"".join(month.split(b"\n", 1)[1] for month in months[1:])
    began = time.monotonic()
    s3.put_object(Bucket=outputs["LandingBucket"], Key="flights/data/large.csv", Body=body)
    wait(lambda: ledger.champion("flights"), PATIENCE_S)
    seconds = time.monotonic() - began
    jobs = clients("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    training = clients("sagemaker").describe_training_job(TrainingJobName=jobs[0]["TrainingJobName"])
    learning = (training["TrainingEndTime"] - training["TrainingStartTime"]).total_seconds()
    machine = outputs["ReleaseMachine"]
    wait(
        lambda: clients("stepfunctions").describe_execution(executionArn=follow.wait_for(machine, 1, clients("stepfunctions")))["status"] != "RUNNING"
    )
    files = small_files()
    began = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(lambda item: s3.put_object(Bucket=outputs["LandingBucket"], Key=item[0], Body=item[1]), files.items()))
    states = wait(lambda: settled(ledger, files), PATIENCE_S)
    return {
        "upload_mb": len(body) / MIB, "upload_to_live_s": seconds - learning, "training_s": learning, "uploads_100_settled_s": time.monotonic() - began,
        "uploads_100_lost": UPLOADS - states.count("prepared"), "runs": len(ledger.runs("flights")),
    }  # fmt: skip


def small_files() -> dict[str, bytes]:
    """Key → a file that is large enough to be prepared, of months that were not uploaded yet."""
    files = {}
    for month in range(9, 13):
        head, *rows = month_csv(month).splitlines(keepends=True)
        for i in range(UPLOADS // 4):
            files[f"flights/data/2013-{month:02d}-{i:02d}.csv"] = head + b"".join(rows[i * ROWS : (i + 1) * ROWS])
    return files


def settled(ledger: DynamoLedger, files: Collection[str]) -> list[str]:
    """The states of the uploads of these keys, once all of them came to an end."""
    states: list[str] = [upload.state for upload in ledger.uploads("flights") if upload.key in files]
    return states if len(states) >= len(files) and all(state in ("prepared", "refused") for state in states) else []


def imports() -> dict[str, list[float]]:
    """Seconds that a function's import takes, in the interpreter and with the layers it runs with."""
    local = stage("local")
    ensure(local)
    found: dict[str, list[float]] = {}
    for name, module, settings, layers in (
        ("light", "gate", environment.GateSettings, ("light",)), ("prepare", "prepare", environment.PrepareSettings, ("light", "frames")),
    ):  # fmt: skip
        path = ":".join([str(ROOT / "lambdas"), *(str(folder_of(layer, local) / "python") for layer in layers)])
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "AWS_DEFAULT_REGION": REGION, "POWERTOOLS_SERVICE_NAME": module} | dict.fromkeys(
            settings.names(), "1"
        )
        argv = [str(ROOT / ".venv-lambda/bin/python"), "-c", code]
        runs = [subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout for _ in range(REPEATS + 1)]
        found[name] = [float(seconds) for seconds in runs[1:]]
    return found


def zipped_mb(layer: str) -> float:
    """The layer as it is deployed to AWS."""
    there = stage("dev")
    ensure(there)
    body = io.BytesIO()
    folder = folder_of(layer, there)
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return len(body.getvalue()) / MIB


def synth(folder: Path) -> float:
    context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"] | {"stage": "local", "aws:cdk:version-reporting": False}
    env = os.environ | {
        "CDK_OUTDIR": str(folder),
        "CDK_CONTEXT_JSON": json.dumps(context),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20,21,22,23",
    }
    began = time.monotonic()
    subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def demo() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "examples.demo"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main(*, quick: bool) -> None:
    started = time.monotonic()
    median = statistics.median
    start_s, import_s = starts(), imports()
    raw: dict[str, Any] = {"start_s": start_s, "import_s": import_s}
    with server() as (clients, process, _):
        calls = warm_ms(clients)
        latencies, burst = deliveries(clients)
        rss_mb = process.memory_info().rss / MIB
    figures = {
        "localcloud_start_s": median(start_s), "lambda_warm_ms": median(calls), "event_to_lambda_ms": median(latencies["queued"]),
        "event_to_lambda_direct_ms": median(latencies["direct"]), "uploads_100_events_lost": burst["lost"], "uploads_100_events_s": burst["seconds"],
        "localcloud_rss_mb_after_100_events": rss_mb, "lambda_import_s_light": median(import_s["light"]),
        "lambda_import_s_prepare": median(import_s["prepare"]), "zip_mb_light": zipped_mb("light"), "zip_mb_heavy": zipped_mb("frames"),
    }  # fmt: skip
    raw |= {"latencies_ms": latencies, "warm_ms": calls, "burst": burst}
    if not quick:
        more, details = whole()
        figures, raw = figures | more, raw | details
    figures = {name: round(value, 3) for name, value in figures.items()}
    command = f"python -m benchmarks.flow{' --quick' if quick else ''}"
    write("flow", command=command, repeats=REPEATS, seconds=time.monotonic() - started, figures=figures, raw=[raw])
    for name, value in figures.items():
        print(f"{name:36} {value}")


def whole() -> tuple[dict[str, float], dict[str, Any]]:
    """The slow half: synth, the flow on a server of its own, the demo."""
    with tempfile.TemporaryDirectory() as folder:
        assembly = Path(folder) / "cdk.out"
        synth_s = [synth(assembly) for _ in range(3)]
        with server() as (clients, process, _):
            flown = flow(clients, assembly)
            rss_mb = process.memory_info().rss / MIB
    demo_s = [demo() for _ in range(3)]
    figures = {
        "localcloud_rss_mb": rss_mb, **{name: flown[name] for name in ("uploads_100_settled_s", "uploads_100_lost", "upload_to_live_s")},
        "synth_s": statistics.median(synth_s), "demo_s": statistics.median(demo_s),
    }  # fmt: skip
    return figures, {"synth_s": synth_s, "demo_s": demo_s, "flow": flown}


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
