"""Every S3 key and every name that Tidemill gives to something. Nothing else builds one."""

import re
from dataclasses import dataclass
from typing import Literal

LANDING_KEY = re.compile(r"(?P<model>[^/]+)/(?P<kind>data|labels)/(?P<file>[^/].*)", re.DOTALL)


@dataclass(frozen=True)
class LandingKey:
    """A key of the landing bucket that Tidemill acts on: `<model>/data/<file>` or `<model>/labels/<file>`."""

    model: str
    kind: Literal["data", "labels"]
    file: str


def parse_landing_key(key: str) -> LandingKey | None:
    """The parts of a landing key, or None for a key that is not ours (also a folder marker)."""
    match = LANDING_KEY.fullmatch(key)
    if match is None or key.endswith("/"):
        return None
    return LandingKey(match["model"], match["kind"], match["file"])  # type: ignore[arg-type]  # the pattern allows only these


def run_id(epoch: int) -> str:
    return f"{epoch:04d}"


def execution_name(model: str, epoch: int) -> str:
    return f"{model}-{run_id(epoch)}"


def job_prefix(stage: str, model: str, epoch: int, deployment: str) -> str:
    """The start of every SageMaker job name of a run; `-<step>-<attempt>` follows.

    Job names can never be reused in an account and a region, so stage and deployment (four hex digits of the state
    machine's identity, which changes when a stack is destroyed and made again) are part of it. At most
    12 + 24 + 6 + 4 + separators, so that with `-evaluate-99` it stays within SageMaker's 63 characters.
    """
    return f"{stage}-{model}-{run_id(epoch)}-{deployment}"


def part_prefix(model: str, part_id: str) -> str:
    return f"{model}/parts/{part_id}/"


def part_record(model: str, part_id: str) -> str:
    return f"{part_prefix(model, part_id)}part.json"


def dataset_prefix(model: str, dataset_id: str) -> str:
    return f"{model}/datasets/{dataset_id}/"


def dataset_manifest(model: str, dataset_id: str) -> str:
    return f"{dataset_prefix(model, dataset_id)}dataset/manifest.json"


def channel_manifest(model: str, dataset_id: str, split: str) -> str:
    return f"{dataset_prefix(model, dataset_id)}channels/{split}.manifest"


def code_prefix(model: str, code_hash: str) -> str:
    return f"{model}/code/{code_hash}/"


def run_prefix(model: str, run: str) -> str:
    return f"{model}/runs/{run}/"


def work_list(model: str, run: str) -> str:
    return f"{run_prefix(model, run)}work.json"


def evaluation_prefix(model: str, run: str) -> str:
    """`<attempt>/evaluation.json` follows."""
    return f"{run_prefix(model, run)}evaluate/"


def parameter_name(stage: str, model: str) -> str:
    return f"/tidemill/{stage}/models/{model}"


def endpoint_name(stage: str, model: str) -> str:
    return f"{stage}-{model}"


def package_group(stage: str, model: str) -> str:
    return f"{stage}-{model}"
