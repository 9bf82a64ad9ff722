"""Deploy a CDK cloud assembly without the CLI: publish its assets, then its stacks in order. The same engine, in process."""

import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients

QUALIFIER = "hnb659fds"
BOOTSTRAP_PARAMETER = f"/cdk-bootstrap/{QUALIFIER}/version"
BOOTSTRAP_VERSION = "30"
EPOCH = (1980, 1, 1, 0, 0, 0)


class DeploymentFailed(Exception):
    """A stack did not reach CREATE_COMPLETE or UPDATE_COMPLETE; the message has its failed resources."""


def deploy(folder: Path, clients: Clients, parameters: dict[str, str] | None = None) -> dict[str, dict[str, str]]:
    """Deploy every stack of an assembly; stack name → output key → value. Raises DeploymentFailed."""
    bucket = f"cdk-{QUALIFIER}-assets-{ACCOUNT}-{REGION}"
    _bootstrap(bucket, clients)
    artifacts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
    stacks = {name: artifact for name, artifact in artifacts.items() if artifact["type"] == "aws:cloudformation:stack"}
    for name in artifacts:
        if artifacts[name]["type"] == "cdk:asset-manifest":
            _publish(folder, folder / artifacts[name]["properties"]["file"], bucket, clients)
    outputs = {}
    for name in _ordered(stacks):
        text = (folder / stacks[name]["properties"]["templateFile"]).read_text(encoding="utf-8")
        outputs[name] = deploy_stack(name, text, clients, parameters or {})
    return outputs


def deploy_stack(name: str, text: str, clients: Clients, parameters: dict[str, str]) -> dict[str, str]:
    """Create or update one stack and wait for it; output key → value."""
    cloudformation = clients("cloudformation")
    declared = json.loads(text).get("Parameters", {}) if text.lstrip().startswith("{") else {}
    given = [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items() if k in declared]
    known = any(stack["StackName"] == name for stack in cloudformation.describe_stacks()["Stacks"])
    try:
        (cloudformation.update_stack if known else cloudformation.create_stack)(
            StackName=name, TemplateBody=text, Parameters=given, Capabilities=["CAPABILITY_NAMED_IAM"]
        )
    except cloudformation.exceptions.ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
    stack = _wait(name, cloudformation)
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        failed = [e for e in cloudformation.describe_stack_events(StackName=name)["StackEvents"] if e["ResourceStatus"].endswith("_FAILED")]
        reasons = "; ".join(f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason', '')}" for e in failed)
        raise DeploymentFailed(f"stack {name} is {stack['StackStatus']}: {reasons or stack.get('StackStatusReason', '')}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _wait(name: str, cloudformation: Any) -> dict[str, Any]:
    while True:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return stack
        time.sleep(0.02)


def _bootstrap(bucket: str, clients: Clients) -> None:
    """The two things of the bootstrap stack that templates refer to."""
    if bucket not in {item["Name"] for item in clients("s3").list_buckets()["Buckets"]}:
        clients("s3").create_bucket(Bucket=bucket)
        clients("ssm").put_parameter(Name=BOOTSTRAP_PARAMETER, Value=BOOTSTRAP_VERSION, Type="String")


def _publish(folder: Path, manifest: Path, bucket: str, clients: Clients) -> None:
    for asset in json.loads(manifest.read_text(encoding="utf-8")).get("files", {}).values():
        source = folder / asset["source"]["path"]
        key = next(iter(asset["destinations"].values()))["objectKey"]
        body = _zip(source) if asset["source"]["packaging"] == "zip" else source.read_bytes()
        clients("s3").put_object(Bucket=bucket, Key=key, Body=body)


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(str(path.relative_to(folder)), EPOCH)
                info.external_attr = path.stat().st_mode << 16
                archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _ordered(stacks: dict[str, Any]) -> list[str]:
    """Stack names, dependencies first."""
    done: list[str] = []

    def visit(name: str) -> None:
        for other in stacks[name].get("dependencies", []):
            if other in stacks:
                visit(other)
        if name not in done:
            done.append(name)

    for name in stacks:
        visit(name)
    return done
