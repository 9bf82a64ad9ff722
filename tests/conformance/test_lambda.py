"""Lambda's execution environments, as its developer guide describes them."""

import base64
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import allow, deny, until

WARM = "import os\ncalls = 0\ndef handler(event, context):\n    global calls\n    calls += 1\n    return {'pid': os.getpid(), 'calls': calls}\n"
MEET = """
import os, pathlib, time
def handler(event, context):
    folder = pathlib.Path(event['folder'])
    (folder / context.aws_request_id).touch()
    ends = time.time() + 10
    while len(list(folder.iterdir())) < event['number'] and time.time() < ends:
        time.sleep(0.01)
    return {'pid': os.getpid(), 'met': len(list(folder.iterdir()))}
"""
EATER = """
import os
def handler(event, context):
    eaten = bytearray(event['mb'] * 1024 * 1024)
    for i in range(0, len(eaten), 4096):
        eaten[i] = 1
    import time
    time.sleep(event.get('sleep_s', 0))
    return os.getpid()
"""
FAILING = """
import os, sys, time
def handler(event, context):
    print('working')
    if 'exit' in event:
        os._exit(event['exit'])
    if 'sleep_s' in event:
        time.sleep(event['sleep_s'])
    if 'mb' in event:
        return 'x' * event['mb']
    if 'raise' in event:
        raise ValueError(event['raise'])
    return os.getpid()
"""
REPORT = re.compile(
    r"REPORT RequestId: [0-9a-f-]{36}\tDuration: (?P<ms>[\d.]+) ms\tBilled Duration: (?P<billed>\d+) ms\tMemory Size: (?P<size>\d+) MB\t"
    r"Max Memory Used: (?P<used>\d+) MB\t(Init Duration: (?P<init>[\d.]+) ms\t)?(Status: (?P<status>\w+)\t)?(Error Type: (?P<type>[\w.]+)\t)?"
)


def group(function: str) -> str:
    return f"/aws/lambda/{function.rpartition(':')[2]}"


def reports(account, function: str) -> list[dict]:
    """The REPORT lines of a function, parsed; one that is not as AWS writes it fails."""
    return [REPORT.fullmatch(line).groupdict() for line in account.log(group(function)) if line.startswith("REPORT")]


def metric(account, function: str, name: str) -> float:
    now = datetime.fromtimestamp(account.cloud.clock.now(), UTC)
    answer = account.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda", MetricName=name, Dimensions=[{"Name": "FunctionName", "Value": function.rpartition(":")[2]}], Period=86400,
        StartTime=now - timedelta(days=1), EndTime=now + timedelta(days=1), Statistics=["Sum"],
    )  # fmt: skip
    return sum(point["Sum"] for point in answer["Datapoints"])


def test_a_function_answers(account):
    function = account.function("def handler(event, context):\n    return {'got': event, 'ms': context.get_remaining_time_in_millis() > 0}\n")
    assert account.invoke(function, {"a": 1}) == ({"got": {"a": 1}, "ms": True}, None)


def test_a_warm_environment_is_used_again_and_only_a_cold_start_reports_its_init(account):
    # docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html: objects outside of the handler stay; Init Duration on cold starts.
    function = account.function(WARM)
    first, second = account.invoke(function)[0], account.invoke(function)[0]
    assert (first["pid"], first["calls"], second["calls"]) == (second["pid"], 1, 2)
    cold, warm = reports(account, function)
    assert float(cold["init"]) > 0
    assert warm["init"] is None
    # aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase: since August 2025 the init phase is billed.
    assert float(cold["ms"]) + float(cold["init"]) <= int(cold["billed"]) <= float(cold["ms"]) + float(cold["init"]) + 1
    assert float(warm["ms"]) <= int(warm["billed"]) <= float(warm["ms"]) + 1


def test_invocations_run_side_by_side_in_environments_of_their_own(account, tmp_path):
    # docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html: an environment serves one request at a time, another is made for the next.
    function = account.function(MEET, Timeout=20)
    with ThreadPoolExecutor(3) as pool:
        answers = [future.result()[0] for future in [pool.submit(account.invoke, function, {"folder": str(tmp_path), "number": 3}) for _ in range(3)]]
    assert [answer["met"] for answer in answers] == [3, 3, 3]
    assert len({answer["pid"] for answer in answers}) == 3


def test_reserved_concurrency_throttles_what_comes_on_top(account, tmp_path):
    # docs.aws.amazon.com/lambda/latest/api/API_Invoke.html: TooManyRequestsException, 429, with Reason.
    # docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html: throttled requests count as Throttles, not as Invocations or Errors.
    function, client = account.function(MEET, Timeout=20), account.client("lambda")
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(account.invoke, function, {"folder": str(tmp_path), "number": 2})
        until(lambda: list(tmp_path.iterdir()))
        with pytest.raises(ClientError) as caught:
            account.invoke(function)
        (tmp_path / "go").touch()
        assert busy.result()[0]["met"] == 2
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("TooManyRequestsException", 429)
    assert (answer["Error"]["Message"], answer["Reason"]) == ("Rate Exceeded.", "ReservedFunctionConcurrentInvocationLimitExceeded")
    assert [metric(account, function, name) for name in ("Throttles", "Invocations", "Errors")] == [1, 1, 0]
    assert client.get_function(FunctionName=function)["Concurrency"] == {"ReservedConcurrentExecutions": 1}


def test_a_reserved_concurrency_of_zero_stops_a_function_that_is_warm(account):
    # docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html: "To throttle a function, set the reserved concurrency to 0".
    function, client = account.function(WARM), account.client("lambda")
    account.invoke(function)
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException):
        account.invoke(function)
    client.delete_function_concurrency(FunctionName=function)
    assert account.invoke(function)[0]["calls"] == 2


def test_a_hundred_executions_stay_unreserved(account):
    # docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html: 100 units are kept for functions without a reservation.
    function = account.function(WARM)
    with pytest.raises(ClientError, match=r"below its minimum value of \[100\]"):
        account.client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=901)


def test_more_memory_than_the_function_has_ends_the_process(account):
    # REPORT and errorType since 2024/25: nasa-gcn/gcn.nasa.gov#3628; docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html
    function = account.function(EATER, MemorySize=128, Timeout=20)
    pid = account.invoke(function, {"mb": 1})[0]
    answer, error = account.invoke(function, {"mb": 400, "sleep_s": 10})
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.OutOfMemory")
    assert answer["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert not psutil.pid_exists(pid)
    assert account.invoke(function, {"mb": 1})[0] != pid
    report = reports(account, function)[1]
    assert (report["status"], report["type"], report["used"], report["size"]) == ("error", "Runtime.OutOfMemory", "128", "128")
    assert metric(account, function, "Errors") == 1


def test_memory_that_fits_is_measured(account):
    # docs.aws.amazon.com/lambda/latest/dg/python-logging.html: Max Memory Used.
    function = account.function(EATER, MemorySize=512, Timeout=20)
    assert account.invoke(function, {"mb": 200, "sleep_s": 0.1})[1] is None
    assert 200 <= int(reports(account, function)[0]["used"]) < 512


def test_a_timeout_ends_the_process_and_says_so_as_aws_does(account):
    # Payload: localstack's recording of AWS of 25-11-2025, test_lambda_invoke_with_timeout; log: troubleshooting-invocation.html.
    function = account.function(FAILING, Timeout=1)
    pid = account.invoke(function)[0]
    raw = account.client("lambda").invoke(FunctionName=function, Payload=b'{"sleep_s": 30}')
    text = raw["Payload"].read().decode()
    assert (raw["StatusCode"], raw["FunctionError"]) == (200, "Unhandled")
    form = r'\{"errorType": ?"Sandbox.Timedout", ?"errorMessage": ?"RequestId: [0-9a-f-]{36} Error: Task timed out after 1.00 seconds"\}'
    assert re.fullmatch(form, text)
    request = json.loads(text)["errorMessage"].split()[1]
    assert not psutil.pid_exists(pid)
    lines = account.log(group(function))
    assert any(re.fullmatch(rf"\d{{4}}-\d\d-\d\dT[\d:.]+Z {request} Task timed out after 1.00 seconds", line) for line in lines)
    report = reports(account, function)[1]
    assert (report["ms"], report["billed"], report["status"], report["type"]) == ("1000.00", "1000", "timeout", None)
    assert account.invoke(function)[0] != pid


def test_an_exception_is_answered_and_the_environment_lives_on(account):
    # docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html: errorMessage, errorType, requestId, stackTrace.
    function = account.function(FAILING)
    pid = account.invoke(function)[0]
    answer, error = account.invoke(function, {"raise": "no good"})
    assert error == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"], list(answer)) == (
        "ValueError", "no good", ["errorMessage", "errorType", "requestId", "stackTrace"],
    )  # fmt: skip
    assert "raise ValueError" in answer["stackTrace"][-1]
    assert account.invoke(function)[0] == pid
    # One log event holds the whole traceback (localstack's recording test_lambda_destinations).
    traceback = next(line for line in account.log(group(function)) if line.startswith("[ERROR]"))
    assert traceback.startswith("[ERROR] ValueError: no good\nTraceback (most recent call last):\n")
    assert [metric(account, function, name) for name in ("Invocations", "Errors")] == [3, 1]


@pytest.mark.parametrize(("code", "why"), [(0, "without providing a reason"), (3, "with error: exit status 3")])
def test_a_process_that_exits_is_an_error(account, code, why):
    # localstack's recordings of AWS of 24-11-2025: test_lambda_handler_exit, test_lambda_runtime_exit.
    function = account.function(FAILING)
    answer, error = account.invoke(function, {"exit": code})
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert re.fullmatch(rf"RequestId: [0-9a-f-]{{36}} Error: Runtime exited {why}", answer["errorMessage"])
    assert (reports(account, function)[0]["status"], reports(account, function)[0]["type"]) == ("error", "Runtime.ExitError")
    assert account.invoke(function)[1] is None


@pytest.mark.parametrize(
    ("source", "settings", "kind", "message"),
    [
        ("import no_such_module\n", {}, "Runtime.ImportModuleError", "Unable to import module 'index': No module named 'no_such_module'"),
        ("x = 1\n", {}, "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'index'"),
        ("def handler(:\n", {}, "Runtime.UserCodeSyntaxError", "Syntax error in module 'index'"),
    ],
)
def test_what_cannot_be_loaded_fails_in_init(account, source, settings, kind, message):
    # Runtime.ImportModuleError: docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html; the others are awslambdaric's own.
    function = account.function(source, **settings)
    answer, error = account.invoke(function)
    assert (error, answer["errorType"]) == ("Unhandled", kind)
    assert answer["errorMessage"].startswith(message)
    lines = account.log(group(function))
    assert any(re.fullmatch(rf"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: error\tError Type: {kind}\t", line) for line in lines)
    assert any(line.startswith(f"[ERROR] {kind}: ") for line in lines)
    assert (reports(account, function)[0]["status"], reports(account, function)[0]["type"]) == ("error", kind)


def test_each_environment_has_its_own_tmp_and_keeps_it_while_warm(account, tmp_path):
    # docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html: /tmp stays while the environment is warm, nobody else sees it.
    source = MEET.replace("return {", "mark = pathlib.Path(os.environ['TMPDIR']) / 'n'\n    n = int(mark.read_text()) + 1 if mark.exists() else 1\n"
                          "    mark.write_text(str(n))\n    return {'n': n, 'tmp': str(mark), ")  # fmt: skip
    function = account.function(source, Timeout=20)
    with ThreadPoolExecutor(2) as pool:
        both = [future.result()[0] for future in [pool.submit(account.invoke, function, {"folder": str(tmp_path), "number": 2}) for _ in range(2)]]
    assert [answer["n"] for answer in both] == [1, 1]
    assert len({answer["tmp"] for answer in both}) == 2
    assert account.invoke(function, {"folder": str(tmp_path), "number": 0})[0]["n"] == 2


def test_the_function_acts_with_its_role(account):
    # docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
    source = """
import boto3
from botocore.exceptions import ClientError
def handler(event, context):
    try:
        boto3.client('s3').put_object(Bucket=event['bucket'], Key=event['key'], Body=b'x')
    except ClientError as error:
        return {'error': error.response['Error']['Code'], 'arn': boto3.client('sts').get_caller_identity()['Arn']}
    return {'arn': boto3.client('sts').get_caller_identity()['Arn']}
"""
    bucket = account.name("bucket")
    account.client("s3").create_bucket(Bucket=bucket)
    function = account.function(
        source, allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*"), deny("s3:PutObject", f"arn:aws:s3:::{bucket}/no*"), Timeout=20
    )
    configuration = account.client("lambda").get_function_configuration(FunctionName=function)
    role, name = configuration["Role"].rpartition("/")[2], configuration["FunctionName"]
    granted = account.invoke(function, {"bucket": bucket, "key": "yes"})[0]
    assert granted["arn"].endswith(f":assumed-role/{role}/{name}")
    assert account.invoke(function, {"bucket": bucket, "key": "no"})[0]["error"] == "AccessDenied"
    assert [item["Key"] for item in account.client("s3").list_objects_v2(Bucket=bucket)["Contents"]] == ["yes"]


def test_the_log_has_start_what_was_printed_end_and_report(account):
    # docs.aws.amazon.com/lambda/latest/dg/python-logging.html
    source = "def handler(event, context):\n    print('\\n'.join(f'line {i}' for i in range(5000)))\n    return context.aws_request_id\n"
    function = account.function(source, Timeout=20)
    raw = account.client("lambda").invoke(FunctionName=function, LogType="Tail")
    request = json.loads(raw["Payload"].read())
    lines = account.log(group(function))
    assert lines[0] == f"START RequestId: {request} Version: $LATEST"
    assert lines[1:5001] == [f"line {i}" for i in range(5000)]
    assert lines[5001] == f"END RequestId: {request}"
    assert REPORT.fullmatch(lines[5002])
    # docs.aws.amazon.com/lambda/latest/api/API_Invoke.html: LogResult holds the last 4 KB, if asked for with LogType=Tail.
    tail = base64.b64decode(raw["LogResult"]).decode()
    assert tail.endswith(lines[5002])
    assert len(tail) <= 4096
    assert "LogResult" not in account.client("lambda").invoke(FunctionName=function)
    (stream,) = account.client("logs").describe_log_streams(logGroupName=group(function))["logStreams"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream["logStreamName"])


def test_an_environment_that_was_idle_for_long_is_ended(account):
    # docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html: Shutdown phase, after some time without requests.
    function = account.function(WARM)
    pid = account.invoke(function)[0]["pid"]
    until(lambda: account.cloud.clock.advance(120) or not psutil.pid_exists(pid))
    assert account.invoke(function)[0]["calls"] == 1


def test_a_deleted_function_leaves_no_process_not_even_a_busy_one(account, tmp_path):
    # docs.aws.amazon.com/lambda/latest/api/API_DeleteFunction.html
    function, client = account.function(MEET, Timeout=20), account.client("lambda")
    (tmp_path / "one").touch()
    idle = account.invoke(function, {"folder": str(tmp_path), "number": 1})[0]["pid"]
    answers: list[dict] = []
    busy = [threading.Thread(target=lambda: answers.append(account.invoke(function, {"folder": str(tmp_path), "number": 5})[0])) for _ in range(2)]
    for thread in busy:
        thread.start()
    until(lambda: len(list(tmp_path.iterdir())) == 4)
    client.delete_function(FunctionName=function)
    (tmp_path / "go").touch()
    for thread in busy:
        thread.join()
    assert [answer["met"] for answer in answers] == [5, 5]
    until(lambda: not any(psutil.pid_exists(pid) for pid in [idle, *(answer["pid"] for answer in answers)]))
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Function not found: arn:aws:lambda"):
        account.invoke(function)
