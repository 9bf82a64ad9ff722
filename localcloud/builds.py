"""CodeBuild: StartBuild does not build an image here; it checks that localcloud.toml says what stands for it, and pushes a digest to ECR."""

import hashlib
import json
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.config import ConfigError, LocalConfig
from localcloud.errors import ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Service
from localcloud.logs import LogWriter


class Builds:
    """Projects and builds."""

    def __init__(self, config: LocalConfig, clients: Clients, bus: EventBus, logs: LogWriter) -> None:
        self._config = config
        self._clients = clients
        self._bus = bus
        self._logs = logs
        self._projects: dict[str, dict[str, Any]] = {}
        self._builds: dict[str, dict[str, Any]] = {}

    def service(self) -> Service:
        return Service(
            "codebuild",
            {
                "BatchGetBuilds": lambda p: {"builds": [self._builds[i] for i in p["ids"] if i in self._builds]},
                "BatchGetProjects": lambda p: {"projects": [self._projects[n] for n in p["names"] if n in self._projects]},
                "CreateProject": self.create,
                "DeleteProject": lambda p: self._projects.pop(p["name"], None) and None,
                "ListBuildsForProject": self.list_builds,
                "StartBuild": self.start,
                "UpdateProject": self.update,
            },
        )

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        if p["name"] in self._projects:
            raise ServiceError("ResourceAlreadyExistsException", f"Project already exists: {p['name']}")
        arn = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{p['name']}"
        self._projects[p["name"]] = p | {"arn": arn, "created": datetime.now(UTC)}
        return {"project": self._projects[p["name"]]}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        project = self._project(p["name"])
        project |= p | {"lastModified": datetime.now(UTC)}
        return {"project": project}

    def start(self, p: dict[str, Any]) -> dict[str, Any]:
        project = self._project(p["projectName"])
        variables = {
            v["name"]: v["value"] for v in [*project["environment"].get("environmentVariables", []), *p.get("environmentVariablesOverride", [])]
        }
        build_id = f"{project['name']}:{uuid.uuid4()}"
        build = {
            "id": build_id, "arn": f"arn:aws:codebuild:{REGION}:{ACCOUNT}:build/{build_id}", "projectName": project["name"],
            "buildStatus": "IN_PROGRESS", "startTime": datetime.now(UTC), "currentPhase": "BUILD", "buildComplete": False,
        }  # fmt: skip
        self._builds[build_id] = build
        self._announce(build)
        threading.Thread(target=self._run, args=(build, variables), daemon=True, name=build_id).start()
        return {"build": build}

    def list_builds(self, p: dict[str, Any]) -> dict[str, Any]:
        return {"ids": [i for i, build in reversed(self._builds.items()) if build["projectName"] == p["projectName"]]}

    def _run(self, build: dict[str, Any], variables: dict[str, str]) -> None:
        group, stream = f"/aws/codebuild/{build['projectName']}", build["id"].rpartition(":")[2]
        try:
            uri, tag = variables[self._config.builds.repository_variable], variables[self._config.builds.tag_variable]
            image = self._config.image(uri)
            self._logs.write(group, stream, f"localcloud: {uri}:{tag} stands for {json.dumps(image.commands)}")
            self._push(uri.partition("/")[2], tag, image.model_dump_json())
            status = "SUCCEEDED"
        except (ConfigError, KeyError) as error:
            self._logs.write(group, stream, f"localcloud: the build failed: {error}")
            status = "FAILED"
        build |= {"buildStatus": status, "endTime": datetime.now(UTC), "currentPhase": "COMPLETED", "buildComplete": True}
        self._announce(build)

    def _push(self, repository: str, tag: str, content: str) -> None:
        ecr = self._clients("ecr")
        layer = f"sha256:{hashlib.sha256(f'{tag}{content}'.encode()).hexdigest()}"
        manifest = {
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(content), "digest": layer}, "layers": [],
        }  # fmt: skip
        try:
            text = json.dumps(manifest)
            digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
            ecr.put_image(repositoryName=repository, imageManifest=text, imageTag=tag, imageDigest=digest)
        except ecr.exceptions.ImageAlreadyExistsException:
            return

    def _announce(self, build: dict[str, Any]) -> None:
        """Source: docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html"""
        detail = {
            "build-status": build["buildStatus"],
            "project-name": build["projectName"],
            "build-id": build["arn"],
            "current-phase": build["currentPhase"],
        }
        self._bus.emit("aws.codebuild", "CodeBuild Build State Change", detail, [build["arn"]])

    def _project(self, name: str) -> dict[str, Any]:
        if name not in self._projects:
            raise ServiceError("ResourceNotFoundException", f"Project cannot be found: {name}")
        return self._projects[name]
