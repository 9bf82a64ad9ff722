"""Glue jobs: their definitions, and runs as real processes.

Where no other page is named, expectations come from docs.aws.amazon.com/glue/latest/dg/aws-glue-api-jobs-job.html and
…/aws-glue-api-jobs-runs.html.
"""

import io
import json
import zipfile

import pytest

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.assembly import deploy_stack
from tests.conformance.conftest import Account, allow, until
from tests.conformance.jobs import refused
from tests.conformance.machines import Machine, task

GLUE = "glue.amazonaws.com"
PATIENCE_S = 300.0
"""Spark takes a minute and more to start on a machine that others use."""
ENDED = {"SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT"}
LOGS = allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws-glue/*")
QUICK = "print('done')\n"
FOREVER = "import time\nprint('here', flush=True)\ntime.sleep(3600)\n"
SPARK = """\
from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("rows").getOrCreate()
print(spark.sparkContext.master, spark.sparkContext.parallelize(range(10), 2).map(lambda n: n * n).sum(), flush=True)
spark.stop()
"""


class Job:
    """A Glue job under test, with a bucket for its script and files."""

    def __init__(self, account: Account, source: str, *statements: dict, **settings) -> None:
        self.account, self.client, self.name, self.bucket = account, account.client("glue"), account.name("job"), account.name("bucket")
        account.client("s3").create_bucket(Bucket=self.bucket)
        self.put("main.py", source.encode())
        self.role = settings.pop("Role", None) or account.role(GLUE, allow("s3:GetObject", f"arn:aws:s3:::{self.bucket}/*"), LOGS, *statements)
        command = {"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": f"s3://{self.bucket}/main.py"}
        self.client.create_job(Name=self.name, Role=self.role, Command=command, **{"GlueVersion": "5.0"} | settings)

    def put(self, key: str, body: bytes) -> str:
        self.account.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def start(self, **settings) -> str:
        return self.client.start_job_run(JobName=self.name, **settings)["JobRunId"]

    def run(self, run: str) -> dict:
        return self.client.get_job_run(JobName=self.name, RunId=run)["JobRun"]

    def reached(self, run: str, *states: str) -> dict:
        return until(lambda: self.run(run)["JobRunState"] in states and self.run(run), PATIENCE_S)

    def ended(self, **settings) -> dict:
        return self.reached(self.start(**settings), *ENDED)

    def output(self, run: str, group: str = "output") -> list[str]:
        """What the run wrote, out of its own stream."""
        self.account.cloud.logs.flush()
        found = self.account.client("logs").get_log_events(logGroupName=f"/aws-glue/jobs/{group}", logStreamName=run, startFromHead=True)
        return [event["message"] for event in found["events"]]


def zipped(**files: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    return body.getvalue()


def test_a_definition_is_made_shown_overwritten_and_deleted(account):
    job = Job(account, QUICK, Description="first", NumberOfWorkers=2, WorkerType="G.1X", DefaultArguments={"--a": "1"})
    shown = job.client.get_job(JobName=job.name)["Job"]
    assert (shown["Description"], shown["NumberOfWorkers"], shown["ExecutionProperty"]) == ("first", 2, {"MaxConcurrentRuns": 1})
    refused("AlreadyExistsException", "exists", lambda: job.client.create_job(Name=job.name, Role=job.role, Command=shown["Command"]))
    # "Job definition is completely overwritten by this information" (API_UpdateJob)
    job.client.update_job(JobName=job.name, JobUpdate={"Role": job.role, "Command": shown["Command"], "Timeout": 5})
    overwritten = job.client.get_job(JobName=job.name)["Job"]
    assert (overwritten["Timeout"], "Description" in overwritten, overwritten.get("DefaultArguments")) == (5, False, None)
    assert job.name in job.client.list_jobs(MaxResults=1000)["JobNames"]
    job.client.delete_job(JobName=job.name)
    refused("EntityNotFoundException", job.name, lambda: job.client.get_job(JobName=job.name))
    refused("EntityNotFoundException", "missing metadata", job.start)
    job.client.delete_job(JobName=job.name)  # "If the job definition is not found, no exception is thrown" (API_DeleteJob)


def test_arguments_of_job_and_run_reach_the_script_with_its_own_names(account):
    # docs.aws.amazon.com/glue/latest/dg/aws-glue-api-crawler-pyspark-extensions-get-resolved-options.html
    job = Job(account, "import json, sys\nprint(json.dumps(sys.argv[1:]))\n", DefaultArguments={"--a": "1", "--b": "2", "--enable-metrics": "true"})
    done = job.ended(Arguments={"--b": "three words here"})
    assert (done["JobRunState"], done["Arguments"], done["Attempt"]) == ("SUCCEEDED", {"--b": "three words here"}, 0)
    argv = json.loads(job.output(done["Id"])[0])
    given = dict(zip(argv[::2], argv[1::2], strict=True))
    assert given["--a"] == "1"
    assert given["--b"] == "three words here"
    assert (given["--JOB_NAME"], given["--JOB_RUN_ID"]) == (job.name, done["Id"])
    assert "--enable-metrics" not in given


def test_python_files_and_wheels_come_with_the_jobs_role(account):
    # docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-glue-arguments.html: --extra-py-files, --additional-python-modules
    job = Job(account, "import one, two, three\nprint(one.NAME, two.NAME, three.NAME, two.__file__.endswith('.py'))\n")
    files = [job.put("lib/one.zip", zipped(one="NAME = 'zip'\n")), job.put("three.py", b"NAME = 'file'\n")]
    wheel = job.put("two-1.0-py3-none-any.whl", zipped(two="NAME = 'wheel'\n"))
    done = job.ended(Arguments={"--extra-py-files": ",".join(files), "--additional-python-modules": wheel})
    assert done["JobRunState"] == "SUCCEEDED", done
    assert job.output(done["Id"]) == ["zip wheel file True"]
    missing = job.ended(Arguments={"--extra-py-files": f"s3://{job.bucket}/lib/no.zip"})
    assert missing["JobRunState"] == "FAILED"
    assert "lib/no.zip" in missing["ErrorMessage"]


def test_a_script_acts_with_the_jobs_role_and_no_more(account):
    source = "import boto3\nprint(boto3.client('sts').get_caller_identity()['Arn'])\nboto3.client('s3').list_buckets()\n"
    job = Job(account, source)
    done = job.ended()
    assert done["JobRunState"] == "FAILED"
    assert "AccessDenied" in done["ErrorMessage"]
    assert f"assumed-role/{job.role.rpartition('/')[2]}/" in job.output(done["Id"])[0]


def test_an_exception_is_the_error_message_and_its_traceback_is_in_the_error_log(account):
    done = (job := Job(account, "def f():\n    raise ValueError('row 3 is bad')\n\nf()\n")).ended()
    assert (done["JobRunState"], done["ErrorMessage"]) == ("FAILED", "ValueError: row 3 is bad")
    log = job.output(done["Id"], "error")
    assert log[0] == "Traceback (most recent call last):"
    assert log[-1] == "ValueError: row 3 is bad"
    left = Job(account, "import os\nos._exit(3)\n").ended()
    assert left["ErrorMessage"] == "Command failed with exit code 3"


@pytest.mark.parametrize(("source", "state", "severity", "message"), [
    (QUICK, "SUCCEEDED", "INFO", "Job run succeeded"),
    ("raise ValueError('no')\n", "FAILED", "ERROR", "failed to execute with exception ValueError: no"),
])  # fmt: skip
def test_the_end_of_a_run_is_an_event(account, source, state, severity, message):
    # docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html
    url, queue = account.open_queue("events.amazonaws.com")
    job, rule = Job(account, source), account.name("rule")
    pattern = {"source": ["aws.glue"], "detail-type": ["Glue Job State Change"], "detail": {"jobName": [job.name]}}
    account.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    account.client("events").put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue}])
    run = job.start()
    event = json.loads(account.messages(url)[0]["Body"])
    detail = event["detail"]
    assert (event["resources"], detail["jobRunId"], detail["state"], detail["severity"]) == ([], run, state, severity)
    assert message in detail["message"]


def test_a_run_is_stopped_with_all_it_started(account):
    job = Job(account, FOREVER)
    run = job.start()
    until(lambda: "/aws-glue/jobs/output" in [g["logGroupName"] for g in account.client("logs").describe_log_groups()["logGroups"]])
    until(lambda: job.run(run)["JobRunState"] == "RUNNING")
    before = account.cloud.running
    answer = job.client.batch_stop_job_run(JobName=job.name, JobRunIds=[run, "jr_none"])
    assert answer["SuccessfulSubmissions"] == [{"JobName": job.name, "JobRunId": run}]
    assert [error["JobRunId"] for error in answer["Errors"]] == ["jr_none"]
    done = job.reached(run, *ENDED)
    assert (done["JobRunState"], "ErrorMessage" in done) == ("STOPPED", False)
    assert len(account.cloud.running) < len(before)
    again = job.client.batch_stop_job_run(JobName=job.name, JobRunIds=[run])
    assert again["Errors"][0]["JobRunId"] == run


def test_a_run_ends_when_its_minutes_are_over(account):
    job = Job(account, FOREVER, Timeout=480)
    run = job.start(Timeout=30)
    job.reached(run, "RUNNING")
    account.cloud.clock.advance(29 * 60)
    assert job.run(run)["JobRunState"] == "RUNNING"
    account.cloud.clock.advance(120)
    assert job.reached(run, *ENDED)["JobRunState"] == "TIMEOUT"


def test_runs_of_a_job_are_limited_and_listed_newest_first(account):
    job = Job(account, FOREVER, ExecutionProperty={"MaxConcurrentRuns": 2})
    runs = [job.start(), job.start()]
    refused("ConcurrentRunsExceededException", "Concurrent runs exceeded", job.start)
    assert [run["Id"] for run in job.client.get_job_runs(JobName=job.name)["JobRuns"]] == runs[::-1]
    job.client.batch_stop_job_run(JobName=job.name, JobRunIds=runs)
    for run in runs:
        job.reached(run, "STOPPED")


def test_a_role_that_glue_may_not_have_fails_the_run(account):
    # docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html has this message
    role = account.role("lambda.amazonaws.com", allow("*", "*"))
    done = Job(account, QUICK, Role=role).ended()
    assert done["ErrorMessage"] == f"Role {role} should be given assume role permissions for Glue Service."


def test_nothing_is_logged_without_permission(account):
    job = Job(account, QUICK, Role=account.role(GLUE, allow("s3:GetObject", "*")))
    done = job.ended()
    assert done["JobRunState"] == "SUCCEEDED"
    with pytest.raises(account.client("logs").exceptions.ResourceNotFoundException):
        job.output(done["Id"])


def test_making_and_running_a_job_ask_for_their_permissions(account):
    # docs.aws.amazon.com/service-authorization/latest/reference/list_awsglue.html
    job = Job(account, QUICK)
    arn = f"arn:aws:glue:{REGION}:{ACCOUNT}:job/{job.name}"
    may = account.acting(account.role(GLUE, allow(["glue:StartJobRun", "glue:GetJobRun"], arn)))("glue")
    run = may.start_job_run(JobName=job.name)["JobRunId"]
    until(lambda: may.get_job_run(JobName=job.name, RunId=run)["JobRun"]["JobRunState"] in ENDED)
    refused("AccessDeniedException", "glue:BatchStopJobRun", lambda: may.batch_stop_job_run(JobName=job.name, JobRunIds=[run]))
    maker = account.acting(account.role(GLUE, allow("glue:CreateJob", "*")))("glue")
    command = {"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": "s3://b/k"}
    refused("AccessDeniedException", "iam:PassRole", lambda: maker.create_job(Name=account.name("job"), Role=job.role, Command=command))


@pytest.mark.parametrize(("settings", "named"), [
    ({"Command": {"Name": "pythonshell", "ScriptLocation": "s3://b/k"}}, "Command.Name=pythonshell"),
    ({"GlueVersion": "4.0"}, "GlueVersion=4.0"),
    ({"MaxRetries": 2}, "MaxRetries=2"),
    ({"Connections": {"Connections": ["c"]}}, "Connections"),
    ({"DefaultArguments": {"--extra-jars": "s3://b/a.jar"}}, "--extra-jars"),
    ({"DefaultArguments": {"--job-bookmark-option": "job-bookmark-enable"}}, "--job-bookmark-option=job-bookmark-enable"),
    ({"DefaultArguments": {"--additional-python-modules": "polars==1.0"}}, "--additional-python-modules=polars==1.0"),
])  # fmt: skip
def test_what_localcloud_would_not_do_is_refused_by_name(account, settings, named):
    request = {"Name": account.name("job"), "Role": "r", "Command": {"Name": "glueetl", "ScriptLocation": "s3://b/k"}} | settings
    refused("NotSupportedByLocalcloud", named, lambda: account.client("glue").create_job(**request))


def test_crawlers_and_triggers_are_refused_by_name_and_the_catalog_answers(account):
    glue, name = account.client("glue"), account.name("db").replace("-", "_")
    refused("NotSupportedByLocalcloud", "glue:ListCrawlers", glue.list_crawlers)
    glue.create_database(DatabaseInput={"Name": name})
    assert glue.get_database(Name=name)["Database"]["Name"] == name


def test_a_job_runs_on_local_spark(account):
    """The cores are as many as the workers, and no more than this machine has."""
    job = Job(account, SPARK, NumberOfWorkers=1, WorkerType="G.1X")
    done = job.ended(Arguments={"--conf": "spark.sql.shuffle.partitions=1"})
    assert done["JobRunState"] == "SUCCEEDED", job.output(done["Id"], "error")
    assert job.output(done["Id"]) == ["local[1] 285"]


# Step Functions: docs.aws.amazon.com/step-functions/latest/dg/connect-glue.html

STARTS = "arn:aws:states:::glue:startJobRun.sync"


def synchronous(job: Job) -> list[dict]:
    arn = f"arn:aws:glue:{REGION}:{ACCOUNT}:job/{job.name}"
    return [allow(["glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun"], arn)]


def test_a_task_waits_for_a_run_and_gives_it(account):
    job = Job(account, "import sys\nprint(sys.argv[sys.argv.index('--month') + 1])\n")
    machine = Machine(account, task(STARTS, {"JobName": job.name, "Arguments": {"--month": "2013-01"}}), *synchronous(job))
    output = machine.output()
    assert (output["JobRunState"], output["JobName"]) == ("SUCCEEDED", job.name)
    assert job.output(output["Id"]) == ["2013-01"]


def test_a_run_that_fails_fails_its_task_with_the_run_as_its_cause(account):
    job = Job(account, "raise KeyError('flight_id')\n")
    error, cause = Machine(account, task(STARTS, {"JobName": job.name}), *synchronous(job)).failure()
    assert error == "States.TaskFailed"
    assert json.loads(cause)["ErrorMessage"] == "KeyError: 'flight_id'"


def test_a_job_that_is_not_there_is_glues_own_error(account):
    job = Job(account, QUICK)
    job.client.delete_job(JobName=job.name)
    error, cause = Machine(account, task(STARTS, {"JobName": job.name}), *synchronous(job)).failure()
    assert error == "Glue.EntityNotFoundException"
    assert "Service: AWSGlue" in cause


def test_a_stopped_execution_stops_its_run(account):
    job = Job(account, FOREVER)
    machine = Machine(account, task(STARTS, {"JobName": job.name}), *synchronous(job))
    execution = machine.start()
    run = until(lambda: job.client.get_job_runs(JobName=job.name)["JobRuns"])[0]["Id"]
    job.reached(run, "RUNNING")
    machine.client.stop_execution(executionArn=execution)
    assert machine.ended(execution)["status"] == "ABORTED"
    assert job.reached(run, *ENDED)["JobRunState"] == "STOPPED"


# CloudFormation: docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-glue-job.html


def test_a_stack_makes_changes_and_deletes_a_job(account, cloud):
    stack, role = account.name("stack"), account.role(GLUE)

    def text(**properties) -> str:
        known = {"Role": role, "Command": {"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": "s3://b/k.py"}, "GlueVersion": "5.0"}
        job = {"Type": "AWS::Glue::Job", "Properties": known | properties}
        return json.dumps({"Resources": {"J": job}, "Outputs": {"Name": {"Value": {"Ref": "J"}}}})

    name = deploy_stack(stack, text(Timeout=10, Tags={"team": "a"}, NumberOfWorkers=2, WorkerType="G.1X"), cloud.clients, {})["Name"]
    assert account.client("glue").get_job(JobName=name)["Job"]["Timeout"] == 10
    assert account.client("glue").get_tags(ResourceArn=f"arn:aws:glue:{REGION}:{ACCOUNT}:job/{name}")["Tags"] == {"team": "a"}
    assert deploy_stack(stack, text(Timeout=20, Tags={"owner": "b"}, DefaultArguments={"--a": "1"}), cloud.clients, {})["Name"] == name
    changed = account.client("glue").get_job(JobName=name)["Job"]
    assert (changed["Timeout"], changed["DefaultArguments"], "NumberOfWorkers" in changed) == (20, {"--a": "1"}, False)
    assert account.client("glue").get_tags(ResourceArn=f"arn:aws:glue:{REGION}:{ACCOUNT}:job/{name}")["Tags"] == {"owner": "b"}
    cloud.clients("cloudformation").delete_stack(StackName=stack)
    until(lambda: name not in account.client("glue").list_jobs(MaxResults=1000)["JobNames"])
