"""CodeBuild: StartBuild does not build an image here; it checks that localcloud.toml says what stands for it, and pushes a digest to ECR."""

import hashlib
import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.config import ConfigError, LocalConfig
from localcloud.constraints import only
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Service, caller
from localcloud.iam.authorizer import AccessDenied, Authorizer
from localcloud.logs import LogWriter

CODEBUILD = "codebuild.amazonaws.com"
PUSH = ("BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload")
"""What docker push asks for besides PutImage. docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html"""
PROJECT = (
    "name", "description", "source", "artifacts", "cache", "environment", "serviceRole", "timeoutInMinutes", "queuedTimeoutInMinutes", "encryptionKey",
    "tags", "logsConfig",
)  # fmt: skip
"""What a project may say; time limits, the key, the build image and compute type are shown and have no effect."""
ALLOWED = {("source", "type"): ("S3",), ("artifacts", "type"): ("NO_ARTIFACTS",), ("cache", "type"): ("NO_CACHE",)}


class Builds:
    """Projects and builds."""

    def __init__(self, config: LocalConfig, clients: Clients, bus: EventBus, logs: LogWriter, authorizer: Authorizer) -> None:
        self._config = config
        self._clients = clients
        self._authorizer = authorizer
        self._bus = bus
        self._logs = logs
        self._projects: dict[str, dict[str, Any]] = {}
        self._builds: dict[str, dict[str, Any]] = {}

    def service(self) -> Service:
        return Service(
            "codebuild",
            {
                "BatchGetBuilds": lambda p: _found(self._builds, p["ids"], "builds"),
                "BatchGetProjects": lambda p: _found(self._projects, p["names"], "projects"),
                "CreateProject": self.create,
                "DeleteProject": lambda p: self._projects.pop(p["name"], None) and None,
                "ListBuildsForProject": self.list_builds,
                "StartBuild": self.start,
                "UpdateProject": self.update,
            },
        )

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        _check(p, "CreateProject")
        if p["name"] in self._projects:
            raise ServiceError("ResourceAlreadyExistsException", f"Project already exists: {p['name']}")
        self._acting(p["serviceRole"])
        arn = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{p['name']}"
        self._projects[p["name"]] = p | {"arn": arn, "created": datetime.now(UTC)}
        return {"project": self._projects[p["name"]]}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        _check(p, "UpdateProject")
        project = self._project(p["name"])
        if "serviceRole" in p:
            self._acting(p["serviceRole"])
        project |= p | {"lastModified": datetime.now(UTC)}
        return {"project": project}

    def start(self, p: dict[str, Any]) -> dict[str, Any]:
        only("StartBuild", p, ("projectName", "environmentVariablesOverride"))
        _check_variables(p.get("environmentVariablesOverride", []))
        project = self._project(p["projectName"])
        variables = {
            v["name"]: v["value"] for v in [*project["environment"].get("environmentVariables", []), *p.get("environmentVariablesOverride", [])]
        }
        build_id = f"{project['name']}:{uuid.uuid4()}"
        build = {
            "id": build_id, "arn": f"arn:aws:codebuild:{REGION}:{ACCOUNT}:build/{build_id}", "projectName": project["name"],
            "buildStatus": "IN_PROGRESS", "startTime": datetime.now(UTC), "currentPhase": "SUBMITTED", "buildComplete": False,
            "buildNumber": 1 + sum(known["projectName"] == project["name"] for known in self._builds.values()), "initiator": _initiator(),
            "source": project["source"], "serviceRole": project["serviceRole"], "environment": project["environment"],
            "logs": {"groupName": _group(project), "streamName": build_id.rpartition(":")[2]},
        }  # fmt: skip
        self._builds[build_id] = build
        self._announce(build)
        threading.Thread(target=self._run, args=(build, project, variables), daemon=True, name=build_id).start()
        return {"build": build}

    def list_builds(self, p: dict[str, Any]) -> dict[str, Any]:
        """The latest first, unless told otherwise."""
        ids = [i for i, build in list(self._builds.items()) if build["projectName"] == p["projectName"]]
        return {"ids": ids if p.get("sortOrder") == "ASCENDING" else ids[::-1]}

    def _run(self, build: dict[str, Any], project: dict[str, Any], variables: dict[str, str]) -> None:
        say = self._log(build, project)
        try:
            clients = self._acting(project["serviceRole"])
            self._fetch(project["source"], clients)
            uri, tag = variables[self._config.builds.repository_variable], variables[self._config.builds.tag_variable]
            image = self._config.image(uri)
            say(f"localcloud: {uri}:{tag} stands for {json.dumps(image.commands)}")
            self._push(project["serviceRole"], clients, uri.partition("/")[2], tag, image.model_dump_json())
            status = "SUCCEEDED"
        except (ConfigError, KeyError, ClientError, ServiceError) as error:
            say(f"localcloud: the build failed: {error}")
            status = "FAILED"
        build |= {"buildStatus": status, "endTime": datetime.now(UTC), "currentPhase": "COMPLETED", "buildComplete": True}
        self._announce(build)

    def _acting(self, role: str) -> Clients:
        try:
            return self._clients.acting(self._authorizer.acting(role, CODEBUILD))
        except AccessDenied as error:
            raise ServiceError("InvalidInputException", f"CodeBuild is not authorized to perform: sts:AssumeRole on {role}") from error

    def _log(self, build: dict[str, Any], project: dict[str, Any]) -> Callable[[str], None]:
        """Takes log lines, into the group the project names; without the permissions they are lost, as on AWS."""
        if project.get("logsConfig", {}).get("cloudWatchLogs", {}).get("status") == "DISABLED":
            return lambda line: None
        group, stream = build["logs"]["groupName"], build["logs"]["streamName"]
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:{stream}"
        if all([self._authorizer.allows(project["serviceRole"], f"logs:{action}", arn) for action in ("CreateLogStream", "PutLogEvents")]):  # noqa: C419
            return lambda line: self._logs.write(group, stream, line)
        return lambda line: None

    def _fetch(self, source: dict[str, Any], clients: Clients) -> None:
        bucket, _, key = source["location"].removeprefix("arn:aws:s3:::").partition("/")
        clients("s3").get_object(Bucket=bucket, Key=key)

    def _push(self, role: str, clients: Clients, repository: str, tag: str, content: str) -> None:
        arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}"
        wanted = [("ecr:GetAuthorizationToken", "*"), *((f"ecr:{action}", arn) for action in PUSH)]
        if denied := [action for action, resource in wanted if not self._authorizer.allows(role, action, resource)]:
            raise ServiceError("AccessDeniedException", f"docker push to {repository}: {role} lacks {', '.join(denied)}")
        ecr = clients("ecr")
        try:
            if ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]:
                return
        except ecr.exceptions.ImageNotFoundException:
            text = json.dumps(_manifest(tag, content))
            digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
            ecr.put_image(repositoryName=repository, imageManifest=text, imageTag=tag, imageDigest=digest)

    def _announce(self, build: dict[str, Any]) -> None:
        """Source: docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html"""
        logs = {"group-name": build["logs"]["groupName"], "stream-name": build["logs"]["streamName"]}
        environment = build["environment"]
        more = {
            "build-complete": build["buildComplete"], "build-number": float(build["buildNumber"]), "initiator": build["initiator"], "logs": logs,
            "build-start-time": f"{build['startTime']:%b %-d, %Y %-I:%M:%S %p}",
            "source": {"type": build["source"]["type"], "location": build["source"]["location"]},
            "environment": {
                "image": environment["image"], "compute-type": environment["computeType"], "type": environment["type"],
                "privileged-mode": environment.get("privilegedMode", False), "environment-variables": environment.get("environmentVariables", []),
            },
        }  # fmt: skip
        detail = {
            "build-status": build["buildStatus"], "project-name": build["projectName"], "build-id": build["arn"], "additional-information": more,
            "current-phase": build["currentPhase"], "current-phase-context": "[]", "version": "1",
        }  # fmt: skip
        self._bus.emit("aws.codebuild", "CodeBuild Build State Change", detail, [build["arn"]])

    def _project(self, name: str) -> dict[str, Any]:
        if name not in self._projects:
            raise ServiceError("ResourceNotFoundException", f"Project cannot be found: {name}")
        return self._projects[name]


def _check(p: dict[str, Any], operation: str) -> None:
    """Raises NotSupported for what a build here would not do."""
    only(operation, p, PROJECT)
    for (part, member), allowed in ALLOWED.items():
        if p.get(part) and p[part].get(member) not in allowed:
            raise NotSupported(f"{part}.{member}={p[part].get(member)} of {operation}")
    if p.get("logsConfig", {}).get("s3Logs", {}).get("status") == "ENABLED":
        raise NotSupported(f"logsConfig.s3Logs of {operation}")
    _check_variables(p.get("environment", {}).get("environmentVariables", []))


def _check_variables(variables: list[dict[str, Any]]) -> None:
    if odd := sorted({v["type"] for v in variables if v.get("type", "PLAINTEXT") != "PLAINTEXT"}):
        raise NotSupported(f"environment variables of type {', '.join(odd)}")


def _group(project: dict[str, Any]) -> str:
    settings = project.get("logsConfig", {}).get("cloudWatchLogs", {})
    return str(settings.get("groupName") or f"/aws/codebuild/{project['name']}")


def _initiator() -> str:
    arn = caller().session_arn or caller().arn
    return arn.rpartition(":")[2].removeprefix("assumed-role/")


def _found(store: dict[str, dict[str, Any]], names: list[str], what: str) -> dict[str, Any]:
    return {what: [store[name] for name in names if name in store], f"{what}NotFound": [name for name in names if name not in store]}


def _manifest(tag: str, content: str) -> dict[str, Any]:
    layer = f"sha256:{hashlib.sha256(f'{tag}{content}'.encode()).hexdigest()}"
    return {
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(content), "digest": layer}, "layers": [],
    }  # fmt: skip
