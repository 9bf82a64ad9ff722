"""CodeBuild's StartBuild, as its user guide describes it; what is built is a digest that stands for the image."""

import json

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow, until

PUSH = ["BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage"]


class Project:
    """A project whose source lies in S3 and whose image goes to ECR. Its role may do all it needs but what is `without`."""

    def __init__(self, account, without=(), repository="test-built", **settings):
        self.account, self.client, self.name = account, account.client("codebuild"), account.name("project")
        self.bucket, self.repository, self.group = account.name("bucket"), account.name(repository), account.name("/builds")
        account.client("s3").create_bucket(Bucket=self.bucket)
        account.client("s3").put_object(Bucket=self.bucket, Key="source.zip", Body=b"zip")
        self.uri = account.client("ecr").create_repository(repositoryName=self.repository)["repository"]["repositoryUri"]
        self.role = settings.pop("serviceRole", None) or account.role("codebuild.amazonaws.com", *self._statements(without))
        variables = [
            {"name": "IMAGE_REPOSITORY_URI", "value": self.uri, "type": "PLAINTEXT"},
            {"name": "IMAGE_TAG", "value": "t1", "type": "PLAINTEXT"},
        ]
        environment = {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"}
        request = {
            "name": self.name, "serviceRole": self.role, "artifacts": {"type": "NO_ARTIFACTS"}, "source": {"type": "S3", "location": f"{self.bucket}/source.zip"},
            "environment": environment | {"environmentVariables": variables}, "logsConfig": {"cloudWatchLogs": {"status": "ENABLED", "groupName": self.group}},
        }  # fmt: skip
        self.arn = self.client.create_project(**request | settings)["project"]["arn"]

    def _statements(self, without):
        repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{self.repository}"
        wanted = [("s3:GetObject", f"arn:aws:s3:::{self.bucket}/*"), ("ecr:GetAuthorizationToken", "*"), ("ecr:DescribeImages", repository)]
        wanted += [(f"ecr:{action}", repository) for action in PUSH] + [(f"logs:{action}", "*") for action in ("CreateLogStream", "PutLogEvents")]
        return [allow(action, resource) for action, resource in wanted if action not in without]

    def build(self, **more):
        started = self.client.start_build(projectName=self.name, **more)["build"]
        return until(lambda: (build := self.client.batch_get_builds(ids=[started["id"]])["builds"][0])["buildComplete"] and build)

    def images(self):
        return self.account.client("ecr").list_images(repositoryName=self.repository)["imageIds"]


def refused(code, message, call):
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["Error"]["Code"] == code
    assert message in error.value.response["Error"]["Message"]


def test_a_build_pushes_the_image_under_the_service_role(account):
    # docs.aws.amazon.com/codebuild/latest/APIReference/API_Build.html
    project = Project(account)
    build = project.build()
    assert (build["buildStatus"], build["currentPhase"], build["buildNumber"]) == ("SUCCEEDED", "COMPLETED", 1)
    assert build["id"].startswith(f"{project.name}:")
    assert build["arn"] == f"arn:aws:codebuild:{REGION}:{ACCOUNT}:build/{build['id']}"
    assert build["startTime"] <= build["endTime"]
    (image,) = project.images()
    assert image["imageTag"] == "t1"
    assert image["imageDigest"].startswith("sha256:")
    assert project.build(environmentVariablesOverride=[{"name": "IMAGE_TAG", "value": "t2"}])["buildNumber"] == 2
    assert sorted(image["imageTag"] for image in project.images()) == ["t1", "t2"]
    assert project.client.list_builds_for_project(projectName=project.name)["ids"][1] == build["id"]  # "descending" is the default


def test_a_tag_that_is_there_is_not_pushed_again(account):
    project = Project(account)
    project.build()
    before = project.images()
    assert project.build()["buildStatus"] == "SUCCEEDED"
    assert project.images() == before


@pytest.mark.parametrize("missing", ["s3:GetObject", "ecr:GetAuthorizationToken", "ecr:PutImage", "ecr:InitiateLayerUpload"])
def test_without_a_permission_the_build_fails_and_pushes_nothing(account, missing):
    # what a push needs: docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
    project = Project(account, without=[missing])
    assert project.build()["buildStatus"] == "FAILED"
    assert project.images() == []
    assert missing in " ".join(account.log(project.group)) or missing == "s3:GetObject"


def test_lines_go_to_the_group_of_the_project_if_the_role_may_write(account):
    # docs.aws.amazon.com/codebuild/latest/userguide/getting-started-build-log-console.html
    project = Project(account)
    logs = project.build()["logs"]
    account.cloud.logs.flush()
    assert logs["groupName"] == project.group
    lines = account.client("logs").get_log_events(logGroupName=project.group, logStreamName=logs["streamName"])["events"]
    assert project.uri in lines[0]["message"]
    silent = Project(account, without=["logs:PutLogEvents"])
    assert silent.build()["buildStatus"] == "SUCCEEDED"
    account.cloud.logs.flush()
    assert account.client("logs").describe_log_groups(logGroupNamePrefix=silent.group)["logGroups"] == []


def test_an_image_that_localcloud_toml_does_not_know_fails_the_build(account):
    project = Project(account, repository="unknown")
    assert project.build()["buildStatus"] == "FAILED"
    assert "no [[images]] entry matches" in " ".join(account.log(project.group))


def test_begin_and_end_of_a_build_are_events(account):
    # docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html#sample-build-notifications-ref
    project = Project(account, without=["ecr:PutImage"])
    url, queue = account.open_queue("events.amazonaws.com")
    rule = account.name("rule")
    pattern = {"source": ["aws.codebuild"], "detail-type": ["CodeBuild Build State Change"], "detail": {"project-name": [project.name]}}
    account.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    account.client("events").put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue}])
    build = project.build()
    events = {e["detail"]["build-status"]: e for e in (json.loads(message["Body"]) for message in account.messages(url, 2))}
    assert set(events) == {"IN_PROGRESS", "FAILED"}
    detail = events["FAILED"]["detail"]
    assert events["FAILED"]["resources"] == [build["arn"]]
    assert (detail["build-id"], detail["current-phase"], detail["version"]) == (build["arn"], "COMPLETED", "1")
    more = detail["additional-information"]
    assert (more["build-complete"], more["build-number"], more["source"]["type"]) == (True, 1.0, "S3")
    assert more["logs"]["group-name"] == project.group
    assert events["IN_PROGRESS"]["detail"]["current-phase"] == "SUBMITTED"


def test_a_role_codebuild_may_not_assume_is_refused(account):
    # docs.aws.amazon.com/codebuild/latest/userguide/troubleshooting.html: "CodeBuild is not authorized to perform: sts:AssumeRole"
    role = account.role("lambda.amazonaws.com")
    told = "CodeBuild is not authorized to perform: sts:AssumeRole"
    refused("InvalidInputException", told, lambda: Project(account, serviceRole=role))
    project = Project(account)
    refused("InvalidInputException", told, lambda: project.client.update_project(name=project.name, serviceRole=role))


def test_projects_are_unique_updated_and_deleted(account):
    # API_CreateProject.html, API_UpdateProject.html, API_DeleteProject.html, API_BatchGetProjects.html
    project = Project(account)
    project.client.update_project(name=project.name, description="new")
    found = project.client.batch_get_projects(names=[project.name, "none"])
    assert ([p["description"] for p in found["projects"]], found["projectsNotFound"]) == (["new"], ["none"])
    request = {k: found["projects"][0][k] for k in ("name", "source", "artifacts", "environment", "serviceRole")}
    refused("ResourceAlreadyExistsException", project.name, lambda: project.client.create_project(**request))
    project.client.delete_project(name=project.name)
    refused("ResourceNotFoundException", project.name, lambda: project.client.start_build(projectName=project.name))
    assert project.client.batch_get_builds(ids=["x:1"])["buildsNotFound"] == ["x:1"]


SECRET = {
    "type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL",
    "environmentVariables": [{"name": "a", "value": "b", "type": "SECRETS_MANAGER"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"source": {"type": "GITHUB", "location": "https://github.com/a/b"}}, "source.type=GITHUB"),
        ({"artifacts": {"type": "S3", "location": "b"}}, "artifacts.type=S3"),
        ({"cache": {"type": "LOCAL", "modes": ["LOCAL_SOURCE_CACHE"]}}, "cache.type=LOCAL"),
        ({"vpcConfig": {"vpcId": "vpc-1", "subnets": ["s"], "securityGroupIds": ["g"]}}, "vpcConfig"),
        ({"secondarySources": [{"type": "S3", "location": "b/k", "sourceIdentifier": "x"}]}, "secondarySources"),
        ({"logsConfig": {"s3Logs": {"status": "ENABLED", "location": "b/k"}}}, "logsConfig.s3Logs"),
        ({"environment": SECRET}, "environment variables of type SECRETS_MANAGER"),
    ],
)  # fmt: skip
def test_what_a_build_here_cannot_do_is_refused_by_name(account, settings, named):
    refused("NotSupportedByLocalcloud", named, lambda: Project(account, **settings))


def test_overrides_and_other_operations_are_refused_by_name(account):
    project = Project(account)
    override = lambda: project.client.start_build(projectName=project.name, buildspecOverride="x")  # noqa: E731
    refused("NotSupportedByLocalcloud", "buildspecOverride of StartBuild", override)
    refused("NotSupportedByLocalcloud", "codebuild:StopBuild", lambda: project.client.stop_build(id="x:1"))
