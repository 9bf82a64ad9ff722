"""The local stage, deployed by the real CDK CLI: what the demo and `make up` stand on."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.cloud import LocalCloud

ROOT = Path(__file__).resolve().parent.parent
CDK = ROOT / "node_modules" / ".bin" / "cdk"
ASSEMBLY = ROOT / "cdk.out"
OUTPUT_LINES = 60


class CommandFailed(Exception):
    """A cdk command failed; the message ends with what it printed last."""


def deploy(cloud: LocalCloud) -> dict[str, str]:
    """`cdk bootstrap`, `cdk synth`, `cdk deploy --all`; every output of every stack by its key."""
    with ThreadPoolExecutor() as pool:
        waiting = [
            pool.submit(_cdk, cloud, "bootstrap", "--app", "", f"aws://{ACCOUNT}/{REGION}"),
            pool.submit(_cdk, cloud, "synth", "--quiet", "--context", "stage=local", "--output", str(ASSEMBLY)),
        ]
        for done in waiting:
            done.result()
    _cdk(cloud, "deploy", "--all", "--app", str(ASSEMBLY), "--require-approval", "never", "--concurrency", "3", "--progress", "events")
    return outputs(cloud)


def outputs(cloud: LocalCloud) -> dict[str, str]:
    stacks: list[dict[str, Any]] = cloud.clients("cloudformation").describe_stacks()["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for stack in stacks for output in stack.get("Outputs", [])}


def count(cloud: LocalCloud) -> tuple[int, int]:
    """(stacks, resources) of the deployment, the bootstrap stack apart."""
    cloudformation = cloud.clients("cloudformation")
    names = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"] if stack["StackName"].startswith("tidemill-")]
    return len(names), sum(len(cloudformation.describe_stack_resources(StackName=name)["StackResources"]) for name in names)


def _cdk(cloud: LocalCloud, *arguments: str) -> None:
    """Run the CDK CLI against localcloud. Raises CommandFailed with the end of its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env = kept | cloud.clients.account_environment() | {"CDK_DISABLE_VERSION_CHECK": "1", "CI": "true", "NO_COLOR": "1"}
    done = subprocess.run([str(CDK), *arguments], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-OUTPUT_LINES:])
        raise CommandFailed(f"cdk {arguments[0]} ended with {done.returncode}:\n{tail}")
